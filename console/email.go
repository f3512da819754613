package console

import (
	"errors"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

const (
	// EmailPath is where the pages about validations by e-mail are: EmailPath + ID, and the same with a slash and the code behind,
	// as mails have it. The code is shown back to whoever came with it, inside the form, and never looked at before a POST.
	EmailPath = "/dcv/email/"

	emailPage = "dcv/email"
	// maxForm bounds an answer, in octets; it has a word or two.
	maxForm = 4 << 10
)

// The values of the form's field "answer".
const (
	answerConfirm = "confirm"
	answerReject  = "reject"
)

var (
	errCrossOrigin = problem.New(problem.Unauthorized, "an answer that another site's page sent")
	errNoAnswer    = problem.New(problem.Malformed, "the answer is none of the page's buttons")
	errNotFound    = problem.New(problem.NotFound, "no such page")
)

// email serves the page about one validation.
func (c *Console) email(w http.ResponseWriter, r *http.Request) {
	id, code, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, EmailPath), "/")
	code = strings.TrimSuffix(code, "/")
	var err error
	switch {
	case !strings.HasPrefix(r.URL.Path, EmailPath) || id == "" || strings.Contains(code, "/"):
		err = errNotFound
		c.failed(w, err)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		err = c.ask(w, r, id, code)
	case r.Method == http.MethodPost && code == "":
		err = c.answer(w, r, id)
	case code == "":
		c.notAllowed(w, http.MethodGet, http.MethodHead, http.MethodPost)
	default:
		c.notAllowed(w, http.MethodGet, http.MethodHead)
	}
	c.Observe(r.Context(), emailPage, err)
}

// ask shows the question. Whether the code is right is not looked at: a page that told would be a way to try codes.
func (c *Console) ask(w http.ResponseWriter, r *http.Request, id, code string) error {
	q, err := c.Emails.EmailQuestion(r.Context(), id)
	if err != nil {
		c.failed(w, err)
		return err
	}
	if q.State != ra.EmailPending {
		c.settled(w, q)
		return nil
	}
	// Relative to the page, because a proxy may have taken away what its path begins with.
	up := strings.Repeat("../", strings.Count(strings.TrimPrefix(r.URL.EscapedPath(), EmailPath), "/"))
	c.show(w, http.StatusOK, question(q, &form{Action: up + id, Code: code}))
	return nil
}

// question is the page that asks.
func question(q *ra.EmailQuestion, f *form) page {
	below := "The organisation then gets certificates for this name."
	if q.Covers {
		below = "The organisation then gets certificates for this name and for all names below it."
	}
	return page{
		Title: "May " + named(q.Organisation) + " have certificates for " + q.Domain + "?",
		Text: []string{
			named(q.Organisation) + " asks this service to make TLS certificates for " + q.Domain + ". You are asked because the mail went to an address that can answer for this domain.",
			"Confirm only if you know of this and may decide it for the domain. " + below,
		},
		Facts: append(facts(q), fact{"Can be answered until", when(q.Expires)}), Form: f,
	}
}

// facts are who asks for what, and since when.
func facts(q *ra.EmailQuestion) []fact {
	return []fact{
		{"Domain", q.Domain}, {"Organisation", named(q.Organisation)}, {"Mail sent to", q.Address},
		{"Requested", when(q.Asked)},
	}
}

// when is a time for people.
func when(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04 UTC") }

// answer takes what a button sent.
func (c *Console) answer(w http.ResponseWriter, r *http.Request, id string) error {
	code, reject, err := readAnswer(w, r)
	if err != nil {
		c.failed(w, err)
		return err
	}
	q, err := c.Emails.AnswerEmail(r.Context(), ra.EmailAnswer{ID: id, Code: code, Reject: reject, From: c.Remote(r)})
	if err != nil {
		c.failed(w, err)
		return err
	}
	c.settled(w, q)
	return nil
}

// readAnswer reads the form from the body, never from the URL.
func readAnswer(w http.ResponseWriter, r *http.Request) (code string, reject bool, err error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return "", false, errNoAnswer
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return "", false, problem.New(problem.TooLarge, "the answer is too long")
		}
		return "", false, errNoAnswer // the error may quote what was sent
	}
	code = strings.TrimSpace(r.PostForm.Get("code"))
	switch answers := r.PostForm["answer"]; {
	case len(answers) != 1 || len(r.PostForm["code"]) != 1:
		return "", false, errNoAnswer
	case answers[0] == answerConfirm:
		return code, false, nil
	case answers[0] == answerReject:
		return code, true, nil
	default:
		return "", false, errNoAnswer
	}
}

// settled shows what became of a validation.
func (c *Console) settled(w http.ResponseWriter, q *ra.EmailQuestion) {
	p, status := page{Facts: facts(q)}, http.StatusOK
	switch q.State {
	case ra.EmailConfirmed:
		p.Title = q.Domain + " is confirmed"
		p.Text = []string{
			named(q.Organisation) + " may have certificates for " + q.Domain + ". There is nothing more to do; you can close this page.",
			"If that was a mistake, write to whoever runs this service. A CAA record in the DNS says who may make certificates for your domain.",
		}
	case ra.EmailRejected:
		p.Title = "The request was refused"
		p.Text = []string{"Nothing was confirmed for " + q.Domain + ", and the links of this request lead to nothing any more. Whoever runs this service can see that it was refused."}
	case ra.EmailExpired:
		status = http.StatusGone
		p.Title = "This link is too old"
		p.Text = []string{"Nothing was confirmed. If the request is wanted, have " + named(q.Organisation) + " send a new mail."}
	case ra.EmailLocked:
		status = http.StatusForbidden
		p.Title = "Too many wrong codes"
		p.Text = []string{"This request was closed after too many wrong codes; nothing was confirmed. If it is wanted, have " + named(q.Organisation) + " send a new mail."}
	default: // still pending: an answer that settled nothing is none
		status = http.StatusConflict
		p.Title = "Nothing was changed"
		p.Text = []string{"The request is still open. Open the link in the mail once more."}
	}
	c.show(w, status, p)
}

// failed shows why there is nothing to see, or why an answer did not count.
func (c *Console) failed(w http.ResponseWriter, err error) {
	p := problem.From(err)
	switch p.Kind {
	case problem.NotFound:
		c.show(w, http.StatusNotFound, page{Title: "This link leads to nothing", Text: []string{
			"It was cut off on its way, or the request behind it was withdrawn or replaced by a newer one. If there are several mails, use the newest; if the link is broken over two lines, put them together."}})
	case problem.Unauthorized:
		c.show(w, http.StatusForbidden, page{Title: "That code is not right", Text: []string{
			"Nothing was changed. Only the code in the newest mail counts: open the link in that one, whole."}})
	case problem.RateLimited:
		retryAfter(w, p.RetryAfter)
		c.show(w, http.StatusTooManyRequests, page{Title: "Too many attempts", Text: []string{
			"Nothing was changed. Try again in " + plural(max(1, int((p.RetryAfter+time.Minute-1)/time.Minute)), "minute") + "."}})
	case problem.Malformed:
		c.show(w, http.StatusBadRequest, page{Title: "That was no answer", Text: []string{"Nothing was changed. Open the link in the mail and use one of its buttons."}})
	case problem.TooLarge:
		c.show(w, http.StatusRequestEntityTooLarge, page{Title: "That was no answer", Text: []string{"Nothing was changed. Open the link in the mail and use one of its buttons."}})
	default:
		status := http.StatusInternalServerError
		if p.Kind == problem.Unavailable || p.Kind == problem.Conflict {
			status = http.StatusServiceUnavailable
			retryAfter(w, max(p.RetryAfter, time.Second))
		}
		c.show(w, status, page{Title: "This does not work right now", Text: []string{
			"It is not known whether your answer counted. Open the link in the mail again in a few minutes: the page says what became of it."}})
	}
}
