package redis

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/gatehouse-ca/gatehouse/storage"
)

// Spend is one script: mark, limits and records, by the server's clock.
func (e *Engine) Spend(ctx context.Context, token storage.Token, limits []storage.Limit, keys ...storage.Key) (storage.Spent, error) {
	if err := checkSpend(token, limits, keys); err != nil {
		return storage.Spent{}, err
	}
	names := make([]string, 0, 2+len(limits)+len(keys))
	names = append(names, e.keys.history(), e.keys.token(token.Value))
	args := make([]any, 0, 4+2*len(limits))
	if len(token.Value) > 0 {
		// The mark lives a little longer than the token, never shorter.
		args = append(args, token.Made.UnixMicro(), token.Until.UnixMicro(), expiry(token.Until.Add(time.Millisecond)))
	} else {
		args = append(args, "", "", "")
	}
	args = append(args, len(limits))
	for _, l := range limits {
		names = append(names, e.keys.limit(l.Key))
		args = append(args, micros(l.Burst, l.Interval), micros(l.Cost, l.Interval))
	}
	values, err := e.read(ctx, scriptSpend, e.keys.records(keys, names), args...)
	if err != nil {
		return storage.Spent{}, err
	}
	return spent(keys, values)
}

func spent(keys []storage.Key, values []any) (s storage.Spent, err error) {
	var n [3]int64
	for i := range n {
		var ok bool
		if i >= len(values) {
			break
		}
		if n[i], ok = values[i].(int64); !ok {
			return storage.Spent{}, fmt.Errorf("%w: spending answered %v", storage.ErrUnavailable, values)
		}
	}
	if s.Items, err = items(keys, values[min(len(n), len(values)):]); err != nil {
		return storage.Spent{}, err
	}
	s.Fresh, s.Limited, s.RetryAfter = n[0] == 1, int(n[1]), time.Duration(n[2])*time.Microsecond
	return s, nil
}

// micros is n intervals in microseconds, the server's unit, rounded up.
func micros(n int, interval time.Duration) int64 {
	return (int64(n)*int64(interval) + 999) / 1000
}

func checkSpend(token storage.Token, limits []storage.Limit, keys []storage.Key) error {
	if len(token.Value) > maxToken {
		return fmt.Errorf("storage: a token has at most %d octets, not %d", maxToken, len(token.Value))
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
	return checkKeys(keys)
}
