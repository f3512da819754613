package storetest_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/embedded"
	"github.com/gatehouse-ca/gatehouse/storage/storetest"
)

func open(t *testing.T) *storetest.Counting {
	t.Helper()
	e, err := embedded.Open(embedded.Config{Dir: filepath.Join(t.TempDir(), "store")})
	if err != nil {
		t.Fatal(err)
	}
	c := storetest.NewCounting(e)
	t.Cleanup(func() { c.Close() })
	return c
}

func put(key storage.Key) storage.Batch {
	return storage.Batch{Version: storage.NewVersion(), Puts: []storage.Put{{Key: key}}}
}

func TestCountingTrips(t *testing.T) {
	c, ctx := open(t), t.Context()
	c.Get(ctx, "a", "b")
	c.Spend(ctx, storage.Token{}, nil, "a")
	c.Commit(ctx, put("a"))
	c.Commit(ctx, storage.Batch{}) // refused, and still a trip
	c.Scan(ctx, "i", storage.Range{}, storage.Page{Limit: 1})
	c.Count(ctx, "i", storage.Range{})
	c.NextID(ctx, "s", 1)
	c.LiftID(ctx, "s", 9)
	c.Now(ctx)
	c.Wake(ctx, "topic")
	c.Health(ctx)
	trips := c.Reset()
	for m, want := range map[storetest.Method]int{
		storetest.Get: 1, storetest.Spend: 1, storetest.Commit: 2, storetest.Scan: 1, storetest.Count: 1, storetest.NextID: 1,
		storetest.LiftID: 1, storetest.Now: 1, storetest.Wake: 1, storetest.Health: 1,
	} {
		if trips.By[m] != want {
			t.Errorf("%s counted %d times, want %d", m, trips.By[m], want)
		}
	}
	if trips.Total != 9 || trips.Durable != 4 {
		t.Errorf("total %d, durable %d; want 9 and 4", trips.Total, trips.Durable)
	}
	if after := c.Trips(); after.Total != 0 || len(after.By) != 0 {
		t.Errorf("after Reset: %+v", after)
	}
}

func TestCountingFaults(t *testing.T) {
	c, ctx := open(t), t.Context()
	found := func(key storage.Key) bool {
		items, err := c.Engine.Get(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		return items[0].Found
	}

	c.Inject(storetest.Fault{Method: storetest.Commit, Skip: 1, Times: 1, Before: storage.ErrUnavailable})
	if err := c.Commit(ctx, put("first")); err != nil {
		t.Errorf("a call that is skipped: %v", err)
	}
	if err := c.Commit(ctx, put("second")); !errors.Is(err, storage.ErrUnavailable) || found("second") {
		t.Errorf("a fault before: %v", err)
	}
	if err := c.Commit(ctx, put("third")); err != nil {
		t.Errorf("after the fault was used up: %v", err)
	}

	remove := c.Inject(storetest.Fault{
		Method: storetest.Commit, After: storage.ErrUnknown,
		Match: func(b storage.Batch) bool { return b.Puts[0].Key == "lost" },
	})
	if err := c.Commit(ctx, put("other")); err != nil {
		t.Errorf("a batch that does not match: %v", err)
	}
	for range 2 {
		if err := c.Commit(ctx, put("lost")); !errors.Is(err, storage.ErrUnknown) || !found("lost") {
			t.Errorf("a fault after: %v", err)
		}
	}
	remove()
	if err := c.Commit(ctx, put("lost")); err != nil {
		t.Errorf("a fault that was removed: %v", err)
	}

	for _, m := range []storetest.Method{storetest.Get, storetest.NextID, storetest.Health, storetest.Now} {
		c.Inject(storetest.Fault{Method: m, Times: 1, Before: storage.ErrUnavailable})
	}
	_, getErr := c.Get(ctx, "a")
	_, idErr := c.NextID(ctx, "s", 1)
	_, nowErr := c.Now(ctx)
	for _, err := range []error{getErr, idErr, nowErr, c.Health(ctx).Err} {
		if !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("a fault before: %v", err)
		}
	}
}

func TestCountingDelay(t *testing.T) {
	c := open(t)
	release, reached := make(chan struct{}), make(chan struct{})
	c.Inject(storetest.Fault{Method: storetest.Get, Times: 2, Delay: release, Reached: reached})
	done := make(chan error)
	get := func(ctx context.Context) { _, err := c.Get(ctx, "k"); done <- err }
	ctx, cancel := context.WithCancel(t.Context())
	go get(ctx)
	<-reached
	cancel()
	if err := <-done; !errors.Is(err, storage.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("a held call whose context ended: %v", err)
	}
	go get(t.Context())
	<-reached
	close(release)
	if err := <-done; err != nil {
		t.Errorf("a held call that was released: %v", err)
	}
}
