package storage_test

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/embedded"
	"github.com/gatehouse-ca/gatehouse/storage/storetest"
)

// TestCommonNamesOfOlderStores: what was imported before there was an index of CNs is found by its CN once the store was opened
// anew, and the next start reads none of it again.
func TestCommonNamesOfOlderStores(t *testing.T) {
	t.Parallel()
	e, err := embedded.Open(embedded.Config{Dir: filepath.Join(t.TempDir(), "store")})
	must(t, err)
	defer e.Close()
	c := storetest.NewCounting(e)
	db, err := storage.Open(t.Context(), storage.Config{Engine: c})
	must(t, err)
	var want []ra.ID
	for n := range 3 {
		id, err := db.NextEnrollment(t.Context())
		must(t, err)
		in := &ra.Enrollment{
			ID: id, Org: 1, Door: ra.DoorConsole, Requester: "user:7", Names: names(t, "old.example.com"), CommonName: []string{"Old Server", "old server", "old.example.com"}[n],
			Created: now(), Phase: ra.Issued, Imported: true, Serial: ca.Serial([]string{"01", "02", "03"}[n]), NotAfter: now().AddDate(1, 0, 0), Issued: now(),
		}
		in.Fingerprint[0] = byte(n)
		must(t, db.RecordImports(t.Context(), []*ra.Import{{Enrollment: in, Certificate: []byte{byte(n)}}}, now(), ra.ImportBounds{}))
		if n < 2 {
			want = append(want, id)
		}
	}
	find := func(db *storage.DB) (got []ra.ID) {
		t.Helper()
		found, err := db.Search(t.Context(), ra.Query{Org: 1, CommonName: "OLD SERVER", Limit: 10}, now())
		must(t, err)
		return ids(found.Enrollments)
	}
	if got := find(db); !slices.Equal(got, want) {
		t.Errorf("found are %v, want %v", got, want)
	}
	// As an older version left it.
	members, err := e.Scan(t.Context(), "common-name/1", storage.Range{}, storage.Page{Limit: 10})
	must(t, err)
	b := storage.Batch{Version: storage.NewVersion(), Deletes: []storage.Key{"listed/common-names"}}
	for _, m := range members {
		b.Removes = append(b.Removes, storage.Entry{Index: "common-name/1", Member: m})
	}
	must(t, e.Commit(t.Context(), b))
	if got := find(db); len(members) != 2 || len(got) != 0 {
		t.Errorf("of %d entries that were removed, %v are found", len(members), got)
	}
	db, err = storage.Open(t.Context(), storage.Config{Engine: c})
	must(t, err)
	if got := find(db); !slices.Equal(got, want) {
		t.Errorf("after opening, found are %v, want %v", got, want)
	}
	c.Reset()
	_, err = storage.Open(t.Context(), storage.Config{Engine: c})
	must(t, err)
	if trips := c.Trips(); trips.By[storetest.Get] != 2 || trips.By[storetest.Commit] != 0 {
		t.Errorf("another start: %v", trips.By)
	}
}
