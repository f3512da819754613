package storetest

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/gatehouse-ca/gatehouse/storage"
)

func nextID(t *testing.T, e storage.Engine, sequence string, n int) int64 {
	t.Helper()
	first, err := e.NextID(t.Context(), sequence, n)
	if err != nil {
		t.Fatalf("NextID(%q, %d): %v", sequence, n, err)
	}
	return first
}

// Numbers rise from 1 and may be skipped.
func testSequence(t *testing.T, h Harness) {
	e := h.Engine
	var last int64
	for _, n := range []int{1, 1, 5, 10_000, 1} {
		first := nextID(t, e, "s", n)
		if first <= last {
			t.Fatalf("NextID gave %d after %d", first, last)
		}
		last = first + int64(n) - 1
	}
	if first := nextID(t, e, "other", 1); first < 1 || first > last {
		t.Errorf("another sequence starts at %d", first)
	}
}

func testSequenceConcurrent(t *testing.T, h Harness) {
	var mu sync.Mutex
	var given []int64
	var all sync.WaitGroup
	for worker := range 16 {
		all.Go(func() {
			for i := range 8 {
				n := 1 + (worker+i)%5
				first, err := h.Engine.NextID(t.Context(), "s", n)
				if err != nil {
					t.Errorf("NextID: %v", err)
					return
				}
				mu.Lock()
				for j := range n {
					given = append(given, first+int64(j))
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	slices.Sort(given)
	if len(slices.Compact(slices.Clone(given))) != len(given) || given[0] < 1 {
		t.Errorf("a number was given twice, or one below 1: %v", given)
	}
}

func testLift(t *testing.T, h Harness) {
	e := h.Engine
	lift := func(last int64) {
		t.Helper()
		if err := e.LiftID(t.Context(), "s", last); err != nil {
			t.Fatalf("LiftID(%d): %v", last, err)
		}
	}
	lift(100)
	if first := nextID(t, e, "s", 3); first <= 100 {
		t.Fatalf("NextID gave %d after a lift to 100", first)
	}
	for _, lower := range []int64{50, 0, -1, 102} {
		lift(lower)
		if first := nextID(t, e, "s", 1); first <= 103 && lower != 50 || first <= 102 {
			t.Fatalf("a lift to %d gave %d again", lower, first)
		}
	}
	lift(1 << 31)
	if first := nextID(t, e, "s", 1); first <= 1<<31 {
		t.Fatalf("NextID gave %d after a lift to 2^31", first)
	}
}

// What callers do when the store was restored from a backup: the sequence stands behind the records, so creating under
// Absent fails, and the sequence is lifted over the last record.
func testSequenceBack(t *testing.T, h Harness) {
	e := h.Engine
	var b storage.Batch
	for i := range 10 {
		b.Puts = append(b.Puts, storage.Put{Key: storage.Key("r/" + number(i+1)), Value: []byte("old")})
		b.Adds = append(b.Adds, storage.Entry{Index: "r", Member: []byte(number(i + 1))})
	}
	old := commit(t, e, b)
	create := func() error {
		id := number(int(nextID(t, e, "r", 1)))
		b := check(storage.Key("r/"+id), storage.Absent, storage.Version{})
		b.Puts = []storage.Put{{Key: storage.Key("r/" + id), Value: []byte("new")}}
		b.Adds = entries("r", id)
		return e.Commit(t.Context(), b)
	}
	if err := create(); !errors.Is(err, storage.ErrConflict) {
		t.Fatalf("creating over an old record returned %v", err)
	}
	wantScan(t, e, "r", storage.Range{}, storage.Page{Limit: 1, Reverse: true}, number(10))
	if err := e.LiftID(t.Context(), "r", 10); err != nil {
		t.Fatal(err)
	}
	if err := create(); err != nil {
		t.Fatalf("creating after the lift: %v", err)
	}
	wantCount(t, e, "r", storage.Range{}, 11)
	wantItem(t, e, storage.Key("r/"+number(1)), "old", old)
}
