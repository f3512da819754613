package audit

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"testing"
	"testing/fstest"
)

// FuzzSegment reads bytes as the open segment of a journal and as a closed one. Whatever they are, reading must end, the
// entries must chain, and what the walk calls good must walk again without complaint.
func FuzzSegment(f *testing.F) {
	j, _ := sample(f)
	whole := []byte{}
	for _, line := range j[fileA][:3] { // short, so that mutations hit something
		whole = append(whole, line...)
	}
	f.Add(whole)
	f.Add(append(bytes.Clone(whole), make([]byte, 600)...))
	f.Add(append(bytes.Clone(whole[:len(whole)-300]), make([]byte, 600)...))
	f.Add(bytes.Replace(whole, []byte(`"seq":2`), []byte(`"seq":3`), 1))
	f.Add([]byte("{}\n"))
	f.Add([]byte("\x00\x00{\"seq\":1}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := fstest.MapFS{plainName(1): {Data: data}, plainName(1 << 40): {Data: data}}
		if _, err := verify(dir, nil); err == nil && len(data) > 0 {
			t.Error("two equal segments verified")
		}
		dir = fstest.MapFS{plainName(1): {Data: data}}
		w := walk(t, dir)
		again := walk(t, fstest.MapFS{plainName(1): {Data: data[:w.end]}})
		if again.chain != w.chain || again.torn != 0 {
			t.Errorf("the good part reads differently: %+v, %+v", w, again)
		}
		if _, err := verify(dir, []Mark{{w.chain.seq + 1, [32]byte{}}}); err == nil {
			t.Error("a mark past the end was accepted")
		}
	})
}

// walk follows the journal and checks the chain independently of the walker.
func walk(t *testing.T, dir fs.FS) *walker {
	segs, err := segments(dir)
	if err != nil {
		t.Fatal(err)
	}
	w := &walker{dir: dir, segs: segs}
	var last Entry
	good := int64(0)
	err = w.walk(func(e Entry, _ place) error {
		if e.Seq != last.Seq+1 || last.Seq > 0 && e.Prev != last.Hash || e.Group > e.Seq {
			t.Errorf("entry %d does not follow entry %d", e.Seq, last.Seq)
		}
		last, good = e, good+1
		return nil
	})
	if err != nil {
		if _, ok := errors.AsType[*Break](err); !ok || errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("not a break: %v", err)
		}
		w.end = 0
		w.chain, w.torn = chain{}, 0
		return w
	}
	return w
}
