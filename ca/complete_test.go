package ca

import (
	"bytes"
	"errors"
	"iter"
	"testing"

	"github.com/gatehouse-ca/gatehouse/audit"
)

func entriesOf(events []audit.Event, end error) iter.Seq2[audit.Entry, error] {
	return func(yield func(audit.Entry, error) bool) {
		for _, e := range events {
			if !yield(audit.Entry{Event: e}, nil) {
				return
			}
		}
		if end != nil {
			yield(audit.Entry{}, end)
		}
	}
}

// A crash between two halves that are written at the same time leaves the journal without an end; it gets the store's.
func TestCompleteJournal(t *testing.T) {
	w := newWorld(t, nil)
	w.issue(t) // complete already
	var issued *Certificate
	w.journal.faults[audit.Signed] = fails
	if _, err := w.authority.Issue(t.Context(), w.request(t)); err == nil {
		t.Fatal("released without the journal")
	}
	clear(w.journal.faults)
	for _, c := range w.store.all() {
		if len(w.journal.of(audit.Signed)) == 1 && string(c.Serial) != w.journal.of(audit.Signed)[0].Serial {
			issued = &c
		}
	}
	w.open("main", "02", 0)
	w.open("main", "03", 0)
	w.store.records["main/03"].State = Abandoned
	for _, serial := range []string{"02", "03", "04"} { // open, abandoned, never recorded
		w.journal.events = append(w.journal.events, audit.Event{Kind: audit.WillSign, Issuer: "main", Serial: serial, Org: testOrg, Hash: []byte{1}})
	}
	w.journal.events = append(w.journal.events, audit.Event{Kind: audit.WillSign, Issuer: "elsewhere", Serial: "05"})
	before := len(w.journal.events)

	added, err := w.authority.CompleteJournal(t.Context(), entriesOf(w.journal.events, nil))
	if err != nil || added != 3 {
		t.Fatalf("added %d, %v", added, err)
	}
	got := w.journal.events[before:]
	if got[0].Kind != audit.Signed || got[0].Serial != string(issued.Serial) || !bytes.Equal(got[0].DER, issued.DER) || got[0].Enrollment != 41 {
		t.Errorf("issued: %+v", got[0])
	}
	for n, serial := range []string{"03", "04"} {
		if e := got[n+1]; e.Kind != audit.Abandoned || e.Serial != serial || len(e.Hash) == 0 || e.Org != testOrg {
			t.Errorf("%s: %+v", serial, e)
		}
	}
	// Once more: nothing is left to add.
	if added, err := w.authority.CompleteJournal(t.Context(), entriesOf(w.journal.events, nil)); added != 0 || err != nil {
		t.Errorf("again: %d, %v", added, err)
	}
	broken := errors.New("the chain is broken")
	if _, err := w.authority.CompleteJournal(t.Context(), entriesOf(nil, broken)); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}
