package web

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// observer surrounds the handler of a Server: limits, event, metrics, headers, recovery.
type observer struct {
	cfg     Config
	maxBody int64
	headers []header // the same on every answer
}

type header struct {
	key    string // canonical
	values []string
}

func observe(cfg Config) *observer {
	return &observer{cfg: cfg, maxBody: cmp.Or(cfg.MaxBodyBytes, 1<<20), headers: securityHeaders()}
}

// ServeHTTP runs the handler once and accounts for it, whatever becomes of it.
func (o *observer) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	begun := time.Now()
	e := newEvent()
	w := &response{ResponseWriter: rw}
	// One copy of the request carries the event and the limits; a ServeMux below writes its pattern into this copy.
	r2 := r.WithContext(context.WithValue(r.Context(), eventKey{}, e))
	r2.RemoteAddr = o.remoteAddr(r)
	allowed := o.allowed(r)
	body := &boundedBody{max: allowed.Max}
	if r.Body != nil && r.Body != http.NoBody {
		// The outermost writer, because it closes the connection of a client that sends on.
		body.ReadCloser, body.declared = http.MaxBytesReader(rw, r.Body, allowed.Max), r.ContentLength > allowed.Max
		r2.Body = body
		if allowed.Rate > 0 {
			body.pace = newPace(rw, allowed, o.cfg)
		}
		if r.ProtoMajor == 1 && (body.declared || body.pace != nil) {
			w.body = body
		}
	}
	o.setHeaders(rw.Header(), e)
	o.cfg.Metrics.begin()
	aborted := true
	defer func() {
		o.finish(w, r2, e, begun, aborted)
	}()
	aborted = o.run(w, r2, e, body, allowed.Own)
	if aborted {
		// net/http's own way to cut an answer short without a word in the log.
		panic(http.ErrAbortHandler)
	}
}

// allowed is what a request may send.
func (o *observer) allowed(r *http.Request) (b Body) {
	if o.cfg.Bodies != nil {
		b = o.cfg.Bodies(r)
	}
	b.Max = cmp.Or(b.Max, o.maxBody)
	return b
}

// run calls the handler and gives the answers it did not. It reports whether the connection must be cut because half an
// answer is out.
func (o *observer) run(w *response, r *http.Request, e *RequestEvent, body *boundedBody, own bool) (abort bool) {
	defer func() {
		switch p := recover(); {
		case p == nil:
		case p == any(http.ErrAbortHandler):
			abort = true
		default:
			e.panicked(fmt.Errorf("panic: %v", p), debug.Stack())
			if abort = w.status != 0; !abort {
				writeProblem(w, http.StatusInternalServerError, "")
			}
		}
	}()
	if body.declared && !own {
		tooLarge(w, r, e, body.max)
		return false
	}
	o.cfg.Handler.ServeHTTP(w, r)
	if w.status == 0 && body.exceeded {
		tooLarge(w, r, e, body.max)
	}
	return false
}

// tooLarge is RFC 9110, 15.5.14.
func tooLarge(w *response, r *http.Request, e *RequestEvent, limit int64) {
	detail := fmt.Sprintf("the request body may have at most %d bytes", limit)
	e.Problem(problem.New(problem.TooLarge, "%s", detail))
	if r.ProtoMajor == 1 {
		// What the client still sends is not read as another request.
		w.Header().Set("Connection", "close")
	}
	writeProblem(w, http.StatusRequestEntityTooLarge, detail)
}

func (o *observer) finish(w *response, r *http.Request, e *RequestEvent, begun time.Time, aborted bool) {
	took := time.Since(begun)
	named, label := e.end()
	if w.status == 0 && !aborted {
		w.status = http.StatusOK // what net/http says for a handler that said nothing
	}
	out := outcome{
		method: method(r.Method), endpoint: o.cfg.Metrics.endpoint(endpoint(named, r.Pattern)),
		remote: r.RemoteAddr, proto: r.Proto, status: w.status, bytes: w.bytes, begun: begun, took: took,
	}
	o.cfg.Metrics.end(out, label)
	e.write(r.Context(), o.cfg.Log, out)
}

// endpoint is the route without its method; the path itself is what a client made up.
func endpoint(named, pattern string) string {
	if named != "" {
		return named
	}
	if _, path, found := strings.Cut(pattern, " "); found {
		pattern = strings.TrimLeft(path, " \t")
	}
	if pattern == "" {
		return other
	}
	return pattern
}

// method keeps a client from making up methods.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return other
}

// response remembers what a handler answered.
type response struct {
	http.ResponseWriter
	status int // 0: no answer yet
	bytes  int64
	body   *boundedBody // a large one of HTTP/1; otherwise nil
}

// begin notes the answer's status. What is left of a large body then is not waited for, and not read as another request.
func (w *response) begin(status int) {
	w.status = status
	if w.body != nil && !w.body.ended {
		w.Header().Set("Connection", "close")
	}
}

func (w *response) WriteHeader(status int) {
	// 1xx is not the answer (RFC 9110, 15.2), but 101 is the last word of net/http.
	if w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.begin(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.begin(http.StatusOK)
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// Flush is for handlers that stream.
func (w *response) Flush() {
	if w.status == 0 {
		w.begin(http.StatusOK)
	}
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

// Unwrap lets http.ResponseController reach the connection.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }
