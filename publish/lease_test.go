package publish

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestOneGatewaySignsAndAllServe(t *testing.T) {
	hierarchy()
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		first, second, stopFirst, stopSecond := pair(t, store, store)
		third := newGateway(t, store, nil)
		stopThird := run(t, third.Publisher)
		synctest.Wait()
		for i := range 60 {
			r := store.revokeOne()
			for _, g := range []*gateway{first, second, third} {
				if d := delay(t, g, r); d > 200*time.Millisecond {
					t.Errorf("revocation %d was served after %v", i, d)
				}
			}
			time.Sleep(500 * time.Millisecond)
		}
		signs := first.signs.Load() + second.signs.Load() + third.signs.Load()
		if signs != 61 || store.saved() != 61 {
			t.Errorf("%d signatures and %d lists for 60 revocations after the first list", signs, store.saved())
		}
		if first.signs.Load() != 61 {
			t.Errorf("the holder made %d of them", first.signs.Load())
		}
		// Half a minute of revocations: the lease is extended when less than half is left.
		if store.takes > 8 {
			t.Errorf("the lease was taken %d times in half a minute", store.takes)
		}
		stopFirst()
		stopSecond()
		stopThird()
	})
}

func TestIdleGatewaysWriteNothing(t *testing.T) {
	hierarchy()
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		first, second, stopFirst, stopSecond := pair(t, store, store)
		defer stopFirst()
		defer stopSecond()
		time.Sleep(50 * time.Minute)
		synctest.Wait()
		if store.takes != 1 || store.saved() != 1 {
			t.Errorf("%d leases and %d lists in an idle hour", store.takes, store.saved())
		}
		time.Sleep(15 * time.Minute) // the list is due
		synctest.Wait()
		if store.takes != 2 || store.saved() != 2 || first.signs.Load()+second.signs.Load() != 2 {
			t.Errorf("%d leases, %d lists, %d and %d signatures for a list that was due once",
				store.takes, store.saved(), first.signs.Load(), second.signs.Load())
		}
		if a, b := first.Status()[0], second.Status()[0]; a.Number != b.Number {
			t.Errorf("numbers %d and %d are served", a.Number, b.Number)
		}
	})
}

// The holder misses the hint that the other gets: its poll finds the revocation, and the other does not sign.
func TestHolderThatMissedTheHintFindsItByPolling(t *testing.T) {
	hierarchy()
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		_, second, stopFirst, stopSecond := pair(t, store, store)
		defer stopFirst()
		defer stopSecond()
		store.mu.Lock()
		store.revoking = store.revoking[1:] // the first does not hear any more
		store.mu.Unlock()
		if d := delay(t, second, store.revokeOne()); d > 10*time.Second+200*time.Millisecond {
			t.Errorf("published after %v", d)
		}
		if store.saved() != 2 {
			t.Errorf("%d lists", store.saved())
		}
	})
}

// A list that takes longer to make than the lease is configured to last is made all the same, from then on at once.
func TestLongBuildsGetLongLeases(t *testing.T) {
	hierarchy()
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		var signs atomic.Int64
		slow := func(c *Config) {
			c.Sign = func(ctx context.Context, issuer string, list List) ([]byte, error) {
				signs.Add(1)
				time.Sleep(12 * time.Second)
				return signList(ctx, issuer, list)
			}
		}
		defer run(t, newPublisher(t, store, slow))()
		time.Sleep(30 * time.Second)
		if signs.Load() != 2 || store.saved() != 1 {
			t.Fatalf("%d signatures for %d lists", signs.Load(), store.saved())
		}
		for range 5 {
			store.revokeOne()
			time.Sleep(time.Minute)
		}
		if signs.Load() != 7 || store.saved() != 6 {
			t.Errorf("%d signatures for %d lists", signs.Load(), store.saved())
		}
	})
}

// The holder before saves a list and gives the lease back between a successor's reading and its taking the lease.
func TestSuccessorDoesNotSignWhatIsThere(t *testing.T) {
	store, clk := newStore(), newClock()
	now := func(c *Config) { c.Now = clk.now }
	before, after := newGateway(t, store, now), newGateway(t, store, now)
	for i := range int64(2) { // a first list, then one in place of another
		clk.add(2 * time.Hour)
		store.onRead = func(s *fakeStore) {
			s.mu.Unlock()
			defer s.mu.Lock()
			if err := before.build(t.Context()); err != nil {
				t.Error(err)
			}
			before.giveBack(t.Context(), before.byName["leaf"])
		}
		if err := after.build(t.Context()); err != nil {
			t.Fatal(err)
		}
		if before.signs.Load() != i+1 || after.signs.Load() != 0 {
			t.Errorf("%d and %d signatures", before.signs.Load(), after.signs.Load())
		}
		if a, b := before.Status()[0], after.Status()[0]; a.Number != b.Number {
			t.Errorf("numbers %d and %d are served", a.Number, b.Number)
		}
		after.giveBack(t.Context(), after.byName["leaf"])
	}
}

// A gateway that starts while another makes the first list has nothing to serve, and does not wait for a hint or a poll.
func TestFirstListOfAnotherIsFoundSoon(t *testing.T) {
	hierarchy()
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		store.silent = true
		first, second := newGateway(t, store, nil), newGateway(t, store, nil)
		wake := make(chan struct{})
		first.hang.Store(&wake)
		defer run(t, first.Publisher)()
		synctest.Wait()
		defer run(t, second.Publisher)()
		synctest.Wait()
		close(wake)
		time.Sleep(time.Second)
		synctest.Wait()
		if err := second.Ready(t.Context()); err != nil || second.signs.Load() != 0 {
			t.Errorf("%v after %d signatures", err, second.signs.Load())
		}
	})
}

// A lone gateway reads the revoked serials once for each list and each poll: it has nothing to learn from its own hints.
func TestOwnHintsCostNoReading(t *testing.T) {
	hierarchy()
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		defer run(t, newPublisher(t, store, nil))()
		synctest.Wait()
		for range 4 {
			time.Sleep(time.Second)
			store.revokeOne()
			synctest.Wait()
		}
		if store.saved() != 5 || store.reads != 5 || store.takes != 1 {
			t.Errorf("%d lists, %d readings, %d leases", store.saved(), store.reads, store.takes)
		}
	})
}
