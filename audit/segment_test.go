package audit

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSegmentsCloseByDayAndSizeAndAreCompressed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		c := &clock{t: noon}
		j := mustOpen(t, Config{Dir: dir, New: true, Now: c.now, SegmentBytes: 2000})
		var want []Event
		add := func(n int) {
			for range n {
				e := signed(len(want))
				mustAppend(t, j, e)
				want = append(want, e)
			}
		}
		add(1)
		c.add(24 * time.Hour)
		add(1)
		synctest.Wait() // the compressor is at rest
		if diff := cmp.Diff([]string{gzipName(1, 2), plainName(3), lockName}, names(t, dir)); diff != "" {
			t.Errorf("after the day: %s", diff)
		}
		c.add(-48 * time.Hour) // a clock that goes back closes nothing
		add(1)
		add(20)
		synctest.Wait()
		segs, err := segments(os.DirFS(dir))
		if err != nil || len(segs) < 4 {
			t.Fatalf("segments %v, %v", segs, err)
		}
		for i, s := range segs {
			if s.compressed() != (i < len(segs)-1) {
				t.Errorf("segment %s of %d", s.name, len(segs))
			}
		}
		if diff := cmp.Diff(want, readAll(t, dir)); diff != "" {
			t.Error(diff)
		}
		id := j.ID()
		mustClose(t, j)
		j = mustOpen(t, Config{Dir: dir, Now: c.now})
		if j.ID() != id {
			t.Errorf("id %q, was %q", j.ID(), id)
		}
		mustClose(t, j)
		mustVerify(t, dir)
	})
}

func TestCompressionThatACrashInterrupted(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, Config{Dir: dir, New: true})
	mustAppend(t, j, signed(1))
	mustClose(t, j)
	plain, err := os.ReadFile(filepath.Join(dir, plainName(1)))
	if err != nil {
		t.Fatal(err)
	}
	if err := packSegment(dir, plainName(1), gzipName(1, 2), nil); err != nil {
		t.Fatal(err)
	}
	// Killed after the rename: the original is still there; and another copy was under way.
	for name, data := range map[string][]byte{plainName(1): plain, plainName(3): nil, gzipName(1, 2) + tempSuffix: []byte("half")} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mustVerify(t, dir)
	synctest.Test(t, func(t *testing.T) {
		j := mustOpen(t, Config{Dir: dir})
		synctest.Wait()
		if diff := cmp.Diff([]string{gzipName(1, 2), plainName(3), lockName}, names(t, dir)); diff != "" {
			t.Error(diff)
		}
		mustClose(t, j)
	})
	if r := mustVerify(t, dir); r.Entries != 3 {
		t.Errorf("report %+v", r)
	}
}
