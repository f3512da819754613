package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/sys/unix"

	"github.com/gatehouse-ca/gatehouse/internal/testneed"
)

// TestFullDisk fills the disk under a running gateway: it answers 503 with Retry-After and loses nothing, and goes on by
// itself once there is room again, also after it was killed while the disk was full.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	folder := smallDisk(t, "64m")
	w := newWorld(t)
	w.data = filepath.Join(folder, "data")
	witness := filepath.Join(t.TempDir(), "witness")
	answers := w.answers()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()

	i := w.start("--witness", witness)
	before := newHistory(w)
	if err := before.advance(ctx, i, answers); err != nil {
		t.Fatal(err)
	}
	clients := []*history{before}

	fillDisk(t, folder)
	refused := 0
	for range 200 { // what was preallocated is used up first
		h := newHistory(w)
		clients = append(clients, h)
		err := h.advance(ctx, i, answers)
		if err == nil {
			continue
		}
		checkUnavailable(t, err)
		if refused++; refused == 5 {
			break
		}
	}
	if refused == 0 {
		t.Fatal("a full disk refused nothing; the test proves nothing")
	}
	if resp, err := http.Get("http://" + w.plain + "/readyz"); err != nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("/readyz with a full disk: %v, %v", resp, err)
	}

	must(t, os.Remove(filepath.Join(folder, "filler")))
	recovered := newHistory(w)
	if err := eventually(ctx, func() error { return recovered.advance(ctx, i, answers) }); err != nil {
		t.Fatalf("with room again: %v", err)
	}
	clients = append(clients, recovered)

	fillDisk(t, folder)
	for range 20 {
		h := newHistory(w)
		clients = append(clients, h)
		h.advance(ctx, i, answers)
	}
	i.kill()
	must(t, os.Remove(filepath.Join(folder, "filler")))
	i = w.start("--witness", witness)
	for _, h := range clients {
		if err := h.advance(ctx, i, answers); err != nil {
			t.Errorf("%s could not finish: %v", h.name, err)
		}
	}
	i.stop()
	judge(t, w, witness, clients)
}

// smallDisk mounts a file system of its own, which takes a privileged user.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "gatehouse-disk-")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(folder) })
	if err := unix.Mount("tmpfs", folder, "tmpfs", 0, "size="+size); err != nil {
		testneed.Missing(t, "tmpfs", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(folder, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return folder
}

// fillDisk leaves no room at all.
func fillDisk(t *testing.T, folder string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(folder, "filler"), os.O_CREATE|os.O_WRONLY, 0o600)
	must(t, err)
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else {
			must(t, err)
		}
	}
}

// checkUnavailable demands that a client was told to come back, and when.
func checkUnavailable(t *testing.T, err error) {
	t.Helper()
	e, ok := errors.AsType[*acme.Error](err)
	if !ok {
		t.Errorf("a full disk was answered with %v", err)
		return
	}
	if e.StatusCode != http.StatusServiceUnavailable || e.Header.Get("Retry-After") == "" {
		t.Errorf("a full disk was answered %d, Retry-After %q: %s", e.StatusCode, e.Header.Get("Retry-After"), e.Detail)
	}
}

// eventually tries until it works or ctx ends.
func eventually(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}
