package storage_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// suggested is an operator's word on its renewal, as the journal has it; without a window it takes one back.
func (p paper) suggested(t *testing.T, after, window time.Duration) audit.Event {
	t.Helper()
	said := map[string]any{"at": p.at.Add(after), "actor": "uid:0"}
	if window > 0 {
		said["start"], said["end"], said["explanation"] = p.at, p.at.Add(window), "https://status.example.com/"
	}
	data, err := json.Marshal(said)
	must(t, err)
	e := p.revoked(0, after)
	e.Kind, e.Data = audit.RenewalSuggested, data
	return e
}

// TestReplayOfSuggestedRenewals: the later word holds, whichever journal is replayed first, and brings the certificate.
func TestReplayOfSuggestedRenewals(t *testing.T) {
	p := newPaper(t)
	first, second, back := p.suggested(t, time.Second, time.Hour), p.suggested(t, 2*time.Second, 2*time.Hour), p.suggested(t, 3*time.Second, 0)
	for name, tt := range map[string]struct {
		events []audit.Event
		window time.Duration
	}{
		"alone":                          {[]audit.Event{first}, time.Hour},
		"with its certificate":           {[]audit.Event{p.willSign(), p.signed(), first}, time.Hour},
		"before its certificate":         {[]audit.Event{first, p.willSign(), p.signed()}, time.Hour},
		"in order":                       {[]audit.Event{first, second}, 2 * time.Hour},
		"out of order":                   {[]audit.Event{second, first}, 2 * time.Hour},
		"taken back":                     {[]audit.Event{first, second, back}, 0},
		"taken back, before it was said": {[]audit.Event{back, first}, 0},
		"twice":                          {[]audit.Event{first, first}, time.Hour},
	} {
		db, _ := open(t)
		replay(t, db, tt.events...)
		p.state(t, db, ca.Issued, ra.Issued, -1)
		r := p.read(t, db).Renewal
		if r.Stands() != (tt.window > 0) || r.Stands() && (!r.End.Equal(p.at.Add(tt.window)) || r.Explanation != "https://status.example.com/") {
			t.Errorf("%s: %+v", name, r)
		}
		if n := replay(t, db, tt.events...); n != 0 {
			t.Errorf("%s: replayed again, %d entries change something", name, n)
		}
	}
	// A word outlives the revocation, and the serial's abandonment by another gateway.
	db, _ := open(t)
	replay(t, db, first, p.revoked(ca.KeyCompromise, time.Minute))
	p.state(t, db, ca.Issued, ra.Revoked, ca.KeyCompromise)
	if r := p.read(t, db).Renewal; !r.Stands() {
		t.Errorf("after a revocation: %+v", r)
	}
	db, _ = open(t)
	replay(t, db, p.abandoned())
	replay(t, db, first)
	if c := p.read(t, db); c.State != ca.Issued || c.Revocation == nil || !c.Renewal.Stands() {
		t.Errorf("after an abandonment: %+v", c)
	}
	if _, err := tryReplay(t.Context(), db, audit.Event{Kind: audit.RenewalSuggested, Issuer: "main", Serial: string(p.serial), Data: []byte("{}")}); err == nil {
		t.Error("an entry without a time is applied")
	}
}

func TestRecordRenewal(t *testing.T) {
	db, _ := open(t)
	p := newPaper(t)
	p.issue(t, db)
	read := p.read(t, db)
	must(t, db.RecordRenewal(t.Context(), *read, ca.Renewal{Start: p.at, End: p.at.Add(time.Hour), At: p.at, Actor: "uid:0"}))
	if err := db.RecordRenewal(t.Context(), *read, ca.Renewal{At: p.at, Actor: "uid:1"}); !problem.Is(err, problem.Conflict) {
		t.Errorf("over a record that has changed since: %v", err)
	}
	p.revoke(t, db, ca.Superseded, time.Minute)
	if c := p.read(t, db); !c.Renewal.Stands() || c.Renewal.Actor != "uid:0" || c.Revocation == nil {
		t.Errorf("%+v", c)
	}
}
