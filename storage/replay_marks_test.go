package storage_test

import (
	"crypto/sha256"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/storetest"
)

// TestJournalMarks are kept for each journal on its own.
func TestJournalMarks(t *testing.T) {
	db, c := open(t)
	ctx := t.Context()
	if m, err := db.JournalMark(ctx, "a"); err != nil || m != (storage.Mark{}) {
		t.Errorf("of an unknown journal: %+v, %v", m, err)
	}
	if list, err := db.Journals(ctx); err != nil || len(list) != 0 {
		t.Errorf("journals: %v, %v", list, err)
	}
	first, later, other := storage.Mark{Seq: 1, Hash: sha256.Sum256(nil)}, storage.Mark{Seq: 1 << 40, Hash: sha256.Sum256([]byte{1})}, storage.Mark{Seq: 2}
	must(t, db.SetJournalMark(ctx, "b", other))
	must(t, db.SetJournalMark(ctx, "a", first))
	must(t, db.SetJournalMark(ctx, "a", later))
	again, err := storage.Open(ctx, storage.Config{Engine: c})
	must(t, err)
	for journal, want := range map[string]storage.Mark{"a": later, "b": other, "c": {}} {
		if m, err := again.JournalMark(ctx, journal); err != nil || m != want {
			t.Errorf("of %s: %+v, %v", journal, m, err)
		}
	}
	if list, err := again.Journals(ctx); err != nil || !slices.Equal(list, []string{"a", "b"}) {
		t.Errorf("journals: %v, %v", list, err)
	}
	must(t, c.Commit(ctx, storage.Batch{Version: storage.NewVersion(), Puts: []storage.Put{{Key: "journal/a", Value: []byte{1, 0xff}}}}))
	if _, err := db.JournalMark(ctx, "a"); !problem.Is(err, problem.Internal) {
		t.Errorf("a damaged mark: %v", err)
	}
	defer c.Inject(storetest.Fault{Method: storetest.Get, Before: storage.ErrUnavailable})()
	defer c.Inject(storetest.Fault{Method: storetest.Scan, Before: storage.ErrUnavailable})()
	if _, err := db.JournalMark(ctx, "b"); !problem.Is(err, problem.Unavailable) {
		t.Errorf("no store: %v", err)
	}
	if _, err := db.Journals(ctx); !problem.Is(err, problem.Unavailable) {
		t.Errorf("no store: %v", err)
	}
}

// TestDanglingEntriesAreRemoved: an entry without its record, or of one that has moved on, would come back for ever and keep
// others from a bounded list.
func TestDanglingEntriesAreRemoved(t *testing.T) {
	db, c := open(t)
	ctx := t.Context()
	e, cert := issued(t, db)
	i, in := begun(t, db)
	early := now().Add(-time.Hour).UnixMilli()
	id := func(n ra.ID) string { return string(member(int64(n), "")) }
	stale := []storage.Entry{
		{Index: "intents", Member: member(early, "main/01ab")},                                              // no record
		{Index: "intents", Member: member(early, "main/"+string(cert.Serial))},                              // issued
		{Index: "due", Member: member(early, id(999))},                                                      // no record
		{Index: "due", Member: member(early, id(e.ID))},                                                     // issued
		{Index: "due", Member: member(early, id(i.Enrollment.ID))},                                          // due at another time
		{Index: "due", Member: append(member(early+1, ""), 1)},                                              // no number
		{Index: "due", Member: member(i.Enrollment.Due.Add(-time.Second).UnixMilli(), id(i.Enrollment.ID))}, // and another
	}
	before := contents(t, c)
	must(t, c.Commit(ctx, storage.Batch{Version: storage.NewVersion(), Adds: stale}))
	open, err := db.OpenIntents(ctx, now().Add(time.Second), 10)
	if err != nil || len(open) != 1 || open[0].Serial != in.Serial {
		t.Errorf("open intents: %+v, %v", open, err)
	}
	due, err := db.DueEnrollments(ctx, i.Enrollment.Due, 10)
	if err != nil || len(due) != 1 || due[0].ID != i.Enrollment.ID {
		t.Errorf("due: %v, %v", due, err)
	}
	if diff := cmp.Diff(before, contents(t, c)); diff != "" {
		t.Error("what was left:", diff)
	}
}
