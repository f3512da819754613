package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"sync/atomic"
	"testing"

	"github.com/gatehouse-ca/gatehouse/ra"
)

// ranked is an engine with indexes alone, which counts what is asked of it.
type ranked struct {
	Engine
	indexes map[string][][]byte
	calls   atomic.Int64
	members atomic.Int64 // that were read
	fail    error        // of every Scan and Count; nil: none
}

func (e *ranked) inside(index string, r Range) [][]byte {
	list := e.indexes[index]
	from, to := 0, len(list)
	at := func(bound []byte) int {
		return sort.Search(len(list), func(i int) bool { return bytes.Compare(list[i], bound) >= 0 })
	}
	if r.From != nil {
		from = at(r.From)
	}
	if r.To != nil {
		to = at(r.To)
	}
	return list[from:max(from, to)]
}

func (e *ranked) Count(_ context.Context, index string, r Range) (int64, error) {
	e.calls.Add(1)
	return int64(len(e.inside(index, r))), e.fail
}

func (e *ranked) Scan(_ context.Context, index string, r Range, p Page) ([][]byte, error) {
	e.calls.Add(1)
	if p.Limit < 1 || p.Limit > 1000 {
		return nil, fmt.Errorf("a page of %d", p.Limit)
	}
	list := e.inside(index, r)
	if p.After != nil {
		list = list[sort.Search(len(list), func(i int) bool { return bytes.Compare(list[i], p.After) > 0 }):]
	}
	list = list[min(p.Offset, len(list)):]
	list = list[:min(p.Limit, len(list))]
	e.members.Add(int64(len(list)))
	return list, e.fail
}

// TestJoinedIsOneList: pages of several organisations' lists are those of one list, however the numbers are spread over them,
// and what a page costs does not depend on where it begins.
func TestJoinedIsOneList(t *testing.T) {
	t.Parallel()
	const all = 24_000
	random := rand.New(rand.NewPCG(1, 2))
	for name, spread := range map[string]struct {
		orgs int
		org  func(n int) int
	}{
		"evenly":             {10, func(int) int { return random.IntN(10) }},
		"one after another":  {ra.MaxOrgs, func(n int) int { return n / (all / ra.MaxOrgs) }},
		"backwards":          {ra.MaxOrgs, func(n int) int { return ra.MaxOrgs - 1 - n/(all/ra.MaxOrgs) }},
		"one has nearly all": {50, func(n int) int { return max(0, random.IntN(2000)-1950) }},
		"each twice as many": {16, func(int) int { return 15 - min(15, int(random.ExpFloat64()*1.4427)) }},
		"at the end":         {3, func(n int) int { return max(0, n-all+3) }},
		"a few in between":   {40, func(n int) int { return min(n%1500, 39) }},
	} {
		e := &ranked{indexes: map[string][][]byte{}}
		db := &DB{engine: e}
		want := make([]ra.ID, all)
		for n := range all {
			id := ra.ID(n + 1)
			index := fmt.Sprint(spread.org(n))
			e.indexes[index] = append(e.indexes[index], idMember(id))
			want[n] = id
		}
		backwards := slices.Clone(want)
		slices.Reverse(backwards)
		p := &part{total: all}
		for org := range spread.orgs {
			index := fmt.Sprint(org)
			p.spans, p.counts = append(p.spans, span{index: index}), append(p.counts, int64(len(e.indexes[index])))
		}
		var calls, members int64
		for _, offset := range []int{0, 1, 250, 499, 500, 501, 1700, 9_999, all / 4, all / 2, all/2 + 1, all - 700, all - 200, all - 199, all - 1, all, all + 1, 1 << 30} {
			for _, reverse := range []bool{false, true} {
				e.calls.Store(0)
				e.members.Store(0)
				page, err := db.joined(t.Context(), p, int64(offset), 200, reverse)
				if err != nil {
					t.Fatalf("%s, %d: %v", name, offset, err)
				}
				var got []ra.ID
				for _, m := range page {
					id, _ := lastID(m)
					got = append(got, id)
				}
				wanted := want[min(offset, all):min(offset+200, all)]
				if reverse {
					wanted = backwards[min(offset, all):min(offset+200, all)]
				}
				if !slices.Equal(got, wanted) {
					t.Errorf("%s: from %d, reversed %t: %d members from %v, want %d from %v", name, offset, reverse, len(got), first(got), len(wanted), first(wanted))
				}
				calls, members = max(calls, e.calls.Load()), max(members, e.members.Load())
			}
		}
		// Each round counts once in each organisation, and a second one reads the middle of each as well.
		if bound := int64(40 * (spread.orgs + 3)); calls > bound || members > 8_000 {
			t.Errorf("%s: a page costs %d calls, want at most %d, and %d members", name, calls, bound, members)
		}
		t.Logf("%s: at most %d calls in %d organisations, %d members", name, calls, spread.orgs, members)
	}
}

func first(ids []ra.ID) []ra.ID { return ids[:min(2, len(ids))] }

// TestJoinedSaysWhatFails: an error of the engine is not a short page, and lists that vanish meanwhile do not keep it going.
func TestJoinedSaysWhatFails(t *testing.T) {
	t.Parallel()
	e := &ranked{indexes: map[string][][]byte{}, fail: ErrUnavailable}
	db := &DB{engine: e}
	p := &part{spans: []span{{index: "a"}, {index: "b"}}, counts: []int64{5000, 5000}, total: 10_000}
	if _, err := db.joined(t.Context(), p, 3000, 10, false); !errors.Is(err, ErrUnavailable) {
		t.Errorf("an engine that fails: %v", err)
	}
	e.fail = nil
	if page, err := db.joined(t.Context(), p, 3000, 10, false); !errors.Is(err, ErrUnavailable) || len(page) > 0 {
		t.Errorf("lists that have vanished: %v, %v", page, err)
	}
	if err := each(100, func(i int) error {
		if i == 7 {
			return ErrConflict
		}
		return nil
	}); !errors.Is(err, ErrConflict) {
		t.Errorf("an error of one call is %v", err)
	}
}
