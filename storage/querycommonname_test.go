package storage_test

import (
	"fmt"
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

// TestStaleCommonNames: an entry that a gateway without this index leaves, when it removes what was imported, brings nothing back.
func TestStaleCommonNames(t *testing.T) {
	t.Parallel()
	db, c := open(t)
	var list []*ra.Enrollment
	for n := range 2 {
		id, err := db.NextEnrollment(t.Context())
		must(t, err)
		e := &ra.Enrollment{
			ID: id, Org: 1, Door: ra.DoorConsole, Requester: "user:7", Names: names(t, "old.example.com"), CommonName: "Old Server",
			Created: now(), Phase: ra.Issued, Imported: true, Serial: "01", NotAfter: now().AddDate(1, 0, 0), Issued: now(),
		}
		e.Fingerprint[0] = byte(n)
		must(t, db.RecordImports(t.Context(), []*ra.Import{{Enrollment: e, Certificate: []byte{byte(n)}}}, now(), ra.ImportBounds{}))
		e, err = db.Enrollment(t.Context(), id)
		must(t, err)
		list = append(list, e)
	}
	scan := func() [][]byte {
		t.Helper()
		members, err := c.Scan(t.Context(), "common-name/1", storage.Range{}, storage.Page{Limit: 10})
		must(t, err)
		return members
	}
	entries := scan()
	must(t, db.MoveEnrollment(t.Context(), list[0].Remove("user:7", now()), list[0], nil))
	if left := scan(); len(entries) != 2 || len(left) != 1 {
		t.Fatalf("of %d entries %d are left", len(entries), len(left))
	}
	must(t, c.Commit(t.Context(), storage.Batch{Version: storage.NewVersion(), Adds: []storage.Entry{{Index: "common-name/1", Member: entries[0]}}}))
	found, err := db.Search(t.Context(), ra.Query{Org: 1, CommonName: "old server", Limit: 10}, now())
	must(t, err)
	if got := ids(found.Enrollments); !slices.Equal(got, []ra.ID{list[1].ID}) || found.Total != 1 {
		t.Errorf("found are %v of %d, want %d", got, found.Total, list[1].ID)
	}
}

// TestDamageDoesNotKeepAStoreShut: of what was imported long ago, one record that cannot be read keeps neither the store shut nor the
// others from being found.
func TestDamageDoesNotKeepAStoreShut(t *testing.T) {
	t.Parallel()
	db, c := open(t)
	var want []ra.ID
	for n := range 3 {
		id, err := db.NextEnrollment(t.Context())
		must(t, err)
		e := &ra.Enrollment{
			ID: id, Org: 1, Door: ra.DoorConsole, Requester: "user:7", Names: names(t, "old.example.com"), CommonName: "Old Server",
			Created: now(), Phase: ra.Issued, Imported: true, Serial: "01", NotAfter: now().AddDate(1, 0, 0), Issued: now(),
		}
		e.Fingerprint[0] = byte(n)
		must(t, db.RecordImports(t.Context(), []*ra.Import{{Enrollment: e, Certificate: []byte{byte(n)}}}, now(), ra.ImportBounds{}))
		want = append(want, id)
	}
	b := storage.Batch{Version: storage.NewVersion(), Deletes: []storage.Key{"listed/common-names"}}
	b.Puts = []storage.Put{{Key: storage.Key(fmt.Sprintf("enrollment/%d", want[1])), Value: []byte{1, 0xff}}}
	members, err := c.Scan(t.Context(), "common-name/1", storage.Range{}, storage.Page{Limit: 10})
	must(t, err)
	for _, m := range members {
		b.Removes = append(b.Removes, storage.Entry{Index: "common-name/1", Member: m})
	}
	must(t, c.Commit(t.Context(), b))
	db, err = storage.Open(t.Context(), storage.Config{Engine: c})
	must(t, err)
	found, err := db.Search(t.Context(), ra.Query{Org: 1, CommonName: "old server", Limit: 10}, now())
	must(t, err)
	if got := ids(found.Enrollments); !slices.Equal(got, []ra.ID{want[0], want[2]}) {
		t.Errorf("found are %v, want all of %v but the second", got, want)
	}
}
