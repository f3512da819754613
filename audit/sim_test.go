package audit

import (
	"bytes"
	"errors"
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
	files map[string]*simFile
}

type simFile struct {
	disk    *simDisk
	seen    []byte // what programs read
	platter []byte
	dirty   map[int]bool // sectors to be written by the next sync
	lost    map[int]bool // sectors whose write failed: either content may be on the platter, no sync writes them
	listed  bool         // the folder entry is on the platter
}

func newSimDisk(rng *rand.Rand) *simDisk { return &simDisk{rng: rng, files: map[string]*simFile{}} }

func (d *simDisk) fails() bool { return d.rng.Float64() < d.fault }

func (d *simDisk) create(name string) (segmentFile, error) {
	if d.fails() {
		return nil, syscall.ENOSPC
	}
	f := d.files[name]
	if f == nil {
		f = &simFile{disk: d, dirty: map[int]bool{}, lost: map[int]bool{}}
		d.files[name] = f
	}
	f.seen = nil
	f.dirty = map[int]bool{}
	return f, nil
}

func (d *simDisk) open(name string) (segmentFile, error) { return d.files[name], nil }

func (d *simDisk) syncDir() error {
	if d.fails() {
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
	if f.disk.fails() {
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
	if f.disk.fails() {
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

// flush writes the dirty sectors; the length only with size.
func (f *simFile) flush(size bool) error {
	failed := f.disk.fails()
	if size && !failed {
		f.platter = growTo(f.platter[:min(len(f.platter), len(f.seen))], len(f.seen))
	}
	for _, s := range slices.Sorted(maps.Keys(f.dirty)) {
		if failed {
			f.lost[s] = true
			continue
		}
		f.put(s)
		delete(f.lost, s)
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
		for _, s := range slices.Concat(slices.Sorted(maps.Keys(f.dirty)), slices.Sorted(maps.Keys(f.lost))) {
			if d.rng.IntN(2) == 0 {
				f.put(s)
			}
		}
		f.seen = bytes.Clone(f.platter)
		f.dirty, f.lost, f.listed = map[int]bool{}, map[int]bool{}, true
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
	begin := func() *writer {
		return &writer{disk: d, now: func() time.Time { return now }, log: slog.New(slog.DiscardHandler), limit: 12000, ahead: 4096}
	}
	w := begin()
	w.chain.journal = "00112233445566778899aabbccddeeff"
	w.chain.hash = genesis(w.chain.journal)
	if err := w.roll(); err != nil {
		t.Fatal(err)
	}
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
		w = begin()
		w.chain = walked.chain
		if walked.chain.seq == 0 { // not even the first entry had been acknowledged
			w.chain.journal = "00112233445566778899aabbccddeeff"
			w.chain.hash = genesis(w.chain.journal)
			if err := w.roll(); err != nil {
				t.Fatal(err)
			}
		} else if err := w.resume(walked, now); err != nil {
			t.Fatal(err)
		}
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

// TestTornTail cuts the file at every byte of the last group, and blanks every combination of its sectors.
func TestTornTail(t *testing.T) {
	d := newSimDisk(rand.New(rand.NewPCG(1, 1)))
	w := &writer{disk: d, now: func() time.Time { return noon }, log: slog.New(slog.DiscardHandler), limit: 1 << 20, ahead: 8192}
	w.chain.journal = "00112233445566778899aabbccddeeff"
	w.chain.hash = genesis(w.chain.journal)
	if err := w.roll(); err != nil {
		t.Fatal(err)
	}
	n := int64(0)
	var ends []int64
	for range 3 {
		group, _ := someGroup(t, rand.New(rand.NewPCG(7, 2)), &n)
		if err := w.commit(group); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, w.off)
	}
	data := d.files[w.name].seen
	acked := entriesUpTo(t, data[:ends[1]])
	check := func(t *testing.T, image []byte) {
		t.Helper()
		walked, _, err := examine(fstest.MapFS{w.name: {Data: image}})
		if err != nil {
			t.Fatal(err)
		}
		if walked.chain.seq < acked || walked.end < ends[1] {
			t.Fatalf("ends with entry %d, %d were acknowledged", walked.chain.seq, acked)
		}
	}
	for cut := ends[1]; cut <= ends[2]; cut++ {
		check(t, data[:cut])
		check(t, growTo(bytes.Clone(data[:cut]), len(data)))
	}
	first, last := int(ends[1]+sector-1)/sector, int(ends[2]+sector-1)/sector
	if last-first > 10 {
		t.Fatalf("%d sectors are too many to try all combinations", last-first)
	}
	for mask := range 1 << (last - first) {
		image := bytes.Clone(data)
		for s := first; s < last; s++ {
			if mask>>(s-first)&1 == 1 {
				clear(image[s*sector : min((s+1)*sector, len(image))])
			}
		}
		check(t, image)
	}
}

func entriesUpTo(t *testing.T, data []byte) int64 {
	t.Helper()
	walked, _, err := examine(fstest.MapFS{plainName(1): {Data: data}})
	if err != nil || walked.torn > 0 {
		t.Fatalf("examine: %v, torn %d", err, walked.torn)
	}
	return walked.chain.seq
}

// TestDamageBeforeTheLastGroupIsRefused blanks each sector of what was acknowledged before the last group.
func TestDamageBeforeTheLastGroupIsRefused(t *testing.T) {
	d := newSimDisk(rand.New(rand.NewPCG(1, 1)))
	w := &writer{disk: d, now: func() time.Time { return noon }, log: slog.New(slog.DiscardHandler), limit: 1 << 20, ahead: 8192}
	w.chain.journal = "00112233445566778899aabbccddeeff"
	w.chain.hash = genesis(w.chain.journal)
	if err := w.roll(); err != nil {
		t.Fatal(err)
	}
	n := int64(0)
	var safe int64
	for range 4 {
		safe = w.off
		group, _ := someGroup(t, rand.New(rand.NewPCG(9, 2)), &n)
		if err := w.commit(group); err != nil {
			t.Fatal(err)
		}
	}
	data := d.files[w.name].seen
	for off := int64(0); off < safe; off += 97 {
		image := bytes.Clone(data)
		clear(image[off:min(off+sector, safe)])
		_, _, err := examine(fstest.MapFS{w.name: {Data: image}})
		if _, ok := errors.AsType[*Break](err); !ok {
			t.Errorf("zeros at %d: %v", off, err)
		}
	}
}
