package ca

import (
	"fmt"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// open puts an open intent of some age into the store.
func (w *world) open(issuer, serial string, age time.Duration) {
	in := Intent{Issuer: issuer, Serial: Serial(serial), Opened: time.Now().Add(-age), NotAfter: time.Now().Add(time.Hour), Enrollment: 5}
	w.store.records[key(issuer, in.Serial)] = &Certificate{Intent: in, State: Open}
}

func TestSweepIntents(t *testing.T) {
	w := newWorld(t, nil)
	for n := range 2 * sweepBatch { // foreign ones come first in every listing
		w.open("elsewhere", fmt.Sprintf("%04x", n+1), 2*time.Hour)
	}
	for n := range 2*sweepBatch + 7 {
		w.open("main", fmt.Sprintf("%04x", n+1), time.Hour)
	}
	w.open("main", "7f01", SweepAge-time.Minute)
	issued := w.issue(t)
	closed, err := w.authority.SweepIntents(t.Context(), SweepAge)
	if err != nil || closed != 2*sweepBatch+7 {
		t.Errorf("closed %d, %v", closed, err)
	}
	states := map[string]map[State]int{"main": {}, "elsewhere": {}}
	for _, r := range w.store.all() {
		states[r.Issuer][r.State]++
	}
	if states["elsewhere"][Open] != 2*sweepBatch || states["main"][Open] != 1 || states["main"][Issued] != 1 {
		t.Errorf("states %v", states)
	}
	if len(w.journal.of(audit.Abandoned)) != closed {
		t.Errorf("%d events", len(w.journal.of(audit.Abandoned)))
	}
	if r := w.store.records[key("main", issued.Serial)]; r.State != Issued {
		t.Error("an issued certificate was swept")
	}
}

func TestSweepGoesOnAfterFailures(t *testing.T) {
	w := newWorld(t, nil)
	w.open("main", "01", time.Hour)
	w.open("main", "02", time.Hour)
	w.store.faults["AbandonIntent"] = fails
	if closed, err := w.authority.SweepIntents(t.Context(), SweepAge); closed != 0 || !problem.Is(err, problem.Unavailable) {
		t.Errorf("closed %d, %v", closed, err)
	}
	w.store.faults["AbandonIntent"] = conflictsOnce
	if closed, err := w.authority.SweepIntents(t.Context(), SweepAge); closed != 1 || err != nil {
		t.Errorf("closed %d, %v", closed, err)
	}
}

func TestAbandon(t *testing.T) {
	w := newWorld(t, nil)
	w.open("main", "01", 0)
	if err := w.authority.Abandon(t.Context(), "main", "01"); err != nil {
		t.Fatal(err)
	}
	if e := w.journal.of(audit.Abandoned); len(e) != 1 || e[0].Serial != "01" || e[0].Enrollment != 5 || e[0].NotAfter.IsZero() {
		t.Errorf("events %+v", e)
	}
	if err := w.authority.Abandon(t.Context(), "main", "01"); !problem.Is(err, problem.Conflict) {
		t.Errorf("twice: %v", err)
	}
	if err := w.authority.Abandon(t.Context(), "main", "02"); !problem.Is(err, problem.NotFound) {
		t.Errorf("absent: %v", err)
	}
	c := w.issue(t)
	if err := w.authority.Abandon(t.Context(), "main", c.Serial); !problem.Is(err, problem.Conflict) {
		t.Errorf("issued: %v", err)
	}
}
