package embedded

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"
)

// An index lies in one bucket under a prefix of its own: two bytes of length, the name, and a byte that separates its
// blocks from its members.
//
//	prefix 0 separator → count        members m with separator <= m < next separator
//	prefix 0           → count total  the first block, whose separator is empty; total is of the whole index
//	prefix 1 member    → nothing
//
// Blocks make a rank cheap: counting or skipping members reads one short entry per block instead of every member. A small
// index has one block, which lies on the same page as its members, so keeping the counts costs no extra page.
const (
	kindBlock  = 0
	kindMember = 1
	kindEnd    = 2 // sorts behind all members

	// blockLimit is the most members a block has. Small blocks make a long directory, large ones much to count at the two
	// ends of a range: at a million members a rank reads about a thousand blocks and up to a thousand members.
	blockLimit = 1024
)

// member is one entry of an index, with the keys it needs made outside the committer.
type member struct {
	index string
	key   []byte // prefix 1 member
	block []byte // prefix 0 member
}

func newMember(index string, m []byte) member {
	return member{index: index, key: indexKey(index, kindMember, m), block: indexKey(index, kindBlock, m)}
}

func indexKey(index string, kind byte, rest []byte) []byte {
	b := make([]byte, 0, prefixLen(index)+len(rest))
	b = binary.BigEndian.AppendUint16(b, uint16(len(index)))
	b = append(append(b, index...), kind)
	return append(b, rest...)
}

func prefixLen(index string) int { return 2 + len(index) + 1 }

// block is one entry of the directory of blocks.
type block struct {
	key   []byte
	first bool
	count int64
	total int64 // of the index; only in the first block
}

func readBlock(k, v []byte, index string) (block, error) {
	b := block{key: k, first: len(k) == prefixLen(index)}
	switch {
	case b.first && len(v) == 16:
		b.total = int64(binary.BigEndian.Uint64(v[8:]))
	case !b.first && len(v) == 8:
	default:
		return b, fmt.Errorf("index %q: a block of members is damaged", index)
	}
	b.count = int64(binary.BigEndian.Uint64(v))
	return b, nil
}

func (b block) separator(index string) []byte { return b.key[prefixLen(index):] }

func (w *write) putBlock(b block) error {
	v := binary.BigEndian.AppendUint64(make([]byte, 0, 16), uint64(b.count))
	if b.first {
		v = binary.BigEndian.AppendUint64(v, uint64(b.total))
	}
	return w.index.Put(b.key, v)
}

var errNoBlock = errors.New("an index has no block for its member")

// blockOf finds the block a member belongs to. errNoBlock: there is no such index.
func (w *write) blockOf(m member) (block, error) {
	prefix := m.block[:prefixLen(m.index)]
	c := w.index.Cursor()
	k, v := c.Seek(m.block)
	if !bytes.Equal(k, m.block) {
		k, v = c.Prev()
	}
	if !bytes.HasPrefix(k, prefix) {
		// Prev gives nothing when it meets a page that this transaction has emptied, or there is no such index.
		k, v = lastUpTo(c, prefix, m.block)
	}
	if k == nil {
		return block{}, errNoBlock
	}
	b, err := readBlock(k, v, m.index)
	b.key = bytes.Clone(b.key)
	return b, err
}

// lastUpTo finds the last key with the prefix that is at most bound, coming from the front.
func lastUpTo(c *bbolt.Cursor, prefix, bound []byte) (k, v []byte) {
	for nk, nv := c.Seek(prefix); bytes.HasPrefix(nk, prefix) && bytes.Compare(nk, bound) <= 0; nk, nv = c.Next() {
		k, v = nk, nv
	}
	return k, v
}

// count changes the member's block and the index's total.
func (w *write) count(m member, b block, delta int64) error {
	b.count += delta
	first := b
	if !b.first {
		k := m.block[:prefixLen(m.index)]
		var err error
		if first, err = readBlock(k, w.index.Get(k), m.index); err != nil {
			return err
		}
		if b.count > 0 {
			err = w.putBlock(b)
		} else {
			err = w.index.Delete(b.key)
		}
		if err != nil {
			return err
		}
	}
	if first.total += delta; first.total == 0 {
		return w.index.Delete(first.key)
	}
	return w.putBlock(first)
}

func (w *write) add(m member) error {
	if has(w.index, m.key) {
		return nil
	}
	w.dirty = true
	if err := w.index.Put(m.key, []byte{}); err != nil {
		return err
	}
	b, err := w.blockOf(m)
	if errors.Is(err, errNoBlock) {
		return w.putBlock(block{key: m.block[:prefixLen(m.index)], first: true, count: 1, total: 1})
	}
	if err != nil {
		return err
	}
	if err := w.count(m, b, 1); err != nil {
		return err
	}
	if b.count+1 <= blockLimit {
		return nil
	}
	return w.split(m, b)
}

func (w *write) remove(m member) error {
	if !has(w.index, m.key) {
		return nil
	}
	w.dirty = true
	b, err := w.blockOf(m)
	if err != nil {
		return err
	}
	if err := w.index.Delete(m.key); err != nil {
		return err
	}
	return w.count(m, b, -1)
}

// split divides the block that just got one member too many. Members mostly come in order, so a block that grew at the
// index's end is left full and the new member starts the next one.
func (w *write) split(m member, old block) error {
	old, err := readBlock(old.key, w.index.Get(old.key), m.index)
	if err != nil {
		return err
	}
	members := m.key[:prefixLen(m.index)]
	next := block{count: 1}
	c := w.index.Cursor()
	c.Seek(m.key)
	if k, _ := c.Next(); !bytes.HasPrefix(k, members) {
		next.key = m.block
	} else {
		next.count = old.count / 2
		k, _ = c.Seek(append(bytes.Clone(members), old.separator(m.index)...))
		for range old.count - next.count {
			k, _ = c.Next()
		}
		if !bytes.HasPrefix(k, members) {
			return fmt.Errorf("index %q: a block counts more members than there are", m.index)
		}
		next.key = indexKey(m.index, kindBlock, k[len(members):])
	}
	old.count -= next.count
	if err := w.putBlock(old); err != nil {
		return err
	}
	return w.putBlock(next)
}

// has says whether the key exists. Get cannot say so for an empty value written in the same transaction.
func has(b *bbolt.Bucket, key []byte) bool {
	k, _ := b.Cursor().Seek(key)
	return bytes.Equal(k, key)
}
