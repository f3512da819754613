package ra_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// underOne answers as auth.Directory does where organisation 2 is below organisation 1.
func underOne(caller auth.Caller, a auth.Action, org auth.OrgID) error {
	absent := problem.New(problem.NotFound, "there is no such object")
	if caller.Operator {
		return nil
	}
	if !caller.IsPrincipal() {
		if caller.Org != org {
			return absent
		}
		return nil
	}
	for _, g := range caller.Roles {
		if g.Org != org && (g.Org != 1 || org != 2) {
			continue
		}
		if a != auth.View && g.Role != auth.Requester {
			return problem.New(problem.Unauthorized, "a role is missing")
		}
		return nil
	}
	return absent
}

// TestRolesReach: a principal asks, sees and revokes where its roles reach, and nothing elsewhere exists for it.
func TestRolesReach(t *testing.T) {
	w := guardedWorld(t)
	w.Registrar.May = underOne
	auditor := auth.Caller{Principal: "user:8", Org: 1, Roles: []auth.Grant{{Org: 1, Role: auth.Auditor}}}
	below := auth.Caller{Principal: "user:9", Org: 2, Roles: []auth.Grant{{Org: 2, Role: auth.Requester}}}

	r := w.ask(rob, "tls", "", newKey(t))
	r.Org = 2
	for i := range r.Proofs {
		r.Proofs[i].Org = 2
	}
	if _, err := w.Submit(t.Context(), auditor, r); !problem.Is(err, problem.Unauthorized) {
		t.Errorf("an auditor's request: %v", err)
	}
	e, err := w.Submit(t.Context(), rob, r)
	must(t, err)
	if e.Org != 2 || e.Requester != rob.Principal || e.Phase != ra.Issued {
		t.Fatalf("%+v", e)
	}
	up := w.ask(below, "tls", "", newKey(t))
	up.Org = 1
	if _, err := w.Submit(t.Context(), below, up); !problem.Is(err, problem.NotFound) {
		t.Errorf("a request for an organisation above: %v", err)
	}
	mine, err := w.Submit(t.Context(), rob, w.ask(rob, "tls", "", newKey(t)))
	must(t, err)

	for _, test := range []struct {
		caller auth.Caller
		id     ra.ID
		sees   bool
	}{
		{rob, e.ID, true}, {rob, mine.ID, true}, {auditor, e.ID, true}, {auditor, mine.ID, true},
		{below, e.ID, true}, {below, mine.ID, false}, {eve, mine.ID, false}, {alice, e.ID, false},
	} {
		got, err := w.Get(t.Context(), test.caller, test.id)
		if test.sees != (err == nil) || err != nil && (!problem.Is(err, problem.NotFound) || !strings.Contains(err.Error(), fmt.Sprintf("there is no enrollment %d", test.id))) {
			t.Errorf("%s reads %d: %v, %v", test.caller.Principal, test.id, got, err)
		}
		list, err := w.BySerial(t.Context(), test.caller, w.read(test.id).Serial)
		if test.sees != (len(list) == 1) || err != nil && !problem.Is(err, problem.NotFound) {
			t.Errorf("%s finds %d by serial: %v, %v", test.caller.Principal, test.id, list, err)
		}
	}
	for _, test := range []struct {
		caller auth.Caller
		e      *ra.Enrollment
		kind   problem.Kind // Internal: it may
	}{
		{below, mine, problem.NotFound}, {auditor, e, problem.Unauthorized}, {alice, mine, problem.Unauthorized}, {rob, e, problem.Internal}, {rob, mine, problem.Internal},
	} {
		e := w.read(test.e.ID)
		err := w.Revoke(t.Context(), test.caller, ra.Revocation{Issuer: e.Issuer, Serial: e.Serial, Reason: ca.Superseded})
		if (test.kind == problem.Internal) != (err == nil) || err != nil && !problem.Is(err, test.kind) {
			t.Errorf("%s revokes %d: %v", test.caller.Principal, e.ID, err)
		}
	}
	if found, err := w.Search(t.Context(), rob, ra.Query{Org: 2, Limit: 10}); err != nil || found.Total != 1 {
		t.Errorf("the list below: %+v, %v", found, err)
	}
	if _, err := w.Search(t.Context(), below, ra.Query{Org: 1, Limit: 10}); !problem.Is(err, problem.Unauthorized) {
		t.Errorf("the list above: %v", err)
	}
}
