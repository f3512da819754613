package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

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
	refused("no journal", "holds a store but no journal")
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
