package audit

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// faultyDisk is a real folder whose operations fail while they are named.
type faultyDisk struct {
	osDisk
	mu    sync.Mutex
	fails []string
}

func (d *faultyDisk) set(ops ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fails = ops
}

func (d *faultyDisk) fail(op string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if slices.Contains(d.fails, op) {
		return fmt.Errorf("%s: %w", op, syscall.EIO)
	}
	return nil
}

func (d *faultyDisk) create(name string) (segmentFile, error) {
	if err := d.fail("create"); err != nil {
		return nil, err
	}
	f, err := d.osDisk.create(name)
	return faultyFile{f, d}, err
}

func (d *faultyDisk) open(name string) (segmentFile, error) {
	if err := d.fail("open"); err != nil {
		return nil, err
	}
	f, err := d.osDisk.open(name)
	return faultyFile{f, d}, err
}

func (d *faultyDisk) syncDir() error { return errors.Join(d.fail("syncDir"), d.osDisk.syncDir()) }

type faultyFile struct {
	segmentFile
	disk *faultyDisk
}

// WriteAt writes half of what it should when it fails, as a full disk does.
func (f faultyFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.disk.fail("write"); err != nil {
		n, _ := f.segmentFile.WriteAt(p[:len(p)/2], off)
		return n, err
	}
	return f.segmentFile.WriteAt(p, off)
}

func (f faultyFile) Truncate(n int64) error {
	return errors.Join(f.disk.fail("truncate"), f.segmentFile.Truncate(n))
}
func (f faultyFile) Sync() error { return errors.Join(f.disk.fail("sync"), f.segmentFile.Sync()) }
func (f faultyFile) datasync() error {
	return errors.Join(f.disk.fail("datasync"), f.segmentFile.datasync())
}
func (f faultyFile) Close() error { return errors.Join(f.disk.fail("close"), f.segmentFile.Close()) }

func TestFailuresAreReportedAndOvercome(t *testing.T) {
	for _, ops := range [][]string{
		{"write"}, {"datasync"}, {"datasync", "truncate"}, {"datasync", "sync"}, {"write", "create"}, {"datasync", "syncDir"}, {"datasync", "close"},
		{"write", "datasync", "sync", "truncate", "create", "syncDir"},
	} {
		t.Run(strings.Join(ops, "+"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				d := &faultyDisk{osDisk: osDisk{dir}}
				j := mustOpen(t, Config{Dir: dir, New: true, disk: d})
				mustAppend(t, j, signed(1))
				seq, hash := j.Head()
				d.set(ops...)
				for n := range 3 {
					err := j.Append(t.Context(), signed(100+n))
					if !problem.Is(err, problem.Unavailable) || !errors.Is(err, syscall.EIO) || problem.From(err).RetryAfter <= 0 {
						t.Fatalf("Append %d: %v", n, err)
					}
				}
				if s, h := j.Head(); s != seq || h != hash {
					t.Errorf("the head moved to %d by an entry that failed", s)
				}
				if err := j.Healthy(); !errors.Is(err, syscall.EIO) {
					t.Errorf("Healthy: %v", err)
				}
				d.set()
				time.Sleep(recoverPause) // of the bubble
				mustAppend(t, j, signed(2))
				if err := j.Healthy(); err != nil {
					t.Errorf("Healthy: %v", err)
				}
				mustClose(t, j)
				mustClose(t, mustOpen(t, Config{Dir: dir}))
				if diff := cmp.Diff([]Event{signed(1), signed(2)}, readAll(t, dir)); diff != "" {
					t.Error(diff)
				}
				mustVerify(t, dir, Mark{seq, hash})
			})
		})
	}
}

func TestRecoversWithoutBeingAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		d := &faultyDisk{osDisk: osDisk{dir}}
		j := mustOpen(t, Config{Dir: dir, New: true, disk: d})
		d.set("datasync", "create")
		if err := j.Append(t.Context(), signed(1)); err == nil {
			t.Fatal("Append passed")
		}
		time.Sleep(3 * recoverEvery) // of the bubble
		if j.Healthy() == nil {
			t.Error("healthy with the fault still there")
		}
		d.set()
		time.Sleep(recoverEvery)
		synctest.Wait()
		if err := j.Healthy(); err != nil {
			t.Errorf("Healthy: %v", err)
		}
		mustClose(t, j)
		mustVerify(t, dir)
	})
}

func TestOpenFailures(t *testing.T) {
	for _, op := range []string{"open", "sync", "syncDir", "truncate", "write"} {
		t.Run(op, func(t *testing.T) {
			dir := t.TempDir()
			j := mustOpen(t, Config{Dir: dir, New: true})
			mustAppend(t, j, signed(1))
			mustClose(t, j)
			d := &faultyDisk{osDisk: osDisk{dir}}
			d.set(op)
			if _, err := Open(Config{Dir: dir, disk: d}); !errors.Is(err, syscall.EIO) {
				t.Fatalf("Open: %v", err)
			}
			mustClose(t, mustOpen(t, Config{Dir: dir})) // the lock was released and nothing was harmed
			if diff := cmp.Diff([]Event{signed(1)}, readAll(t, dir)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestTornTailIsCutOffAndMentioned goes through Open on real files.
func TestTornTailIsCutOffAndMentioned(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, Config{Dir: dir, New: true, Version: "v1"})
	mustAppend(t, j, signed(1))
	mustClose(t, j)
	f, err := os.OpenFile(dir+"/"+plainName(1), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"seq":3,"prev":"00` + strings.Repeat("\x00", 700) + `x"}` + "\n\x00\x00"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if r := mustVerify(t, dir); len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "723 bytes") {
		t.Errorf("notes %q", r.Notes)
	}
	mustClose(t, mustOpen(t, Config{Dir: dir, Version: "v2"}))
	var details []string
	for e, err := range After(dir, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Event.Kind == Started {
			details = append(details, e.Event.Detail)
		}
	}
	if len(details) != 2 || details[0] != "v1" || !strings.HasPrefix(details[1], "v2 (cut off 723 bytes") {
		t.Errorf("started as %q", details)
	}
	if r := mustVerify(t, dir); len(r.Notes) != 0 || r.Entries != 3 {
		t.Errorf("report %+v", r)
	}
}

// TestPiecesFarBehindTheEndAreCutOff: an unfinished group may be longer than the zeros written ahead.
func TestPiecesFarBehindTheEndAreCutOff(t *testing.T) {
	dir := t.TempDir()
	mustClose(t, mustOpen(t, Config{Dir: dir, New: true}))
	f, err := os.OpenFile(dir+"/"+plainName(1), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(append(make([]byte, 2*extension), "piece"...)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	j := mustOpen(t, Config{Dir: dir})
	if r := mustVerify(t, dir); len(r.Notes) != 0 {
		t.Errorf("while open: %q", r.Notes)
	}
	mustClose(t, j)
}
