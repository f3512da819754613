package scm

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

func TestAuthentication(t *testing.T) {
	w := newWorld(t)
	path := "/api/ssl/v1/customFields"
	change := func(f func(h http.Header)) *http.Request {
		r := w.as("ada", "GET", path, "")
		f(r.Header)
		return r
	}
	w.goldenRequest("auth-none", change(func(h http.Header) { clear(h) }), "")
	w.goldenRequest("auth-wrong", change(func(h http.Header) { h.Set("password", "correct-horse-of-nobody") }), "")
	for name, f := range map[string]func(http.Header){
		"no password": func(h http.Header) { h.Del("password") }, "no login": func(h http.Header) { h.Del("login") },
		"two passwords": func(h http.Header) { h.Add("password", password("ada")) }, "another customer": func(h http.Header) { h.Set("customerUri", "other") },
		"no customer": func(h http.Header) { h.Set("customerUri", "nobody") }, "no bearer": func(h http.Header) { h.Set("Authorization", "Basic YWRhOng=") },
		"a wrong token": func(h http.Header) { h.Set("Authorization", "Bearer ght_x") },
	} {
		if rec := w.do(change(f)); rec.Code != 401 || rec.Body.String() != `{"code":-16,"description":"Unknown user"}` {
			t.Errorf("%s: status %d: %s", name, rec.Code, rec.Body)
		}
	}
	// Header names in any letter case, and the default customer.
	if rec := w.do(change(func(h http.Header) { h.Del("customerUri"); h["Customeruri"] = nil })); rec.Code != 200 {
		t.Errorf("status %d: %s", rec.Code, rec.Body)
	}
	yes := true
	_, err := w.people.Edit(t.Context(), operator, auth.Ref{Login: "rex", Customer: "main"}, auth.PrincipalEdit{Disabled: &yes})
	must(t, err)
	w.golden("auth-disabled", "rex", "GET", path, "")
}

// TestSlowedDown: who tries passwords is told to wait, as one who may come back.
func TestSlowedDown(t *testing.T) {
	w := newWorld(t)
	for try := range 100 {
		r := w.as("ada", "GET", "/api/ssl/v1/types", "")
		r.Header.Set("password", "correct-horse-of-nobody")
		if rec := w.do(r); rec.Code != 401 {
			if try < 5 || rec.Code != 429 || rec.Header().Get("Retry-After") == "" || !strings.Contains(rec.Body.String(), `"code":-970`) {
				t.Errorf("try %d: status %d: %s", try, rec.Code, rec.Body)
			}
			return
		}
	}
	t.Error("a hundred passwords were tried")
}

func (w *world) tokenRequest(form url.Values) *http.Request {
	r := httptest.NewRequest("POST", TokenPath, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

func TestToken(t *testing.T) {
	w := newWorld(t)
	w.wait(time.Since(start)) // the store forgets tokens by its own clock
	_, credential, secret, err := w.people.AddCredential(t.Context(), operator, auth.Ref{Login: "ada", Customer: "main"}, auth.NewCredential{Kind: auth.OAuthClient, Label: "builds"})
	must(t, err)
	client := credential.Public()
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {client}, "client_secret": {secret.ClientSecret}, "scope": {"anything"}}
	var token struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int    `json:"expires_in"`
	}
	rec := w.do(w.tokenRequest(form))
	must(t, json.Unmarshal(rec.Body.Bytes(), &token))
	if rec.Code != 200 || token.TokenType != "Bearer" || token.ExpiresIn != 300 || rec.Header().Get("Cache-Control") != "no-store" {
		t.Fatalf("status %d: %s", rec.Code, rec.Body)
	}
	call := func() *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", "/api/ssl/v2/customFields", nil)
		r.Header.Set("Authorization", "Bearer "+token.AccessToken)
		r.Header.Set("customerUri", "main")
		r.Header.Set("login", "ada")
		return w.do(r)
	}
	if rec := call(); rec.Code != 200 {
		t.Errorf("status %d: %s", rec.Code, rec.Body)
	}
	basic := w.tokenRequest(url.Values{"grant_type": {"client_credentials"}})
	basic.SetBasicAuth(client, secret.ClientSecret)
	if rec := w.do(basic); rec.Code != 200 {
		t.Errorf("by HTTP Basic: status %d: %s", rec.Code, rec.Body)
	}
	bad := func(name string, change func(url.Values)) {
		form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"ghc_x"}, "client_secret": {"ghs_x"}}
		change(form)
		w.goldenRequest(name, w.tokenRequest(form), form.Encode())
	}
	bad("token-wrong", func(url.Values) {})
	bad("token-grant", func(f url.Values) { f.Set("grant_type", "password") })
	bad("token-twice", func(f url.Values) { f.Add("client_id", "y") })
	r := w.tokenRequest(form)
	r.Header.Set("Content-Type", "application/json")
	w.goldenRequest("token-media", r, "")
	r = w.tokenRequest(form)
	r.SetBasicAuth(client, secret.ClientSecret)
	w.goldenRequest("token-both", r, "")
	r = w.tokenRequest(url.Values{"grant_type": {strings.Repeat("x", maxTokenForm)}})
	w.goldenRequest("token-large", r, "")
	r = httptest.NewRequest("POST", TokenPath, strings.NewReader("grant_type=%zz"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w.goldenRequest("token-unreadable", r, "grant_type=%zz")
	w.goldenRequest("token-get", httptest.NewRequest("GET", TokenPath, nil), "")
	w.wait(5 * time.Minute)
	if rec := call(); rec.Code != 401 {
		t.Errorf("the token counts after its end: status %d: %s", rec.Code, rec.Body)
	}
}

func TestUnknownPaths(t *testing.T) {
	w := newWorld(t)
	w.golden("path-unknown", "ada", "GET", "/api/ssl/v2/types/7/more", "")
	for _, path := range []string{"/api/ssl/v3/types", "/api/ssl/v2/1/keystore", "/api/ssl/", "/api/ssl/v2//types", "/api/ssl/v2/keystore/1/p12/more", "/private/types", "/api/ssl/V2"} {
		if rec := w.do(w.as("ada", "GET", path, "")); rec.Code != 404 || !strings.Contains(rec.Body.String(), `"code":-1,`) {
			t.Errorf("%s: status %d: %s", path, rec.Code, rec.Body)
		}
	}
	w.golden("method-unknown", "ada", "PATCH", "/api/ssl/v2/1", "")
	w.golden("method-of-literal", "ada", "DELETE", "/api/ssl/v2/types", "")
}

// TestEveryKindHasANumber, and none passes for a success or says more than its detail.
func TestEveryKindHasANumber(t *testing.T) {
	w := newWorld(t)
	for _, kind := range problem.Kinds() {
		rec := httptest.NewRecorder()
		w.refuse(rec, problem.Wrap(errors.New("the cause"), kind, "what is wrong"))
		var body map[string]any
		if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil || rec.Code < 400 {
			t.Errorf("%s: status %d: %s", kind, rec.Code, rec.Body)
		}
		if code, ok := body["code"].(float64); !ok || code > 0 || body["description"] != "what is wrong" {
			t.Errorf("%s: %s", kind, rec.Body)
		}
		if kind != problem.Internal && rec.Code == 500 {
			t.Errorf("%s is in no row of the table", kind)
		}
	}
	rec := httptest.NewRecorder()
	w.refuse(rec, errors.New("the disk is full"))
	if rec.Code != 500 || strings.Contains(rec.Body.String(), "disk") {
		t.Errorf("status %d: %s", rec.Code, rec.Body)
	}
	rec = httptest.NewRecorder()
	w.refuse(rec, coded(400, 0, problem.New(problem.Conflict, "Being processed by Sectigo")))
	if rec.Body.String() != `{"code":0,"description":"Being processed by Sectigo"}` {
		t.Errorf("%s", rec.Body)
	}
}

// TestGoldensKeepTheShape: no success has a code, every error has one, nothing is null.
func TestGoldensKeepTheShape(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	must(t, err)
	if len(files) < 50 {
		t.Fatalf("there are %d exchanges", len(files))
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(t, err)
		_, answer, _ := strings.Cut(string(text), "\n< ")
		status, _, _ := strings.Cut(answer, "\n")
		_, body, ok := strings.Cut(answer, "\n< \n< ")
		if !ok || !strings.Contains(answer, "\n< Content-Type: application/json") {
			continue
		}
		var value any
		body = standIns.ReplaceAllString(strings.ReplaceAll(body, "\n< ", "\n"), "${1}1$2")
		if err := json.Unmarshal([]byte(body), &value); err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		members, _ := value.(map[string]any)
		_, coded := members["code"]
		if oauth := members["error"] != nil; !oauth && coded != (status >= "4") {
			t.Errorf("%s: status %s, and whether there is a code: %t", file, status, coded)
		}
		if hasNull(value) {
			t.Errorf("%s: there is a null", file)
		}
	}
}

// standIns are words for numbers that are never twice the same.
var standIns = regexp.MustCompile(`([:[,])[A-Z][A-Z0-9]*([,}\]])`)

// hasNull reports whether a value or one inside it is null.
func hasNull(value any) bool {
	switch v := value.(type) {
	case nil:
		return true
	case []any:
		return slices.ContainsFunc(v, hasNull)
	case map[string]any:
		return slices.ContainsFunc(slices.Collect(maps.Values(v)), hasNull)
	}
	return false
}

// TestRoutesOfAllPairs: of any two routes each is found by a path of its own, whatever the other is, so that none hides
// another; and a parameter of one never takes a literal of the other.
func TestRoutesOfAllPairs(t *testing.T) {
	w := newWorld(t)
	path := func(pattern string) string { return parameters.ReplaceAllString(pattern, "4711") }
	all := endpoints(apis())
	for i, a := range all {
		found, _, ok := w.table.Find(a.Method, path(a.Pattern))
		if !ok || found.Route.Pattern != a.Pattern {
			t.Errorf("%s %s is hidden by %s", a.Method, a.Pattern, found.Route.Pattern)
		}
		for _, b := range all[:i] {
			if a.Pattern == b.Pattern {
				continue
			}
			for _, pair := range [][2]string{{a.Pattern, b.Pattern}, {b.Pattern, a.Pattern}} {
				// The literals of one where the other has parameters.
				mine, theirs := strings.Split(pair[0], "/"), strings.Split(pair[1], "/")
				if len(mine) != len(theirs) {
					continue
				}
				literal := true
				for n := range mine {
					if parameters.MatchString(mine[n]) {
						mine[n] = parameters.ReplaceAllString(theirs[n], "4711")
					} else {
						literal = literal && (mine[n] == theirs[n] || parameters.MatchString(theirs[n]))
					}
				}
				if !literal {
					continue
				}
				// The path fits both; the first segment in which they differ decides.
				want := pair[0]
				for n, s := range strings.Split(pair[0], "/") {
					if p, q := parameters.MatchString(s), parameters.MatchString(theirs[n]); p != q {
						if p {
							want = pair[1]
						}
						break
					}
				}
				for _, method := range []string{a.Method, b.Method} {
					found, _, ok := w.table.Find(method, strings.Join(mine, "/"))
					if ok && found.Route.Pattern != want && found.Route.Pattern != pair[0] && found.Route.Pattern != pair[1] {
						continue // a third is more literal than both
					}
					if ok && found.Route.Pattern != want {
						t.Errorf("%s %s goes to %s, want %s", method, strings.Join(mine, "/"), found.Route.Pattern, want)
					}
				}
			}
		}
	}
}

var parameters = regexp.MustCompile(`\{\w+\}`)
