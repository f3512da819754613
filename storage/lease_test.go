package storage_test

import (
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/publish"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/embedded"
	"github.com/gatehouse-ca/gatehouse/storage/storetest"
)

// ticking is a DB whose store has a clock that only the test moves, years away from that of the process.
func ticking(t *testing.T) (db *storage.DB, c *storetest.Counting, advance func(time.Duration)) {
	t.Helper()
	var clock atomic.Int64
	clock.Store(time.Date(2040, 1, 2, 3, 4, 5, 678e6, time.UTC).UnixNano())
	e, err := embedded.Open(embedded.Config{
		Dir: filepath.Join(t.TempDir(), "store"), Now: func() time.Time { return time.Unix(0, clock.Load()) },
	})
	must(t, err)
	t.Cleanup(func() { e.Close() })
	c = storetest.NewCounting(e)
	db, err = storage.Open(t.Context(), storage.Config{Engine: c, Issuers: []string{"main"}})
	must(t, err)
	return db, c, func(d time.Duration) { clock.Add(int64(d)) }
}

func readLease(t *testing.T, db *storage.DB) publish.Lease {
	t.Helper()
	lease, err := db.CRLLease(t.Context(), "main", 0)
	must(t, err)
	return lease
}

func take(t *testing.T, db *storage.DB, holder string) publish.Lease {
	t.Helper()
	lease, err := db.TakeCRLLease(t.Context(), readLease(t, db), holder, 10*time.Second)
	must(t, err)
	return lease
}

func conflicts(t *testing.T, what string, err error) {
	t.Helper()
	if !problem.Is(err, problem.Conflict) {
		t.Errorf("%s: %v", what, err)
	}
}

func TestLeaseRunsOutByTheStoresClock(t *testing.T) {
	db, _, advance := ticking(t)
	ctx := t.Context()
	free := readLease(t, db)
	if free.Holder != "" || free.Left != 0 || free.Version != [16]byte{} {
		t.Fatalf("a new lease is %+v", free)
	}
	a := take(t, db, "a")
	_, err := db.TakeCRLLease(ctx, free, "b", time.Minute)
	conflicts(t, "a lease that was free when it was read", err)
	advance(4 * time.Second)
	seen := readLease(t, db)
	if seen.Holder != "a" || seen.Left != 6*time.Second || seen.Version != a.Version {
		t.Errorf("the lease is %+v", seen)
	}
	_, err = db.TakeCRLLease(ctx, seen, "b", time.Minute)
	conflicts(t, "another's lease", err)
	if left := problem.From(err).RetryAfter; left != 6*time.Second {
		t.Errorf("try again after %v", left)
	}

	longer := take(t, db, "a") // extends it
	if longer.Version == a.Version || longer.Left != 10*time.Second {
		t.Errorf("extended: %+v, was %+v", longer, a)
	}
	_, err = db.TakeCRLLease(ctx, a, "a", time.Minute)
	conflicts(t, "extending what was extended", err)
	advance(9*time.Second + 999*time.Millisecond)
	if seen := readLease(t, db); seen.Holder != "a" || seen.Left != time.Millisecond {
		t.Errorf("just before its end it is %+v", seen)
	}
	advance(time.Millisecond)
	if seen := readLease(t, db); seen.Holder != "" {
		t.Errorf("after its end it is %+v", seen)
	}
	_, err = db.TakeCRLLease(ctx, longer, "a", time.Minute)
	conflicts(t, "extending what ran out", err)
	take(t, db, "b")
	conflicts(t, "giving back what another has", db.ReturnCRLLease(ctx, longer))
	if seen := readLease(t, db); seen.Holder != "b" {
		t.Errorf("the lease is %+v", seen)
	}
}

// Nothing is saved or removed but under the lease that stands at the moment of the commit.
func TestFence(t *testing.T) {
	tests := []struct {
		name string
		end  func(t *testing.T, db *storage.DB, lease publish.Lease, advance func(time.Duration))
	}{
		{"ran out", func(_ *testing.T, _ *storage.DB, _ publish.Lease, advance func(time.Duration)) {
			advance(10 * time.Second)
		}},
		{"taken over", func(t *testing.T, db *storage.DB, _ publish.Lease, advance func(time.Duration)) {
			advance(10 * time.Second)
			take(t, db, "b")
		}},
		{"given back", func(t *testing.T, db *storage.DB, lease publish.Lease, _ func(time.Duration)) {
			must(t, db.ReturnCRLLease(t.Context(), lease))
		}},
		{"extended by another life", func(t *testing.T, db *storage.DB, _ publish.Lease, _ func(time.Duration)) { take(t, db, "a") }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			db, _, advance := ticking(t)
			ctx := t.Context()
			_, in := begun(t, db)
			must(t, db.AbandonIntent(ctx, in.Issuer, in.Serial, now()))
			lease := take(t, db, "a")
			first := publish.CRL{Issuer: "main", Number: 1, DER: []byte{1}}
			must(t, db.SaveCRL(ctx, first, nil, lease))
			stored, err := db.CRL(ctx, "main", 0)
			must(t, err)

			tt.end(t, db, lease, advance)
			conflicts(t, "SaveCRL", db.SaveCRL(ctx, publish.CRL{Issuer: "main", Number: 2}, stored, lease))
			_, err = db.DropExpired(ctx, lease, in.NotAfter.Add(time.Hour), 10)
			conflicts(t, "DropExpired", err)
			conflicts(t, "ReturnCRLLease", db.ReturnCRLLease(ctx, lease))
			after, err := db.CRL(ctx, "main", 0)
			must(t, err)
			revoked, err := db.Revoked(ctx, "main", time.Unix(0, 0))
			must(t, err)
			if after.Version != stored.Version || len(revoked) != 1 {
				t.Errorf("list %d and %d entries stand", after.Number, len(revoked))
			}
		})
	}
	t.Run("never taken", func(t *testing.T) {
		db, _, _ := ticking(t)
		conflicts(t, "SaveCRL", db.SaveCRL(t.Context(), publish.CRL{Issuer: "main", Number: 1}, nil, publish.Lease{Issuer: "main"}))
	})
	t.Run("of another shard", func(t *testing.T) {
		db, _, _ := ticking(t)
		lease := take(t, db, "a")
		conflicts(t, "SaveCRL", db.SaveCRL(t.Context(), publish.CRL{Issuer: "main", Shard: 1, Number: 1}, nil, lease))
	})
}

// A lease whose commit lost its answer is the holder's all the same, and a list saved so is saved.
func TestLeaseOfUnknownOutcome(t *testing.T) {
	db, c, _ := ticking(t)
	defer c.Inject(storetest.Fault{Method: storetest.Commit, After: storage.ErrUnknown, Times: 2})()
	lease := take(t, db, "a")
	if seen := readLease(t, db); seen.Holder != "a" || seen.Version != lease.Version {
		t.Errorf("the lease is %+v", seen)
	}
	must(t, db.SaveCRL(t.Context(), publish.CRL{Issuer: "main", Number: 1}, nil, lease))
}

// Saving and giving back wake whoever waits for the list; taking wakes nobody.
func TestListsAreHinted(t *testing.T) {
	db, c, _ := ticking(t)
	hints := db.WatchCRLs(t.Context())
	lease := take(t, db, "a")
	if n := c.Trips().By[storetest.Wake]; n != 0 {
		t.Errorf("taking a lease woke %d", n)
	}
	hinted := func(what string) {
		t.Helper()
		select {
		case issuer := <-hints:
			if issuer != "main" {
				t.Errorf("%s hinted at %q", what, issuer)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s gave no hint", what)
		}
	}
	must(t, db.SaveCRL(t.Context(), publish.CRL{Issuer: "main", Number: 1}, nil, lease))
	hinted("saving")
	must(t, db.ReturnCRLLease(t.Context(), lease))
	hinted("giving back")
	conflicts(t, "saving again", db.SaveCRL(t.Context(), publish.CRL{Issuer: "main", Number: 2}, nil, lease))
	if n := c.Trips().By[storetest.Wake]; n != 2 {
		t.Errorf("%d hints", n)
	}
}
