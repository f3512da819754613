package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/storage/redis/redistest"
)

// TestADataFolderKnowsWhereItBelongs: to one deployment and one journal. On a shared store nothing else could tell a folder
// that lost its journal from a new one, or another deployment's.
func TestADataFolderKnowsWhereItBelongs(t *testing.T) {
	t.Parallel()
	redistest.Need(t)
	f := newFleet(t, 2, "--redis", redistest.Start(t).Addr)
	for _, g := range f.start() {
		g.stop()
	}
	w := f.worlds[0]
	refused := func(what, says string, args ...string) {
		t.Helper()
		i, err := w.tryStart(args...)
		if err == nil {
			i.stop()
		}
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v; want %q", what, err, says)
		}
	}
	other := redistest.Start(t)
	strange := newFleet(t, 1, "--redis", other.Addr)
	strange.start()[0].stop()
	refused("another deployment's store", "another deployment", "--redis", other.Addr)

	journal, kept := filepath.Join(w.data, "journal"), filepath.Join(t.TempDir(), "journal")
	must(t, os.Rename(journal, kept))
	refused("no journal", "holds no journal")
	must(t, os.CopyFS(journal, os.DirFS(filepath.Join(f.worlds[1].data, "journal"))))
	refused("the other gateway's journal", "the folder's own belongs to journal")
	must(t, os.RemoveAll(journal))
	must(t, os.Rename(kept, journal))
	w.start().stop()

	must(t, os.RemoveAll(journal))
	w.start("--new-journal").stop()
	w.start().stop()

	must(t, os.WriteFile(filepath.Join(w.data, membershipFile), []byte("{"), 0o600))
	refused("a damaged file", membershipFile)
}

// TestAFirstStartMayFail: a gateway that could not reach the store at first joins the others later, and one that could not
// begin its new journal's first start tries again.
func TestAFirstStartMayFail(t *testing.T) {
	t.Parallel()
	redistest.Need(t)
	f := newFleet(t, 2, "--redis", redistest.Start(t).Addr)
	f.worlds[0].start()
	late := f.worlds[1]
	for range 2 {
		if i, err := late.tryStart("--redis", freeAddr(t)); err == nil {
			i.stop()
			t.Fatal("a gateway starts without its store")
		}
	}
	late.start().stop()
	must(t, os.RemoveAll(filepath.Join(late.data, "journal")))
	if i, err := late.tryStart("--new-journal", "--redis", freeAddr(t)); err == nil {
		i.stop()
		t.Fatal("a gateway starts without its store")
	}
	late.start().stop()
}

// TestAFolderFromBeforeItRemembered is one without the file: made by an older version, or restored without it.
func TestAFolderFromBeforeItRemembered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i := w.start()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must(t, newHistory(w).advance(ctx, i, w.answers()))
	i.stop()
	must(t, os.Remove(filepath.Join(w.data, membershipFile)))
	i = w.start()
	if n := len(w.certList()); n != 1 {
		t.Errorf("%d enrollments are listed", n)
	}
	i.stop()
}
