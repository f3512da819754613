package publish

import (
	"testing"
	"testing/synctest"
	"time"
)

// A holder that is killed is succeeded when its lease has run out, wherever the clocks stand and whoever missed a hint.
func TestKilledHolderIsSucceeded(t *testing.T) {
	hierarchy()
	tests := []struct {
		name   string
		skew   time.Duration
		silent bool
		most   time.Duration
	}{
		{name: "with hints", most: 10*time.Second + 200*time.Millisecond},
		{name: "hints are lost", silent: true, most: 20 * time.Second},
		{name: "the store's clock is ahead", skew: time.Hour, most: 10*time.Second + 200*time.Millisecond},
		{name: "the store's clock is behind", skew: -time.Hour, most: 10*time.Second + 200*time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newStore()
				store.skew = tt.skew
				mortal := &dying{fakeStore: store}
				_, second, stopFirst, stopSecond := pair(t, mortal, store)
				defer stopSecond()
				before := storedList(t, store).number
				mortal.dead.Store(true)
				stopFirst()
				store.mu.Lock()
				store.silent = tt.silent
				store.mu.Unlock()

				r := store.revokeOne()
				if d := delay(t, second, r); d > tt.most || d < 9*time.Second {
					t.Errorf("succeeded after %v, want when the lease has run out and within %v", d, tt.most)
				}
				if now := storedList(t, store); now.number <= before || !now.has(r.Serial) {
					t.Errorf("number %d after %d", now.number, before)
				}
				if store.silent = false; delay(t, second, store.revokeOne()) > 200*time.Millisecond {
					t.Error("the successor is not prompt")
				}
			})
		})
	}
}

// A holder is stopped while it signs; when it wakes, another has its place. It saves nothing and serves what the other made.
func TestStoppedHolderChangesNothing(t *testing.T) {
	hierarchy()
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		first, second, stopFirst, stopSecond := pair(t, store, store)
		defer stopFirst()
		defer stopSecond()
		wake := make(chan struct{})
		first.hang.Store(&wake)
		r := store.revokeOne()
		if d := delay(t, second, r); d > 10*time.Second+200*time.Millisecond {
			t.Errorf("succeeded after %v", d)
		}
		saves, list := store.saved(), storedList(t, store)
		if first.serves(r) {
			t.Fatal("the stopped holder moved; the test tests nothing")
		}
		first.hang.Store(nil)
		close(wake)
		synctest.Wait()
		if store.saved() != saves || storedList(t, store).number != list.number {
			t.Error("the stopped holder replaced the list")
		}
		if st := first.Status()[0]; st.Number != list.number || st.Err != nil {
			t.Errorf("the stopped holder serves %+v, want number %d", st, list.number)
		}
		if n := first.signs.Load(); n != 2 {
			t.Errorf("the stopped holder signed %d times", n)
		}
		later := store.revokeOne()
		delay(t, first, later)
		if second.signs.Load() != 2 || first.signs.Load() != 2 {
			t.Errorf("the old holder signed again: %d and %d", first.signs.Load(), second.signs.Load())
		}
	})
}

// Nobody took over, but the lease ran out while the holder was stopped: it must take it again before it changes anything.
func TestLeaseThatRanOutSavesNothing(t *testing.T) {
	hierarchy()
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		g := newGateway(t, store, nil)
		wake := make(chan struct{})
		g.hang.Store(&wake)
		defer run(t, g.Publisher)()
		time.Sleep(11 * time.Second)
		g.hang.Store(nil)
		close(wake)
		synctest.Wait()
		if g.signs.Load() != 2 || store.takes != 2 || store.saved() != 1 {
			t.Errorf("%d signatures, %d leases, %d lists; want 2, 2, 1", g.signs.Load(), store.takes, store.saved())
		}
	})
}

// The store loses the lease, as a failover can: the holder's next list is refused once and made under another lease.
func TestLeaseThatTheStoreLostIsTakenAgain(t *testing.T) {
	hierarchy()
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		g := newGateway(t, store, nil)
		defer run(t, g.Publisher)()
		synctest.Wait()
		store.mu.Lock()
		store.lease = Lease{}
		store.mu.Unlock()
		if d := delay(t, g, store.revokeOne()); d > 200*time.Millisecond || g.signs.Load() != 3 || store.takes != 2 {
			t.Errorf("published after %v, %d signatures, %d leases", d, g.signs.Load(), store.takes)
		}
	})
}

// The store lost the lease and another took it: the former holder learns that from the other's list, and signs no more.
func TestFormerHolderLearnsOfItsSuccessor(t *testing.T) {
	hierarchy()
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		first, second, stopFirst, stopSecond := pair(t, store, store)
		defer stopFirst()
		defer stopSecond()
		store.mu.Lock()
		store.lease = Lease{}
		both := store.revoking
		store.revoking = both[1:] // the first does not hear of this one
		store.mu.Unlock()
		delay(t, first, store.revokeOne())
		store.mu.Lock()
		store.revoking = both
		store.mu.Unlock()
		time.Sleep(time.Second)
		delay(t, first, store.revokeOne())
		if first.signs.Load() != 1 || second.signs.Load() != 2 {
			t.Errorf("%d and %d signatures", first.signs.Load(), second.signs.Load())
		}
	})
}

func TestFailingSignerHandsOver(t *testing.T) {
	hierarchy()
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		first, second, stopFirst, stopSecond := pair(t, store, store)
		defer stopFirst()
		defer stopSecond()
		first.broken.Store(true)
		tried := first.signs.Load()
		for i := range 20 {
			r := store.revokeOne()
			for _, g := range []*gateway{first, second} {
				if d := delay(t, g, r); d > time.Second {
					t.Errorf("revocation %d was served after %v", i, d)
				}
			}
			time.Sleep(7 * time.Second)
		}
		if first.signs.Load() == tried {
			t.Error("the broken signer was never asked; the test tests nothing")
		}
		if first.Status()[0].Err != nil {
			t.Errorf("status %+v long after the other made the list", first.Status()[0])
		}
	})
}

// A holder that ends gives its lease back, and numbers rise across hands.
func TestGracefulEndHandsOverAtOnce(t *testing.T) {
	hierarchy()
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		g, next, stop, stopNext := pair(t, store, store)
		var numbers []int64
		for range 6 {
			stop()
			r := store.revokeOne()
			if d := delay(t, next, r); d > 200*time.Millisecond {
				t.Errorf("served %v after the holder ended", d)
			}
			if g.serves(r) {
				t.Fatal("a gateway that ended goes on")
			}
			numbers = append(numbers, storedList(t, store).number)
			g, stop = next, stopNext
			next = newGateway(t, store, nil)
			stopNext = run(t, next.Publisher)
			synctest.Wait()
		}
		stop()
		stopNext()
		for i := 1; i < len(numbers); i++ {
			if numbers[i] <= numbers[i-1] {
				t.Errorf("numbers %v do not rise", numbers)
			}
		}
		if store.standing().Holder != "" {
			t.Error("the last one did not give its lease back")
		}
	})
}

// A process that has the name of one that died takes up its lease, under a fence of its own.
func TestEarlierLifeIsSucceededAtOnce(t *testing.T) {
	hierarchy()
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		mortal := &dying{fakeStore: store}
		named := func(c *Config) { c.Holder = "gateway-1" }
		stop := run(t, newPublisher(t, mortal, named))
		synctest.Wait()
		mortal.dead.Store(true)
		stop()
		old := store.standing()
		if old.Holder != "gateway-1" {
			t.Fatalf("the lease is %q's", old.Holder)
		}
		again := newGateway(t, store, named)
		defer run(t, again.Publisher)()
		if d := delay(t, again, store.revokeOne()); d > 200*time.Millisecond {
			t.Errorf("published after %v", d)
		}
		if now := store.standing(); now.Version == old.Version || store.takes != 2 {
			t.Error("two lives share one fence")
		}
	})
}
