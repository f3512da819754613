package audit

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/fstest"
	"time"
)

// TestTornTail cuts the file at every byte of the last group, and blanks every combination of its sectors.
func TestTornTail(t *testing.T) {
	d := newSimDisk(rand.New(rand.NewPCG(1, 1)))
	w := simWriter(t, d, func() time.Time { return noon }, nil)
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
	w := simWriter(t, d, func() time.Time { return noon }, nil)
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
