// Package console shows pages to people: where the reader of a mail confirms, or refuses, that an organisation may have
// certificates for a domain ([Console]), and where a private key is downloaded ([Downloads]).
//
// It decides what a page says and which request is an answer: only a POST that a button of the page sent, never a GET, which
// mail scanners and browsers make on their own. It trusts the methods behind it for everything else: who may answer, how often
// codes are tried, what an answer does. It never reads cookies, needs or runs scripts, logs a code, or says on a GET whether one
// is right; whoever has a link without its code learns who asks for what, and no more.
package console

import (
	"bytes"
	"cmp"
	"context"
	"embed"
	"html/template"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/ra"
)

// Config is what a Console needs. All but Observe are required.
type Config struct {
	Emails Emails
	// Remote is the address a request comes from.
	Remote func(*http.Request) netip.Addr
	// Observe is told which page a request was for, a constant, and of a failure why. Nil: nobody is.
	Observe func(ctx context.Context, page string, err error)
}

// Emails are the validations of domains by e-mail (ra.Domains).
type Emails interface {
	EmailQuestion(ctx context.Context, id string) (*ra.EmailQuestion, error)
	AnswerEmail(ctx context.Context, answer ra.EmailAnswer) (*ra.EmailQuestion, error)
}

// Console serves the pages below EmailPath. It is safe for concurrent use.
type Console struct {
	Config
	pages  *template.Template
	style  template.CSS
	policy string // Content-Security-Policy
}

//go:embed pages
var files embed.FS

// New makes a Console.
func New(c Config) (*Console, error) {
	if c.Observe == nil {
		c.Observe = func(context.Context, string, error) {}
	}
	style, policy, err := look()
	if err != nil {
		return nil, err
	}
	pages, err := template.ParseFS(files, "pages/page.html")
	if err != nil {
		return nil, err
	}
	return &Console{Config: c, pages: pages, style: style, policy: policy}, nil
}

// Handler serves [EmailPath] and what is below it.
func (c *Console) Handler() http.Handler {
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.Observe(r.Context(), emailPage, errCrossOrigin)
		c.show(w, http.StatusForbidden, page{Title: "Not from here", Text: []string{
			"This answer was not sent by the page that asks for it, so nothing was changed. Open the link in the mail and use the buttons there."}})
	}))
	return protection.Handler(http.HandlerFunc(c.email))
}

// page is what the template shows.
type page struct {
	Title string
	Text  []string // paragraphs
	Facts []fact
	Form  *form // nil: nothing can be answered

	Style template.CSS // set by show
}

type fact struct{ Name, Value string }

// form is the buttons, and the code that they send: one from the link, or a field to type it into.
type form struct {
	Action, Code string
}

// show writes a page.
func (c *Console) show(w http.ResponseWriter, status int, p page) {
	p.Style = c.style
	var b bytes.Buffer
	if err := c.pages.ExecuteTemplate(&b, "page.html", p); err != nil {
		http.Error(w, "the page could not be made", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	secure(w.Header(), c.policy)
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // whoever asked has gone
}

// notAllowed answers a method that a page does not have (RFC 9110, 15.5.6).
func (c *Console) notAllowed(w http.ResponseWriter, methods ...string) {
	w.Header().Set("Allow", strings.Join(methods, ", "))
	c.show(w, http.StatusMethodNotAllowed, page{Title: "Not like this", Text: []string{"Open this page in a browser."}})
}

// retryAfter says when to come back (RFC 9110, 10.2.3).
func retryAfter(w http.ResponseWriter, d time.Duration) {
	if d > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10))
	}
}

// plural is "1 minute", "2 minutes".
func plural(n int, unit string) string {
	if n != 1 {
		unit += "s"
	}
	return strconv.Itoa(n) + " " + unit
}

// named is a text, or what stands for one that is missing.
func named(text string) string {
	return cmp.Or(strings.TrimSpace(text), "an organisation without a name")
}
