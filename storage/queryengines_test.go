package storage_test

import (
	"encoding/binary"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/embedded"
	"github.com/gatehouse-ca/gatehouse/storage/redis"
	"github.com/gatehouse-ca/gatehouse/storage/redis/redistest"
)

// TestJoinedListsWhileTheyChange, on each engine: whoever pages through the list of several organisations meets each enrollment once,
// however many come meanwhile; and what is removed meanwhile is at most missing.
func TestJoinedListsWhileTheyChange(t *testing.T) {
	t.Parallel()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		e, err := embedded.Open(embedded.Config{Dir: filepath.Join(t.TempDir(), "store")})
		must(t, err)
		t.Cleanup(func() { e.Close() })
		pageWhileItChanges(t, e)
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		redistest.Need(t)
		e, err := redis.Open(t.Context(), redis.Config{Addrs: []string{redistest.Start(t).Addr}, Name: "lists"})
		must(t, err)
		t.Cleanup(func() { e.Close() })
		pageWhileItChanges(t, e)
	})
}

func pageWhileItChanges(t *testing.T, e storage.Engine) {
	t.Helper()
	db, err := storage.Open(t.Context(), storage.Config{Engine: e})
	must(t, err)
	f := &filler{db: db}
	var begun []ra.ID
	for n := range 25 { // so that each has some of every hundred
		list, err := f.add(t, 20, auth.OrgID(1+n%5))
		must(t, err)
		begun = append(begun, ids(list)...)
	}
	for n := range 5 { // and one organisation's behind another's
		list, err := f.add(t, 80, auth.OrgID(1+n))
		must(t, err)
		begun = append(begun, ids(list)...)
	}
	all := ra.Query{Orgs: []auth.OrgID{1, 2, 3, 4, 5}, Limit: 70}
	changing(t, func() error {
		_, err := f.add(t, 3, auth.OrgID(1+f.made%5))
		return err
	}, func() {
		got := everyPage(t, db, all)
		if !ascending(got) || len(got) < len(begun) || !slices.Equal(got[:len(begun)], begun) {
			t.Errorf("while others come, %d are found of %d; first %v", len(got), len(begun), got[:min(3, len(got))])
		}
	})
	var removed []ra.ID
	gone := map[ra.ID]bool{}
	changing(t, func() error {
		e, err := db.Enrollment(t.Context(), begun[7*len(removed)%len(begun)])
		if err != nil || !e.Removed.IsZero() {
			return err
		}
		removed = append(removed, e.ID)
		return db.MoveEnrollment(t.Context(), e.Remove("user:7", now()), e, nil)
	}, func() {
		for q := all; ; q.Offset += q.Limit {
			found, err := db.Search(t.Context(), q, now())
			must(t, err)
			if got := ids(found.Enrollments); !ascending(got) || len(got) > q.Limit {
				t.Errorf("while some go, a page from %d is %v", q.Offset, got)
			}
			if int64(q.Offset) >= found.Total {
				return
			}
		}
	})
	for _, id := range removed {
		gone[id] = true
	}
	for _, newest := range []bool{false, true} {
		all.Newest = newest
		got := everyPage(t, db, all)
		if newest {
			slices.Reverse(got)
		}
		kept := slices.DeleteFunc(slices.Clone(begun), func(id ra.ID) bool { return gone[id] })
		if !ascending(got) || len(got) != f.made-len(removed) || !slices.Equal(got[:len(kept)], kept) {
			t.Errorf("at last, newest first: %t, %d are found, want %d of which %d were there", newest, len(got), f.made-len(removed), len(kept))
		}
	}
}

// changing calls read while change is called again and again.
func changing(t *testing.T, change func() error, read func()) {
	t.Helper()
	done := make(chan struct{})
	var changes sync.WaitGroup
	changed := 0
	changes.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				if err := change(); err != nil {
					t.Error(err)
					return
				}
				changed++
			}
		}
	})
	read()
	close(done)
	changes.Wait()
	if changed == 0 {
		t.Error("nothing was changed meanwhile")
	}
}

func ascending(list []ra.ID) bool {
	for n := range list {
		if n > 0 && list[n-1] >= list[n] {
			return false
		}
	}
	return true
}

func everyPage(t *testing.T, db *storage.DB, q ra.Query) (got []ra.ID) {
	t.Helper()
	for q.Offset = 0; ; q.Offset += q.Limit {
		found, err := db.Search(t.Context(), q, now())
		must(t, err)
		got = append(got, ids(found.Enrollments)...)
		if len(found.Enrollments) < q.Limit {
			return got
		}
	}
}

// filler imports certificates.
type filler struct {
	db   *storage.DB
	made int
}

func (f *filler) add(t *testing.T, n int, org auth.OrgID) (list []*ra.Enrollment, err error) {
	var imports []*ra.Import
	for range n {
		f.made++
		id, err := f.db.NextEnrollment(t.Context())
		if err != nil {
			return nil, err
		}
		e := &ra.Enrollment{
			ID: id, Org: org, Door: ra.DoorConsole, Requester: "user:7", Names: names(t, "old.example.com"), Created: now(), Phase: ra.Issued,
			Imported: true, Serial: "01", NotAfter: now().AddDate(1, 0, 0), Issued: now(),
		}
		binary.BigEndian.PutUint64(e.Fingerprint[:], uint64(f.made))
		imports, list = append(imports, &ra.Import{Enrollment: e, Certificate: []byte{1}}), append(list, e)
	}
	return list, f.db.RecordImports(t.Context(), imports, now(), ra.ImportBounds{})
}
