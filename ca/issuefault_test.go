package ca

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// faultCase is one row of the fault table: what goes wrong at a numbered step, and what must be left.
type faultCase struct {
	name   string
	break_ func(w *world)
	signed bool         // a signature was made
	state  State        // of the record; zero: there is none
	want   problem.Kind // of the error
	last   audit.Kind   // of the last event in the journal; empty: the journal is empty
}

func storeFault(method string, f fault) func(w *world) {
	return func(w *world) { w.store.faults[method] = f }
}

func journalFault(kind audit.Kind, f fault) func(w *world) {
	return func(w *world) { w.journal.faults[kind] = f }
}

func signFault(sign func(*world) ([]byte, error)) func(w *world) {
	return func(w *world) {
		is := w.authority.issuers["main"]
		is.Backend = &tamperer{Backend: is.Backend, sign: func(context.Context, *x509.Certificate, crypto.PublicKey) ([]byte, error) { return sign(w) }}
	}
}

var faultTable = []faultCase{
	{"6 intent fails", storeFault("RecordIntent", fails), false, 0, problem.Unavailable, audit.Abandoned},
	{"6 intent fails after writing", storeFault("RecordIntent", failsAfter), false, Abandoned, problem.Unavailable, audit.Abandoned},
	{"6 intent conflicts", func(w *world) {
		w.store.faults["RecordIntent"] = conflicts
		// An open intent under this serial would be somebody else's.
		w.store.before["AbandonIntent"] = func() { panic("it was not ours to abandon") }
	}, false, 0, problem.Conflict, audit.Abandoned},
	{"7 journal fails", journalFault(audit.WillSign, fails), false, Abandoned, problem.Unavailable, audit.Abandoned},
	{"7 journal fails after writing", journalFault(audit.WillSign, failsAfter), false, Abandoned, problem.Unavailable, audit.Abandoned},
	{"6 and 7 fail, nothing can be abandoned", func(w *world) {
		w.store.faults["RecordIntent"], w.store.faults["AbandonIntent"] = failsAfter, fails
		w.journal.faults[audit.WillSign] = fails
	}, false, Open, problem.Unavailable, audit.Abandoned},
	{"8 the back end fails", signFault(func(*world) ([]byte, error) { return nil, errors.New("token removed") }),
		false, Abandoned, problem.Unavailable, audit.Abandoned},
	{"8 the back end panics", signFault(func(*world) ([]byte, error) { panic("driver") }),
		false, Abandoned, problem.Unavailable, audit.Abandoned},
	{"10 certificate fails", storeFault("RecordCertificate", fails), true, Abandoned, problem.Unavailable, audit.Abandoned},
	{"10 certificate fails after writing", storeFault("RecordCertificate", failsAfter), true, Issued, problem.Unavailable, audit.Signed},
	{"10 certificate conflicts: swept meanwhile", func(w *world) {
		// "signed" reaches the journal behind the sweep's "abandoned", and must not have the last word.
		swept := make(chan struct{})
		w.journal.before[audit.Signed] = func() { <-swept }
		w.store.before["RecordCertificate"] = func() {
			defer close(swept)
			if n, err := w.authority.SweepIntents(context.Background(), -time.Hour); n != 1 || err != nil {
				panic("the sweep found nothing")
			}
		}
	}, true, Abandoned, problem.Conflict, audit.Abandoned},
	{"10 the owner's state conflicts", storeFault("RecordCertificate", conflicts), true, Abandoned, problem.Conflict, audit.Abandoned},
	{"10 fails and nothing can be abandoned", func(w *world) {
		w.store.faults["RecordCertificate"], w.store.faults["AbandonIntent"] = fails, fails
	}, true, Open, problem.Unavailable, audit.Signed},
	{"10 the store went back and has lost the intent", func(w *world) { w.store.before["RecordCertificate"] = w.store.lose },
		true, Abandoned, problem.Conflict, audit.Abandoned},
	{"10 lost, and the store does not answer any more", func(w *world) {
		w.store.before["RecordCertificate"], w.store.faults["RecordAbandoned"] = w.store.lose, fails
	}, true, 0, problem.Conflict, audit.Abandoned},
	{"10 lost, and a replay has closed it meanwhile", func(w *world) {
		var lost Intent
		w.store.before["RecordCertificate"] = func() { lost = w.store.all()[0].Intent; w.store.lose() }
		w.store.before["RecordAbandoned"] = func() {
			delete(w.store.before, "RecordAbandoned")
			if err := w.store.RecordAbandoned(context.Background(), lost, time.Now()); err != nil {
				panic(err)
			}
		}
	}, true, Abandoned, problem.Conflict, audit.Abandoned},
	{"8 fails and the store has lost the intent", signFault(func(w *world) ([]byte, error) { w.store.lose(); return nil, errors.New("timed out") }),
		false, Abandoned, problem.Unavailable, audit.Abandoned},
	{"11 journal fails", journalFault(audit.Signed, fails), true, Issued, problem.Unavailable, audit.WillSign},
	{"11 journal fails after writing", journalFault(audit.Signed, failsAfter), true, Issued, problem.Unavailable, audit.Signed},
	{"10 and 11 fail", func(w *world) {
		w.store.faults["RecordCertificate"] = fails
		w.journal.faults[audit.Signed] = fails
	}, true, Abandoned, problem.Unavailable, audit.Abandoned},
}

func TestIssueFaults(t *testing.T) {
	for _, tt := range faultTable {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			tt.break_(w)
			w.watchSigning(t)
			c, err := w.authority.Issue(t.Context(), w.request(t))
			if c != nil || err == nil {
				t.Fatal("a certificate was released")
			}
			if p := problem.From(err); p.Kind != tt.want || tt.want == problem.Unavailable && p != errDown && p.RetryAfter == 0 {
				t.Errorf("got %v, want kind %s with a time to come back", err, tt.want)
			}
			if got := len(w.witness.digests) == 1; got != tt.signed {
				t.Errorf("%d signatures", len(w.witness.digests))
			}
			w.checkLeft(t, tt)
		})
	}
}

// watchSigning checks at the moment of each signature that an intent with the same hash is recorded and journaled.
func (w *world) watchSigning(t *testing.T) {
	w.witness.onSign = func(digest []byte) {
		recorded := slices.ContainsFunc(w.store.all(), func(c Certificate) bool { return bytes.Equal(c.TBSHash[:], digest) && c.State == Open })
		announced := slices.ContainsFunc(w.journal.of(audit.WillSign), func(e audit.Event) bool { return bytes.Equal(e.Hash, digest) })
		if !recorded || !announced {
			t.Errorf("signed without an intent: recorded %t, journaled %t", recorded, announced)
		}
	}
}

func (w *world) checkLeft(t *testing.T, tt faultCase) {
	t.Helper()
	records := w.store.all()
	switch {
	case tt.state == 0 && len(records) != 0:
		t.Errorf("record in state %d, want none", records[0].State)
	case tt.state != 0 && (len(records) != 1 || records[0].State != tt.state):
		t.Errorf("records %+v, want one in state %d", records, tt.state)
	}
	var last audit.Kind
	if n := len(w.journal.events); n > 0 {
		last = w.journal.events[n-1].Kind
	}
	if last != tt.last {
		t.Errorf("the journal ends with %q, want %q", last, tt.last)
	}
	for _, e := range w.journal.of(audit.Abandoned) {
		if e.Org != testOrg || e.Enrollment != 41 || e.Issuer != "main" || e.Serial == "" || e.NotAfter.IsZero() {
			t.Errorf("abandoned event lacks something: %+v", e)
		}
	}
}

// Whatever a fault left open, the sweep closes.
func TestSweepAfterFaults(t *testing.T) {
	for _, tt := range faultTable {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			tt.break_(w)
			_, _ = w.authority.Issue(t.Context(), w.request(t))
			clear(w.store.faults)
			clear(w.store.before)
			clear(w.journal.faults)
			if _, err := w.authority.SweepIntents(t.Context(), -time.Hour); err != nil {
				t.Fatal(err)
			}
			for _, r := range w.store.all() {
				if r.State == Open {
					t.Errorf("%s is still open", r.Serial)
				}
			}
		})
	}
}

// Whatever a fault left without an end, Settle and the sweep end: the journal's last word is what the store has.
func TestSettleAfterFaults(t *testing.T) {
	unsettled := 0
	for _, tt := range faultTable {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			tt.break_(w)
			_, _ = w.authority.Issue(t.Context(), w.request(t))
			if w.authority.Unsettled() > 0 {
				unsettled++
				w.store.faults["Certificate"] = fails
				if err := w.authority.Settle(t.Context()); err == nil || w.authority.Unsettled() == 0 {
					t.Errorf("settled without the store: %v", err)
				}
			}
			clear(w.store.faults)
			clear(w.store.before)
			clear(w.journal.faults)
			if err := w.authority.Settle(t.Context()); err != nil || w.authority.Unsettled() != 0 {
				t.Errorf("%d are not settled: %v", w.authority.Unsettled(), err)
			}
			if _, err := w.authority.SweepIntents(t.Context(), -time.Hour); err != nil {
				t.Fatal(err)
			}
			last := map[string]audit.Kind{}
			for _, e := range w.journal.events {
				last[e.Serial] = e.Kind
			}
			for serial, kind := range last {
				want := audit.Abandoned
				if c, err := w.store.Certificate(t.Context(), "main", Serial(serial)); err == nil && c.State == Issued {
					want = audit.Signed
				}
				if kind != want {
					t.Errorf("the journal's last word about %s is %q, want %q", serial, kind, want)
				}
			}
		})
	}
	if unsettled == 0 {
		t.Error("no row leaves anything to settle")
	}
}

// What is cleaned up after a step that ran into its time limit has time of its own.
func TestAbandonAfterStoreTimeout(t *testing.T) {
	h := bubbleHierarchy(t)
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(w *world) {
			soft, err := NewSoftCAS(h.Chain(), h.Intermediate.Key)
			if err != nil {
				t.Fatal(err)
			}
			w.config.Issuers = []Issuer{mainIssuer(h, soft)}
			w.store.before["RecordIntent"] = func() { time.Sleep(DefaultStoreTimeout + time.Second) }
		})
		if _, err := w.authority.Issue(t.Context(), w.request(t)); !problem.Is(err, problem.Unavailable) {
			t.Errorf("got %v", err)
		}
		if len(w.journal.of(audit.WillSign)) != 1 || len(w.journal.of(audit.Abandoned)) != 1 {
			t.Errorf("events %+v", w.journal.events)
		}
	})
}
