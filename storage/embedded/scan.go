package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/gatehouse-ca/gatehouse/storage"
)

const (
	maxPage = 1000
	// stepLimit members are counted or skipped one by one before the directory of blocks is asked, which for an index of
	// a million members costs as much as stepping over a few hundred.
	stepLimit = 512
)

// Scan reads one page in one transaction. An offset costs one step per block in front of it.
func (e *Engine) Scan(ctx context.Context, index string, r storage.Range, p storage.Page) ([][]byte, error) {
	if err := checkIndex(index, nil); err != nil {
		return nil, err
	}
	switch {
	case p.Limit < 1 || p.Limit > maxPage:
		return nil, fmt.Errorf("storage: a page has 1 to %d members, not %d", maxPage, p.Limit)
	case p.Offset < 0:
		return nil, fmt.Errorf("storage: an offset of %d", p.Offset)
	case p.Offset > 0 && p.After != nil:
		return nil, errors.New("storage: After and Offset exclude each other")
	}
	var members [][]byte
	err := e.view(ctx, func(t *read) (err error) {
		members, err = t.scanner(index, r).page(p)
		return err
	})
	return members, err
}

// Count reads one entry for an open range. Any other range costs at most one step per block in front of its end.
func (e *Engine) Count(ctx context.Context, index string, r storage.Range) (n int64, err error) {
	if err := checkIndex(index, nil); err != nil {
		return 0, err
	}
	err = e.view(ctx, func(t *read) (err error) {
		n, err = t.scanner(index, r).count()
		return err
	})
	return n, err
}

// scanner walks the members of one range of one index.
type scanner struct {
	index   string
	bucket  *bbolt.Bucket
	c       *bbolt.Cursor
	blocks  []byte // prefix of the directory
	members []byte // prefix of the members
	from    []byte // key of the first possible member
	to      []byte // key behind the last possible member
	open    bool
}

func (t *read) scanner(index string, r storage.Range) *scanner {
	b := t.tx.Bucket(bucketIndex)
	s := &scanner{
		index: index, bucket: b, c: b.Cursor(),
		blocks: indexKey(index, kindBlock, nil), members: indexKey(index, kindMember, nil),
		to: indexKey(index, kindEnd, nil), open: r.From == nil && r.To == nil,
	}
	s.from = s.members
	if r.From != nil {
		s.from = indexKey(index, kindMember, r.From)
	}
	if r.To != nil {
		s.to = indexKey(index, kindMember, r.To)
	}
	return s
}

// inside says whether the cursor stands on a member of the range.
func (s *scanner) inside(k []byte) bool {
	return k != nil && bytes.Compare(k, s.from) >= 0 && bytes.Compare(k, s.to) < 0
}

// before moves to the last key in front of key. Pages of a reading transaction are never empty, so Prev is sure.
func (s *scanner) before(key []byte) []byte {
	k, _ := s.c.Seek(key)
	if k == nil {
		k, _ = s.c.Last()
	} else {
		k, _ = s.c.Prev()
	}
	return k
}

func (s *scanner) page(p storage.Page) ([][]byte, error) {
	step := s.c.Next
	if p.Reverse {
		step = s.c.Prev
	}
	k, err := s.start(p)
	if err != nil {
		return nil, err
	}
	var page [][]byte
	for ; len(page) < p.Limit && s.inside(k); k, _ = step() {
		page = append(page, append([]byte{}, k[len(s.members):]...))
	}
	return page, nil
}

// start moves to the first member of the page.
func (s *scanner) start(p storage.Page) ([]byte, error) {
	if p.After != nil {
		after := append(bytes.Clone(s.members), p.After...)
		if p.Reverse {
			s.to = slices.MinFunc([][]byte{s.to, after}, bytes.Compare)
		} else if next := append(after, 0); bytes.Compare(next, s.from) > 0 { // the least key greater than after
			s.from = next
		}
	}
	if p.Offset > stepLimit {
		return s.skip(p)
	}
	var k []byte
	if p.Reverse {
		k = s.before(s.to)
	} else {
		k, _ = s.c.Seek(s.from)
	}
	for range p.Offset {
		if !s.inside(k) {
			return nil, nil
		}
		if p.Reverse {
			k, _ = s.c.Prev()
		} else {
			k, _ = s.c.Next()
		}
	}
	return k, nil
}

// skip moves to the member p.Offset members from the range's start, or from its end, by rank. It may end up outside.
func (s *scanner) skip(p storage.Page) ([]byte, error) {
	edge := s.from
	if p.Reverse {
		edge = s.to
	}
	at, err := s.rank(edge)
	if err != nil {
		return nil, err
	}
	if !p.Reverse {
		return s.seekRank(at + int64(p.Offset))
	}
	if at -= int64(p.Offset) + 1; at < 0 {
		return nil, nil
	}
	return s.seekRank(at)
}

func (s *scanner) count() (int64, error) {
	if s.open {
		v := s.bucket.Get(s.blocks)
		if v == nil {
			return 0, nil
		}
		b, err := readBlock(s.blocks, v, s.index)
		return b.total, err
	}
	var n int64
	for k, _ := s.c.Seek(s.from); s.inside(k); k, _ = s.c.Next() {
		if n++; n == stepLimit {
			return s.countByRank()
		}
	}
	return n, nil
}

func (s *scanner) countByRank() (int64, error) {
	from, err := s.rank(s.from)
	if err != nil {
		return 0, err
	}
	to, err := s.rank(s.to)
	return max(to-from, 0), err
}

// rank counts the members in front of a key, which is a member's or the one behind all members.
func (s *scanner) rank(key []byte) (before int64, err error) {
	bound, all := key[len(s.members):], key[len(s.members)-1] == kindEnd
	var last block // the last that starts in front of the key
	for k, v := s.c.Seek(s.blocks); bytes.HasPrefix(k, s.blocks); k, v = s.c.Next() {
		b, err := readBlock(k, v, s.index)
		if err != nil {
			return 0, err
		}
		if !all && bytes.Compare(b.separator(s.index), bound) >= 0 {
			break
		}
		before, last = before+last.count, b
	}
	if last.key == nil {
		return 0, nil
	}
	for k := s.seekBlock(last); bytes.HasPrefix(k, s.members) && bytes.Compare(k, key) < 0; k, _ = s.c.Next() {
		before++
	}
	return before, nil
}

// seekRank moves to the member that has so many in front of it.
func (s *scanner) seekRank(at int64) ([]byte, error) {
	for k, v := s.c.Seek(s.blocks); bytes.HasPrefix(k, s.blocks); k, v = s.c.Next() {
		b, err := readBlock(k, v, s.index)
		if err != nil {
			return nil, err
		}
		if at >= b.count {
			at -= b.count
			continue
		}
		k = s.seekBlock(b)
		for ; at > 0; at-- {
			k, _ = s.c.Next()
		}
		return k, nil
	}
	return nil, nil
}

// seekBlock moves to the first member that is not in front of the block.
func (s *scanner) seekBlock(b block) []byte {
	k, _ := s.c.Seek(append(bytes.Clone(s.members), b.separator(s.index)...))
	return k
}
