package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"github.com/gatehouse-ca/gatehouse/storage"
)

// openIndex gives a file that a test may write without the committer.
func openIndex(t testing.TB) *bbolt.DB {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	e, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	e.Close()
	db, err := openFile(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// runs of consecutive members, so that blocks split and empty in every way
type indexRun struct {
	index     string
	remove    bool
	from, len int
	step      int
}

func drawRun(t *rapid.T) indexRun {
	return indexRun{
		index:  rapid.SampledFrom([]string{"a", "b", "a\x00"}).Draw(t, "index"),
		remove: rapid.Bool().Draw(t, "remove"),
		from:   rapid.IntRange(0, 6000).Draw(t, "from"),
		len:    rapid.IntRange(1, 2500).Draw(t, "len"),
		step:   rapid.SampledFrom([]int{-1, 1, 1, 7}).Draw(t, "step"),
	}
}

func runMember(i int) []byte {
	i = ((i % 7000) + 7000) % 7000
	b := binary.BigEndian.AppendUint16(nil, uint16(i))
	return append(b, make([]byte, i%5)...)
}

// Random runs of adds and removes, several in one transaction, against a set: ranges, ranks and counts agree.
func TestIndexProperty(t *testing.T) {
	db := openIndex(t)
	rapid.Check(t, func(t *rapid.T) {
		if err := db.Update(emptyIndex); err != nil {
			t.Fatal(err)
		}
		model := map[string]map[string]bool{"a": {}, "b": {}, "a\x00": {}}
		for range rapid.IntRange(1, 4).Draw(t, "transactions") {
			runs := rapid.SliceOfN(rapid.Custom(drawRun), 1, 3).Draw(t, "runs")
			err := db.Update(func(tx *bbolt.Tx) error {
				w := begin(tx, 0)
				for _, run := range runs {
					if err := applyRun(w, run, model); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		err := db.View(func(tx *bbolt.Tx) error {
			r := &read{tx: tx}
			for index, set := range model {
				if err := compareIndex(t, r, index, set); err != nil {
					return err
				}
			}
			return r.exportMembers(t.Context(), Visitor{Member: func(storage.Entry) error { return nil }})
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func emptyIndex(tx *bbolt.Tx) error {
	if err := tx.DeleteBucket(bucketIndex); err != nil {
		return err
	}
	_, err := tx.CreateBucket(bucketIndex)
	return err
}

func applyRun(w *write, run indexRun, model map[string]map[string]bool) error {
	for i := range run.len {
		m := runMember(run.from + i*run.step)
		var err error
		if run.remove {
			err = w.remove(newMember(run.index, m))
			delete(model[run.index], string(m))
		} else {
			err = w.add(newMember(run.index, m))
			model[run.index][string(m)] = true
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func compareIndex(t *rapid.T, r *read, index string, set map[string]bool) error {
	sorted := make([]string, 0, len(set))
	for m := range set {
		sorted = append(sorted, m)
	}
	slices.Sort(sorted)
	total, err := r.scanner(index, storage.Range{}).count()
	if err != nil {
		return err
	}
	if total != int64(len(sorted)) {
		return fmt.Errorf("index %q counts %d of %d", index, total, len(sorted))
	}
	for range 4 {
		rng := storage.Range{From: runMember(rapid.IntRange(0, 7000).Draw(t, "from")), To: runMember(rapid.IntRange(0, 7000).Draw(t, "to"))}
		lo, _ := slices.BinarySearch(sorted, string(rng.From))
		hi, _ := slices.BinarySearch(sorted, string(rng.To))
		want := sorted[lo:max(lo, hi)]
		if n, err := r.scanner(index, rng).count(); err != nil || n != int64(len(want)) {
			return fmt.Errorf("index %q, %x: count %d, %v; want %d", index, rng, n, err, len(want))
		}
		if n, err := r.scanner(index, rng).countByRank(); err != nil || n != int64(len(want)) {
			return fmt.Errorf("index %q, %x: rank %d, %v; want %d", index, rng, n, err, len(want))
		}
		p := storage.Page{Offset: rapid.IntRange(0, len(want)+2).Draw(t, "offset"), Limit: 3, Reverse: rapid.Bool().Draw(t, "reverse")}
		page, err := r.scanner(index, rng).page(p)
		if err != nil {
			return err
		}
		if p.Reverse {
			want = slices.Clone(want)
			slices.Reverse(want)
		}
		want = want[min(p.Offset, len(want)):]
		want = want[:min(p.Limit, len(want))]
		if !slices.EqualFunc(page, want, func(a []byte, b string) bool { return string(a) == b }) {
			return fmt.Errorf("index %q, %x, %+v: %x, want %x", index, rng, p, page, want)
		}
	}
	return nil
}

// A block is found also when its transaction has emptied the whole page in front of the place where it would lie.
func TestIndexEmptiedPage(t *testing.T) {
	db := openIndex(t)
	long := func(i int) member { return newMember("i", fmt.Appendf(nil, "%06d%0500d", i, 0)) } // few blocks to a page
	const n = 30 * blockLimit
	change := func(do func(w *write) error) {
		t.Helper()
		if err := db.Update(func(tx *bbolt.Tx) error { return do(begin(tx, 0)) }); err != nil {
			t.Fatal(err)
		}
	}
	change(func(w *write) (err error) {
		for i := 0; i < n && err == nil; i++ {
			err = w.add(long(i))
		}
		return err
	})
	change(func(w *write) (err error) {
		for i := 5 * blockLimit; i < 25*blockLimit && err == nil; i++ {
			err = w.remove(long(i))
		}
		return errors.Join(err, w.add(long(15*blockLimit)), w.add(long(6*blockLimit)), w.remove(long(15*blockLimit)))
	})
	err := db.View(func(tx *bbolt.Tx) error {
		r := &read{tx: tx}
		total, err := r.scanner("i", storage.Range{}).count()
		if total != 10*blockLimit+1 {
			t.Errorf("the index counts %d", total)
		}
		return errors.Join(err, r.exportMembers(t.Context(), Visitor{Member: func(storage.Entry) error { return nil }}))
	})
	if err != nil {
		t.Error(err)
	}
}

// Export notices an index whose counts do not match its members.
func TestExportChecksCounts(t *testing.T) {
	db := openIndex(t)
	err := db.Update(func(tx *bbolt.Tx) error {
		w := begin(tx, 0)
		if err := errors.Join(w.add(newMember("i", []byte("a"))), w.add(newMember("i", []byte("b"))), w.add(newMember("j", nil))); err != nil {
			return err
		}
		return w.index.Delete(newMember("i", []byte("b")).key)
	})
	if err != nil {
		t.Fatal(err)
	}
	err = db.View(func(tx *bbolt.Tx) error {
		return (&read{tx: tx}).exportMembers(t.Context(), Visitor{Member: func(storage.Entry) error { return nil }})
	})
	if err == nil {
		t.Error("a wrong count passed")
	}
}

// BenchmarkMillion reports what lists cost on an index of a million members.
func BenchmarkMillion(b *testing.B) {
	db := openIndex(b)
	const n = 1_000_000
	member := func(i int) []byte {
		return binary.BigEndian.AppendUint64([]byte("notAfter"), uint64(i))
	}
	for from := 0; from < n; from += 50_000 {
		err := db.Update(func(tx *bbolt.Tx) error {
			w := begin(tx, 0)
			for i := range 50_000 {
				if err := w.add(newMember("org/1/enrollments", member(from+i))); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	all := storage.Range{}
	part := storage.Range{From: member(1000), To: member(n - 1000)}
	for name, run := range map[string]func(*read) error{
		"count":       func(r *read) error { _, err := r.scanner("org/1/enrollments", all).count(); return err },
		"count range": func(r *read) error { _, err := r.scanner("org/1/enrollments", part).count(); return err },
		"page":        func(r *read) error { return benchPage(r, all, storage.Page{After: member(n / 2), Limit: 100}) },
		"page offset": func(r *read) error { return benchPage(r, part, storage.Page{Offset: 900_000, Limit: 100}) },
		"page back": func(r *read) error {
			return benchPage(r, part, storage.Page{Offset: 900_000, Limit: 100, Reverse: true})
		},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := db.View(func(tx *bbolt.Tx) error { return run(&read{tx: tx}) }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func benchPage(r *read, rng storage.Range, p storage.Page) error {
	page, err := r.scanner("org/1/enrollments", rng).page(p)
	if err == nil && len(page) != p.Limit {
		err = fmt.Errorf("a page of %d", len(page))
	}
	return err
}
