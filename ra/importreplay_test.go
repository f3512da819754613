package ra_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/embedded"
)

// TestImportJournal: what the journal did not take is not acknowledged, and gets there when it is said again, or by a sweep.
func TestImportJournal(t *testing.T) {
	w := newWorld(t)
	x := newElsewhere(t)
	for name, again := range map[string]func(item ra.ImportItem) error{
		"said again": func(item ra.ImportItem) error { return w.imports(ida, item)[0].Err },
		"swept": func(ra.ImportItem) error {
			if err := w.Sweep(t.Context()); err != nil {
				return err
			}
			if n := len(w.journal.about("")); n != 1 {
				t.Errorf("a note that is new was told of: %d", n)
			}
			w.clock.add(31 * time.Second)
			return w.Sweep(t.Context())
		},
	} {
		t.Run(name, func(t *testing.T) {
			w.journal.events = nil
			w.imported(ida, ra.ImportItem{Certificate: x.leaf(nil, "before.example.com")})
			item := ra.ImportItem{Certificate: x.leaf(nil, "www.example.com"), Issuers: x.chain()}
			w.journal.refuse(audit.Imported)
			r := w.imports(ida, item)[0]
			wantKind(t, r.Err, problem.Unavailable)
			if r.Enrollment != nil || r.Created {
				t.Errorf("%+v", r)
			}
			wantKind(t, w.imports(ida, item)[0].Err, problem.Unavailable)
			w.journal.refuse("")
			must(t, again(item))
			if n := len(w.journal.events); n != 2 {
				t.Fatalf("the journal has %d entries", n)
			}
			said, err := ra.ImportFromEvent(w.journal.events[1])
			if err != nil || !bytes.Equal(said.Certificate, item.Certificate) || len(said.Issuers) != 2 {
				t.Errorf("%+v, %v", said, err)
			}
			must(t, w.Sweep(t.Context()))
			if n := len(w.journal.events); n != 2 {
				t.Errorf("it was told again: %d", n)
			}
		})
	}
}

// TestReplayedImports: from the journal alone an emptied store has what was acknowledged, under the same numbers; into the
// store that has it a replay changes nothing.
func TestReplayedImports(t *testing.T) {
	onEngines(t, func(t *testing.T, w *world) {
		x := newElsewhere(t)
		var made []*ra.Enrollment
		for i := range 5 {
			made = append(made, w.imported(ida, ra.ImportItem{Certificate: x.leaf(nil, fmt.Sprintf("h%d.example.com", i)), Issuers: x.chain(), Profile: "tls", Comments: "c"}))
		}
		first := x.leaf(nil, "again.example.com")
		old := w.imported(ida, ra.ImportItem{Certificate: first})
		must(t, w.Remove(t.Context(), ida, old.ID))
		renewed := w.imports(ida, ra.ImportItem{Certificate: first})[0]
		if renewed.Err != nil || !renewed.Created || renewed.Enrollment.ID == old.ID {
			t.Fatalf("what was removed is not imported anew: %+v", renewed)
		}
		made = append(made, renewed.Enrollment)

		replay := func(db *storage.DB) int {
			t.Helper()
			r := db.Replay(nil)
			for _, e := range w.journal.events {
				must(t, r.Apply(t.Context(), e))
			}
			must(t, r.End(t.Context()))
			return r.Changed
		}
		if n := replay(w.db); n != 0 {
			t.Errorf("into the store that has all, %d entries changed something", n)
		}
		engine, err := embedded.Open(embedded.Config{Dir: t.TempDir()})
		must(t, err)
		t.Cleanup(func() { engine.Close() })
		empty, err := storage.Open(t.Context(), storage.Config{Engine: engine, Issuers: []string{"main"}})
		must(t, err)
		replay(empty)
		reg := w.registrar(func(c *ra.Config) { c.Store = empty })
		for _, want := range made {
			got, err := reg.Get(t.Context(), ida, want.ID)
			must(t, err)
			a, b := *got, *want
			a.Version, b.Version = [16]byte{}, [16]byte{}
			if fmt.Sprintf("%+v", a) != fmt.Sprintf("%+v", b) {
				t.Errorf("got %+v\nwant %+v", a, b)
			}
			der, issuers, err := reg.ImportedCertificate(t.Context(), got)
			wasDER, was, _ := w.ImportedCertificate(t.Context(), want)
			if err != nil || !bytes.Equal(der, wasDER) || len(issuers) != len(was) {
				t.Errorf("enrollment %d: %d issuers, %v", want.ID, len(issuers), err)
			}
		}
		if e, err := empty.Enrollment(t.Context(), old.ID); err != nil || e.Removed.IsZero() {
			t.Errorf("what was removed: %+v, %v", e, err)
		}
		for _, item := range [][]byte{first} {
			r, err := reg.Import(t.Context(), ida, ra.DoorConsole, []ra.ImportItem{{Certificate: item}})
			if err != nil || r[0].Err != nil || r[0].Created || r[0].Enrollment.ID != renewed.Enrollment.ID {
				t.Errorf("after the replay it is %+v, %v", r, err)
			}
		}
		if n := replay(empty); n != 0 {
			t.Errorf("a second time %d entries changed something", n)
		}
	})
}

// TestReplayedImportNumbers: a number that is another's by now is not taken from it.
func TestReplayedImportNumbers(t *testing.T) {
	w := newWorld(t)
	x := newElsewhere(t)
	e := w.imported(ida, ra.ImportItem{Certificate: x.leaf(nil, "www.example.com")})
	event := w.journal.events[0]
	other := newWorld(t)
	if taken := other.issue(alice, "www.example.com"); taken.ID != e.ID {
		t.Fatalf("the number is %d", taken.ID)
	}
	for range 2 {
		r := other.db.Replay(nil)
		must(t, r.Apply(t.Context(), event))
		must(t, r.End(t.Context()))
	}
	found, err := other.BySerial(t.Context(), ida, e.Serial)
	if err != nil || len(found) != 1 || found[0].ID == e.ID || found[0].Fingerprint != e.Fingerprint {
		t.Errorf("%+v, %v", found, err)
	}
	if other.read(e.ID).Imported || other.total() != 2 {
		t.Errorf("there are %d enrollments", other.total())
	}
}
