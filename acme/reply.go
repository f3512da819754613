package acme

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// pollAfter is what a client that waits for something of ours is told: validations and issuance take moments, and a
// poll costs one read.
const pollAfter = time.Second

// busyAfter is the Retry-After of a 503 whose maker did not say.
const busyAfter = 5 * time.Second

// reply is a successful answer. Status zero is 200.
type reply struct {
	status      int
	value       any    // rendered as JSON; nil: body as it is
	body        []byte // with contentType
	contentType string
	location    string
	up          string   // the resource this one belongs to (RFC 8555, 7.5.1)
	next        string   // the next page (RFC 8555, 7.1.2.1)
	alternates  []string // the same certificate with other chains (RFC 8555, 7.4.2)
	retryAfter  time.Duration
	cacheFor    time.Duration // how long anybody may keep the answer; zero: nobody may
}

func (rep *reply) write(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	body, contentType := rep.body, rep.contentType
	if rep.value != nil {
		encoded, err := json.Marshal(rep.value)
		if err != nil {
			return err
		}
		body, contentType = encoded, "application/json"
	}
	if rep.location != "" {
		h.Set("Location", rep.location)
	}
	if rep.up != "" {
		h.Add("Link", `<`+rep.up+`>;rel="up"`)
	}
	if rep.next != "" {
		h.Add("Link", `<`+rep.next+`>;rel="next"`)
	}
	for _, url := range rep.alternates {
		h.Add("Link", `<`+url+`>;rel="alternate"`)
	}
	setRetryAfter(h, rep.retryAfter)
	if rep.cacheFor > 0 {
		h.Set("Cache-Control", "public, max-age="+strconv.FormatInt(int64(rep.cacheFor/time.Second), 10))
		h.Del("Replay-Nonce") // a nonce from a cache would be somebody's second
	}
	status := rep.status
	if status == 0 {
		status = http.StatusOK
	}
	writeBody(w, r, status, contentType, body)
	return nil
}

// writeProblem answers with a problem document (RFC 8555, 6.7). What is our own fault is logged whole and shown as a
// number to ask us about.
func (s *Server) writeProblem(w http.ResponseWriter, r *http.Request, err error) {
	e := problem.From(err)
	if e.Kind == problem.Internal && r.Context().Err() != nil {
		e = problem.Wrap(err, problem.Unavailable, "the request was given up before there was an answer")
	}
	p := renderProblem(e)
	retryAfter := e.RetryAfter
	switch e.Kind {
	case problem.Internal:
		p.Instance, p.Detail = incident(), ""
		s.log.LogAttrs(r.Context(), slog.LevelError, "ACME request failed",
			slog.String("path", r.URL.Path), slog.String("instance", p.Instance), slog.Any("error", err))
	case problem.Unavailable:
		if retryAfter == 0 {
			retryAfter = busyAfter
		}
		s.log.LogAttrs(r.Context(), slog.LevelWarn, "ACME request could not be served",
			slog.String("path", r.URL.Path), slog.Any("error", err))
	case problem.UserActionRequired:
		// RFC 8555, 7.3.3: where the terms are, for programs and for people.
		w.Header().Add("Link", `<`+s.TermsURL+`>;rel="terms-of-service"`)
		p.Instance = s.TermsURL
	case problem.RateLimited:
		if s.Limits.Help != "" { // RFC 8555, 6.6
			w.Header().Add("Link", `<`+s.Limits.Help+`>;rel="help"`)
		}
	}
	setRetryAfter(w.Header(), retryAfter)
	body, err := json.Marshal(p)
	if err != nil { // cannot happen: the document is made of strings and numbers
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	writeBody(w, r, p.Status, "application/problem+json", body)
}

// setRetryAfter writes whole seconds, rounded up: clients read nothing finer (RFC 9110, 10.2.3).
func setRetryAfter(h http.Header, d time.Duration) {
	if d > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10))
	}
}

func writeBody(w http.ResponseWriter, r *http.Request, status int, contentType string, body []byte) {
	h := w.Header()
	if contentType != "" {
		h.Set("Content-Type", contentType)
	}
	if status != http.StatusNoContent {
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		// An error here means the client went away; there is nobody left to tell.
		_, _ = w.Write(body)
	}
}
