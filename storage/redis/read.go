package redis

import (
	"context"
	"errors"
	"fmt"

	"github.com/gatehouse-ca/gatehouse/storage"
)

// Get reads all keys at one moment.
func (e *Engine) Get(ctx context.Context, keys ...storage.Key) ([]storage.Item, error) {
	if err := checkKeys(keys); err != nil {
		return nil, err
	}
	values, err := e.read(ctx, scriptGet, e.keys.records(keys, nil))
	if err != nil {
		return nil, err
	}
	return items(keys, values)
}

// Scan lists a page by rank: O(log n) for the place, whatever the offset, and one step for each member of the page.
func (e *Engine) Scan(ctx context.Context, index string, r storage.Range, p storage.Page) ([][]byte, error) {
	switch {
	case p.Limit < 1 || p.Limit > maxPage:
		return nil, fmt.Errorf("storage: a page has 1 to %d members, not %d", maxPage, p.Limit)
	case p.Offset < 0:
		return nil, fmt.Errorf("storage: an offset of %d", p.Offset)
	case p.Offset > 0 && p.After != nil:
		return nil, errors.New("storage: After and Offset exclude each other")
	}
	if err := checkName("an index", index); err != nil {
		return nil, err
	}
	from, to := edges(r)
	reverse, after := "0", ""
	if p.After != nil {
		after = "[" + string(p.After) // counts the member itself: the page begins behind it
	}
	if p.Reverse {
		reverse = "1"
		if p.After != nil {
			after = "(" + string(p.After)
		}
	}
	values, err := e.read(ctx, scriptScan, []string{e.keys.index(index)}, from, to, p.Offset, p.Limit, reverse, after)
	if err != nil {
		return nil, err
	}
	members := make([][]byte, 0, len(values))
	for _, value := range values {
		member, ok := value.(string)
		if !ok {
			return nil, fmt.Errorf("storage: index %q holds %v", index, value)
		}
		members = append(members, []byte(member))
	}
	return members, nil
}

// Count is O(1) for the open range and O(log n) for any other.
func (e *Engine) Count(ctx context.Context, index string, r storage.Range) (int64, error) {
	if err := checkName("an index", index); err != nil {
		return 0, err
	}
	from, to := edges(r)
	values, err := e.read(ctx, scriptCount, []string{e.keys.index(index)}, from, to)
	if err != nil {
		return 0, err
	}
	n, ok := values[0].(int64)
	if !ok {
		return 0, fmt.Errorf("storage: the count of %q is %v", index, values[0])
	}
	return n, nil
}

// edges names both ends of a range by what lies in front of them: "-" is the beginning, "+" the end.
func edges(r storage.Range) (from, to string) {
	from, to = "-", "+"
	if r.From != nil {
		from = "(" + string(r.From)
	}
	if r.To != nil {
		to = "(" + string(r.To)
	}
	return from, to
}

// read runs a script that reads, and returns what it read if that is safe to act on.
func (e *Engine) read(ctx context.Context, s *script, keys []string, args ...any) ([]any, error) {
	keys = append([]string{e.keys.epoch(), e.keys.doubt()}, keys...)
	a, err := e.call(ctx, request{script: s, keys: keys, args: args})
	if err != nil {
		return nil, err
	}
	return e.undoubted(ctx, a)
}

// items decodes records: 16 octets of version, then the value.
func items(keys []storage.Key, values []any) ([]storage.Item, error) {
	if len(values) != len(keys) {
		return nil, fmt.Errorf("%w: %d records for %d keys", storage.ErrUnavailable, len(values), len(keys))
	}
	items := make([]storage.Item, len(keys))
	for i, value := range values {
		if value == nil {
			continue
		}
		record, _ := value.(string)
		item := &items[i]
		if len(record) < len(item.Version) {
			return nil, fmt.Errorf("storage: record %q is damaged", keys[i])
		}
		item.Found = true
		item.Value = []byte(record[copy(item.Version[:], record):])
	}
	return items, nil
}
