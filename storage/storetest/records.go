package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/storage"
)

func testGet(t *testing.T, h Harness) {
	e := h.Engine
	v1 := put(t, e, "a", "one")
	v2 := put(t, e, "c\x00\xff", "")
	items, err := e.Get(t.Context(), "a", "b", "c\x00\xff", "a")
	if err != nil || len(items) != 4 {
		t.Fatalf("Get: %d items, %v", len(items), err)
	}
	if !items[0].Found || string(items[0].Value) != "one" || items[0].Version != v1 {
		t.Errorf("a is %+v", items[0])
	}
	if items[1].Found || items[1].Value != nil || items[1].Version != (storage.Version{}) {
		t.Errorf("an absent key is %+v", items[1])
	}
	if !items[2].Found || len(items[2].Value) != 0 || items[2].Version != v2 {
		t.Errorf("an empty value is %+v", items[2])
	}
	if !items[3].Found || items[3].Version != v1 {
		t.Errorf("a key named twice is %+v", items[3])
	}
	if items, err := e.Get(t.Context()); err != nil || len(items) != 0 {
		t.Errorf("Get of nothing: %d items, %v", len(items), err)
	}
}

// Two keys that always change together are never seen apart.
func testGetMoment(t *testing.T, h Harness) {
	e := h.Engine
	write := func(i int) error {
		value := []byte(number(i))
		return e.Commit(t.Context(), storage.Batch{Version: storage.NewVersion(), Puts: []storage.Put{{Key: "left", Value: value}, {Key: "right", Value: value}}})
	}
	if err := write(0); err != nil {
		t.Fatal(err)
	}
	var writing sync.WaitGroup
	var done atomic.Bool
	writing.Go(func() {
		defer done.Store(true)
		for i := range 50 {
			if err := write(i + 1); err != nil {
				t.Errorf("Commit: %v", err)
				return
			}
		}
	})
	for !done.Load() {
		items, err := e.Get(t.Context(), "left", "right")
		if err != nil {
			t.Errorf("Get: %v", err)
			break
		}
		if string(items[0].Value) != string(items[1].Value) || items[0].Version != items[1].Version {
			t.Errorf("left is %q, right is %q", items[0].Value, items[1].Value)
			break
		}
	}
	writing.Wait()
}

// The caller may reuse what it handed over, and keep what it got.
func testCopies(t *testing.T, h Harness) {
	e := h.Engine
	want := strings.Repeat("value", 1000) // larger than a page, so that an engine is tempted to lend it
	value, member := []byte(want), []byte("member")
	v := commit(t, e, storage.Batch{Puts: []storage.Put{{Key: "k", Value: value}}, Adds: []storage.Entry{{Index: "i", Member: member}}})
	copy(value, "XXXXX")
	copy(member, "XXXXXX")
	item := get(t, e, "k")
	wantScan(t, e, "i", storage.Range{}, storage.Page{Limit: 10}, "member")
	members, err := e.Scan(t.Context(), "i", storage.Range{}, storage.Page{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 { // so that the engine uses the space of the first value again
		put(t, e, "k", strings.Repeat(number(i), 1000))
		add(t, e, "i", number(i))
	}
	if string(item.Value) != want || item.Version != v || string(members[0]) != "member" {
		t.Error("what was read has changed")
	}
}

func testPutDelete(t *testing.T, h Harness) {
	e := h.Engine
	v1 := put(t, e, "k", "one")
	wantItem(t, e, "k", "one", v1)
	v2 := put(t, e, "k", "two")
	wantItem(t, e, "k", "two", v2)

	v3 := commit(t, e, storage.Batch{
		Puts:    []storage.Put{{Key: "x", Value: []byte("x")}, {Key: "y", Value: []byte("y")}},
		Deletes: []storage.Key{"k", "never"},
	})
	wantAbsent(t, e, "k", "never")
	wantItem(t, e, "x", "x", v3)
	wantItem(t, e, "y", "y", v3)

	large := strings.Repeat("large ", 50_000)
	wantItem(t, e, "large", large, put(t, e, "large", large))
	v := put(t, e, "k", "again")
	wantItem(t, e, "k", "again", v)
}

func testRefusals(t *testing.T, h Harness) {
	e, ctx := h.Engine, t.Context()
	long := strings.Repeat("x", 512)
	over := storage.Key(long + "x")
	commit(t, e, storage.Batch{
		Conditions: []storage.Condition{{Key: storage.Key(long), Want: storage.Absent}},
		Puts:       []storage.Put{{Key: storage.Key(long), Value: []byte("v")}},
		Adds:       []storage.Entry{{Index: long, Member: []byte(long)}},
	})
	wantScan(t, e, long, storage.Range{}, storage.Page{Limit: 1}, long)
	if !get(t, e, storage.Key(long)).Found {
		t.Error("a key of 512 bytes is not found")
	}

	entry := func(index, member string) []storage.Entry { return entries(index, member) }
	value := func(keys ...storage.Key) (puts []storage.Put) {
		for _, k := range keys {
			puts = append(puts, storage.Put{Key: k, Value: []byte("v")})
		}
		return puts
	}
	for what, b := range map[string]storage.Batch{
		"empty key":                {Puts: value("")},
		"long key":                 {Puts: value(over)},
		"long key deleted":         {Deletes: []storage.Key{over}},
		"long key in a condition":  {Conditions: []storage.Condition{{Key: over, Want: storage.Absent}}},
		"empty key in a condition": {Conditions: []storage.Condition{{Want: storage.Absent}}},
		"unknown condition":        {Conditions: []storage.Condition{{Key: "k"}}},
		"unknown condition 9":      {Conditions: []storage.Condition{{Key: "k", Want: 9}}},
		"key put twice":            {Puts: value("k", "k")},
		"key deleted twice":        {Deletes: []storage.Key{"k", "k"}},
		"key put and deleted":      {Puts: value("k"), Deletes: []storage.Key{"k"}},
		"long member added":        {Adds: entry("i", string(over))},
		"long member removed":      {Removes: entry("i", string(over))},
		"long index name":          {Adds: entry(string(over), "m")},
		"empty index name":         {Adds: entry("", "m")},
	} {
		b.Version = storage.NewVersion()
		b.Puts = append(b.Puts, storage.Put{Key: "witness", Value: []byte("v")})
		wantRefused(t, what, e.Commit(ctx, b))
	}
	wantRefused(t, "zero version", e.Commit(ctx, storage.Batch{Puts: value("witness")}))
	wantRefused(t, "zero version, deletes only", e.Commit(ctx, storage.Batch{Deletes: []storage.Key{"k"}}))
	wantAbsent(t, e, "k", "witness")
	refusedReads(t, h, over)
}

func refusedReads(t *testing.T, h Harness, over storage.Key) {
	e, ctx := h.Engine, t.Context()
	for what, p := range map[string]storage.Page{
		"no limit": {}, "negative limit": {Limit: -1}, "large limit": {Limit: 1001},
		"negative offset": {Limit: 1, Offset: -1}, "after and offset": {Limit: 1, Offset: 1, After: []byte("m")},
	} {
		_, err := e.Scan(ctx, "i", storage.Range{}, p)
		wantRefused(t, what, err)
	}
	_, err := e.Scan(ctx, "", storage.Range{}, storage.Page{Limit: 1})
	wantRefused(t, "scan of no index", err)
	_, err = e.Count(ctx, string(over), storage.Range{})
	wantRefused(t, "count of a long index name", err)
	_, err = e.Get(ctx, "k", over)
	wantRefused(t, "get of a long key", err)
	_, err = e.Get(ctx, "")
	wantRefused(t, "get of no key", err)
	for _, n := range []int{-1, 0, 10_001} {
		_, err = e.NextID(ctx, "s", n)
		wantRefused(t, fmt.Sprintf("NextID of %d", n), err)
	}
	_, err = e.NextID(ctx, "", 1)
	wantRefused(t, "NextID without a name", err)
	wantRefused(t, "LiftID without a name", e.LiftID(ctx, "", 1))

	token := storage.Token{Value: make([]byte, 65), Made: h.now(t), Until: h.now(t).Add(time.Hour)}
	_, err = e.Spend(ctx, token, nil)
	wantRefused(t, "token of 65 bytes", err)
	_, err = e.Spend(ctx, storage.Token{}, nil, over)
	wantRefused(t, "spend with a long key", err)
	for what, l := range map[string]storage.Limit{
		"limit without a key": {Interval: time.Second, Burst: 1, Cost: 1}, "long limit key": {Key: over, Interval: time.Second, Burst: 1},
		"no interval": {Key: "l", Burst: 1, Cost: 1}, "no burst": {Key: "l", Interval: time.Second, Cost: 1},
		"negative cost": {Key: "l", Interval: time.Second, Burst: 1, Cost: -1},
	} {
		_, err = e.Spend(ctx, storage.Token{}, []storage.Limit{l})
		wantRefused(t, what, err)
	}
	twice := storage.Limit{Key: "l", Interval: time.Second, Burst: 1, Cost: 1}
	_, err = e.Spend(ctx, storage.Token{}, []storage.Limit{twice, twice})
	wantRefused(t, "one limit twice", err)
}

func testExpiry(t *testing.T, h Harness) {
	e, now := h.Engine, h.now(t)
	v := commit(t, e, storage.Batch{Puts: []storage.Put{
		{Key: "soon", Value: []byte("s"), Expires: now.Add(2 * time.Second)},
		{Key: "late", Value: []byte("l"), Expires: now.Add(time.Hour)},
		{Key: "ever", Value: []byte("e")},
	}})
	wantItem(t, e, "soon", "s", v)
	h.pass(3 * time.Second)
	wantAbsent(t, e, "soon")
	wantItem(t, e, "late", "l", v)
	wantItem(t, e, "ever", "e", v)

	commit(t, e, storage.Batch{Puts: []storage.Put{{Key: "past", Value: []byte("p"), Expires: now.Add(-time.Hour)}, {Key: "old", Expires: time.Unix(-1<<40, 0)}}})
	wantAbsent(t, e, "past", "old")
	v = commit(t, e, storage.Batch{Puts: []storage.Put{{Key: "far", Expires: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)}}})
	wantItem(t, e, "far", "", v)
}

// A later put decides alone when a record expires.
func testExpiryReplaced(t *testing.T, h Harness) {
	e := h.Engine
	soon := func() time.Time { return h.now(t).Add(2 * time.Second) }
	write := func(key storage.Key, expires time.Time) storage.Version {
		return commit(t, e, storage.Batch{Puts: []storage.Put{{Key: key, Value: []byte("v"), Expires: expires}}})
	}
	for _, key := range []storage.Key{"kept", "longer", "again", "deleted"} {
		write(key, soon())
	}
	kept := put(t, e, "kept", "v")
	longer := write("longer", h.now(t).Add(time.Hour))
	write("shorter", h.now(t).Add(time.Hour))
	write("shorter", soon())
	commit(t, e, storage.Batch{Deletes: []storage.Key{"deleted"}})
	deleted := put(t, e, "deleted", "v")
	h.pass(3 * time.Second)
	again := put(t, e, "again", "v") // after it expired, before anything removed it
	h.pass(3 * time.Second)
	wantItem(t, e, "kept", "v", kept)
	wantItem(t, e, "longer", "v", longer)
	wantItem(t, e, "deleted", "v", deleted)
	wantItem(t, e, "again", "v", again)
	wantAbsent(t, e, "shorter")
}

func testExpiryConditions(t *testing.T, h Harness) {
	e := h.Engine
	v := commit(t, e, storage.Batch{Puts: []storage.Put{{Key: "k", Value: []byte("v"), Expires: h.now(t).Add(2 * time.Second)}}})
	if err := e.Commit(t.Context(), check("k", storage.Equals, v)); err != nil {
		t.Fatalf("a record that lives: %v", err)
	}
	h.pass(3 * time.Second)
	conflict(t, e, check("k", storage.Present, storage.Version{}))
	conflict(t, e, check("k", storage.Equals, v))
	b := check("k", storage.Absent, storage.Version{})
	b.Puts = []storage.Put{{Key: "k", Value: []byte("next")}}
	wantItem(t, e, "k", "next", commit(t, e, b))
}

func testContext(t *testing.T, h Harness) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range calls(h.Engine, h.now(t)) {
		err := call(ctx)
		if !errors.Is(err, context.Canceled) || !errors.Is(err, storage.ErrUnavailable) && (name != "Commit" || !errors.Is(err, storage.ErrUnknown)) {
			t.Errorf("%s with an ended context returned %v", name, err)
		}
		if name != "Commit" && errors.Is(err, storage.ErrUnknown) {
			t.Errorf("%s returned %v, which is for commits", name, err)
		}
	}
}

func testClosed(t *testing.T, h Harness) {
	now := h.now(t)
	put(t, h.Engine, "k", "v")
	watching := h.Engine.Watch(t.Context(), "topic")
	if err := h.Engine.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	for range watching { // ends because the engine closed it
	}
	for name, call := range calls(h.Engine, now) {
		if err := call(t.Context()); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("%s after Close returned %v, want ErrUnavailable", name, err)
		}
	}
	for range h.Engine.Watch(t.Context(), "topic") {
	}
	h.Engine.Wake(t.Context(), "topic")
}

func testClock(t *testing.T, h Harness) {
	before := h.now(t)
	h.pass(time.Second)
	if after := h.now(t); after.Sub(before) < time.Second {
		t.Errorf("the clock went from %s to %s in a second", before, after)
	}
	health := h.Engine.Health(t.Context())
	if health.Err != nil || health.Engine == "" || health.Durability == "" {
		t.Errorf("Health is %+v", health)
	}
}
