package storage

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
)

const (
	// joinedAtOnce bounds the calls of one query that are under way together.
	joinedAtOnce = 8
	// joinedSkip is how many members in front of a page are read and passed over, rather than looked for another time.
	joinedSkip = 500
	joinedScan = 1000 // the most members that an engine gives at once
)

// errMoving: members were removed so quickly that no place was found. What a page costs stays bounded.
var errMoving = fmt.Errorf("%w: the lists change while they are read", ErrUnavailable)

// window is the part of a span in which the place that is looked for lies: the members of rank lo to hi.
type window struct {
	span
	lo, hi int64
	count  int64 // of the whole span: the page goes on behind hi
	rank   int64 // of the pivot
}

func (w *window) width() int64 { return w.hi - w.lo }

// joined lists a page of the one ordered list that the spans of a filter make together. Where it begins is found by ranks, so
// a page far inside costs about what the first one does: a few counts in each span, whatever is in front of it.
func (db *DB) joined(ctx context.Context, p *part, offset int64, limit int, reverse bool) ([][]byte, error) {
	begin, end := offset, min(offset+int64(limit), p.total)
	if reverse {
		begin, end = max(p.total-end, 0), p.total-offset
	}
	if begin >= end {
		return nil, nil
	}
	var list []*window
	for n, s := range p.spans {
		if p.counts[n] > 0 {
			list = append(list, &window{span: s, hi: p.counts[n], count: p.counts[n]})
		}
	}
	if err := db.narrow(ctx, list, begin); err != nil {
		return nil, err
	}
	for _, w := range list {
		begin, end = begin-w.lo, end-w.lo
	}
	members, err := db.merge(ctx, list, int(begin), int(end))
	if reverse {
		slices.Reverse(members)
	}
	return members, err
}

// narrow raises the lower ends until the member of rank begin is among the joinedSkip behind them, counted over all windows. It
// takes a member for a pivot and counts what is in front of that in each: one that would be near if all windows were alike, and
// when that did not halve what is left, the median of the windows' middles, which leaves at most three quarters.
func (db *DB) narrow(ctx context.Context, list []*window, begin int64) error {
	before, width := measures(list)
	for guess := true; begin-before > joinedSkip; {
		pivot, err := db.pivot(ctx, list, begin-before, width, guess)
		if err != nil {
			return err
		}
		if pivot == nil {
			return errMoving
		}
		if err := db.split(ctx, list, pivot, begin); err != nil {
			return err
		}
		nowBefore, nowWidth := measures(list)
		if nowWidth == width {
			return errMoving
		}
		guess = begin-nowBefore <= (begin-before)/2 || nowWidth <= width/2
		before, width = nowBefore, nowWidth
	}
	return nil
}

// measures are how many members are in front of the windows, and in them.
func measures(list []*window) (before, width int64) {
	for _, w := range list {
		before, width = before+w.lo, width+w.width()
	}
	return before, width
}

// split counts what is in front of a member in each window, and keeps the side that rank begin is on.
func (db *DB) split(ctx context.Context, list []*window, pivot []byte, begin int64) error {
	err := each(len(list), func(i int) error {
		w := list[i]
		if w.width() == 0 {
			w.rank = w.lo
			return nil
		}
		r := w.r
		r.To = pivot
		if bytes.Compare(pivot, w.r.From) <= 0 {
			w.rank = w.lo
			return nil
		}
		n, err := db.engine.Count(ctx, w.index, r)
		w.rank = min(max(n, w.lo), w.hi)
		return err
	})
	if err != nil {
		return err
	}
	var before int64
	for _, w := range list {
		before += w.rank
	}
	for _, w := range list {
		if before <= begin {
			w.lo = w.rank
		} else {
			w.hi = w.rank
		}
	}
	return nil
}

// pivot reads a member near the place that is looked for, which is left members behind the lower ends of the windows; nil if there
// is none where one was counted.
func (db *DB) pivot(ctx context.Context, list []*window, left, width int64, guess bool) ([]byte, error) {
	if guess {
		widest := slices.MaxFunc(list, func(a, b *window) int { return cmp.Compare(a.width(), b.width()) })
		// If the widest window's members were strewn evenly among all, a member's rank in all would be off by about the
		// root below. It is aimed at what is surely in front of the place, because only that brings the lower ends nearer.
		off := math.Sqrt(float64(left) * float64(width-widest.width()) / float64(widest.width()))
		aim := max(left-joinedSkip/2-int64(2*off), left/2)
		return db.memberAt(ctx, widest, widest.lo+min(aim*widest.width()/width, widest.width()-1))
	}
	type middle struct {
		member []byte
		width  int64
	}
	middles := make([]middle, len(list))
	err := each(len(list), func(i int) (err error) {
		w := list[i]
		if w.width() > 0 {
			middles[i].member, err = db.memberAt(ctx, w, w.lo+w.width()/2)
			middles[i].width = w.width()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	middles = slices.DeleteFunc(middles, func(m middle) bool { return m.member == nil })
	slices.SortFunc(middles, func(a, b middle) int { return bytes.Compare(a.member, b.member) })
	var passed int64
	for _, m := range middles {
		if passed += m.width; passed >= (width+1)/2 {
			return m.member, nil
		}
	}
	return nil, nil
}

func (db *DB) memberAt(ctx context.Context, w *window, rank int64) ([]byte, error) {
	members, err := db.engine.Scan(ctx, w.index, w.r, Page{Offset: int(rank), Limit: 1})
	if err != nil || len(members) == 0 {
		return nil, err
	}
	return members[0], nil
}

// merge lists the members from rank begin to end, counted behind the lower ends of the windows. Of each window it reads what its
// share will probably be, and more where that was not enough.
func (db *DB) merge(ctx context.Context, list []*window, begin, end int) ([][]byte, error) {
	var left int64
	for _, w := range list {
		left += w.count - w.lo
	}
	heads := make([][][]byte, len(list)) // what was read and not taken
	ended := make([]bool, len(list))
	err := each(len(list), func(i int) (err error) {
		w := list[i]
		if ended[i] = w.lo >= w.count; ended[i] {
			return nil
		}
		share := int(int64(end)*(w.count-w.lo)/left) + 16
		limit := min(share+share/4, end, joinedScan)
		heads[i], err = db.engine.Scan(ctx, w.index, w.r, Page{Offset: int(w.lo), Limit: limit})
		ended[i] = len(heads[i]) < limit
		return err
	})
	if err != nil {
		return nil, err
	}
	var members [][]byte
	for rank := 0; rank < end; rank++ {
		least := -1
		for i, head := range heads {
			if len(head) > 0 && (least < 0 || bytes.Compare(head[0], heads[least][0]) < 0) {
				least = i
			}
		}
		if least < 0 {
			break
		}
		m := heads[least][0]
		if rank >= begin {
			members = append(members, m)
		}
		if heads[least] = heads[least][1:]; len(heads[least]) > 0 || ended[least] {
			continue
		}
		w, limit := list[least], min(end-rank, joinedScan)
		if heads[least], err = db.engine.Scan(ctx, w.index, w.r, Page{After: m, Limit: limit}); err != nil {
			return nil, err
		}
		ended[least] = len(heads[least]) < limit
	}
	return members, nil
}

// each calls f with 0 to n-1, joinedAtOnce at a time, and returns one of the errors. It calls no more after an error.
func each(n int, f func(i int) error) error {
	if n == 1 {
		return f(0)
	}
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	for range min(n, joinedAtOnce) {
		wg.Go(func() {
			for failed.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := f(i); err != nil {
					failed.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}
