package redis

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
)

// doubt says that a commit of this process may be on the primary alone. It is in the store too, for the other gateways,
// unless the store could not be reached.
type doubt struct {
	raised, settled atomic.Uint64 // a doubt stands while more were raised than settled

	turn    chan struct{} // held by whoever runs a barrier
	mu      sync.Mutex    // guards the rest
	started uint64        // number of the last barrier
	err     error         // its outcome
}

func (d *doubt) raise()       { d.raised.Add(1) }
func (d *doubt) stands() bool { return d.raised.Load() > d.settled.Load() }

func (d *doubt) last() (uint64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.started, d.err
}

// publishDoubt tells all gateways. If it fails, this one still knows, and tells them when it runs its next barrier.
func (e *Engine) publishDoubt(ctx context.Context) {
	e.doubt.raise()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.cfg.Timeout)
	defer cancel()
	_, err := e.call(ctx, request{script: scriptDoubt, keys: []string{e.keys.epoch(), e.keys.doubt()}, args: []any{newEpoch(), ""}})
	if err != nil {
		e.log.Warn("redis: replicas are missing and the other gateways could not be told", "error", err)
	}
}

// undoubted returns what was read, without the doubt in front, if replicas have it or none are asked for.
func (e *Engine) undoubted(ctx context.Context, a answer) ([]any, error) {
	if len(a.values) == 0 {
		return nil, unavailable(errors.New("a script answered nothing"))
	}
	if e.cfg.MinReplicas > 0 && (a.values[0] != int64(0) || e.doubt.stands()) {
		if err := e.barrier(ctx); err != nil {
			return nil, err
		}
	}
	return a.values[1:], nil
}

// barrier returns nil when enough replicas have everything that was written before it was called. Barriers are run one at
// a time; one serves all that were waiting when it began.
func (e *Engine) barrier(ctx context.Context) error {
	before, _ := e.doubt.last()
	select {
	case e.doubt.turn <- struct{}{}:
		defer func() { <-e.doubt.turn }()
	case <-ctx.Done():
		return unavailable(ctx.Err())
	}
	started, err := e.doubt.last()
	if started > before && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err // it began after this call did, and did not end with its own caller
	}
	e.doubt.mu.Lock()
	e.doubt.started++
	e.doubt.mu.Unlock()
	err = e.runBarrier(ctx)
	e.doubt.mu.Lock()
	e.doubt.err = err
	e.doubt.mu.Unlock()
	return err
}

func (e *Engine) runBarrier(ctx context.Context) error {
	raised := e.doubt.raised.Load()
	k := e.keys
	a, err := e.call(ctx, request{script: scriptBarrier, keys: []string{k.epoch(), k.doubt(), k.barrier(), k.commits()}, replicate: true})
	if err != nil {
		return err
	}
	if a.short != nil {
		return unavailable(a.short)
	}
	if commits, ok := a.values[1].(int64); !ok || !e.reached(a.from, commits) {
		return unavailable(errReplaced)
	}
	if stood, _ := a.values[0].(string); stood != "" {
		if _, err := e.call(ctx, request{script: scriptDoubt, keys: []string{k.epoch(), k.doubt()}, args: []any{"", stood}}); err != nil {
			return err
		}
	}
	for {
		settled := e.doubt.settled.Load()
		if settled >= raised || e.doubt.settled.CompareAndSwap(settled, raised) {
			return nil
		}
	}
}
