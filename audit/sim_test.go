package audit

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"testing/fstest"
	"time"
)

type failingFS struct{}

func (failingFS) Open(string) (fs.File, error) { return nil, io.ErrClosedPipe }

const sector = 512

// simDisk is a folder on a disk that can fail and lose power. It keeps what programs see apart from what is on the
// platter, and like Linux it calls pages clean after a failed sync without having written them.
type simDisk struct {
	rng   *rand.Rand
	fault float64 // probability that an operation fails
	next  string  // an operation that fails once
	files map[string]*simFile
}

type simFile struct {
	disk    *simDisk
	seen    []byte // what programs read
	platter []byte
	dirty   map[int]bool // sectors to be written by the next sync
	listed  bool         // the folder entry is on the platter
}

func newSimDisk(rng *rand.Rand) *simDisk { return &simDisk{rng: rng, files: map[string]*simFile{}} }

func (d *simDisk) fails(op string) bool {
	if op == d.next {
		d.next = ""
		return true
	}
	return d.rng.Float64() < d.fault
}

func (d *simDisk) create(name string) (segmentFile, error) {
	if d.fails("create") {
		return nil, syscall.ENOSPC
	}
	f := d.files[name]
	if f == nil {
		f = &simFile{disk: d, dirty: map[int]bool{}}
		d.files[name] = f
	}
	f.seen = nil
	f.dirty = map[int]bool{}
	return f, nil
}

func (d *simDisk) open(name string) (segmentFile, error) { return d.files[name], nil }

func (d *simDisk) syncDir() error {
	if d.fails("syncDir") {
		return syscall.EIO
	}
	for _, f := range d.files {
		f.listed = true
	}
	return nil
}

func (f *simFile) ReadAt(p []byte, off int64) (int, error) {
	return copy(p, f.seen[off:]), nil
}

func (f *simFile) WriteAt(p []byte, off int64) (int, error) {
	n := len(p)
	var err error
	if f.disk.fails("write") {
		n, err = f.disk.rng.IntN(n+1), syscall.ENOSPC
	}
	f.seen = growTo(f.seen, int(off)+n)
	copy(f.seen[off:], p[:n])
	for s := int(off) / sector; s*sector < int(off)+n; s++ {
		f.dirty[s] = true
	}
	return n, err
}

func (f *simFile) Truncate(size int64) error {
	if f.disk.fails("truncate") {
		return syscall.EIO
	}
	f.seen = growTo(f.seen[:min(int(size), len(f.seen))], int(size))
	if size%sector != 0 {
		f.dirty[int(size)/sector] = true
	}
	return nil
}

func (f *simFile) Sync() error { return f.flush(true) }

func (f *simFile) datasync() error { return f.flush(false) }

func (f *simFile) Close() error { return nil }

// flush writes the dirty sectors; the length only with size. When it fails some were written, and all are called clean.
func (f *simFile) flush(size bool) error {
	op := "datasync"
	if size {
		op = "sync"
	}
	failed := f.disk.fails(op)
	if size && !failed {
		f.platter = growTo(f.platter[:min(len(f.platter), len(f.seen))], len(f.seen))
	}
	for _, s := range slices.Sorted(maps.Keys(f.dirty)) {
		if !failed || f.disk.rng.IntN(2) == 0 {
			f.put(s)
		}
	}
	f.dirty = map[int]bool{}
	if failed {
		return syscall.EIO
	}
	return nil
}

// put writes one sector as far as both lengths reach.
func (f *simFile) put(s int) {
	from, to := s*sector, min((s+1)*sector, len(f.seen), len(f.platter))
	if from < to {
		copy(f.platter[from:to], f.seen[from:to])
	}
}

func growTo(b []byte, size int) []byte {
	if size <= len(b) {
		return b
	}
	return append(b, make([]byte, size-len(b))...)
}

// crash loses power: of what was not synced, anything may have reached the platter.
func (d *simDisk) crash() {
	for name, f := range d.files {
		if !f.listed && d.rng.IntN(2) == 0 {
			delete(d.files, name)
			continue
		}
		if d.rng.IntN(2) == 0 {
			f.platter = growTo(f.platter[:min(len(f.platter), len(f.seen))], len(f.seen))
		}
		for _, s := range slices.Sorted(maps.Keys(f.dirty)) {
			if d.rng.IntN(2) == 0 {
				f.put(s)
			}
		}
		f.seen = bytes.Clone(f.platter)
		f.dirty, f.listed = map[int]bool{}, true
	}
}

func (d *simDisk) fs() fstest.MapFS {
	dir := fstest.MapFS{}
	for name, f := range d.files {
		dir[name] = &fstest.MapFile{Data: f.seen}
	}
	return dir
}

// TestNothingAcknowledgedIsLost runs journals on failing disks through kills and power cuts. After each, the chain must
// open, hold every acknowledged entry in order and nothing that was not appended, and go on.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { simulate(t, rand.New(rand.NewPCG(seed, 1))) })
	}
}

func simulate(t *testing.T, rng *rand.Rand) {
	d := newSimDisk(rng)
	now := noon
	begin := func(walked *walker) *writer { return simWriter(t, d, func() time.Time { return now }, walked) }
	w := begin(nil)
	var acked []int64 // enrollment numbers
	attempted := int64(0)
	for range 8 {
		d.fault = []float64{0, 0.05, 0.5}[rng.IntN(3)]
		for range rng.IntN(15) {
			group, numbers := someGroup(t, rng, &attempted)
			w.tried = time.Time{}
			if err := w.commit(group); err == nil {
				acked = append(acked, numbers...)
			} else if w.broken == nil {
				t.Fatal("an error left the journal healthy")
			}
			now = now.Add(time.Duration(rng.IntN(4)) * time.Hour)
		}
		if rng.IntN(3) > 0 { // otherwise the process is killed: what was written stays, synced or not
			d.crash()
		}
		d.fault = 0
		walked, found := recovered(t, d, acked, attempted)
		w = begin(walked)
		acked = found // resuming vouches for all that was found
	}
	// With the faults gone the journal is writable and whole.
	w.tried = time.Time{}
	group, numbers := someGroup(t, rng, &attempted)
	if err := w.commit(group); err != nil {
		t.Fatalf("commit on a healthy disk: %v", err)
	}
	recovered(t, d, append(acked, numbers...), attempted)
}

// simWriter begins a journal, or goes on where a walk ended.
func simWriter(t *testing.T, d *simDisk, now func() time.Time, walked *walker) *writer {
	t.Helper()
	w := &writer{disk: d, now: now, log: slog.New(slog.DiscardHandler), limit: 12000, ahead: 4096}
	var err error
	if walked != nil && walked.chain.seq > 0 {
		w.chain = walked.chain
		err = w.resume(walked, now())
	} else { // not even a first entry had been acknowledged
		w.chain.journal = "00112233445566778899aabbccddeeff"
		w.chain.hash = genesis(w.chain.journal)
		err = w.roll()
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestFailedSyncThenPowerCut follows the two roads on which a failed sync could come back: through the segment that the
// failed group was cut from, and through a process that finds the group in memory and takes it for written.
func TestFailedSyncThenPowerCut(t *testing.T) {
	for _, killed := range []bool{false, true} {
		for seed := range uint64(64) {
			t.Run(fmt.Sprintf("killed=%v/%d", killed, seed), func(t *testing.T) {
				d := newSimDisk(rand.New(rand.NewPCG(seed, 3)))
				w := simWriter(t, d, func() time.Time { return noon }, nil)
				var attempted int64
				var acked []int64
				commit := func() error {
					group, numbers := someGroup(t, d.rng, &attempted)
					err := w.commit(group)
					if err == nil {
						acked = append(acked, numbers...)
					}
					return err
				}
				if err := commit(); err != nil {
					t.Fatal(err)
				}
				if d.next = "datasync"; commit() == nil {
					t.Fatal("a failed sync was acknowledged")
				}
				if killed {
					var walked *walker
					walked, acked = recovered(t, d, acked, attempted)
					w = simWriter(t, d, func() time.Time { return noon }, walked)
				}
				if err := commit(); err != nil {
					t.Fatal(err)
				}
				d.crash()
				recovered(t, d, acked, attempted)
			})
		}
	}
}

func someGroup(t *testing.T, rng *rand.Rand, attempted *int64) (group []*waiting, numbers []int64) {
	for range 1 + rng.IntN(4) {
		p := &waiting{err: make(chan error, 1)}
		for range 1 + rng.IntN(2) {
			*attempted++
			e := Event{Kind: Signed, At: noon, Actor: "system", Enrollment: *attempted, DER: make([]byte, rng.IntN(900))}
			var err error
			if p.body, err = appendEvent(p.body, &e); err != nil {
				t.Fatal(err)
			}
			p.ends = append(p.ends, len(p.body))
			numbers = append(numbers, *attempted)
		}
		group = append(group, p)
	}
	return group, numbers
}

func entries(t *testing.T, d *simDisk) (numbers []int64) {
	t.Helper()
	segs, err := segments(d.fs())
	if err != nil {
		t.Fatal(err)
	}
	w := &walker{dir: d.fs(), segs: segs}
	if err := w.walk(func(e Entry, _ place) error { numbers = append(numbers, e.Event.Enrollment); return nil }); err != nil {
		t.Fatalf("walk: %v", err)
	}
	return numbers
}

func recovered(t *testing.T, d *simDisk, acked []int64, attempted int64) (*walker, []int64) {
	t.Helper()
	walked, _, err := examine(d.fs())
	if err != nil {
		t.Fatalf("examine: %v", err)
	}
	found := entries(t, d)
	i := 0
	for _, n := range found {
		if i < len(acked) && n == acked[i] {
			i++
		}
	}
	if i < len(acked) {
		t.Fatalf("entry %d of %d acknowledged ones is lost: %v of %v", i, len(acked), acked, found)
	}
	if !slices.IsSorted(found) || len(found) > 0 && found[len(found)-1] > attempted {
		t.Fatalf("entries out of order or never appended: %v", found)
	}
	return walked, found
}
