package storetest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gatehouse-ca/gatehouse/storage"
)

// check is a batch of one condition.
func check(key storage.Key, want storage.Want, v storage.Version) storage.Batch {
	return storage.Batch{Version: storage.NewVersion(), Conditions: []storage.Condition{{Key: key, Want: want, Version: v}}}
}

// Every condition, on the key that is written and on another one.
func testConditions(t *testing.T, h Harness) {
	e := h.Engine
	for _, other := range []bool{false, true} {
		name := func(s string) storage.Key { return storage.Key(fmt.Sprintf("%s %v", s, other)) }
		there := put(t, e, name("there"), "v")
		old := put(t, e, name("changed"), "v")
		put(t, e, name("changed"), "v")
		put(t, e, name("deleted"), "v")
		commit(t, e, storage.Batch{Deletes: []storage.Key{name("deleted")}})

		for _, c := range []struct {
			key   string
			want  storage.Want
			v     storage.Version
			holds bool
		}{
			{"deleted", storage.Present, storage.Version{}, false},
			{"deleted", storage.Equals, storage.Version{}, false},
			{"missing", storage.Present, storage.Version{}, false},
			{"missing", storage.Equals, there, false},
			{"missing", storage.Equals, storage.Version{}, false},
			{"there", storage.Absent, storage.Version{}, false},
			{"there", storage.Equals, storage.NewVersion(), false},
			{"there", storage.Equals, storage.Version{}, false},
			{"changed", storage.Equals, old, false},
			{"missing", storage.Absent, storage.Version{}, true},
			{"deleted", storage.Absent, storage.Version{}, true},
			{"changed", storage.Present, storage.Version{}, true},
			{"there", storage.Equals, there, true},
		} {
			key := name(c.key)
			b := check(key, c.want, c.v)
			target := key
			if other {
				target = storage.Key(fmt.Sprintf("%s target %d", key, c.want))
			}
			b.Puts = []storage.Put{{Key: target, Value: []byte("w")}}
			if c.holds {
				wantItem(t, e, target, "w", commit(t, e, b))
			} else {
				conflict(t, e, b)
			}
		}
	}
}

// One failed condition among many that hold leaves records, indexes and expiry as they were.
func testAtomic(t *testing.T, h Harness) {
	e := h.Engine
	v := commit(t, e, storage.Batch{
		Puts: []storage.Put{{Key: "a", Value: []byte("1")}, {Key: "b", Value: []byte("1")}},
		Adds: entries("i", "kept", "also kept"),
	})
	fails := []storage.Condition{
		{Key: "a", Want: storage.Equals, Version: v},
		{Key: "c", Want: storage.Absent},
		{Key: "b", Want: storage.Absent},
	}
	for _, conditions := range [][]storage.Condition{fails, {fails[2], fails[0]}, {fails[2], {Key: "gone", Want: storage.Present}}} {
		conflict(t, e, storage.Batch{
			Conditions: conditions,
			Puts:       []storage.Put{{Key: "a", Value: []byte("2")}, {Key: "c", Value: []byte("2")}},
			Deletes:    []storage.Key{"b"},
			Adds:       entries("i", "new"),
			Removes:    entries("i", "kept"),
		})
	}
	wantItem(t, e, "a", "1", v)
	wantItem(t, e, "b", "1", v)
	wantAbsent(t, e, "c")
	wantScan(t, e, "i", storage.Range{}, storage.Page{Limit: 10}, "also kept", "kept")
	wantCount(t, e, "i", storage.Range{}, 2)
}

func testConditionsOnly(t *testing.T, h Harness) {
	e := h.Engine
	v := put(t, e, "k", "v")
	commit(t, e, storage.Batch{})
	commit(t, e, check("k", storage.Equals, v))
	commit(t, e, check("none", storage.Absent, storage.Version{}))
	conflict(t, e, check("k", storage.Absent, storage.Version{}))
	wantItem(t, e, "k", "v", v)
}

func testRemovesBeforeAdds(t *testing.T, h Harness) {
	e := h.Engine
	add(t, e, "i", "old")
	commit(t, e, storage.Batch{Removes: entries("i", "old", "both", "never"), Adds: entries("i", "both", "new", "new")})
	wantScan(t, e, "i", storage.Range{}, storage.Page{Limit: 10}, "both", "new")
	wantCount(t, e, "i", storage.Range{}, 2)
	commit(t, e, storage.Batch{Removes: entries("i", "both"), Adds: entries("i", "both")})
	wantScan(t, e, "i", storage.Range{}, storage.Page{Limit: 10}, "both", "new")
	commit(t, e, storage.Batch{Removes: entries("i", "both", "new", "new")})
	wantCount(t, e, "i", storage.Range{}, 0)
	wantScan(t, e, "i", storage.Range{}, storage.Page{Limit: 10})
}

// race runs n batches at once and returns the number of the one that won. All others must have met a conflict.
func race(t *testing.T, e storage.Engine, n int, batch func(i int) storage.Batch) int {
	t.Helper()
	var winners atomic.Int64
	var winner atomic.Int64
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		all.Go(func() {
			b := batch(i)
			<-start
			switch err := e.Commit(t.Context(), b); {
			case err == nil:
				winners.Add(1)
				winner.Store(int64(i))
			case !errors.Is(err, storage.ErrConflict):
				t.Errorf("Commit: %v", err)
			}
		})
	}
	close(start)
	all.Wait()
	if winners.Load() != 1 {
		t.Fatalf("%d of %d commits won", winners.Load(), n)
	}
	return int(winner.Load())
}

func testAbsentRace(t *testing.T, h Harness) {
	for round := range 5 {
		key := storage.Key(fmt.Sprintf("k%d", round))
		index := string(key)
		winner := race(t, h.Engine, 32, func(i int) storage.Batch {
			b := check(key, storage.Absent, storage.Version{})
			b.Puts = []storage.Put{{Key: key, Value: []byte(number(i))}}
			b.Adds = entries(index, number(i))
			return b
		})
		if item := get(t, h.Engine, key); string(item.Value) != number(winner) {
			t.Fatalf("%d won and the record says %q", winner, item.Value)
		}
		wantScan(t, h.Engine, index, storage.Range{}, storage.Page{Limit: 10}, number(winner))
	}
}

func testEqualsRace(t *testing.T, h Harness) {
	v := put(t, h.Engine, "k", "start")
	for range 5 {
		winner := race(t, h.Engine, 32, func(i int) storage.Batch {
			b := check("k", storage.Equals, v)
			b.Puts = []storage.Put{{Key: "k", Value: []byte(number(i))}}
			return b
		})
		item := get(t, h.Engine, "k")
		if string(item.Value) != number(winner) || item.Version == v {
			t.Fatalf("%d won and the record is %+v", winner, item)
		}
		v = item.Version
	}
}

// Each batch writes a key of its own on the condition that no other's key is there: conditions on keys that a batch does
// not write hold at the moment it is applied, not before.
func testSkewRace(t *testing.T, h Harness) {
	const n = 8
	race(t, h.Engine, n, func(i int) storage.Batch {
		b := storage.Batch{Version: storage.NewVersion(), Puts: []storage.Put{{Key: storage.Key(number(i)), Value: []byte("v")}}}
		for other := range n {
			b.Conditions = append(b.Conditions, storage.Condition{Key: storage.Key(number(other)), Want: storage.Absent})
		}
		return b
	})
}
