package embedded

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/gatehouse-ca/gatehouse/storage"
)

// Sizes this engine refuses to exceed. The first two are the contract's; a value that large is a mistake.
const (
	maxName  = 512      // keys, index names, members, sequence names
	maxToken = 64       // see storage.Token
	maxValue = 64 << 20 // one record
)

// write is the transaction of one group. Each job sees what the jobs before it wrote.
type write struct {
	tx        *bbolt.Tx
	now       int64 // Unix milliseconds
	records   *bbolt.Bucket
	expiry    *bbolt.Bucket
	index     *bbolt.Bucket
	sequences *bbolt.Bucket
	dirty     bool // something was written
}

// fillPercent is how full bbolt leaves the first half of a page it splits. Many keys come in order, where a half-full page
// stays so; measured on a mix of ordered and random keys, 0.8 makes the file a fifth smaller than bbolt's 0.5.
const fillPercent = 0.8

func begin(tx *bbolt.Tx, now int64) *write {
	w := &write{
		tx: tx, now: now,
		records: tx.Bucket(bucketRecords), expiry: tx.Bucket(bucketExpiry),
		index: tx.Bucket(bucketIndex), sequences: tx.Bucket(bucketSequences),
	}
	for _, b := range []*bbolt.Bucket{w.records, w.expiry, w.index} {
		b.FillPercent = fillPercent
	}
	return w
}

// Commit queues the batch for the next synced transaction.
func (e *Engine) Commit(ctx context.Context, b storage.Batch) error {
	c, err := compile(b)
	if err != nil {
		return err
	}
	return e.submit(ctx, c.apply)
}

// change is a checked batch in the form it is written, holding copies of everything: the caller may go away while the
// committer still works on it.
type change struct {
	conditions []storage.Condition
	puts       []record
	deletes    [][]byte
	adds       []member
	removes    []member
}

type record struct {
	key, envelope []byte
	expires       int64
}

func compile(b storage.Batch) (*change, error) {
	if b.Version == (storage.Version{}) {
		return nil, errors.New("storage: a batch needs a version")
	}
	c := &change{conditions: slices.Clone(b.Conditions)}
	for _, cond := range b.Conditions {
		if err := checkKey(cond.Key); err != nil {
			return nil, err
		}
		if cond.Want < storage.Absent || cond.Want > storage.Equals {
			return nil, fmt.Errorf("storage: unknown condition %d on %q", cond.Want, cond.Key)
		}
	}
	if err := c.compileRecords(b); err != nil {
		return nil, err
	}
	var err error
	if c.removes, err = compileEntries(b.Removes); err != nil {
		return nil, err
	}
	c.adds, err = compileEntries(b.Adds)
	return c, err
}

func (c *change) compileRecords(b storage.Batch) error {
	named := make(map[storage.Key]bool, len(b.Puts)+len(b.Deletes))
	name := func(k storage.Key) error {
		if err := checkKey(k); err != nil {
			return err
		}
		if named[k] {
			return fmt.Errorf("storage: a batch names %q twice", k)
		}
		named[k] = true
		return nil
	}
	for _, p := range b.Puts {
		if err := name(p.Key); err != nil {
			return err
		}
		if len(p.Value) > maxValue {
			return fmt.Errorf("storage: the value of %q has %d bytes, at most %d are kept", p.Key, len(p.Value), maxValue)
		}
		expires := int64(never)
		if !p.Expires.IsZero() {
			expires = p.Expires.UnixMilli()
		}
		c.puts = append(c.puts, record{[]byte(p.Key), seal(b.Version, expires, p.Value), expires})
	}
	for _, k := range b.Deletes {
		if err := name(k); err != nil {
			return err
		}
		c.deletes = append(c.deletes, []byte(k))
	}
	return nil
}

func compileEntries(entries []storage.Entry) ([]member, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	members := make([]member, len(entries))
	for i, entry := range entries {
		if err := checkIndex(entry.Index, entry.Member); err != nil {
			return nil, err
		}
		members[i] = newMember(entry.Index, entry.Member)
	}
	return members, nil
}

// apply judges every condition before it writes anything.
func (c *change) apply(w *write) error {
	for _, cond := range c.conditions {
		if err := w.hold(cond); err != nil {
			return err
		}
	}
	for _, m := range c.removes {
		if err := w.remove(m); err != nil {
			return err
		}
	}
	for _, m := range c.adds {
		if err := w.add(m); err != nil {
			return err
		}
	}
	for _, r := range c.puts {
		if err := w.put(r); err != nil {
			return err
		}
	}
	for _, k := range c.deletes {
		if err := w.delete(k); err != nil {
			return err
		}
	}
	return nil
}

// hold returns ErrConflict if the condition does not hold.
func (w *write) hold(c storage.Condition) error {
	item, err := lookup(w.records, []byte(c.Key), w.now)
	if err != nil {
		return err
	}
	var ok bool
	switch c.Want {
	case storage.Absent:
		ok = !item.Found
	case storage.Present:
		ok = item.Found
	case storage.Equals:
		ok = item.Found && item.Version == c.Version
	}
	if !ok {
		return fmt.Errorf("%w: key %q", storage.ErrConflict, c.Key)
	}
	return nil
}

func checkKey(k storage.Key) error {
	if len(k) == 0 || len(k) > maxName {
		return fmt.Errorf("storage: a key has 1 to %d bytes, not %d", maxName, len(k))
	}
	return nil
}

func checkIndex(index string, member []byte) error {
	if len(index) == 0 || len(index) > maxName {
		return fmt.Errorf("storage: an index name has 1 to %d bytes, not %d", maxName, len(index))
	}
	if len(member) > maxName {
		return fmt.Errorf("storage: a member of index %q has %d bytes, at most %d are kept", index, len(member), maxName)
	}
	return nil
}
