package embedded

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"go.etcd.io/bbolt"

	"github.com/gatehouse-ca/gatehouse/storage"
)

// A record's envelope is one byte that says which kind, the version, for the second kind the expiry in Unix milliseconds
// (big endian), and the value.
const (
	envelopeLasting  = 1
	envelopeExpiring = 2

	headLasting  = 1 + 16
	headExpiring = headLasting + 8
)

// never is the expiry of a record that is kept.
const never = math.MaxInt64

func seal(v storage.Version, expires int64, value []byte) []byte {
	b := make([]byte, 0, headExpiring+len(value))
	if expires == never {
		b = append(append(b, envelopeLasting), v[:]...)
	} else {
		b = append(append(b, envelopeExpiring), v[:]...)
		b = binary.BigEndian.AppendUint64(b, uint64(expires))
	}
	return append(b, value...)
}

// unseal returns a value inside b.
func unseal(b []byte) (v storage.Version, expires int64, value []byte, err error) {
	switch {
	case len(b) >= headLasting && b[0] == envelopeLasting:
		return storage.Version(b[1:headLasting]), never, b[headLasting:], nil
	case len(b) >= headExpiring && b[0] == envelopeExpiring:
		expires = int64(binary.BigEndian.Uint64(b[headLasting:headExpiring]))
		return storage.Version(b[1:headLasting]), expires, b[headExpiring:], nil
	}
	return v, 0, nil, fmt.Errorf("a stored record of %d bytes is damaged", len(b))
}

// lookup finds a live record. Its value lies in the file's pages and must not outlive the transaction.
func lookup(records *bbolt.Bucket, key []byte, now int64) (storage.Item, error) {
	envelope := records.Get(key)
	if envelope == nil {
		return storage.Item{}, nil
	}
	v, expires, value, err := unseal(envelope)
	if err != nil {
		return storage.Item{}, unavailable(fmt.Errorf("key %q: %w", key, err))
	}
	if expires <= now {
		return storage.Item{}, nil
	}
	return storage.Item{Found: true, Value: value, Version: v}, nil
}

// Get reads all keys in one transaction.
func (e *Engine) Get(ctx context.Context, keys ...storage.Key) ([]storage.Item, error) {
	for _, k := range keys {
		if err := checkKey(k); err != nil {
			return nil, err
		}
	}
	var items []storage.Item
	err := e.view(ctx, func(r *read) (err error) {
		items, err = r.get(keys)
		return err
	})
	if err != nil {
		return nil, err
	}
	return items, nil
}

func (r *read) get(keys []storage.Key) ([]storage.Item, error) {
	items := make([]storage.Item, len(keys))
	records := r.tx.Bucket(bucketRecords)
	for i, k := range keys {
		item, err := lookup(records, []byte(k), r.now)
		if err != nil {
			return nil, err
		}
		if item.Found {
			item.Value = append([]byte{}, item.Value...)
		}
		items[i] = item
	}
	return items, nil
}

// put writes a record and moves its expiry.
func (w *write) put(r record) error {
	w.dirty = true
	if err := w.forget(r.key, r.expires); err != nil {
		return err
	}
	if r.expires != never {
		if err := w.expiry.Put(expiryKey(r.expires, r.key), []byte{}); err != nil {
			return err
		}
	}
	return w.records.Put(r.key, r.envelope)
}

// delete removes a record, if there is one, and its expiry.
func (w *write) delete(key []byte) error {
	if w.records.Get(key) == nil {
		return nil
	}
	w.dirty = true
	if err := w.forget(key, never); err != nil {
		return err
	}
	return w.records.Delete(key)
}

// forget removes the expiry that the key has now, unless it is to stay what it is.
func (w *write) forget(key []byte, next int64) error {
	envelope := w.records.Get(key)
	if envelope == nil {
		return nil
	}
	_, expires, _, err := unseal(envelope)
	if err != nil {
		return fmt.Errorf("key %q: %w", key, err)
	}
	if expires == never || expires == next {
		return nil
	}
	return w.expiry.Delete(expiryKey(expires, key))
}

// expiryKey sorts by time, those before 1970 included.
func expiryKey(expires int64, key []byte) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(key)), uint64(expires)^1<<63)
	return append(b, key...)
}

func splitExpiryKey(b []byte) (expires int64, key []byte) {
	return int64(binary.BigEndian.Uint64(b) ^ 1<<63), b[8:]
}

// sweep deletes up to limit records that have expired, and says whether that was the limit.
func (w *write) sweep(limit int) (more bool, err error) {
	var due [][]byte
	c := w.expiry.Cursor()
	for k, _ := c.First(); k != nil && len(due) < limit; k, _ = c.Next() {
		if expires, _ := splitExpiryKey(k); expires > w.now {
			break
		}
		due = append(due, bytes.Clone(k)) // deleting under a cursor would make it skip
	}
	for _, k := range due {
		_, key := splitExpiryKey(k)
		if err := w.delete(key); err != nil {
			return false, err
		}
	}
	return len(due) == limit, nil
}

// due says whether a record has expired that is not gone yet.
func (r *read) due() bool {
	k, _ := r.tx.Bucket(bucketExpiry).Cursor().First()
	if k == nil {
		return false
	}
	expires, _ := splitExpiryKey(k)
	return expires <= r.now
}
