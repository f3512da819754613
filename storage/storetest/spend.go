package storetest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/storage"
)

// token makes one that lives an hour. The engine may have started this very moment, and a token must be younger.
func token(t *testing.T, h Harness, value string) storage.Token {
	t.Helper()
	now := h.now(t)
	return storage.Token{Value: []byte(value), Made: now.Add(time.Millisecond), Until: now.Add(time.Hour)}
}

func spend(t *testing.T, e storage.Engine, token storage.Token, limits ...storage.Limit) storage.Spent {
	t.Helper()
	spent, err := e.Spend(t.Context(), token, limits)
	if err != nil {
		t.Fatalf("Spend: %v", err)
	}
	if spent.Limited < 0 && spent.RetryAfter != 0 || spent.Limited >= 0 && spent.RetryAfter <= 0 || spent.Limited >= len(limits) {
		t.Fatalf("Spend returned %+v", spent)
	}
	return spent
}

func granted(t *testing.T, e storage.Engine, limits ...storage.Limit) {
	t.Helper()
	if spent := spend(t, e, storage.Token{}, limits...); !spent.Fresh || spent.Limited != -1 {
		t.Fatalf("Spend(%+v) is %+v, want it granted", limits, spent)
	}
}

// limited wants a refusal by the limit at position at, for a wait within a second below wait: time goes by on an engine
// with a clock of its own.
func limited(t *testing.T, e storage.Engine, at int, wait time.Duration, limits ...storage.Limit) {
	t.Helper()
	spent := spend(t, e, storage.Token{}, limits...)
	if !spent.Fresh || spent.Limited != at || spent.RetryAfter > wait || spent.RetryAfter <= wait-time.Second {
		t.Fatalf("Spend(%+v) is %+v, want it refused by %d for %s", limits, spent, at, wait)
	}
}

func testToken(t *testing.T, h Harness) {
	e := h.Engine
	one, other := token(t, h, "one"), token(t, h, "other\x00\xff")
	for i, step := range []struct {
		token storage.Token
		fresh bool
	}{{one, true}, {one, false}, {other, true}, {one, false}, {other, false}, {storage.Token{}, true}, {storage.Token{}, true}} {
		if spent := spend(t, e, step.token); spent.Fresh != step.fresh || spent.Limited != -1 || len(spent.Items) != 0 {
			t.Errorf("step %d: %+v, want fresh %v", i, spent, step.fresh)
		}
	}
	h.pass(2 * time.Second)
	if spend(t, e, one).Fresh {
		t.Error("a token was accepted again a little later")
	}
}

func testTokenConcurrent(t *testing.T, h Harness) {
	var once, each atomic.Int64
	shared := token(t, h, "shared")
	var own [100]storage.Token
	for i := range own {
		own[i] = token(t, h, "own "+number(i))
	}
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range own {
		all.Go(func() {
			<-start
			for token, count := range map[*storage.Token]*atomic.Int64{&shared: &once, &own[i]: &each} {
				spent, err := h.Engine.Spend(t.Context(), *token, nil)
				if err != nil {
					t.Errorf("Spend: %v", err)
				}
				if spent.Fresh {
					count.Add(1)
				}
			}
		})
	}
	close(start)
	all.Wait()
	if once.Load() != 1 || each.Load() != 100 {
		t.Errorf("one token was accepted %d times, of 100 tokens %d were", once.Load(), each.Load())
	}
}

// A token past its Until may have been used and forgotten, so it is not fresh.
func testTokenOver(t *testing.T, h Harness) {
	short := token(t, h, "short")
	short.Until = h.now(t).Add(2 * time.Second)
	if !spend(t, h.Engine, short).Fresh {
		t.Fatal("a new token was refused")
	}
	unused := token(t, h, "unused")
	unused.Until = short.Until
	h.pass(3 * time.Second)
	for _, over := range []storage.Token{short, unused} {
		if spent := spend(t, h.Engine, over, storage.Limit{Key: "l", Interval: time.Hour, Burst: 1, Cost: 1}); spent.Fresh || spent.Limited != -1 {
			t.Errorf("a token that is over: %+v", spent)
		}
	}
	granted(t, h.Engine, storage.Limit{Key: "l", Interval: time.Hour, Burst: 1, Cost: 1})
}

func testLimit(t *testing.T, h Harness) {
	e := h.Engine
	limit := storage.Limit{Key: "l", Interval: time.Hour, Burst: 3, Cost: 1}
	for range 3 {
		granted(t, e, limit)
	}
	for range 2 { // a refusal takes nothing
		limited(t, e, 0, time.Hour, limit)
	}
	limit.Key = "another"
	granted(t, e, limit)
	granted(t, e) // no limits at all
}

func testLimitRefill(t *testing.T, h Harness) {
	e := h.Engine
	limit := storage.Limit{Key: "l", Interval: 2 * time.Second, Burst: 2, Cost: 1}
	granted(t, e, limit)
	granted(t, e, limit)
	limited(t, e, 0, 2*time.Second, limit)
	h.pass(2 * time.Second)
	granted(t, e, limit)
	limited(t, e, 0, 2*time.Second, limit)
	h.pass(8 * time.Second) // at rest, and no more than the burst
	granted(t, e, limit)
	granted(t, e, limit)
	limited(t, e, 0, 2*time.Second, limit)
}

func testLimitCost(t *testing.T, h Harness) {
	e := h.Engine
	cost := func(n int) storage.Limit {
		return storage.Limit{Key: "l", Interval: time.Hour, Burst: 10, Cost: n}
	}
	limited(t, e, 0, time.Hour, cost(11)) // never granted; takes nothing
	granted(t, e, cost(7))
	limited(t, e, 0, time.Hour, cost(4))
	granted(t, e, cost(0))
	granted(t, e, cost(3))
	limited(t, e, 0, 5*time.Hour, cost(5))
	granted(t, e, cost(0))
	limited(t, e, 0, 11*time.Hour, cost(11))
}

func testLimitsAllOrNone(t *testing.T, h Harness) {
	e := h.Engine
	tight := storage.Limit{Key: "tight", Interval: time.Hour, Burst: 1, Cost: 1}
	wide := storage.Limit{Key: "wide", Interval: time.Minute, Burst: 5, Cost: 1}
	granted(t, e, wide, tight)
	for range 10 {
		limited(t, e, 1, time.Hour, wide, tight)
		limited(t, e, 0, time.Hour, tight, wide)
	}
	for range 4 { // the refusals took nothing from wide
		granted(t, e, wide)
	}
	limited(t, e, 0, time.Minute, wide)
	limited(t, e, 1, time.Hour, wide, tight) // the longest wait counts
	limited(t, e, 0, time.Hour, tight, wide)
}

func testLimitConcurrent(t *testing.T, h Harness) {
	var passed atomic.Int64
	var all sync.WaitGroup
	for range 60 {
		all.Go(func() {
			spent, err := h.Engine.Spend(t.Context(), storage.Token{}, []storage.Limit{{Key: "l", Interval: time.Hour, Burst: 10, Cost: 1}})
			if err != nil {
				t.Errorf("Spend: %v", err)
			} else if spent.Limited < 0 {
				passed.Add(1)
			}
		})
	}
	all.Wait()
	if passed.Load() != 10 {
		t.Errorf("%d of 60 passed a limit of 10", passed.Load())
	}
}

// A used token takes from no limit; a token that a limit refused is used up.
func testTokenAndLimits(t *testing.T, h Harness) {
	e := h.Engine
	limit := storage.Limit{Key: "l", Interval: time.Hour, Burst: 2, Cost: 1}
	a, b, c := token(t, h, "a"), token(t, h, "b"), token(t, h, "c")
	for i := range 10 {
		if spent := spend(t, e, a, limit); spent.Fresh != (i == 0) || spent.Limited != -1 {
			t.Fatalf("use %d of one token: %+v", i, spent)
		}
	}
	if spent := spend(t, e, b, limit); !spent.Fresh || spent.Limited != -1 {
		t.Fatalf("a used token took from the limit: %+v", spent)
	}
	if spent := spend(t, e, c, limit); !spent.Fresh || spent.Limited != 0 {
		t.Fatalf("the limit granted three of two: %+v", spent)
	}
	if spent := spend(t, e, c, limit); spent.Fresh || spent.Limited != -1 {
		t.Fatalf("a token that a limit refused: %+v", spent)
	}
}

// The keys are read whatever becomes of token and limits.
func testSpendKeys(t *testing.T, h Harness) {
	e := h.Engine
	v := put(t, e, "k", "v")
	commit(t, e, storage.Batch{Puts: []storage.Put{{Key: "gone", Value: []byte("x"), Expires: h.now(t).Add(time.Second)}}})
	h.pass(2 * time.Second)
	one := token(t, h, "one")
	limit := storage.Limit{Key: "l", Interval: time.Hour, Burst: 1, Cost: 1}
	for i, step := range []storage.Token{one, one, token(t, h, "limited"), {}} {
		spent, err := e.Spend(t.Context(), step, []storage.Limit{limit}, "k", "none", "gone", "k")
		if err != nil || len(spent.Items) != 4 {
			t.Fatalf("step %d: %+v, %v", i, spent, err)
		}
		for at, want := range []string{"v", "", "", "v"} {
			item := spent.Items[at]
			if item.Found != (want != "") || string(item.Value) != want || item.Found && item.Version != v {
				t.Errorf("step %d, key %d: %+v", i, at, item)
			}
		}
		if outcome := fmt.Sprint(spent.Fresh, spent.Limited); outcome != []string{"true -1", "false -1", "true 0", "true 0"}[i] {
			t.Errorf("step %d: %s", i, outcome)
		}
	}
}
