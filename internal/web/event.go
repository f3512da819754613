package web

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// RequestEvent is the one record written about a request. Handlers add to it on the way; it is written once, at the end.
// Its methods are safe for concurrent use, do nothing on a nil event, and change nothing after the end.
type RequestEvent struct {
	mu       sync.Mutex
	done     bool
	id       string
	endpoint string
	attrs    []slog.Attr
	inline   [6]slog.Attr // backing of the first attrs
	failed   bool
	kind     problem.Kind
	err      error
	stack    []byte // of a panic
}

type eventKey struct{}

// Event finds the request's event. It is nil, and usable, outside a Server.
func Event(ctx context.Context) *RequestEvent {
	e, _ := ctx.Value(eventKey{}).(*RequestEvent)
	return e
}

func newEvent() *RequestEvent {
	var raw [8]byte
	rand.Read(raw[:])
	e := &RequestEvent{id: hex.EncodeToString(raw[:])}
	e.attrs = e.inline[:0]
	return e
}

// ID is the request's identifier: in the log, and in the answer's X-Request-Id. It is empty for a nil event.
func (e *RequestEvent) ID() string {
	if e == nil {
		return ""
	}
	return e.id
}

// Set adds attributes to the record. They may hold what the client sent; they are never metric labels.
func (e *RequestEvent) Set(attrs ...slog.Attr) {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.done {
		e.attrs = append(e.attrs, attrs...)
	}
}

// Endpoint names the endpoint for log and metrics where http.ServeMux did not route: a constant of the program such as
// "/api/ssl/v1/{id}", never what the client sent. A Server counts a bounded number of endpoints and calls the rest other.
func (e *RequestEvent) Endpoint(name string) {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.done {
		e.endpoint = name
	}
}

// Problem records why the request failed: its kind is logged and counted, its text with the cause is logged. The last
// call counts; nil takes nothing back.
func (e *RequestEvent) Problem(err error) {
	if e == nil || err == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.done {
		e.failed, e.kind, e.err = true, problem.From(err).Kind, err
	}
}

func (e *RequestEvent) panicked(err error, stack []byte) {
	e.Problem(err)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stack = stack
}

// outcome is what a request came to, beside what its handlers said.
type outcome struct {
	method   string
	endpoint string
	remote   string
	proto    string
	status   int
	bytes    int64
	begun    time.Time
	took     time.Duration
}

// end closes the event and gives its problem's label, empty if there was none.
func (e *RequestEvent) end() (endpoint, label string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.done = true
	if e.failed {
		label = e.kind.String()
	}
	return e.endpoint, label
}

// write puts the record of an ended event. Our own faults are errors, refusals for lack of service are warnings.
func (e *RequestEvent) write(ctx context.Context, log *slog.Logger, o outcome) {
	level := slog.LevelInfo
	switch {
	case o.status == http.StatusServiceUnavailable:
		level = slog.LevelWarn
	case o.status >= 500:
		level = slog.LevelError
	}
	if !log.Enabled(ctx, level) {
		return
	}
	attrs := append(make([]slog.Attr, 0, 11+len(e.attrs)),
		slog.String("id", e.id),
		slog.String("method", o.method),
		slog.String("endpoint", o.endpoint),
		slog.Int("status", o.status),
		slog.Int64("bytes", o.bytes),
		slog.Duration("took", o.took),
		slog.String("remote", o.remote),
		slog.String("proto", o.proto),
	)
	if e.failed {
		attrs = append(attrs, slog.String("problem", e.kind.String()), slog.String("error", e.err.Error()))
	}
	if e.stack != nil {
		attrs = append(attrs, slog.String("stack", string(e.stack)))
	}
	rec := slog.NewRecord(o.begun.Add(o.took), level, "request", 0)
	rec.AddAttrs(append(attrs, e.attrs...)...)
	// A log that cannot be written must not fail the request; the audit journal is where that matters.
	_ = log.Handler().Handle(ctx, rec)
}
