// Package storetest is the suite that every storage engine passes unchanged, and a wrapper that counts and disturbs an
// engine for the tests of other packages.
//
// It decides what the contract of [storage.Engine] means where prose leaves room. It trusts nothing an engine says about
// itself, and never reaches into one: faults and clocks come through the [Harness].
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/storage"
)

// Harness is one fresh, empty engine and what the test may do to it. The suite closes the engine it used last.
type Harness struct {
	Engine storage.Engine
	// Reopen closes the engine and opens another over the same data. Nil: the engine keeps nothing; such tests are
	// skipped.
	Reopen func() storage.Engine
	// Advance moves the engine's clock. Nil: the suite waits in real time, a few seconds in all.
	Advance func(d time.Duration)
	// LoseReply makes the next Commit apply its batch and return ErrUnknown. Nil: such tests are skipped.
	LoseReply func()
	// Fail makes every Commit fail, surely without a change, until it is called with nil. Nil: such tests are skipped.
	Fail func(err error)
}

// Run runs every test of the suite as a subtest, each on an engine of its own.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	tests := []struct {
		name string
		run  func(*testing.T, Harness)
	}{
		{"get", testGet},
		{"get at one moment", testGetMoment},
		{"values are copies", testCopies},
		{"put and delete", testPutDelete},
		{"refusals", testRefusals},
		{"conditions", testConditions},
		{"a failed condition changes nothing", testAtomic},
		{"conditions only", testConditionsOnly},
		{"removes before adds", testRemovesBeforeAdds},
		{"race on absent", testAbsentRace},
		{"race on equals", testEqualsRace},
		{"race across keys", testSkewRace},
		{"expiry", testExpiry},
		{"expiry replaced", testExpiryReplaced},
		{"expiry and conditions", testExpiryConditions},
		{"scan order", testScanOrder},
		{"scan ranges", testScanRanges},
		{"scan pages", testScanPages},
		{"scan behind a member that is gone", testScanGone},
		{"scan by offset", testScanOffset},
		{"paging under inserts", testPagingUnderInserts},
		{"paging under removals", testPagingUnderRemovals},
		{"indexes are apart", testIndexesApart},
		{"index against a model", testIndexModel},
		{"count", testCount},
		{"sequence", testSequence},
		{"sequence under concurrency", testSequenceConcurrent},
		{"sequence lifted", testLift},
		{"sequence that went back", testSequenceBack},
		{"token", testToken},
		{"token under concurrency", testTokenConcurrent},
		{"token that is over", testTokenOver},
		{"limit", testLimit},
		{"limit refill", testLimitRefill},
		{"limit cost", testLimitCost},
		{"limits all or none", testLimitsAllOrNone},
		{"limit under concurrency", testLimitConcurrent},
		{"token and limits", testTokenAndLimits},
		{"spend reads keys", testSpendKeys},
		{"watch", testWatch},
		{"watch ends", testWatchEnds},
		{"reopen", testReopen},
		{"reopen and tokens", testReopenTokens},
		{"a lost reply", testLostReply},
		{"a failing engine", testFailing},
		{"a context that has ended", testContext},
		{"a closed engine", testClosed},
		{"clock and health", testClock},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := open(t)
			t.Cleanup(func() {
				if err := h.Engine.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
			test.run(t, h)
		})
	}
}

// pass lets time go by on the engine's clock.
func (h Harness) pass(d time.Duration) {
	if h.Advance != nil {
		h.Advance(d)
		return
	}
	time.Sleep(d)
}

// now is the engine's clock.
func (h Harness) now(t *testing.T) time.Time {
	t.Helper()
	now, err := h.Engine.Now(t.Context())
	if err != nil {
		t.Fatalf("Now: %v", err)
	}
	return now
}

// commit gives the batch a version if it has none, and fails the test unless the commit succeeds.
func commit(t *testing.T, e storage.Engine, b storage.Batch) storage.Version {
	t.Helper()
	if b.Version == (storage.Version{}) {
		b.Version = storage.NewVersion()
	}
	if err := e.Commit(t.Context(), b); err != nil {
		t.Fatalf("Commit: %v", err)
	}
	return b.Version
}

func put(t *testing.T, e storage.Engine, key storage.Key, value string) storage.Version {
	t.Helper()
	return commit(t, e, storage.Batch{Puts: []storage.Put{{Key: key, Value: []byte(value)}}})
}

// conflict fails the test unless the batch meets a precondition that does not hold.
func conflict(t *testing.T, e storage.Engine, b storage.Batch) {
	t.Helper()
	b.Version = storage.NewVersion()
	if err := e.Commit(t.Context(), b); !errors.Is(err, storage.ErrConflict) {
		t.Fatalf("Commit returned %v, want ErrConflict", err)
	}
}

func get(t *testing.T, e storage.Engine, key storage.Key) storage.Item {
	t.Helper()
	items, err := e.Get(t.Context(), key)
	if err != nil {
		t.Fatalf("Get(%q): %v", key, err)
	}
	if len(items) != 1 {
		t.Fatalf("Get(%q) returned %d items", key, len(items))
	}
	return items[0]
}

// wantItem fails the test unless the key holds the value at the version.
func wantItem(t *testing.T, e storage.Engine, key storage.Key, value string, v storage.Version) {
	t.Helper()
	if item := get(t, e, key); !item.Found || string(item.Value) != value || item.Version != v {
		t.Fatalf("%q is %+v, want %q at %x", key, item, value, v)
	}
}

func wantAbsent(t *testing.T, e storage.Engine, keys ...storage.Key) {
	t.Helper()
	for _, key := range keys {
		if item := get(t, e, key); item.Found || item.Value != nil || item.Version != (storage.Version{}) {
			t.Fatalf("%q is %+v, want it absent", key, item)
		}
	}
}

func add(t *testing.T, e storage.Engine, index string, members ...string) {
	t.Helper()
	commit(t, e, storage.Batch{Adds: entries(index, members...)})
}

func entries(index string, members ...string) (all []storage.Entry) {
	for _, m := range members {
		all = append(all, storage.Entry{Index: index, Member: []byte(m)})
	}
	return all
}

func scan(t *testing.T, e storage.Engine, index string, r storage.Range, p storage.Page) []string {
	t.Helper()
	members, err := e.Scan(t.Context(), index, r, p)
	if err != nil {
		t.Fatalf("Scan(%q, %q, %+v): %v", index, r, p, err)
	}
	got := make([]string, len(members))
	for i, m := range members {
		got[i] = string(m)
	}
	return got
}

func wantScan(t *testing.T, e storage.Engine, index string, r storage.Range, p storage.Page, want ...string) {
	t.Helper()
	if got := scan(t, e, index, r, p); !slices.Equal(got, want) {
		t.Fatalf("Scan(%q, %q, %+v) is %q, want %q", index, r, p, got, want)
	}
}

func wantCount(t *testing.T, e storage.Engine, index string, r storage.Range, want int64) {
	t.Helper()
	if got, err := e.Count(t.Context(), index, r); err != nil || got != want {
		t.Fatalf("Count(%q, %q) is %d, %v; want %d", index, r, got, err, want)
	}
}

// wantRefused fails the test unless err is that of a programming error: none of the three the contract names.
func wantRefused(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: accepted", what)
		return
	}
	for _, named := range []error{storage.ErrConflict, storage.ErrUnknown, storage.ErrUnavailable} {
		if errors.Is(err, named) {
			t.Errorf("%s: %v, want a plain refusal", what, err)
		}
	}
}

// calls is one harmless call of every method that returns an error.
func calls(e storage.Engine, now time.Time) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Get": func(ctx context.Context) error { _, err := e.Get(ctx, "k"); return err },
		"Spend": func(ctx context.Context) error {
			token := storage.Token{Value: []byte("calls"), Made: now, Until: now.Add(time.Hour)}
			_, err := e.Spend(ctx, token, nil, "k")
			return err
		},
		"Commit": func(ctx context.Context) error {
			return e.Commit(ctx, storage.Batch{Version: storage.NewVersion(), Puts: []storage.Put{{Key: "calls"}}})
		},
		"Scan": func(ctx context.Context) error {
			_, err := e.Scan(ctx, "i", storage.Range{}, storage.Page{Limit: 1})
			return err
		},
		"Count":  func(ctx context.Context) error { _, err := e.Count(ctx, "i", storage.Range{}); return err },
		"NextID": func(ctx context.Context) error { _, err := e.NextID(ctx, "s", 1); return err },
		"LiftID": func(ctx context.Context) error { return e.LiftID(ctx, "s", 1) },
		"Now":    func(ctx context.Context) error { _, err := e.Now(ctx); return err },
		"Health": func(ctx context.Context) error { return e.Health(ctx).Err },
	}
}

// number makes members whose order is that of their numbers.
func number(i int) string { return fmt.Sprintf("%06d", i) }
