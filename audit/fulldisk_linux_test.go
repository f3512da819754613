package audit

import (
	"errors"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/gatehouse-ca/gatehouse/problem"

	"github.com/gatehouse-ca/gatehouse/internal/testneed"
)

// TestFullDisk fills a small tmpfs. It needs leave to mount one.
func TestFullDisk(t *testing.T) {
	testneed.OnlyIfListed(t, "tmpfs")
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=6m"); err != nil {
		t.Fatalf("mount: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		j := mustOpen(t, Config{Dir: dir, New: true})
		want := []Event{}
		add := func(n int) error {
			e := signed(n)
			e.DER = make([]byte, 3000)
			err := j.Append(t.Context(), e)
			if err == nil {
				want = append(want, e)
			}
			return err
		}
		ballast := dir + "/ballast"
		if err := os.WriteFile(ballast, make([]byte, 2<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		n := 0
		for ; n < 10_000; n++ {
			if err := add(n); err != nil {
				if !problem.Is(err, problem.Unavailable) || !errors.Is(err, syscall.ENOSPC) {
					t.Fatalf("Append: %v", err)
				}
				break
			}
		}
		if n < 100 || n == 10_000 {
			t.Fatalf("%d entries filled the disk", n)
		}
		if err := add(n + 1); err == nil {
			t.Error("Append passed on a full disk")
		}
		mustVerify(t, dir)
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		time.Sleep(recoverPause) // of the bubble
		if err := add(n + 2); err != nil {
			t.Errorf("Append with space again: %v", err)
		}
		mustClose(t, j)
		if diff := cmp.Diff(want, readAll(t, dir)); diff != "" {
			t.Error(diff)
		}
	})
}
