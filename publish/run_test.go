package publish

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// run starts a publisher in the bubble and returns a function that stops it and waits.
func run(t *testing.T, p *Publisher) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { p.Run(ctx) })
	return func() { cancel(); wg.Wait() }
}

func TestFirstListAppearsAtStart(t *testing.T) {
	hierarchy()
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		p := newPublisher(t, store, nil)
		defer run(t, p)()
		synctest.Wait()
		if store.saved() != 1 {
			t.Fatalf("%d lists at start", store.saved())
		}
		storedList(t, store)
	})
}

func TestFreshListIsAdoptedAtStart(t *testing.T) {
	hierarchy()
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		if err := newPublisher(t, store, nil).build(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		p := newPublisher(t, store, nil)
		defer run(t, p)()
		synctest.Wait()
		if store.saved() != 1 || p.Status()[0].Number == 0 {
			t.Errorf("%d lists, status %+v", store.saved(), p.Status()[0])
		}
	})
}

func TestRebuiltEveryIntervalAndNotMore(t *testing.T) {
	hierarchy()
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		p := newPublisher(t, store, nil)
		defer run(t, p)()
		synctest.Wait()
		for n := 2; n < 6; n++ {
			time.Sleep(time.Hour + 10*time.Second)
			synctest.Wait()
			if store.saved() != n {
				t.Fatalf("%d lists after %d intervals", store.saved(), n-1)
			}
		}
	})
}

// A revocation is on the served list within a second, with a hint at once, and without one after a poll.
func TestRevocationIsPublishedWithinASecond(t *testing.T) {
	hierarchy()
	for _, entries := range []int{0, 2000} {
		synctest.Test(t, func(t *testing.T) {
			store := newStore()
			store.fill(entries, time.Now(), time.Now().AddDate(1, 0, 0))
			p := newPublisher(t, store, nil)
			defer run(t, p)()
			synctest.Wait()
			for i := range 5 {
				r := Revoked{Serial: serialOf(entries + i), At: time.Now(), Reason: 1, NotAfter: time.Now().Add(time.Hour)}
				store.revoke(r)
				time.Sleep(time.Second)
				synctest.Wait()
				if !p.byName["leaf"].current.Load().has(r.Serial) {
					t.Fatalf("revocation %d is not on the list after a second", i)
				}
			}
		})
	}
}

func TestLostHintCostsOnePoll(t *testing.T) {
	hierarchy()
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		store.silent = true
		p := newPublisher(t, store, nil)
		defer run(t, p)()
		synctest.Wait()
		r := Revoked{Serial: serialOf(1), At: time.Now(), Reason: 1, NotAfter: time.Now().Add(time.Hour)}
		store.revoke(r)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if !p.byName["leaf"].current.Load().has(r.Serial) {
			t.Error("the poll did not find the revocation")
		}
	})
}

// A storm of revocations shares lists: a short list keeps minGap, a long one ten times what a build took.
func TestStormIsCoalesced(t *testing.T) {
	hierarchy()
	tests := []struct {
		name     string
		entries  int
		building time.Duration // what signing takes
		min, max int           // lists in ten seconds
	}{
		{"short and fast", 10, 0, 90, 101},
		{"short and slow keeps within a second", 10, 80 * time.Millisecond, 18, 21},
		{"long and slow spends a tenth", promptEntries + 1, 300 * time.Millisecond, 3, 4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newStore()
				store.fill(tt.entries, time.Now(), time.Now().AddDate(1, 0, 0))
				p := newPublisher(t, store, func(c *Config) {
					c.Sign = func(ctx context.Context, issuer string, list List) ([]byte, error) {
						time.Sleep(tt.building)
						return signList(ctx, issuer, list)
					}
				})
				defer run(t, p)()
				time.Sleep(2 * time.Second)
				before := store.saved()
				for i := range 1000 {
					store.revoke(Revoked{Serial: serialOf(tt.entries + i), At: time.Now(), NotAfter: time.Now().Add(time.Hour)})
					time.Sleep(10 * time.Millisecond)
				}
				lists := store.saved() - before
				if lists < tt.min || lists > tt.max {
					t.Errorf("%d lists in ten seconds, want %d to %d", lists, tt.min, tt.max)
				}
				time.Sleep(costFactor*tt.building + time.Second)
				synctest.Wait()
				if got := len(storedList(t, store).entries); got != tt.entries+1000 {
					t.Errorf("%d entries after the storm, want %d", got, tt.entries+1000)
				}
			})
		})
	}
}

func TestFailureIsRetriedWithBackoffAndTheOldListStays(t *testing.T) {
	hierarchy()
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		var broken atomic.Bool
		var tries atomic.Int64
		p := newPublisher(t, store, func(c *Config) {
			c.Sign = func(ctx context.Context, issuer string, list List) ([]byte, error) {
				tries.Add(1)
				if broken.Load() {
					return nil, errors.New("the key is locked")
				}
				return signList(ctx, issuer, list)
			}
		})
		defer run(t, p)()
		synctest.Wait()
		first := p.Status()[0].Number
		broken.Store(true)
		tries.Store(0)
		for i := range 600 { // hints during the back-off do not hurry it
			store.revoke(Revoked{Serial: serialOf(i), At: time.Now(), NotAfter: time.Now().Add(time.Hour)})
			time.Sleep(100 * time.Millisecond)
		}
		// After 0, 1, 3, 7, 15 and 31 seconds.
		if n := tries.Load(); n != 6 {
			t.Errorf("%d tries in a minute", n)
		}
		if st := p.Status()[0]; st.Number != first || st.Err == nil {
			t.Errorf("status %+v", st)
		}
		if err := p.Ready(t.Context()); err != nil {
			t.Errorf("the old list still serves, but: %v", err)
		}
		broken.Store(false)
		time.Sleep(lastRetry)
		synctest.Wait()
		if got := len(storedList(t, store).entries); got != 600 || p.Status()[0].Err != nil {
			t.Errorf("%d entries after the fault, status %+v", got, p.Status()[0])
		}
	})
}

func TestHungSignerEndsWithTheTimeout(t *testing.T) {
	hierarchy()
	synctest.Test(t, func(t *testing.T) {
		p := newPublisher(t, newStore(), func(c *Config) {
			c.Sign = func(ctx context.Context, _ string, _ List) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() }
		})
		if err := p.build(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("err = %v", err)
		}
	})
}

func TestReadyFailsWhenTheListEnds(t *testing.T) {
	clk := newClock()
	p := newPublisher(t, newStore(), func(c *Config) { c.Now = clk.now })
	if p.Ready(t.Context()) == nil {
		t.Error("ready without a list")
	}
	if err := p.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	clk.add(24*time.Hour - time.Second)
	if err := p.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	clk.add(time.Second)
	if p.Ready(t.Context()) == nil {
		t.Error("ready with a list that ended")
	}
}

// Two processes on one store: every list that is saved follows the one before, whoever saved it, and both end up serving
// the same.
func TestTwoPublishersOnOneStore(t *testing.T) {
	hierarchy()
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		p, q := newPublisher(t, store, nil), newPublisher(t, store, nil)
		stopP, stopQ := run(t, p), run(t, q)
		defer stopP()
		defer stopQ()
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Go(func() {
				for i := range 50 {
					store.revoke(Revoked{Serial: serialOf(g*50 + i), At: time.Now(), Reason: 5, NotAfter: time.Now().Add(time.Hour)})
					time.Sleep(37 * time.Millisecond)
				}
			})
		}
		for range 10 {
			wg.Go(func() {
				for _, one := range []*Publisher{p, q} {
					if err := one.build(t.Context()); err != nil && !errors.Is(err, errMoved) {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		time.Sleep(11 * time.Second)
		synctest.Wait()
		a, b := p.Status()[0], q.Status()[0]
		if a.Number != b.Number || a.Entries != 200 || a.Err != nil || b.Err != nil {
			t.Errorf("status %+v and %+v", a, b)
		}
	})
}
