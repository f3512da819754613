package web

import (
	"cmp"
	"errors"
	"io"
	"net/http"
	"time"
)

// Body is what a request may send, and how slowly.
type Body struct {
	// Max is how many octets; zero is Config.MaxBodyBytes.
	Max int64
	// Own leaves it to the handler to refuse a larger body in a form of its own. Reading gives it a *http.MaxBytesError: at once
	// where the length was declared, otherwise when the limit is met. A handler that says nothing is spoken for as ever.
	Own bool
	// Rate makes it an upload: so many octets a second must come on average, and some within each Config.ReadTimeout, instead of
	// the whole request within one. Zero: it is none.
	Rate int64
	// Answer is how long the end of an upload's answer may be behind the time that the last of its body had; zero is Config.WriteTimeout.
	Answer time.Duration
}

// boundedBody holds a body to its bounds, and remembers how it ended. It is for one goroutine, as bodies are.
type boundedBody struct {
	io.ReadCloser
	max      int64
	declared bool // more than that was announced: nothing of it is read
	exceeded bool // the limit was met, which handlers may say nothing of
	ended    bool
	pace     *pace // nil: the server's own timeouts
}

// Read implements io.Reader.
func (b *boundedBody) Read(p []byte) (int, error) {
	if b.declared {
		b.exceeded = true
		return 0, &http.MaxBytesError{Limit: b.max}
	}
	if b.pace != nil && !b.ended { // behind the end, net/http would take a deadline that passes for a client that has gone
		b.pace.expect()
	}
	n, err := b.ReadCloser.Read(p)
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		b.exceeded = true
	}
	b.ended = b.ended || err == io.EOF
	if b.pace != nil {
		b.pace.octets += int64(n)
	}
	return n, err
}

// pace moves the deadlines of a connection, or of a stream, along with an upload: whoever sends takes the time that it needs,
// and whoever only holds the connection is cut off.
type pace struct {
	control *http.ResponseController
	begun   time.Time
	octets  int64
	rate    int64
	stall   time.Duration // without an octet, and beyond what the rate allows
	answer  time.Duration
}

func newPace(w http.ResponseWriter, b Body, cfg Config) *pace {
	return &pace{
		control: http.NewResponseController(w), begun: time.Now(), rate: b.Rate,
		stall: cmp.Or(cfg.ReadTimeout, defaultReadTimeout), answer: cmp.Or(b.Answer, cfg.WriteTimeout, defaultWriteTimeout),
	}
}

// expect gives the next octets their time, and the answer its own behind that. Once the body has ended, net/http waits for the client's next
// request without a deadline. Where there is no connection, in tests, there is nothing to bound.
func (p *pace) expect() {
	now := time.Now()
	allowed := p.begun.Add(p.stall + time.Duration(float64(p.octets)/float64(p.rate)*float64(time.Second)))
	if stalled := now.Add(p.stall); stalled.Before(allowed) {
		allowed = stalled
	}
	p.control.SetReadDeadline(allowed)
	p.control.SetWriteDeadline(allowed.Add(p.answer))
}
