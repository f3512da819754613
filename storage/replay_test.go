package storage_test

import (
	"crypto/sha256"
	"crypto/x509"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/storetest"
)

// TestReplayOfEachKind into an empty store gives back what was acknowledged. A second time, and into a store that has it by
// its ordinary ways, it changes nothing.
func TestReplayOfEachKind(t *testing.T) {
	p := newPaper(t)
	a := newAccountEntry(t)
	agreed := a
	agreed.TermsAgreed = now()
	for _, tt := range []struct {
		name   string
		events []audit.Event
		before func(t *testing.T, db *storage.DB) // the same by ordinary ways
		check  func(t *testing.T, db *storage.DB)
	}{
		{"signed", []audit.Event{p.willSign(), p.signed()}, p.issue,
			func(t *testing.T, db *storage.DB) { p.state(t, db, ca.Issued, ra.Issued, -1) }},
		{"will-sign without an end", []audit.Event{p.willSign()}, nil,
			func(t *testing.T, db *storage.DB) { p.state(t, db, ca.Abandoned, 0, 0) }},
		{"abandoned", []audit.Event{p.willSign(), p.abandoned()}, nil,
			func(t *testing.T, db *storage.DB) { p.state(t, db, ca.Abandoned, 0, 0) }},
		{"abandoned without its beginning", []audit.Event{p.abandoned()}, nil,
			func(t *testing.T, db *storage.DB) { p.state(t, db, ca.Abandoned, 0, 0) }},
		{"abandoned, and the enrollment is there", []audit.Event{p.abandoned()},
			func(t *testing.T, db *storage.DB) {
				p.intend(t, db)
				must(t, db.AbandonIntent(t.Context(), "main", p.serial, p.at))
			},
			nil},
		{"revoked", []audit.Event{p.willSign(), p.signed(), p.revoked(4, time.Second)},
			func(t *testing.T, db *storage.DB) { p.issue(t, db); p.revoke(t, db, 4, time.Second) },
			func(t *testing.T, db *storage.DB) {
				p.state(t, db, ca.Issued, ra.Revoked, 4)
				want := ca.Revocation{At: p.at.Add(time.Second), Reason: 4, Actor: "uid:4"}
				if got := p.read(t, db).Revocation; *got != want {
					t.Errorf("revoked: %+v", got)
				}
			}},
		{"account-made", []audit.Event{a.event(audit.AccountMade)}, a.make,
			func(t *testing.T, db *storage.DB) { a.stored(t, db) }},
		{"account-edited", []audit.Event{a.event(audit.AccountMade), agreed.event(audit.AccountEdited)},
			func(t *testing.T, db *storage.DB) { agreed.make(t, db) },
			func(t *testing.T, db *storage.DB) { agreed.stored(t, db) }},
		{"what says nothing about records", []audit.Event{{Kind: audit.Started}, {Kind: audit.CRLSigned, Issuer: "main", Number: 3}, {Kind: "newer"}},
			func(*testing.T, *storage.DB) {},
			func(t *testing.T, db *storage.DB) { p.state(t, db, 0, 0, -1) }},
	} {
		t.Run(tt.name+"/empty", func(t *testing.T) {
			db, c := open(t)
			replay(t, db, tt.events...)
			if tt.check != nil {
				tt.check(t, db)
			}
			once := contents(t, c)
			if n := replay(t, db, tt.events...); n != 0 {
				t.Errorf("a second time %d entries changed something", n)
			}
			if diff := cmp.Diff(once, contents(t, c)); diff != "" {
				t.Error("a second time:", diff)
			}
		})
		if tt.before == nil {
			continue
		}
		t.Run(tt.name+"/there", func(t *testing.T) {
			db, c := open(t)
			tt.before(t, db)
			before := contents(t, c)
			if n := replay(t, db, tt.events...); n != 0 {
				t.Errorf("%d entries changed something", n)
			}
			if diff := cmp.Diff(before, contents(t, c)); diff != "" {
				t.Error(diff)
			}
			if tt.check != nil {
				tt.check(t, db)
			}
		})
	}
}

// TestReplayOnlyMovesForward, whatever the store has learned since, or lacks.
func TestReplayOnlyMovesForward(t *testing.T) {
	p := newPaper(t)
	abandon := func(t *testing.T, db *storage.DB) {
		must(t, db.AbandonIntent(t.Context(), "main", p.serial, now()))
	}
	for _, tt := range []struct {
		name    string
		before  func(t *testing.T, db *storage.DB)
		events  []audit.Event
		changed int
		state   ca.State
		phase   ra.Phase
		reason  ca.Reason
	}{
		{"issued stays, though the journal only announced it", p.issue, []audit.Event{p.willSign()}, 0, ca.Issued, ra.Issued, -1},
		{"issued, and the journal says abandoned: it has been on a CRL", p.issue, []audit.Event{p.willSign(), p.abandoned()}, 1, ca.Issued, ra.Revoked, 0},
		{"an open intent without an end is closed", func(t *testing.T, db *storage.DB) { p.intend(t, db) },
			[]audit.Event{p.willSign()}, 1, ca.Abandoned, ra.Requested, 0},
		{"an open intent that was abandoned is closed", func(t *testing.T, db *storage.DB) { p.intend(t, db) },
			[]audit.Event{p.willSign(), p.abandoned()}, 1, ca.Abandoned, ra.Requested, 0},
		{"an open intent that was signed is issued", func(t *testing.T, db *storage.DB) { p.intend(t, db) },
			[]audit.Event{p.willSign(), p.signed()}, 1, ca.Issued, ra.Issued, -1},
		{"abandoned behind signed wins", nil, []audit.Event{p.willSign(), p.signed(), p.abandoned()}, 1, ca.Abandoned, 0, 0},
		{"abandoned before and behind signed wins", nil,
			[]audit.Event{p.willSign(), p.abandoned(), p.signed(), p.abandoned()}, 1, ca.Abandoned, 0, 0},
		{"abandoned behind signed closes an open intent", func(t *testing.T, db *storage.DB) { p.intend(t, db) },
			[]audit.Event{p.willSign(), p.signed(), p.abandoned()}, 1, ca.Abandoned, ra.Requested, 0},
		{"what the store abandoned is on record, revoked, and leaves the enrollment alone",
			func(t *testing.T, db *storage.DB) { p.intend(t, db); abandon(t, db) },
			[]audit.Event{p.willSign(), p.signed()}, 1, ca.Issued, ra.Requested, 0},
		{"unless its own journal knows that nobody was given it", func(t *testing.T, db *storage.DB) { p.intend(t, db); abandon(t, db) },
			[]audit.Event{p.willSign(), p.signed(), p.abandoned()}, 0, ca.Abandoned, ra.Requested, 0},
		{"revoked stays revoked", func(t *testing.T, db *storage.DB) { p.issue(t, db); p.revoke(t, db, 4, time.Second) },
			[]audit.Event{p.willSign(), p.signed()}, 0, ca.Issued, ra.Revoked, 4},
		{"a revocation that was lost", p.issue, []audit.Event{p.revoked(5, time.Second)}, 1, ca.Issued, ra.Revoked, 5},
		{"another reason changes nothing", func(t *testing.T, db *storage.DB) { p.issue(t, db); p.revoke(t, db, 4, time.Second) },
			[]audit.Event{p.revoked(5, time.Minute)}, 0, ca.Issued, ra.Revoked, 4},
		{"RFC 5280, 5.3.1: raised to keyCompromise", func(t *testing.T, db *storage.DB) { p.issue(t, db); p.revoke(t, db, 4, time.Second) },
			[]audit.Event{p.revoked(1, time.Minute)}, 1, ca.Issued, ra.Revoked, 1},
		{"keyCompromise is not lowered", func(t *testing.T, db *storage.DB) { p.issue(t, db); p.revoke(t, db, 1, time.Second) },
			[]audit.Event{p.revoked(4, 0), p.revoked(1, time.Minute)}, 0, ca.Issued, ra.Revoked, 1},
		{"revoked twice in the journal", nil,
			[]audit.Event{p.willSign(), p.signed(), p.revoked(4, time.Second), p.revoked(5, time.Minute), p.revoked(1, time.Hour), p.revoked(4, time.Hour)},
			3, ca.Issued, ra.Revoked, 1},
		{"an abandoned serial is not revoked without its certificate", nil,
			[]audit.Event{p.abandoned(), bare(p.revoked(1, time.Second))}, 1, ca.Abandoned, 0, 0},
		{"a certificate that nobody knows is not revoked", nil, []audit.Event{bare(p.revoked(1, time.Second))}, 0, 0, 0, -1},
		{"revoked by one gateway, signed by another that comes later", nil, []audit.Event{p.revoked(5, time.Second), p.willSign(), p.signed()},
			1, ca.Issued, ra.Revoked, 5},
		{"revoked by one gateway while the intent is open", func(t *testing.T, db *storage.DB) { p.intend(t, db) },
			[]audit.Event{p.revoked(5, time.Second)}, 1, ca.Issued, ra.Revoked, 5},
		{"a failed enrollment stays failed, and its certificate is on record", func(t *testing.T, db *storage.DB) {
			i, _ := p.intend(t, db)
			must(t, db.FailEnrollment(t.Context(), i.Enrollment, ra.Failure{Kind: problem.CAA, At: now()}))
		}, []audit.Event{p.willSign(), p.signed()}, 1, ca.Issued, ra.Failed, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			db, c := open(t)
			if tt.before != nil {
				tt.before(t, db)
			}
			if n := replay(t, db, tt.events...); n != tt.changed {
				t.Errorf("%d entries changed something, want %d", n, tt.changed)
			}
			p.state(t, db, tt.state, tt.phase, tt.reason)
			if c, err := db.Certificate(t.Context(), "main", p.serial); err == nil && c.State == ca.Issued && c.Revocation != nil && c.Revocation.Actor != "system" && !c.Revocation.At.Equal(p.at.Add(time.Second)) {
				t.Errorf("the date of the revocation has moved to %v", c.Revocation.At)
			}
			once := contents(t, c)
			if n := replay(t, db, tt.events...); n != 0 || !maps.Equal(once, contents(t, c)) {
				t.Errorf("a second time %d entries changed something: %s", n, cmp.Diff(once, contents(t, c)))
			}
		})
	}
}

// TestReplayMakesTheEnrollmentAnew, as far as journal and certificate tell of it, and every index lists it.
func TestReplayMakesTheEnrollmentAnew(t *testing.T) {
	db, _ := open(t)
	p := newPaper(t)
	replay(t, db, p.willSign(), p.signed())
	leaf, err := x509.ParseCertificate(p.der)
	must(t, err)
	e, err := db.Enrollment(t.Context(), paperEnrollment)
	must(t, err)
	want := &ra.Enrollment{
		ID: paperEnrollment, Org: 1, Door: ra.DoorACME, Requester: "acme:a", Profile: "tls", ProfileHash: "00ff", Names: p.identifiers(t),
		CommonName: "www.example.com", Created: p.at, Phase: ra.Issued, Issuer: "main", Serial: p.serial, NotBefore: leaf.NotBefore.UTC(),
		NotAfter: p.notAfter, Issued: p.at, Fingerprint: sha256.Sum256(p.der), Version: e.Version,
	}
	same := cmp.Comparer(func(a, b identifier.Identifier) bool { return a == b })
	if diff := cmp.Diff(want, e, same); diff != "" {
		t.Error(diff)
	}
	for name, q := range map[string]ra.Query{
		"all": {}, "organisation": {Org: 1}, "status": {Org: 1, Status: ra.StatusIssued}, "profile": {Org: 1, Profile: "tls"},
		"requester": {Org: 1, Requester: "acme:a"}, "name": {Org: 1, Name: "www.example.com"}, "wildcard": {Org: 1, Name: "*.example.com"},
		"address": {Org: 1, Name: "192.0.2.1"}, "suffix": {Org: 1, Suffix: "example.com"},
		"end": {Org: 1, NotAfterFrom: p.notAfter, NotAfterTo: p.notAfter.Add(time.Second)},
	} {
		q.Limit = 10
		if found, err := db.Search(t.Context(), q, now()); err != nil || found.Total != 1 || len(found.Enrollments) != 1 || found.Enrollments[0].ID != e.ID {
			t.Errorf("by %s: %+v, %v", name, found, err)
		}
	}
	if found, err := db.EnrollmentsBySerial(t.Context(), p.serial); err != nil || len(found) != 1 || found[0].ID != e.ID {
		t.Errorf("by serial: %v, %v", found, err)
	}
	p.revoke(t, db, 1, time.Second)
	p.state(t, db, ca.Issued, ra.Revoked, 1)
}

// TestReplayCompletesARequestedEnrollment: what the journal does not know of it stays.
func TestReplayCompletesARequestedEnrollment(t *testing.T) {
	db, _ := open(t)
	p := newPaper(t)
	i, _ := p.intend(t, db)
	replay(t, db, p.willSign(), p.signed())
	p.state(t, db, ca.Issued, ra.Issued, -1)
	e, err := db.Enrollment(t.Context(), paperEnrollment)
	must(t, err)
	if len(e.Claims) != 1 || e.CommonName != "www.example.com" || e.Attempts != 0 {
		t.Errorf("it is %+v", e)
	}
	if due, err := db.DueEnrollments(t.Context(), now().Add(time.Hour), 10); err != nil || len(due) != 0 {
		t.Errorf("still due: %v, %v", due, err)
	}
	// The worker that had begun it is too late.
	if err := db.TakeEnrollment(t.Context(), i.Enrollment, now()); !problem.Is(err, problem.Conflict) {
		t.Errorf("a late worker: %v", err)
	}
}

// TestReplayOfASecondCertificate of one enrollment, which a journal can hold if the store went back between two attempts:
// the enrollment stays with the first, and the second gets one of its own.
func TestReplayOfASecondCertificate(t *testing.T) {
	db, _ := open(t)
	p, second := newPaper(t), newPaper(t)
	if n := replay(t, db, p.willSign(), p.signed(), second.willSign(), second.signed()); n != 2 {
		t.Errorf("%d entries changed something", n)
	}
	p.state(t, db, ca.Issued, ra.Issued, -1)
	second.own(t, db, ra.Issued)
	replay(t, db, second.revoked(1, time.Second))
	second.own(t, db, ra.Revoked)
	p.state(t, db, ca.Issued, ra.Issued, -1) // the first is not
	replay(t, db, p.revoked(4, time.Second))
	p.state(t, db, ca.Issued, ra.Revoked, 4)
}

// TestReplayLiftsTheNumbers behind the last that the journal names, whether or not its enrollment came back.
func TestReplayLiftsTheNumbers(t *testing.T) {
	for name, events := range map[string]func(p paper) []audit.Event{
		"signed":    func(p paper) []audit.Event { return []audit.Event{p.signed()} },
		"abandoned": func(p paper) []audit.Event { return []audit.Event{p.abandoned()} },
		"announced": func(p paper) []audit.Event { return []audit.Event{p.willSign()} },
		"revoked":   func(p paper) []audit.Event { return []audit.Event{p.revoked(1, 0)} },
	} {
		t.Run(name, func(t *testing.T) {
			db, _ := open(t)
			list := events(newPaper(t))
			for i := range list {
				list[i].Enrollment = 5000
			}
			earlier := newPaper(t).abandoned()
			replay(t, db, append(list, earlier)...)
			if id, err := db.NextEnrollment(t.Context()); err != nil || id != 5001 {
				t.Errorf("the next number is %d, %v", id, err)
			}
		})
	}
}

// TestReplayRefusesWhatItCannotRead, and changes nothing while the store does not answer.
func TestReplayRefusesWhatItCannotRead(t *testing.T) {
	p := newPaper(t)
	for name, spoil := range map[string]func(e *audit.Event){
		"no certificate": func(e *audit.Event) { e.DER = nil },
		"a name":         func(e *audit.Event) { e.Names = []string{"not a name"} },
		"no account":     func(e *audit.Event) { e.Kind = audit.AccountMade },
	} {
		db, c := open(t)
		before := contents(t, c)
		e := p.signed()
		spoil(&e)
		if n, err := tryReplay(t.Context(), db, e); err == nil || n != 0 || !maps.Equal(before, contents(t, c)) {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
	for _, m := range []storetest.Method{storetest.Get, storetest.Commit} {
		db, c := open(t)
		remove := c.Inject(storetest.Fault{Method: m, Before: storage.ErrUnavailable})
		for _, e := range []audit.Event{p.signed(), p.abandoned(), p.willSign(), newAccountEntry(t).event(audit.AccountMade)} {
			if n, err := tryReplay(t.Context(), db, e); !problem.Is(err, problem.Unavailable) || n != 0 {
				t.Errorf("%s, %s: %d, %v", m, e.Kind, n, err)
			}
		}
		remove()
		p.state(t, db, 0, 0, -1)
	}
	db, c := open(t)
	defer c.Inject(storetest.Fault{Method: storetest.LiftID, Before: storage.ErrUnavailable})()
	if _, err := tryReplay(t.Context(), db, p.signed()); !problem.Is(err, problem.Unavailable) {
		t.Errorf("numbers that cannot be lifted: %v", err)
	}
}

// TestReplaysAtOnce of one journal, by two gateways, come to what one comes to.
func TestReplaysAtOnce(t *testing.T) {
	db, c := open(t)
	p, lost, open := newPaper(t), newPaper(t), newPaper(t)
	a := newAccountEntry(t)
	gone := a
	gone.Deactivated = now()
	lost.names, open.names = lost.names[:1], open.names[:1]
	journal := []audit.Event{
		a.event(audit.AccountMade), p.willSign(), lost.willSign(), p.signed(), lost.abandoned(), gone.event(audit.AccountEdited), open.willSign(),
		p.revoked(4, time.Second), p.revoked(1, time.Minute),
	}
	other, err := storage.Open(t.Context(), storage.Config{Engine: c})
	must(t, err)
	var wg sync.WaitGroup
	for _, db := range []*storage.DB{db, other, db, other} {
		wg.Go(func() {
			if _, err := tryReplay(t.Context(), db, journal...); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	p.state(t, db, ca.Issued, ra.Revoked, 1)
	lost.state(t, db, ca.Abandoned, ra.Revoked, 0)
	open.state(t, db, ca.Abandoned, ra.Revoked, 0)
	gone.stored(t, db)
	if n := replay(t, db, journal...); n != 0 {
		t.Errorf("afterwards %d entries changed something", n)
	}
}

// TestReplayLosesToASweep that closes the same intent at the same moment: in another gateway it is not the replay's alone.
func TestReplayLosesToASweep(t *testing.T) {
	p := newPaper(t)
	for name, events := range map[string][]audit.Event{"at the end": {p.willSign()}, "at its entry": {p.willSign(), p.abandoned()}} {
		t.Run(name, func(t *testing.T) {
			db, c := open(t)
			p.intend(t, db)
			on, reached := make(chan struct{}), make(chan struct{}, 1)
			defer c.Inject(storetest.Fault{Method: storetest.Commit, Times: 1, Delay: on, Reached: reached})()
			done := make(chan error, 1)
			go func() {
				_, err := tryReplay(t.Context(), db, events...)
				done <- err
			}()
			<-reached
			must(t, db.AbandonIntent(t.Context(), "main", p.serial, now()))
			close(on)
			if err := <-done; err != nil {
				t.Errorf("the replay: %v", err)
			}
			p.state(t, db, ca.Abandoned, ra.Requested, 0)
		})
	}
}
