package console_test

import (
	"context"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/console"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

const (
	linkID   = "AAAAAAAAAAAAAAAAAAAAAA"
	linkCode = "c0dec0dec0dec0dec0deQQ"
)

// emails is one validation, and remembers what it was answered.
type emails struct {
	mu       sync.Mutex
	question ra.EmailQuestion
	err      error // of everything
	answers  []ra.EmailAnswer
}

func newEmails() *emails {
	asked := time.Date(2026, 11, 25, 9, 5, 0, 0, time.UTC)
	return &emails{question: ra.EmailQuestion{
		Domain: "shop.example.com", Organisation: `Sales & <b>"Friends"</b>`, Address: "admin@example.com", Covers: true,
		Asked: asked, Expires: asked.Add(72 * time.Hour), State: ra.EmailPending,
	}}
}

func (e *emails) EmailQuestion(_ context.Context, id string) (*ra.EmailQuestion, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil || id != linkID {
		return nil, orNotFound(e.err)
	}
	q := e.question
	return &q, nil
}

func orNotFound(err error) error {
	if err == nil {
		return problem.New(problem.NotFound, "no link")
	}
	return err
}

func (e *emails) AnswerEmail(_ context.Context, a ra.EmailAnswer) (*ra.EmailQuestion, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answers = append(e.answers, a)
	switch {
	case e.err != nil || a.ID != linkID:
		return nil, orNotFound(e.err)
	case e.question.State != ra.EmailPending:
	case a.Code != linkCode:
		return nil, problem.New(problem.Unauthorized, "a wrong code")
	case a.Reject:
		e.question.State = ra.EmailRejected
	default:
		e.question.State = ra.EmailConfirmed
	}
	q := e.question
	return &q, nil
}

func (e *emails) set(change func(*emails)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change(e)
}

func (e *emails) state() ra.EmailOutcome {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.question.State
}

// answered counts the answers.
func (e *emails) answered() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.answers)
}

// site is a Console behind a server.
type site struct {
	*testing.T
	*emails
	url string

	mu       sync.Mutex
	observed []string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{T: t, emails: newEmails()}
	c, err := console.New(console.Config{
		Emails: s.emails,
		Remote: func(r *http.Request) netip.Addr {
			peer, _ := netip.ParseAddrPort(r.RemoteAddr)
			return peer.Addr()
		},
		Observe: func(_ context.Context, page string, err error) {
			text := page
			if err != nil {
				text += ": " + err.Error()
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.observed = append(s.observed, text)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(c.Handler())
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// send makes a request and reads the page.
func (s *site) send(method, path, body string, header ...string) (*http.Response, string) {
	s.Helper()
	req, err := http.NewRequestWithContext(s.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		s.Fatal(err)
	}
	defer resp.Body.Close()
	var b strings.Builder
	if _, err := io.Copy(&b, resp.Body); err != nil {
		s.Fatal(err)
	}
	return resp, b.String()
}

// press is what a button of the page does.
func (s *site) press(answer, code string, header ...string) (*http.Response, string) {
	s.Helper()
	return s.send("POST", "/dcv/email/"+linkID, url.Values{"answer": {answer}, "code": {code}}.Encode(), header...)
}

// TestThePage asks, says who wants what, and may be kept, framed and scripted by nobody.
func TestThePage(t *testing.T) {
	s := newSite(t)
	resp, text := s.send("GET", "/dcv/email/"+linkID+"/"+linkCode, "")
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	for _, want := range []string{
		"shop.example.com", "admin@example.com", html.EscapeString(`Sales & <b>"Friends"</b>`), "25 November 2026, 09:05 UTC", "28 November 2026, 09:05 UTC", "all names below it",
		`<form method="post" action="../` + linkID + `"`, `name="code" value="` + linkCode + `"`, `name="answer" value="confirm"`, `name="answer" value="reject"`, `content="noindex, nofollow"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	for _, bad := range []string{"<script", "<b>", "http://", "https://", "<img", "javascript:", "ZgotmplZ"} {
		if strings.Contains(text, bad) {
			t.Errorf("the page has %s", bad)
		}
	}
	if regexp.MustCompile(`<[^>]* on[a-z]+=`).MatchString(text) {
		t.Error("the page has a script in an attribute")
	}
	for name, want := range map[string]string{
		"Referrer-Policy": "strict-origin", "Cache-Control": "no-store", "X-Robots-Tag": "noindex", "X-Content-Type-Options": "nosniff", "Content-Type": "text/html; charset=utf-8",
		"Content-Security-Policy": "default-src 'none'; style-src 'sha256-",
	} {
		if got := resp.Header.Get(name); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q", name, got)
		}
	}
	if csp := resp.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "form-action 'self'") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") {
		t.Error(csp)
	}
	if len(resp.Cookies()) != 0 {
		t.Error("the page sets cookies")
	}

	s.set(func(e *emails) { e.question.Covers = false })
	if _, text := s.send("GET", "/dcv/email/"+linkID+"/"+linkCode, ""); strings.Contains(text, "all names below") {
		t.Error("the page says more than is proved")
	}
	// Without the code there is a field for it; whether a code is right is not told.
	if _, text := s.send("GET", "/dcv/email/"+linkID, ""); !strings.Contains(text, `<input type="text" id="code" name="code"`) || strings.Contains(text, linkCode) {
		t.Error("no field for the code")
	}
	_, right := s.send("GET", "/dcv/email/"+linkID+"/"+linkCode, "")
	_, wrong := s.send("GET", "/dcv/email/"+linkID+"/c0dec0dec0dec0dec0deQA", "")
	if right != strings.Replace(wrong, "c0deQA", "c0deQQ", 1) {
		t.Error("the page tells a right code from a wrong one")
	}
	if _, text := s.send("GET", "/dcv/email/"+linkID+"/"+url.PathEscape(`"><script>alert(1)</script>`), ""); strings.Contains(text, "<script") {
		t.Error("the code is not escaped")
	}
}

// TestFormsBehindAPrefix: the forms of the pages lead to where they are taken, also where a proxy has taken away the beginning of
// the path (public_urls with one).
func TestFormsBehindAPrefix(t *testing.T) {
	const prefix = "https://ca.example.com/pki"
	action := regexp.MustCompile(`action="([^"]*)"`)
	check := func(path, text, want string) {
		t.Helper()
		base, err := url.Parse(prefix + path)
		if err != nil {
			t.Fatal(err)
		}
		found := action.FindAllStringSubmatch(text, -1)
		if len(found) == 0 {
			t.Errorf("%s has no form: %s", path, text)
		}
		for _, m := range found {
			if to, err := base.Parse(html.UnescapeString(m[1])); err != nil || to.String() != prefix+want {
				t.Errorf("the form of %s leads to %v, %v", path, to, err)
			}
		}
	}
	s := newSite(t)
	for _, below := range []string{"", "/", "/" + linkCode, "/" + linkCode + "/"} {
		path := console.EmailPath + linkID + below
		_, text := s.send("GET", path, "")
		check(path, text, console.EmailPath+linkID)
	}
	l, link := newKeyLink(t)
	for _, offer := range []ra.Offer{{Format: "pkcs12", Content: "chain"}, {Format: "key", Clear: true}} {
		l.set(offer)
		resp, err := http.Get(link)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		check(console.DownloadPath+linkSecret, string(text), console.DownloadPath+linkSecret)
	}
}

// TestAScannerValidatesNothing: it fetches the link of the mail, in every way in which that is done, and whatever the page holds.
func TestAScannerValidatesNothing(t *testing.T) {
	s := newSite(t)
	link := "/dcv/email/" + linkID + "/" + linkCode
	form := url.Values{"answer": {"confirm"}, "code": {linkCode}}.Encode()
	_, text := s.send("GET", link, "")
	urls := []string{link, link + "/", "/dcv/email/" + linkID, "/dcv/email/" + linkID + "/", link + "?answer=confirm&code=" + linkCode, "/dcv/email/" + linkID + "?answer=confirm&code=" + linkCode, "/dcv/email/", "/favicon.ico", "/robots.txt"}
	for _, m := range regexp.MustCompile(`(?:href|src|action|formaction|content|value)="([^"]*)"`).FindAllStringSubmatch(text, -1) {
		urls = append(urls, "/"+strings.TrimPrefix(m[1], "/"), "/dcv/email/"+linkID+"/"+url.PathEscape(m[1]))
	}
	for _, path := range urls {
		path = strings.ReplaceAll(path, " ", "%20")
		for _, method := range []string{"GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "PROPFIND", "TRACE", "get"} {
			s.send(method, path, "")
			if method != "TRACE" { // which has no body
				s.send(method, path, form)
			}
			s.send(method, path, "", "Purpose", "prefetch", "Sec-Purpose", "prefetch;prerender", "User-Agent", "scanner")
			s.send(method, path, "", "X-HTTP-Method-Override", "POST", "X-HTTP-Method", "POST", "X-Method-Override", "POST")
		}
	}
	// POSTs that no button makes: to the link itself, with the answer in the URL, as another type, twice, without or with more.
	s.send("POST", link, form)
	s.send("POST", link, "")
	s.send("POST", "/dcv/email/"+linkID+"?"+form, "")
	s.send("POST", "/dcv/email/"+linkID+"?"+form, "answer=&code=")
	s.send("POST", "/dcv/email/"+linkID, form, "Content-Type", "text/plain")
	s.send("POST", "/dcv/email/"+linkID, form, "Content-Type", "multipart/form-data; boundary=x")
	s.send("POST", "/dcv/email/"+linkID, `{"answer":"confirm","code":"`+linkCode+`"}`, "Content-Type", "application/json")
	s.send("POST", "/dcv/email/"+linkID, "code="+linkCode)
	s.send("POST", "/dcv/email/"+linkID, form+"&answer=reject")
	s.send("POST", "/dcv/email/"+linkID, form+"&code=x")
	s.send("POST", "/dcv/email/"+linkID, "answer=CONFIRM&code="+linkCode)
	s.send("POST", "/dcv/email/"+linkID, form+"&x="+strings.Repeat("x", 8<<10))
	// And of another site's page.
	s.press("confirm", linkCode, "Sec-Fetch-Site", "cross-site")
	s.press("confirm", linkCode, "Sec-Fetch-Site", "same-site")
	s.press("confirm", linkCode, "Origin", "https://evil.example.net")
	if resp, text := s.press("confirm", linkCode, "Origin", "null"); resp.StatusCode != http.StatusForbidden || !strings.Contains(text, "Nothing was changed") && !strings.Contains(text, "nothing was changed") {
		t.Errorf("another origin: %s", resp.Status)
	}
	if s.answered() != 0 || s.state() != ra.EmailPending {
		t.Fatalf("answers: %+v", s.answers)
	}
	if resp, _ := s.press("confirm", linkCode, "Sec-Fetch-Site", "same-origin", "Origin", "null"); resp.StatusCode != http.StatusOK || s.state() != ra.EmailConfirmed {
		t.Errorf("the button: %s", resp.Status)
	}
}

// TestAnswers: what each outcome looks like.
func TestAnswers(t *testing.T) {
	for _, row := range []struct {
		name   string
		set    func(*emails)
		answer string
		code   string
		status int
		says   string
		state  ra.EmailOutcome
	}{
		{"confirmed", nil, "confirm", linkCode, 200, "is confirmed", ra.EmailConfirmed},
		{"with blanks around", nil, "confirm", " " + linkCode + "\r\n", 200, "is confirmed", ra.EmailConfirmed},
		{"rejected", nil, "reject", linkCode, 200, "was refused", ra.EmailRejected},
		{"already", func(e *emails) { e.question.State = ra.EmailConfirmed }, "reject", linkCode, 200, "is confirmed", ra.EmailConfirmed},
		{"wrong", nil, "confirm", "x", 403, "code is not right", ra.EmailPending},
		{"no code", nil, "confirm", "", 403, "code is not right", ra.EmailPending},
		{"expired", func(e *emails) { e.question.State = ra.EmailExpired }, "confirm", linkCode, 410, "too old", ra.EmailExpired},
		{"locked", func(e *emails) { e.question.State = ra.EmailLocked }, "confirm", linkCode, 403, "Too many wrong codes", ra.EmailLocked},
		{"too fast", func(e *emails) { e.err = problem.New(problem.RateLimited, "x").After(90 * time.Second) }, "confirm", linkCode, 429, "in 2 minutes", ra.EmailPending},
		{"gone", func(e *emails) { e.err = problem.New(problem.NotFound, "x") }, "confirm", linkCode, 404, "leads to nothing", ra.EmailPending},
		{"store down", func(e *emails) { e.err = problem.New(problem.Unavailable, "the store").After(2 * time.Second) }, "confirm", linkCode, 503, "not known whether", ra.EmailPending},
		{"broken", func(e *emails) { e.err = problem.New(problem.Internal, "a secret cause") }, "confirm", linkCode, 500, "not known whether", ra.EmailPending},
		{"no button", nil, "maybe", linkCode, 400, "no answer", ra.EmailPending},
	} {
		s := newSite(t)
		if row.set != nil {
			s.set(row.set)
		}
		resp, text := s.press(row.answer, row.code)
		if resp.StatusCode != row.status || !strings.Contains(text, row.says) || s.state() != row.state || strings.Contains(text, "secret cause") {
			t.Errorf("%s: %s, %s, %s", row.name, resp.Status, s.state(), text)
		}
		if row.status != 403 && row.status != 200 && strings.Contains(text, "is confirmed") {
			t.Errorf("%s: says that it was confirmed", row.name)
		}
		if (row.status == 429 || row.status == 503) != (resp.Header.Get("Retry-After") != "") {
			t.Errorf("%s: Retry-After %q", row.name, resp.Header.Get("Retry-After"))
		}
		if resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("Referrer-Policy") != "strict-origin" {
			t.Errorf("%s: %v", row.name, resp.Header)
		}
		if strings.Contains(text, linkCode) {
			t.Errorf("%s: the page repeats the code", row.name)
		}
		for _, o := range s.observed {
			if !strings.HasPrefix(o, "dcv/email") || strings.Contains(o, linkCode) || strings.Contains(o, linkID) {
				t.Errorf("%s: the log is told %q", row.name, o)
			}
		}
		if len(s.observed) != 1 || len(s.answers) > 0 && s.answers[0].From != netip.MustParseAddr("127.0.0.1") {
			t.Errorf("%s: %q, %+v", row.name, s.observed, s.answers)
		}
		// The link then says the same, and asks no more.
		if row.set == nil && row.state != ra.EmailPending {
			if resp, text := s.send("GET", "/dcv/email/"+linkID+"/"+linkCode, ""); resp.StatusCode != 200 || !strings.Contains(text, row.says) || strings.Contains(text, "<form") {
				t.Errorf("%s: the link then: %s", row.name, resp.Status)
			}
		}
	}
}

// TestMethodsAndPaths that are none are refused as such.
func TestMethodsAndPaths(t *testing.T) {
	s := newSite(t)
	for path, status := range map[string]int{
		"/dcv/email/": 404, "/dcv/email": 404, "/dcv/email/unknown": 404, "/dcv/email/" + linkID + "/a/b": 404, "/other": 404,
		"/dcv/email/" + linkID: 200, "/dcv/email/" + linkID + "/": 200,
	} {
		if resp, _ := s.send("GET", path, ""); resp.StatusCode != status {
			t.Errorf("GET %s: %s", path, resp.Status)
		}
	}
	resp, _ := s.send("DELETE", "/dcv/email/"+linkID, "")
	if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET, HEAD, POST" {
		t.Errorf("%s, %q", resp.Status, resp.Header.Get("Allow"))
	}
	if resp, text := s.send("HEAD", "/dcv/email/"+linkID, ""); resp.StatusCode != 200 || text != "" {
		t.Errorf("HEAD: %s, %q", resp.Status, text)
	}
	if !slices.Contains(s.observed, "dcv/email") {
		t.Errorf("%q", s.observed)
	}
}
