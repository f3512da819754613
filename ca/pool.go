package ca

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// comeBack is what a client is told to wait, in a problem's RetryAfter, when an issuer cannot sign now.
const comeBack = 10 * time.Second

// errHung is the cause when every slot of a pool is held by a call past its deadline.
var errHung = errors.New("every signing slot is held by a call that is past its deadline")

// pool bounds what one issuer's back end is asked at once. Every issuer has its own, so a slow one delays nobody else.
//
// Calls cannot be ended from outside (a CAS has no context, and a key module may hang for good), so each runs in a
// goroutine that holds one of a fixed number of slots until the call really returns, however long ago its caller gave
// up. When every slot is held by a call past its deadline the pool refuses at once, until one returns.
type pool struct {
	issuer  string
	timeout time.Duration
	slots   chan struct{}
	admits  chan struct{}
	log     *slog.Logger

	mu      sync.Mutex
	running map[*call]struct{}
}

// call is one call of the back end.
type call struct {
	deadline time.Time
	over     bool // given up or returned; whoever sets it first decides (under pool.mu)
}

func newPool(issuer string, concurrent, pending int, timeout time.Duration, log *slog.Logger) *pool {
	return &pool{
		issuer: issuer, timeout: timeout, log: log,
		slots: make(chan struct{}, concurrent), admits: make(chan struct{}, pending),
		running: make(map[*call]struct{}, concurrent),
	}
}

// admit lets an issuance towards the pool before anything is recorded for it, and returns what it must call in the end.
// It refuses when the pool hangs or too many are under way already: an intent that could not be signed in time would
// have to be abandoned and stand on the CRL until its notAfter, so overload must be turned away here.
func (p *pool) admit() (leave func(), err error) {
	if p.hangs() {
		return nil, problem.Wrap(errHung, problem.Unavailable, "the issuer %s does not answer", p.issuer).After(comeBack)
	}
	select {
	case p.admits <- struct{}{}:
		return func() { <-p.admits }, nil
	default:
		return nil, problem.New(problem.Unavailable, "the issuer %s is busy", p.issuer).After(comeBack)
	}
}

// hangs reports whether every slot is held by a call past its deadline.
func (p *pool) hangs() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.running) < cap(p.slots) {
		return false
	}
	now := time.Now()
	for c := range p.running {
		if now.Before(c.deadline) {
			return false
		}
	}
	return true
}

type signed struct {
	der []byte
	err error
}

// sign runs one call of the back end and waits for it until the issuer's deadline, counted from now and including the
// wait for a slot. After an error the call may still be going on and may yet sign: the caller must treat what it asked
// for as possibly signed. The error is a *problem.Error of kind Unavailable if the deadline has passed.
func (p *pool) sign(ctx context.Context, what string, do func(ctx context.Context) ([]byte, error)) ([]byte, error) {
	if p.hangs() {
		return nil, problem.Wrap(errHung, problem.Unavailable, "the issuer %s does not answer", p.issuer).After(comeBack)
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, p.late(what, "no signing slot became free", ctx.Err())
	}
	deadline, _ := ctx.Deadline()
	c := &call{deadline: deadline}
	p.mu.Lock()
	p.running[c] = struct{}{}
	p.mu.Unlock()

	done := make(chan signed, 1) // never blocks the goroutine, whether or not somebody still waits
	go func() {
		res := guard(ctx, do)
		if p.settle(c, true) {
			done <- res
		} else {
			p.log.Warn("a back end answered after its deadline; the answer is dropped",
				"issuer", p.issuer, "what", what, "late", time.Since(c.deadline).Round(time.Millisecond), "error", res.err)
		}
		<-p.slots
	}()
	select {
	case res := <-done:
		return res.der, res.err
	case <-ctx.Done():
	}
	if p.settle(c, false) {
		return nil, p.late(what, "the back end did not answer in time", ctx.Err())
	}
	res := <-done // it returned in the same instant
	return res.der, res.err
}

// settle reports whether its caller is the first to declare the call over. returned says that the call has come back and
// no longer counts as running.
func (p *pool) settle(c *call, returned bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if returned {
		delete(p.running, c)
	}
	first := !c.over
	c.over = true
	return first
}

func (p *pool) late(what, why string, cause error) error {
	return problem.Wrap(fmt.Errorf("%s: %s: %w", what, why, cause), problem.Unavailable,
		"the issuer %s did not answer in time", p.issuer).After(comeBack)
}

// guard turns a panic of a back end into an error: a driver's fault must not end the gateway.
func guard(ctx context.Context, do func(ctx context.Context) ([]byte, error)) (res signed) {
	defer func() {
		if v := recover(); v != nil {
			res = signed{err: fmt.Errorf("the back end panicked: %v\n%s", v, debug.Stack())}
		}
	}()
	der, err := do(ctx)
	return signed{der, err}
}
