package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/acme"

	"github.com/gatehouse-ca/gatehouse/testca"
)

const (
	// chaosPatience is how long a client waits for an answer before it asks again: less than a gateway may be stopped.
	chaosPatience = 5 * time.Second
	// attemptWithin bounds one attempt of a client to finish.
	attemptWithin = 20 * time.Second
)

// chaosLoad is clients of a fleet that never give up. Each goes through a whole history, and goes on from where it stood
// after each failure.
type chaosLoad struct {
	t       testing.TB
	door    *instance // directory and root
	worlds  []*world
	answers *testca.HTTP
	http    []*http.Client // through the switch; the clients have them in turn

	mu        sync.Mutex
	all       []*history
	left      []*history // unfinished
	failures  int
	reordered int
	last      error // of the last failure
	emptying  bool
	emptied   time.Time // when the store was last found whole after it had been emptied

	closing atomic.Bool
	workers sync.WaitGroup
	stop    context.CancelFunc
}

// patient is an HTTP client that gives up early, and dials one gateway alone if via names it.
func patient(door *instance, via string) *http.Client {
	c := door.client()
	c.Timeout = chaosPatience
	if via != "" {
		c.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, via)
		}
	}
	return c
}

// begin lets n clients come and go until finish.
func (l *chaosLoad) begin(n int) {
	ctx, stop := context.WithCancel(l.t.Context())
	l.stop = stop
	l.closing.Store(false)
	for range n {
		l.workers.Go(func() { l.work(ctx) })
	}
}

// finish lets no new clients come, and waits until those that came are done (invariant 25).
func (l *chaosLoad) finish(within time.Duration) {
	l.t.Helper()
	if l.stop == nil {
		return
	}
	l.closing.Store(true)
	done := make(chan struct{})
	go func() { l.workers.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(within):
	}
	l.stop()
	l.stop = nil
	<-done
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range l.left {
		l.t.Errorf("invariant 25: %s has not finished within %v: account %q, order %q, certificate %t, revoked %t; last failure of any client: %v",
			h.name, within, h.account, h.order, h.der != nil, h.revoked, l.last)
	}
}

func (l *chaosLoad) work(ctx context.Context) {
	for ctx.Err() == nil {
		h := l.next()
		if h == nil {
			return
		}
		if !l.seeThrough(ctx, h) {
			l.mu.Lock()
			l.left = append(l.left, h)
			l.mu.Unlock()
			return
		}
		idle(ctx, 100*time.Millisecond) // the machine has gateways to run as well
	}
}

// next is a client that has not finished, or a new one, or nil if none is to come.
func (l *chaosLoad) next() *history {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.left); n > 0 {
		h := l.left[n-1]
		l.left = l.left[:n-1]
		return h
	}
	if l.closing.Load() {
		return nil
	}
	return l.newHistory(l.http[len(l.all)%len(l.http)])
}

func (l *chaosLoad) newHistory(c *http.Client) *history {
	h := newHistory(l.worlds[0])
	h.http = c
	l.all = append(l.all, h)
	return h
}

// fresh is a new client that asks one gateway alone.
func (l *chaosLoad) fresh(c *http.Client) *history {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.newHistory(c)
}

// seeThrough goes on until the client is done, or ctx ends.
func (l *chaosLoad) seeThrough(ctx context.Context, h *history) bool {
	for ctx.Err() == nil {
		attempt, cancel := context.WithTimeout(ctx, attemptWithin)
		err := h.advance(attempt, l.door, l.answers)
		cancel()
		if err == nil {
			return true
		}
		if ctx.Err() == nil {
			l.failed(h, err)
		}
		idle(ctx, 200*time.Millisecond)
	}
	return false
}

// failed decides whether a client may have been told what it was told.
func (l *chaosLoad) failed(h *history, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures++
	l.last = err
	whole := !l.emptying && time.Since(l.emptied) > time.Minute
	if ended, ok := errors.AsType[*orderEnded](err); ok {
		if h.authz != "" {
			l.t.Errorf("invariant 25: %s was proven, and %v", h.name, ended)
		}
		h.order, h.authz = "", "" // its validation was disturbed; a client makes a new order
		l.reordered++
		return
	}
	p, ok := errors.AsType[*acme.Error](err)
	switch {
	case errors.Is(err, acme.ErrNoAccount) || ok && strings.HasSuffix(p.ProblemType, ":accountDoesNotExist"):
		if h.account != "" && whole {
			l.t.Errorf("invariant 19: the account %s of %s was acknowledged and is gone: %v", h.account, h.name, err)
		}
	case !ok:
	case p.StatusCode != http.StatusNotFound || h.order == "":
	case l.emptying || h.ordered.Before(l.emptied):
		h.order, h.authz, h.finished = "", "", "" // the journal does not hold orders; a client makes a new one
		l.reordered++
	default:
		l.t.Errorf("invariant 19: the order %s of %s was acknowledged and is gone: %v", h.order, h.name, err)
	}
}

// empties says that the store loses everything now; refilled that the gateways have put back what they promised.
func (l *chaosLoad) empties() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.emptying = true
}

func (l *chaosLoad) refilled() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.emptying {
		l.emptying, l.emptied = false, time.Now()
	}
}

// counts are for the log.
func (l *chaosLoad) counts() (clients, failures, reordered int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.all), l.failures, l.reordered
}

func (l *chaosLoad) histories() []*history {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all[:len(l.all):len(l.all)]
}

// idle lets time pass.
func idle(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
