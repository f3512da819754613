package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gatehouse-ca/gatehouse/storage"
)

// oddMembers are byte strings that a careless encoding confuses, in order.
var oddMembers = []string{"", "\x00", "\x00\x00", "\x00\x01", "\x00\xff", "\x01", "a", "a\x00", "a\x00b", "ab", "b", "\x7f", "\x80", "\xfe", "\xff", "\xff\x00", "\xff\xff", "\xff\xff\xff"}

func testScanOrder(t *testing.T, h Harness) {
	e := h.Engine
	want := slices.Sorted(slices.Values(oddMembers))
	shuffled := slices.Clone(want)
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	add(t, e, "odd", shuffled...)
	wantScan(t, e, "odd", storage.Range{}, storage.Page{Limit: 1000}, want...)
	slices.Reverse(want)
	wantScan(t, e, "odd", storage.Range{}, storage.Page{Limit: 1000, Reverse: true}, want...)
	wantScan(t, e, "no such index", storage.Range{}, storage.Page{Limit: 10})
	wantScan(t, e, "no such index", storage.Range{}, storage.Page{Limit: 10, Reverse: true, Offset: 3})
}

// Every range over the odd members, both ways, against the obvious filter.
func testScanRanges(t *testing.T, h Harness) {
	e := h.Engine
	add(t, e, "odd", oddMembers...)
	all := slices.Sorted(slices.Values(oddMembers))
	bounds := [][]byte{nil}
	for _, m := range all {
		bounds = append(bounds, []byte(m), []byte(m+"\x00"))
	}
	for _, from := range bounds {
		for _, to := range bounds {
			r := storage.Range{From: from, To: to}
			want := inRange(all, r)
			wantScan(t, e, "odd", r, storage.Page{Limit: 1000}, want...)
			wantCount(t, e, "odd", r, int64(len(want)))
			slices.Reverse(want)
			wantScan(t, e, "odd", r, storage.Page{Limit: 1000, Reverse: true}, want...)
		}
	}
	for _, p := range []string{"", "a", "\x00", "\xff", "\xff\xff", "none"} {
		var want []string
		for _, m := range all {
			if strings.HasPrefix(m, p) {
				want = append(want, m)
			}
		}
		wantScan(t, e, "odd", storage.Prefix([]byte(p)), storage.Page{Limit: 1000}, want...)
		wantCount(t, e, "odd", storage.Prefix([]byte(p)), int64(len(want)))
	}
}

func inRange(sorted []string, r storage.Range) (in []string) {
	for _, m := range sorted {
		if (r.From == nil || m >= string(r.From)) && (r.To == nil || m < string(r.To)) {
			in = append(in, m)
		}
	}
	return in
}

func testScanPages(t *testing.T, h Harness) {
	e := h.Engine
	var all []string
	for i := range 95 {
		all = append(all, number(i))
	}
	add(t, e, "i", all...)
	r := storage.Range{From: []byte(number(3)), To: []byte(number(92))}
	for _, reverse := range []bool{false, true} {
		for _, limit := range []int{1, 7, 89, 90} {
			want := inRange(all, r)
			if reverse {
				slices.Reverse(want)
			}
			var got []string
			for p := (storage.Page{Limit: limit, Reverse: reverse}); ; {
				page := scan(t, e, "i", r, p)
				got = append(got, page...)
				if len(page) < limit {
					break
				}
				p.After = []byte(page[len(page)-1])
			}
			if !slices.Equal(got, want) {
				t.Errorf("pages of %d, reverse %v: %q, want %q", limit, reverse, got, want)
			}
		}
	}
}

// After names a place, not a member: it may be gone, lie between members, or outside the range.
func testScanGone(t *testing.T, h Harness) {
	e := h.Engine
	add(t, e, "i", "b", "d", "f", "h")
	page := func(after string, reverse bool) storage.Page {
		return storage.Page{After: []byte(after), Limit: 10, Reverse: reverse}
	}
	all := storage.Range{}
	wantScan(t, e, "i", all, page("d", false), "f", "h")
	commit(t, e, storage.Batch{Removes: entries("i", "d")})
	wantScan(t, e, "i", all, page("d", false), "f", "h")
	wantScan(t, e, "i", all, page("d", true), "b")
	wantScan(t, e, "i", all, page("e", false), "f", "h")
	wantScan(t, e, "i", all, page("f\x00", true), "f", "b")
	wantScan(t, e, "i", all, page("", false), "b", "f", "h")
	wantScan(t, e, "i", all, page("", true))
	wantScan(t, e, "i", all, page("h", false))
	wantScan(t, e, "i", all, page("z", true), "h", "f", "b")
	r := storage.Range{From: []byte("c"), To: []byte("h")}
	wantScan(t, e, "i", r, page("a", false), "f")
	wantScan(t, e, "i", r, page("z", false))
	wantScan(t, e, "i", r, page("z", true), "f")
	wantScan(t, e, "i", r, page("a", true))
}

func testScanOffset(t *testing.T, h Harness) {
	e := h.Engine
	var all []string
	for i := range 50 {
		all = append(all, number(i))
	}
	add(t, e, "i", all...)
	for _, r := range []storage.Range{{}, {From: []byte(number(10))}, {To: []byte(number(40))}, {From: []byte(number(10)), To: []byte(number(40))}} {
		for _, reverse := range []bool{false, true} {
			want := inRange(all, r)
			if reverse {
				slices.Reverse(want)
			}
			for _, offset := range []int{0, 1, 17, len(want) - 1, len(want), len(want) + 5, 1_000_000} {
				rest := want[min(offset, len(want)):]
				wantScan(t, e, "i", r, storage.Page{Offset: offset, Limit: 5, Reverse: reverse}, rest[:min(5, len(rest))]...)
			}
		}
	}
}

// pages reads a whole index in small pages while disturb runs, and returns what it saw.
func pages(t *testing.T, e storage.Engine, reverse bool, disturb func(stop <-chan struct{})) []string {
	t.Helper()
	stop := make(chan struct{})
	var disturbing sync.WaitGroup
	disturbing.Go(func() { disturb(stop) })
	defer disturbing.Wait()
	defer close(stop)
	var got []string
	for p := (storage.Page{Limit: 7, Reverse: reverse}); ; {
		page := scan(t, e, "i", storage.Range{}, p)
		got = append(got, page...)
		if len(page) < p.Limit {
			return got
		}
		p.After = []byte(page[len(page)-1])
	}
}

// steady checks that each member that was there all the time was seen once, and that all came in order.
func steady(t *testing.T, got, want []string, reverse bool) {
	t.Helper()
	if reverse {
		got = slices.Clone(got)
		slices.Reverse(got)
	}
	if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
		t.Fatalf("out of order or twice: %q", got)
	}
	for _, m := range want {
		if _, found := slices.BinarySearch(got, m); !found {
			t.Fatalf("%q was missed", m)
		}
	}
}

func testPagingUnderInserts(t *testing.T, h Harness) {
	e := h.Engine
	var always []string
	for i := range 300 {
		always = append(always, number(i*10))
	}
	add(t, e, "i", always...)
	for round, reverse := range []bool{false, true} {
		random := rand.New(rand.NewPCG(2, uint64(round)))
		got := pages(t, e, reverse, func(stop <-chan struct{}) {
			for {
				select {
				case <-stop:
					return
				default:
				}
				m := number(random.IntN(300)*10 + 1 + random.IntN(9))
				if err := e.Commit(t.Context(), storage.Batch{Version: storage.NewVersion(), Adds: entries("i", m)}); err != nil {
					t.Errorf("Commit: %v", err)
					return
				}
			}
		})
		steady(t, got, always, reverse)
	}
}

func testPagingUnderRemovals(t *testing.T, h Harness) {
	e := h.Engine
	var all, always []string
	for i := range 300 {
		all = append(all, number(i))
		if i%2 == 0 {
			always = append(always, number(i))
		}
	}
	for round, reverse := range []bool{false, true} {
		add(t, e, "i", all...)
		random := rand.New(rand.NewPCG(3, uint64(round)))
		got := pages(t, e, reverse, func(stop <-chan struct{}) {
			for range 150 {
				select {
				case <-stop:
					return
				default:
				}
				m := number(random.IntN(150)*2 + 1)
				if err := e.Commit(t.Context(), storage.Batch{Version: storage.NewVersion(), Removes: entries("i", m)}); err != nil {
					t.Errorf("Commit: %v", err)
					return
				}
			}
		})
		steady(t, got, always, reverse)
	}
}

// Names that are prefixes of one another, or hold the bytes of a separator, do not mix; nor do records and indexes.
func testIndexesApart(t *testing.T, h Harness) {
	e := h.Engine
	names := []string{"i", "i\x00", "i\x00m", "ii", "\x00", "\x00i", "\xff", "i/1", "i/10"}
	for n, name := range names {
		add(t, e, name, "m", fmt.Sprintf("own %d", n), "\x00")
	}
	v := put(t, e, "i", "a record")
	for n, name := range names {
		want := []string{"\x00", "m", fmt.Sprintf("own %d", n)}
		wantScan(t, e, name, storage.Range{}, storage.Page{Limit: 10}, want...)
		wantCount(t, e, name, storage.Range{}, 3)
		commit(t, e, storage.Batch{Removes: entries(name, want...)})
		wantCount(t, e, name, storage.Range{}, 0)
	}
	wantItem(t, e, "i", "a record", v)
}

// Random batches on a few indexes, against sorted slices.
func testIndexModel(t *testing.T, h Harness) {
	e := h.Engine
	random := rand.New(rand.NewPCG(4, 4))
	model := map[string][]string{}
	indexes := []string{"one", "two", "three"}
	member := func() string { return number(random.IntN(400)) }
	for range 60 {
		var b storage.Batch
		for range 1 + random.IntN(40) {
			entry := storage.Entry{Index: indexes[random.IntN(len(indexes))], Member: []byte(member())}
			if random.IntN(2) == 0 {
				b.Removes = append(b.Removes, entry)
			} else {
				b.Adds = append(b.Adds, entry)
			}
		}
		commit(t, e, b)
		for _, entry := range b.Removes {
			if at, found := slices.BinarySearch(model[entry.Index], string(entry.Member)); found {
				model[entry.Index] = slices.Delete(model[entry.Index], at, at+1)
			}
		}
		for _, entry := range b.Adds {
			if at, found := slices.BinarySearch(model[entry.Index], string(entry.Member)); !found {
				model[entry.Index] = slices.Insert(model[entry.Index], at, string(entry.Member))
			}
		}
		index := indexes[random.IntN(len(indexes))]
		r := storage.Range{From: []byte(member()), To: []byte(member())}
		want := inRange(model[index], r)
		wantCount(t, e, index, r, int64(len(want)))
		offset := random.IntN(1 + len(want))
		wantScan(t, e, index, r, storage.Page{Offset: offset, Limit: 1000}, want[offset:]...)
	}
	for _, index := range indexes {
		wantScan(t, e, index, storage.Range{}, storage.Page{Limit: 1000}, model[index]...)
		wantCount(t, e, index, storage.Range{}, int64(len(model[index])))
	}
}

func testCount(t *testing.T, h Harness) {
	e := h.Engine
	wantCount(t, e, "i", storage.Range{}, 0)
	wantCount(t, e, "i", storage.Range{From: []byte("a")}, 0)
	const n = 2500
	var b storage.Batch
	for i := range n {
		b.Adds = append(b.Adds, storage.Entry{Index: "i", Member: []byte(number(i))})
	}
	commit(t, e, b)
	commit(t, e, b)
	wantCount(t, e, "i", storage.Range{}, n)
	wantCount(t, e, "i", storage.Range{From: []byte(number(10))}, n-10)
	wantCount(t, e, "i", storage.Range{To: []byte(number(2000))}, 2000)
	wantCount(t, e, "i", storage.Range{From: []byte(number(100)), To: []byte(number(2400))}, 2300)
	wantCount(t, e, "i", storage.Range{From: []byte(number(2400)), To: []byte(number(100))}, 0)
	wantCount(t, e, "i", storage.Range{From: []byte(number(5)), To: []byte{}}, 0)
	wantScan(t, e, "i", storage.Range{}, storage.Page{Offset: 2100, Limit: 2}, number(2100), number(2101))
	wantScan(t, e, "i", storage.Range{}, storage.Page{Offset: 2100, Limit: 2, Reverse: true}, number(399), number(398))
	commit(t, e, storage.Batch{Removes: b.Adds[:1700]})
	wantCount(t, e, "i", storage.Range{}, n-1700)
	wantCount(t, e, "i", storage.Range{To: []byte(number(1701))}, 1)
	wantScan(t, e, "i", storage.Range{}, storage.Page{Offset: 700, Limit: 1}, number(2400))
}
