package ra

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// empty demands that nobody holds a place or waits.
func (w *keyWork) empty(t *testing.T, free int) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.free != free || len(w.of) != 0 {
		t.Errorf("%d places are free, want %d, and %d organisations are known", w.free, free, len(w.of))
	}
}

// TestKeysTakeTurns: an organisation that wants many keys does not keep another from its one, and those that want as many have
// turns in turn.
func TestKeysTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newKeyWork(1, 8, time.Hour)
		var order []string
		var all sync.WaitGroup
		ask := func(org auth.OrgID, name string) {
			all.Go(func() {
				if err := w.do(t.Context(), org, func() error {
					order = append(order, name) // one at a time
					time.Sleep(time.Second)
					return nil
				}); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			})
			synctest.Wait()
		}
		for i := range 5 {
			ask(1, fmt.Sprint("a", i))
		}
		for i := range 3 {
			ask(2, fmt.Sprint("b", i))
		}
		ask(3, "c0")
		all.Wait()
		if got := fmt.Sprint(order); got != "[a0 b0 c0 a1 b1 a2 b2 a3 a4]" && got != "[a0 c0 b0 a1 b1 a2 b2 a3 a4]" {
			t.Errorf("the order is %s", got)
		}
		w.empty(t, 1)
	})
}

// TestKeysOfTwoInTurn: two organisations that ask for one key after another, each again when it has its key, do not keep a third, which
// had a turn, from its next one.
func TestKeysOfTwoInTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newKeyWork(1, 8, time.Hour)
		var order []auth.OrgID
		var all sync.WaitGroup
		one := func(org auth.OrgID) {
			if err := w.do(t.Context(), org, func() error {
				order = append(order, org) // one at a time
				time.Sleep(time.Second)
				return nil
			}); err != nil {
				t.Errorf("%d: %v", org, err)
			}
		}
		for range 2 {
			all.Go(func() { one(1) })
			synctest.Wait()
		}
		for _, org := range []auth.OrgID{2, 3} {
			all.Go(func() {
				for range 5 {
					one(org)
				}
			})
			synctest.Wait()
		}
		all.Wait()
		if got := slices.Index(order[1:], 1); got > 2 {
			t.Errorf("the order is %v", order)
		}
		w.empty(t, 1)
	})
}

// TestKeysAreShared: of several places the next is for the organisation that has fewest.
func TestKeysAreShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newKeyWork(2, 8, time.Hour)
		release := make(chan struct{})
		var running [3]atomic.Int32
		var all sync.WaitGroup
		for _, org := range []auth.OrgID{1, 1, 1, 1, 2} {
			all.Go(func() {
				_ = w.do(t.Context(), org, func() error {
					running[org].Add(1)
					<-release
					running[org].Add(-1)
					return nil
				})
			})
			synctest.Wait()
		}
		if a, b := running[1].Load(), running[2].Load(); a != 2 || b != 0 {
			t.Fatalf("at first %d and %d", a, b)
		}
		release <- struct{}{}
		synctest.Wait()
		if a, b := running[1].Load(), running[2].Load(); a != 1 || b != 1 {
			t.Errorf("then %d and %d", a, b)
		}
		close(release)
		all.Wait()
		w.empty(t, 2)
	})
}

// TestKeysWaitBounded: only so many of one organisation wait, and nobody for longer than is said; others wait nevertheless.
func TestKeysWaitBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newKeyWork(1, 2, 20*time.Second)
		refusals := map[auth.OrgID][]error{}
		var mu sync.Mutex
		var all sync.WaitGroup
		done := make(chan struct{})
		all.Go(func() { _ = w.do(t.Context(), 1, func() error { <-done; return nil }) })
		synctest.Wait()
		for _, org := range []auth.OrgID{1, 1, 1, 2} {
			all.Go(func() {
				err := w.do(t.Context(), org, func() error { return errors.New("it ran") })
				mu.Lock()
				defer mu.Unlock()
				refusals[org] = append(refusals[org], err)
			})
			synctest.Wait()
		}
		mu.Lock()
		if len(refusals[1]) != 1 || refusals[1][0] != errKeysOwn || len(refusals[2]) != 0 {
			t.Errorf("at once: %v", refusals)
		}
		mu.Unlock()
		time.Sleep(20 * time.Second)
		synctest.Wait()
		mu.Lock()
		if len(refusals[1]) != 3 || len(refusals[2]) != 1 || refusals[2][0] != errKeysBusy {
			t.Errorf("later: %v", refusals)
		}
		mu.Unlock()
		for _, err := range []error{errKeysOwn, errKeysBusy} {
			if p := problem.From(err); p.Kind != problem.Unavailable || p.RetryAfter <= 0 {
				t.Errorf("%+v", p)
			}
		}
		close(done)
		all.Wait()
		w.empty(t, 1)
	})
}

// TestKeysAmongMany: whatever is given up, there are never more at once, and every place comes back.
func TestKeysAmongMany(t *testing.T) {
	t.Parallel()
	w := newKeyWork(3, 50, time.Minute)
	var now, most atomic.Int32
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			if i%3 == 0 {
				go cancel()
			}
			defer cancel()
			_ = w.do(ctx, auth.OrgID(i%7+1), func() error {
				if n := now.Add(1); n > most.Load() {
					most.Store(n)
				}
				now.Add(-1)
				return nil
			})
		})
	}
	all.Wait()
	if most.Load() > 3 {
		t.Errorf("%d at once", most.Load())
	}
	w.empty(t, 3)
}
