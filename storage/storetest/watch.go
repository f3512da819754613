package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/storage"
)

// unwatched is a topic that tests wake and nobody watches.
const unwatched = "unwatched"

// hint wakes the topics again and again, because hints may be lost, until the watcher has heard want.
func hint(t *testing.T, e storage.Engine, watching <-chan string, want string, topics ...string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, topic := range append(topics, unwatched) {
			e.Wake(t.Context(), topic)
		}
		select {
		case heard, ok := <-watching:
			if !ok {
				t.Fatal("the watch ended")
			}
			if heard == unwatched {
				t.Fatal("a hint for a topic nobody watches")
			}
			if heard == want {
				return
			}
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("no hint")
		}
	}
}

func testWatch(t *testing.T, h Harness) {
	e := h.Engine
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	e.Wake(ctx, "nobody watches")
	one, both := e.Watch(ctx, "orders"), e.Watch(ctx, "orders", "crl\x00")
	hint(t, e, one, "orders", "orders")
	hint(t, e, one, "orders", "orders") // the first round may have hinted at more
	hint(t, e, both, "orders", "orders", "crl\x00")
	hint(t, e, both, "crl\x00", "orders", "crl\x00")
	for range 10_000 { // nobody reads, and Wake does not wait
		e.Wake(ctx, "orders")
	}
	cancel()
	for heard := range one {
		if heard != "orders" {
			t.Errorf("a watcher of orders heard %q", heard)
		}
	}
	for range both {
	}
}

func testWatchEnds(t *testing.T, h Harness) {
	ctx, cancel := context.WithCancel(t.Context())
	first := h.Engine.Watch(ctx, "topic")
	second := h.Engine.Watch(t.Context(), "topic")
	cancel()
	for range first {
	}
	for range h.Engine.Watch(ctx, "topic") { // the context has ended before
	}
	hint(t, h.Engine, second, "topic", "topic") // others go on
}

func reopen(t *testing.T, h *Harness) {
	t.Helper()
	if h.Reopen == nil {
		t.Skip("the engine keeps nothing")
	}
	h.Engine = h.Reopen()
}

func testReopen(t *testing.T, h Harness) {
	if h.Reopen == nil {
		t.Skip("the engine keeps nothing")
	}
	e := h.Engine
	kept := put(t, e, "k", "v")
	b := storage.Batch{Puts: []storage.Put{
		{Key: "soon", Value: []byte("s"), Expires: h.now(t).Add(2 * time.Second)},
		{Key: "late", Value: []byte("l"), Expires: h.now(t).Add(time.Hour)},
	}}
	for i := range 1500 {
		b.Adds = append(b.Adds, storage.Entry{Index: "i", Member: []byte(number(i))})
	}
	v := commit(t, e, b)
	commit(t, e, storage.Batch{Removes: entries("i", number(0)), Deletes: []storage.Key{"nothing"}})
	last := nextID(t, e, "s", 7) + 6
	reopen(t, &h)
	t.Cleanup(func() { h.Engine.Close() })
	e = h.Engine
	wantItem(t, e, "k", "v", kept)
	wantItem(t, e, "late", "l", v)
	wantCount(t, e, "i", storage.Range{}, 1499)
	wantCount(t, e, "i", storage.Range{From: []byte(number(1400))}, 100)
	wantScan(t, e, "i", storage.Range{}, storage.Page{Limit: 2}, number(1), number(2))
	if first := nextID(t, e, "s", 1); first <= last {
		t.Errorf("NextID gave %d after %d was given", first, last)
	}
	h.pass(3 * time.Second)
	wantAbsent(t, e, "soon")
	conflict(t, e, check("k", storage.Absent, storage.Version{}))
	commit(t, e, check("k", storage.Equals, kept))
}

// A token is never accepted twice, also not by the engine that follows.
func testReopenTokens(t *testing.T, h Harness) {
	used := token(t, h, "used")
	if !spend(t, h.Engine, used).Fresh {
		t.Fatal("a new token was refused")
	}
	h.pass(time.Second)
	reopen(t, &h)
	t.Cleanup(func() { h.Engine.Close() })
	if spend(t, h.Engine, used).Fresh {
		t.Error("a token was accepted by two engines, one after the other")
	}
	if !spend(t, h.Engine, token(t, h, "new")).Fresh {
		t.Error("a new token was refused")
	}
}

// ErrUnknown is settled by one Get of a key the batch puts.
func testLostReply(t *testing.T, h Harness) {
	if h.LoseReply == nil {
		t.Skip("the harness cannot lose a reply")
	}
	e := h.Engine
	before := put(t, e, "k", "before")
	h.LoseReply()
	b := check("k", storage.Equals, before)
	b.Puts = []storage.Put{{Key: "k", Value: []byte("after")}}
	b.Adds = entries("i", "m")
	if err := e.Commit(t.Context(), b); !errors.Is(err, storage.ErrUnknown) || errors.Is(err, storage.ErrUnavailable) {
		t.Fatalf("a commit whose reply was lost returned %v, want ErrUnknown", err)
	}
	wantItem(t, e, "k", "after", b.Version)
	wantScan(t, e, "i", storage.Range{}, storage.Page{Limit: 10}, "m")
	if err := e.Commit(t.Context(), b); !errors.Is(err, storage.ErrConflict) {
		t.Fatalf("the same commit again returned %v, want ErrConflict", err)
	}
	wantItem(t, e, "k", "later", put(t, e, "k", "later"))
}

func testFailing(t *testing.T, h Harness) {
	if h.Fail == nil {
		t.Skip("the harness cannot make commits fail")
	}
	e := h.Engine
	v := put(t, e, "k", "v")
	h.Fail(errors.New("no space left"))
	b := storage.Batch{Version: storage.NewVersion(), Puts: []storage.Put{{Key: "k", Value: []byte("w")}}, Adds: entries("i", "m")}
	for range 3 {
		if err := e.Commit(t.Context(), b); !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrUnknown) {
			t.Fatalf("a failed commit returned %v, want ErrUnavailable", err)
		}
	}
	if e.Health(t.Context()).Err == nil {
		t.Error("Health says nothing of a failed commit")
	}
	h.Fail(nil)
	wantItem(t, e, "k", "v", v)
	wantScan(t, e, "i", storage.Range{}, storage.Page{Limit: 10})
	commit(t, e, b)
	wantItem(t, e, "k", "w", b.Version)
	if err := e.Health(t.Context()).Err; err != nil {
		t.Errorf("Health after a commit succeeded again: %v", err)
	}
}
