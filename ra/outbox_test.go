package ra_test

import (
	"slices"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// TestEnrollmentEvents: each transition is what it is, once, at its own time and by whoever made it.
func TestEnrollmentEvents(t *testing.T) {
	at := start.Add(time.Hour)
	base := ra.Enrollment{ID: 7, Org: 1, Door: ra.DoorACME, Requester: "acme:alice", Profile: "tls", Created: start, Replaces: 3}
	in := func(p ra.Phase) *ra.Enrollment {
		e := base
		e.Phase, e.Issued, e.Decliner = p, at, "user:2"
		e.Approvals = []policy.Approval{{Approver: "user:1"}, {Approver: "user:2"}}
		e.Failure, e.Revocation = &ra.Failure{At: at}, &ca.Revocation{At: at, Actor: "uid:0"}
		return &e
	}
	for name, tt := range map[string]struct {
		after, before *ra.Enrollment
		want          []ra.EventKind
		actor         string
		at            time.Time
	}{
		"begun":           {in(ra.Requested), nil, []ra.EventKind{ra.EventRequested}, "acme:alice", start},
		"waits at once":   {in(ra.Waiting), nil, []ra.EventKind{ra.EventRequested, ra.EventWaiting}, "acme:alice", time.Time{}},
		"begins to wait":  {in(ra.Waiting), in(ra.Validating), []ra.EventKind{ra.EventWaiting}, "acme:alice", time.Time{}},
		"approved":        {in(ra.Approved), in(ra.Waiting), []ra.EventKind{ra.EventApproved}, "user:2", time.Time{}},
		"approved, made":  {in(ra.Requested), in(ra.Waiting), []ra.EventKind{ra.EventApproved}, "user:2", time.Time{}},
		"client came":     {in(ra.Requested), in(ra.Approved), nil, "", time.Time{}},
		"declined":        {in(ra.Declined), in(ra.Waiting), []ra.EventKind{ra.EventDeclined}, "user:2", at},
		"issued":          {in(ra.Issued), in(ra.Requested), []ra.EventKind{ra.EventIssued}, "acme:alice", at},
		"revoked":         {in(ra.Revoked), in(ra.Issued), []ra.EventKind{ra.EventRevoked}, "uid:0", at},
		"reason raised":   {in(ra.Revoked), in(ra.Revoked), nil, "", time.Time{}},
		"failed":          {in(ra.Failed), in(ra.Requested), []ra.EventKind{ra.EventFailed}, "", at},
		"one more try":    {in(ra.Requested), in(ra.Requested), nil, "", time.Time{}},
		"one more signed": {in(ra.Waiting), in(ra.Waiting), nil, "", time.Time{}},
		"of the future":   {in(200), in(ra.Requested), nil, "", time.Time{}},
	} {
		events := ra.EnrollmentEvents(tt.after, tt.before)
		var kinds []ra.EventKind
		for _, e := range events {
			kinds = append(kinds, e.Kind)
			if e.Org != 1 || e.Enrollment != 7 || e.Profile != "tls" || e.Replaces != 3 || e.Door != ra.DoorACME {
				t.Errorf("%s: %+v", name, e)
			}
		}
		if !slices.Equal(kinds, tt.want) {
			t.Errorf("%s: %v, want %v", name, kinds, tt.want)
			continue
		}
		if n := len(events); n > 0 && (events[n-1].Actor != tt.actor || !events[n-1].At.Equal(tt.at)) {
			t.Errorf("%s: by %q at %s", name, events[n-1].Actor, events[n-1].At)
		}
	}
	removed := in(ra.Declined)
	removed.Removed, removed.Remover = at, "user:5"
	if got := ra.EnrollmentEvents(removed, in(ra.Waiting)); len(got) != 1 || got[0].Kind != ra.EventRemoved || got[0].Actor != "user:5" || !got[0].At.Equal(at) {
		t.Errorf("removed is %+v", got)
	}
	if got := ra.EnrollmentEvents(removed, removed); len(got) != 0 {
		t.Errorf("removed already is %+v", got)
	}
	imported := in(ra.Issued)
	imported.Imported = true
	if got := ra.EnrollmentEvents(imported, nil); len(got) != 0 {
		t.Errorf("an import is %v", got)
	}
}

func TestDomainEvents(t *testing.T) {
	proven := func(at time.Time) *ra.Domain { return &ra.Domain{Org: 1, Proof: &dcv.Proof{At: at}} }
	for name, tt := range map[string]struct {
		after, before *ra.Domain
		want          int
	}{
		"added": {&ra.Domain{}, nil, 0}, "validated": {proven(start), &ra.Domain{}, 1}, "again": {proven(start.Add(time.Hour)), proven(start), 1},
		"something else": {proven(start), proven(start), 0}, "given back": {proven(start), nil, 1},
	} {
		if got := ra.DomainEvents(tt.after, tt.before); len(got) != tt.want || len(got) > 0 && got[0].Kind != ra.EventDomainValidated {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
