package embedded

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/gatehouse-ca/gatehouse/storage"
)

func TestOpenMakesFolder(t *testing.T) {
	var c clock
	dir := filepath.Join(t.TempDir(), "data", "store")
	e := openTest(t, dir, &c, nil)
	for path, mode := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, fileName): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != mode {
			t.Errorf("%s has mode %o, want %o", path, info.Mode().Perm(), mode)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v, %v; want one file", entries, err)
	}
	id := e.ID()
	if id == [16]byte{} {
		t.Error("the store has no identity")
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if again := openTest(t, dir, &c, nil); again.ID() != id {
		t.Error("the store's identity changed")
	}
}

// TestCloseWritesTheFreeList: a store that was closed says which pages are free; one that is open, or whose process was killed, does
// not, and is opened all the same. Both have what was committed.
func TestCloseWritesTheFreeList(t *testing.T) {
	t.Parallel()
	var c clock
	dir, killed := filepath.Join(t.TempDir(), "closed"), filepath.Join(t.TempDir(), "killed")
	e := openTest(t, dir, &c, nil)
	for n := range byte(50) {
		if _, err := put(e, "record/"+string('0'+n), strings.Repeat("x", 3000)); err != nil {
			t.Fatal(err)
		}
	}
	if listed(t, dir) {
		t.Error("commits write the list of free pages, which costs each of them a page")
	}
	if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if !listed(t, dir) || listed(t, killed) {
		t.Errorf("the list is there: %t after Close, %t after a kill", listed(t, dir), listed(t, killed))
	}
	for _, dir := range []string{dir, killed} {
		again := openTest(t, dir, &c, nil)
		if _, err := put(again, "record/new", "x"); err != nil {
			t.Fatal(err)
		}
		if found, err := again.Get(t.Context(), "record/0", "record/new"); err != nil || len(found[0].Value) != 3000 || string(found[1].Value) != "x" {
			t.Errorf("%s: %v, %v", dir, found, err)
		}
	}
}

// listed is hasFreeList of the store in a folder.
func listed(t *testing.T, dir string) bool {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, fileName))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return hasFreeList(f)
}

// A crash while a store was being made leaves a folder that can be opened.
func TestOpenAfterCrashInCreation(t *testing.T) {
	var c clock
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, ".store-123.new"), "half")
	openTest(t, dir, &c, nil)
}

func TestOpenRefuses(t *testing.T) {
	dbFile := func(t *testing.T, path string, fill func(*bbolt.Tx) error) {
		db, err := bbolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(db.Update(fill), db.Close()); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name string
		make func(t *testing.T, dir string)
		want string
	}{
		{"a file", func(t *testing.T, dir string) { writeFile(t, dir, "x") }, "is a file"},
		{"another program's folder", func(t *testing.T, dir string) {
			mkdir(t, dir)
			writeFile(t, filepath.Join(dir, "letter.txt"), "x")
		}, "holds something else (letter.txt)"},
		{"something beside a store", func(t *testing.T, dir string) {
			openTest(t, dir, new(clock), nil).Close()
			writeFile(t, filepath.Join(dir, "letter.txt"), "x")
		}, "holds something else (letter.txt)"},
		{"an empty file of our name", func(t *testing.T, dir string) {
			mkdir(t, dir)
			writeFile(t, filepath.Join(dir, fileName), "")
		}, "is not a Gatehouse store"},
		{"another file of our name", func(t *testing.T, dir string) {
			mkdir(t, dir)
			writeFile(t, filepath.Join(dir, fileName), strings.Repeat("other", 10_000))
		}, "is not a Gatehouse store"},
		{"another program's bbolt file", func(t *testing.T, dir string) {
			mkdir(t, dir)
			dbFile(t, filepath.Join(dir, fileName), func(tx *bbolt.Tx) error {
				_, err := tx.CreateBucket([]byte("theirs"))
				return err
			})
		}, "is not a Gatehouse store"},
		{"a newer schema", func(t *testing.T, dir string) {
			openTest(t, dir, new(clock), nil).Close()
			dbFile(t, filepath.Join(dir, fileName), func(tx *bbolt.Tx) error {
				return tx.Bucket(bucketMeta).Put(metaSchema, binary.BigEndian.AppendUint32(nil, schema+1))
			})
		}, "newer version of this program (schema 2, known up to 1)"},
		{"a bucket missing", func(t *testing.T, dir string) {
			openTest(t, dir, new(clock), nil).Close()
			dbFile(t, filepath.Join(dir, fileName), func(tx *bbolt.Tx) error { return tx.DeleteBucket(bucketExpiry) })
		}, "is damaged (no expiry)"},
		{"a store in use", func(t *testing.T, dir string) { openTest(t, dir, new(clock), nil) }, "is locked by another process; stop it or choose another folder"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			test.make(t, dir)
			before := listing(t, dir)
			e, err := Open(Config{Dir: dir})
			if err == nil {
				e.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), dir) || strings.Contains(err.Error(), "\n") {
				t.Errorf("the error is %q, want one line with %q and the folder", err, test.want)
			}
			if after := listing(t, dir); after != before {
				t.Error("a refused folder was changed")
			}
		})
	}
	if _, err := Open(Config{}); err == nil {
		t.Error("opened no folder")
	}
}

// Two that make a store in one folder at once end up with one store.
func TestOpenRace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	type result struct {
		e   *Engine
		err error
	}
	results := make(chan result)
	for range 4 {
		go func() {
			e, err := Open(Config{Dir: dir})
			results <- result{e, err}
		}()
	}
	var opened *Engine
	for range 4 {
		r := <-results
		switch {
		case r.err == nil && opened == nil:
			opened = r.e
		case r.err == nil:
			t.Error("opened twice")
			r.e.Close()
		case !strings.Contains(r.err.Error(), "locked by another process"):
			t.Errorf("the loser got %v", r.err)
		}
	}
	if opened == nil {
		t.Fatal("nobody opened the store")
	}
	if err := opened.Commit(t.Context(), storage.Batch{Version: storage.NewVersion()}); err != nil {
		t.Error(err)
	}
	opened.Close()
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t *testing.T, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
}

// listing says what lies in a folder, by name and content.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	for _, path := range append([]string{dir}, glob(t, dir)...) {
		content, _ := os.ReadFile(path)
		all.WriteString(path + " " + string(content) + "\n")
	}
	return all.String()
}

func glob(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}
