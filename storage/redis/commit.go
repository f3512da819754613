package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/gatehouse-ca/gatehouse/storage"
)

// Commit applies the batch by one script. See the package comment for what it returns when replicas are missing.
func (e *Engine) Commit(ctx context.Context, b storage.Batch) error {
	r, err := e.encode(b)
	if err != nil {
		return err
	}
	a, err := e.call(ctx, r)
	switch {
	case errors.Is(err, storage.ErrUnknown):
		if e.cfg.MinReplicas > 0 {
			e.doubt.raise()
		}
		return err
	case err != nil:
		return err
	case a.code == codeConflict:
		return storage.ErrConflict
	case a.short != nil:
		e.publishDoubt(ctx)
		return unknown(a.short)
	}
	count, ok := a.values[0].(int64)
	if !ok || !e.reached(a.from, count) {
		return unknown(errReplaced)
	}
	return nil
}

var wants = map[storage.Want]string{storage.Absent: "a", storage.Present: "p", storage.Equals: "e"}

// encode lays the batch out as scriptCommit expects it.
func (e *Engine) encode(b storage.Batch) (request, error) {
	if err := checkBatch(b); err != nil {
		return request{}, err
	}
	keys := make([]string, 0, 2+len(b.Conditions)+len(b.Puts)+len(b.Deletes)+4)
	keys = append(keys, e.keys.epoch(), e.keys.commits())
	args := make([]any, 0, 6+2*(len(b.Conditions)+len(b.Puts)+len(b.Removes)+len(b.Adds)))
	args = append(args, len(b.Conditions), len(b.Puts), len(b.Deletes), 0, len(b.Removes), len(b.Adds))
	for _, c := range b.Conditions {
		keys = append(keys, e.keys.record(c.Key))
		args = append(args, wants[c.Want], c.Version[:])
	}
	for _, p := range b.Puts {
		keys = append(keys, e.keys.record(p.Key))
		args = append(args, slices.Concat(b.Version[:], p.Value), expiry(p.Expires))
	}
	keys = e.keys.records(b.Deletes, keys)
	var indexes []string // few: looking through them is faster than a map
	for _, entries := range [][]storage.Entry{b.Removes, b.Adds} {
		for _, entry := range entries {
			at := slices.Index(indexes, entry.Index)
			if at < 0 {
				at = len(indexes)
				indexes = append(indexes, entry.Index)
				keys = append(keys, e.keys.index(entry.Index))
			}
			args = append(args, at+1, entry.Member)
		}
	}
	args[3] = len(indexes)
	return request{script: scriptCommit, keys: keys, args: args, replicate: true, lost: unknown}, nil
}

// expiry is the time in Unix milliseconds, within what Redis takes: a time before 1970 is as good as 1970.
func expiry(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	const last = 1 << 52 // the year 144,683
	ms := min(max(t.Unix(), 0), last/1000)*1000 + int64(t.Nanosecond())/1e6
	return strconv.FormatInt(max(ms, 1), 10)
}

func checkBatch(b storage.Batch) error {
	if b.Version == (storage.Version{}) {
		return errors.New("storage: a batch needs a version")
	}
	for _, c := range b.Conditions {
		if wants[c.Want] == "" {
			return fmt.Errorf("storage: unknown condition %d on %q", c.Want, c.Key)
		}
		if err := checkKey(c.Key); err != nil {
			return err
		}
	}
	for _, entries := range [][]storage.Entry{b.Adds, b.Removes} {
		for _, entry := range entries {
			if err := checkEntry(entry); err != nil {
				return err
			}
		}
	}
	return checkWrites(b)
}

func checkWrites(b storage.Batch) error {
	written := make(map[storage.Key]struct{}, len(b.Puts)+len(b.Deletes))
	check := func(key storage.Key) error {
		if _, twice := written[key]; twice {
			return fmt.Errorf("storage: a batch writes %q twice", key)
		}
		written[key] = struct{}{}
		return checkKey(key)
	}
	for _, p := range b.Puts {
		if err := check(p.Key); err != nil {
			return err
		}
	}
	for _, key := range b.Deletes {
		if err := check(key); err != nil {
			return err
		}
	}
	return nil
}
