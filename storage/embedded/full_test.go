package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/gatehouse-ca/gatehouse/storage"

	"github.com/gatehouse-ca/gatehouse/internal/testneed"
)

// fill commits until the store refuses, and returns what was acknowledged.
func fill(t *testing.T, e *Engine, prefix string) (acknowledged []string) {
	t.Helper()
	value := strings.Repeat("x", 20_000)
	for i := range 100_000 {
		key := fmt.Sprint(prefix, i)
		_, err := put(e, key, value)
		switch {
		case err == nil:
			acknowledged = append(acknowledged, key)
		case !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrUnknown):
			t.Fatalf("a commit on a full disk returned %v", err)
		default:
			return acknowledged
		}
	}
	t.Fatal("the disk never filled")
	return nil
}

// intact checks that all keys can be read and that bbolt finds no fault in the file.
func intact(t *testing.T, e *Engine, keys []string) {
	t.Helper()
	for _, key := range keys {
		if items, err := e.Get(t.Context(), storage.Key(key)); err != nil || !items[0].Found || len(items[0].Value) != 20_000 {
			t.Fatalf("%s was acknowledged; now %v, %v", key, items, err)
		}
	}
	err := e.db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatalf("the file is damaged: %v", err)
	}
}

// bbolt's own limit stands for a disk that fills in the middle of a transaction.
func TestFull(t *testing.T) {
	var c clock
	e := openTest(t, filepath.Join(t.TempDir(), "store"), &c, nil)
	e.db.MaxSize = 17 << 20
	acknowledged := fill(t, e, "a")
	if len(acknowledged) == 0 {
		t.Fatal("nothing was acknowledged")
	}
	if e.Health(t.Context()).Err == nil {
		t.Error("Health says nothing")
	}
	intact(t, e, acknowledged)
	e.db.MaxSize = 0
	if _, err := put(e, "after", strings.Repeat("y", 20_000)); err != nil {
		t.Fatalf("a commit once there is room: %v", err)
	}
	if err := e.Health(t.Context()).Err; err != nil {
		t.Errorf("Health: %v", err)
	}
	intact(t, e, append(acknowledged, "after"))
}

// Below the reserve nothing is written, so that bbolt's failure never happens and other files can still grow.
func TestReserve(t *testing.T) {
	var c clock
	e := openTest(t, filepath.Join(t.TempDir(), "store"), &c, nil)
	if _, err := put(e, "k", "v"); err != nil {
		t.Fatal(err)
	}
	reserve := e.reserve
	e.reserve = 1 << 62
	_, err := put(e, "k", "w")
	if !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), "full") {
		t.Errorf("a commit below the reserve returned %v", err)
	}
	if items, err := e.Get(t.Context(), "k"); err != nil || string(items[0].Value) != "v" {
		t.Errorf("reads below the reserve: %v, %v", items, err)
	}
	if e.Health(t.Context()).Err == nil {
		t.Error("Health says nothing")
	}
	e.reserve = reserve
	if e.Health(t.Context()).Err == nil {
		t.Error("Health forgot the failed write before one succeeded")
	}
	if _, err := put(e, "k", "w"); err != nil {
		t.Error(err)
	}
	if err := e.Health(t.Context()).Err; err != nil {
		t.Errorf("Health: %v", err)
	}
}

// A real full disk: a small tmpfs, once with the reserve and once without, where bbolt itself meets ENOSPC.
func TestFullTmpfs(t *testing.T) {
	for _, reserve := range []bool{true, false} {
		t.Run(fmt.Sprintf("reserve=%v", reserve), func(t *testing.T) {
			mount := t.TempDir()
			if err := unix.Mount("tmpfs", mount, "tmpfs", 0, "size=8m"); err != nil {
				testneed.Missing(t, "tmpfs", err)
			}
			defer unix.Unmount(mount, 0)
			var c clock
			dir := filepath.Join(mount, "store")
			e, err := Open(Config{Dir: dir, Now: c.now})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { e.Close() }()
			if !reserve {
				e.reserve = 0
			}
			ballast := filepath.Join(mount, "ballast")
			writeFile(t, ballast, strings.Repeat("b", 2<<20))
			acknowledged := fill(t, e, "a")
			if len(acknowledged) < 10 {
				t.Fatalf("only %d commits were acknowledged", len(acknowledged))
			}
			for i := range 5 { // a refused transaction may leave just enough space for another
				acknowledged = append(acknowledged, fill(t, e, fmt.Sprint("more", i, "/"))...)
			}
			intact(t, e, acknowledged)
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			more := fill(t, e, "b")
			if len(more) < 10 {
				t.Fatalf("only %d commits were acknowledged once there was room", len(more))
			}
			acknowledged = append(acknowledged, more...)
			intact(t, e, acknowledged)
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			if e, err = Open(Config{Dir: dir, Now: c.now}); err != nil {
				t.Fatalf("opening on a full disk: %v", err)
			}
			intact(t, e, acknowledged)
		})
	}
}
