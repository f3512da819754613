package embedded

import (
	"context"
	"fmt"
	"hash/maphash"
	"math"
	"sync"
	"time"

	"github.com/gatehouse-ca/gatehouse/storage"
)

// Spend reads the keys before it marks the token, so that a store that cannot be read uses nothing up.
func (e *Engine) Spend(ctx context.Context, token storage.Token, limits []storage.Limit, keys ...storage.Key) (storage.Spent, error) {
	if err := checkSpend(token, limits); err != nil {
		return storage.Spent{}, err
	}
	items, err := e.spendKeys(ctx, keys)
	if err != nil {
		return storage.Spent{}, err
	}
	spent := storage.Spent{Fresh: true, Limited: -1, Items: items}
	now := e.now()
	if len(token.Value) > 0 {
		// A token of the process before this one may have been used there.
		spent.Fresh = token.Made.After(e.started) && token.Until.After(now) && e.ledger.mark(token)
	}
	if spent.Fresh {
		spent.Limited, spent.RetryAfter = e.ledger.take(limits, now)
	}
	return spent, nil
}

func (e *Engine) spendKeys(ctx context.Context, keys []storage.Key) ([]storage.Item, error) {
	if len(keys) == 0 {
		return nil, e.open(ctx)
	}
	return e.Get(ctx, keys...)
}

func checkSpend(token storage.Token, limits []storage.Limit) error {
	if len(token.Value) > maxToken {
		return fmt.Errorf("storage: a token has at most %d bytes, not %d", maxToken, len(token.Value))
	}
	for i, l := range limits {
		if err := checkKey(l.Key); err != nil {
			return err
		}
		if l.Interval <= 0 || l.Burst < 1 || l.Cost < 0 {
			return fmt.Errorf("storage: limit %q: interval %s, burst %d, cost %d", l.Key, l.Interval, l.Burst, l.Cost)
		}
		if int64(max(l.Burst, l.Cost)) > math.MaxInt64/4/int64(l.Interval) {
			return fmt.Errorf("storage: limit %q: %d times %s is too long", l.Key, max(l.Burst, l.Cost), l.Interval)
		}
		for _, other := range limits[:i] {
			if other.Key == l.Key {
				return fmt.Errorf("storage: limit %q is named twice", l.Key)
			}
		}
	}
	return nil
}

// ledger keeps marks and limits in memory, by the 64-bit hash of their names under a secret seed: two names share an
// entry with a chance of 2^-64, and then a good token is refused or two limits are one; a used token is never accepted.
//
// Memory is bounded by what is live: a mark until its token expires, a limit until it is at rest again. Both are swept by
// time, at some 40 bytes each; the peak's memory is given back.
type ledger struct {
	seed  maphash.Seed
	marks [32]table // Unix nanoseconds until which the mark is needed

	// One lock over all limits makes "all or none" simple. It is held for less than a microsecond.
	limits table // theoretical arrival time, Unix nanoseconds
}

// table maps hashes to the time after which they may be forgotten.
type table struct {
	mu   sync.Mutex
	m    map[uint64]int64
	peak int
}

func newLedger() *ledger {
	l := &ledger{seed: maphash.MakeSeed()}
	for i := range l.marks {
		l.marks[i].m = make(map[uint64]int64)
	}
	l.limits.m = make(map[uint64]int64)
	return l
}

// mark returns false if the token is marked already.
func (l *ledger) mark(token storage.Token) bool {
	h := maphash.Bytes(l.seed, token.Value)
	t := &l.marks[h%uint64(len(l.marks))]
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, used := t.m[h]; used {
		return false
	}
	t.m[h] = token.Until.UnixNano()
	t.peak = max(t.peak, len(t.m))
	return true
}

// take is the generic cell rate algorithm. A limit's theoretical arrival time is when it will be at rest; taking moves it
// by Interval for each unit, and is granted while it stays within Burst intervals of now.
func (l *ledger) take(limits []storage.Limit, now time.Time) (limited int, wait time.Duration) {
	limited = -1
	if len(limits) == 0 {
		return limited, 0
	}
	moved := make([]int64, len(limits))
	hashes := make([]uint64, len(limits))
	t := &l.limits
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, limit := range limits {
		hashes[i] = maphash.String(l.seed, string(limit.Key))
		moved[i] = max(t.m[hashes[i]], now.UnixNano()) + int64(limit.Interval)*int64(limit.Cost)
		excess := time.Duration(moved[i] - now.UnixNano() - int64(limit.Interval)*int64(limit.Burst))
		if excess > 0 && excess > wait {
			limited, wait = i, excess
		}
	}
	if limited >= 0 {
		return limited, wait
	}
	for i, h := range hashes {
		t.m[h] = moved[i]
	}
	t.peak = max(t.peak, len(t.m))
	return limited, 0
}

// sweep forgets what time has made meaningless, one table at a time.
func (l *ledger) sweep(now time.Time) {
	for i := range l.marks {
		l.marks[i].sweep(now.UnixNano())
	}
	l.limits.sweep(now.UnixNano())
}

func (t *table) sweep(now int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for h, until := range t.m {
		if until <= now {
			delete(t.m, h)
		}
	}
	if t.peak > 1024 && len(t.m) < t.peak/4 { // a map never shrinks by itself
		m := make(map[uint64]int64, len(t.m))
		for h, until := range t.m {
			m[h] = until
		}
		t.m, t.peak = m, len(m)
	}
}
