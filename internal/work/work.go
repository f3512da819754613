// Package work runs what outlives a request: work that a client no longer waits for, and sweeps that come again.
//
// It decides how such work is started, bounded in time, kept from taking the process down and waited for at the end. It
// trusts its callers to bound how much they start, and to record in the store what a crash must not lose: nothing here is
// durable. It never repeats work by itself; a sweep's next turn does.
package work

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"
)

// Config is what a Group needs.
type Config struct {
	Log *slog.Logger // nil: discarded
}

// Group is work that ends together. It is safe for concurrent use.
type Group struct {
	log    *slog.Logger
	ctx    context.Context // ends when draining has waited long enough
	cancel context.CancelFunc

	mu     sync.Mutex
	ending bool
	stop   chan struct{} // closed when draining begins: sweeps end
	kicks  map[string]chan struct{}
	wg     sync.WaitGroup
}

// New makes a Group that runs until it is drained.
func New(c Config) *Group {
	g := &Group{log: c.Log, stop: make(chan struct{}), kicks: make(map[string]chan struct{})}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	return g
}

// Go starts work that may take at most timeout, detached from any request. It reports false, and starts nothing, once
// draining has begun. A panic is logged and ends that work alone.
func (g *Group) Go(name string, timeout time.Duration, fn func(ctx context.Context)) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ending {
		return false
	}
	g.wg.Go(func() {
		g.run(name, timeout, func(ctx context.Context) error { fn(ctx); return nil })
	})
	return true
}

// run is one piece of work under its own deadline.
func (g *Group) run(name string, timeout time.Duration, fn func(ctx context.Context) error) (err error) {
	ctx, cancel := context.WithTimeout(g.ctx, timeout)
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
			g.log.Error("work panicked", "work", name, "panic", r, "stack", string(debug.Stack()))
		}
	}()
	return fn(ctx)
}

// Every runs fn again and again with a pause of interval, first after a random part of it, so that processes started
// together do not sweep together. One turn may take at most ten intervals, at least a minute. An error is logged and the
// next turn tried. A name stands for one sweep only.
func (g *Group) Every(name string, interval time.Duration, fn func(ctx context.Context) error) {
	kick := make(chan struct{}, 1)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ending {
		return
	}
	g.kicks[name] = kick
	timeout := max(10*interval, time.Minute)
	g.wg.Go(func() {
		timer := time.NewTimer(rand.N(interval))
		defer timer.Stop()
		for {
			select {
			case <-g.stop:
				return
			case <-kick:
			case <-timer.C:
			}
			if err := g.run(name, timeout, fn); err != nil {
				g.log.Warn("a sweep failed; its next turn tries again", "sweep", name, "error", err)
			}
			timer.Reset(interval)
		}
	})
}

// Kick makes a sweep take its next turn now. Kicks during a turn are merged into one turn after it; a name that is not
// there is ignored.
func (g *Group) Kick(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if kick, ok := g.kicks[name]; ok {
		select {
		case kick <- struct{}{}:
		default: // one is waiting already
		}
	}
}

// Drain takes no new work, ends the sweeps and waits for what runs. When ctx ends first, the contexts of what still runs
// end too, and Drain waits for it to return and reports ctx's error.
func (g *Group) Drain(ctx context.Context) error {
	g.mu.Lock()
	if !g.ending {
		g.ending = true
		close(g.stop)
	}
	g.mu.Unlock()
	done := make(chan struct{})
	go func() { g.wg.Wait(); close(done) }()
	defer g.cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		g.cancel()
		<-done
		return fmt.Errorf("work was cut off: %w", ctx.Err())
	}
}
