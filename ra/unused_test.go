package ra_test

import (
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// TestUnused: what an organisation has that a closing would end, in its own name alone.
func TestUnused(t *testing.T) {
	t.Parallel()
	w := newDomainWorld(t)
	ctx := t.Context()
	has := func(org auth.OrgID, what string) {
		t.Helper()
		switch err := w.reg.Unused(ctx, org); {
		case what == "" && err != nil:
			t.Errorf("organisation %d: %v", org, err)
		case what != "" && (!problem.Is(err, problem.Conflict) || !strings.Contains(err.Error(), what)):
			t.Errorf("organisation %d: %v, want a conflict that says %q", org, err, what)
		}
	}
	e := w.world.issue(alice, "a.example.com")
	has(1, "a valid certificate")
	has(2, "")
	must(t, w.Registrar.Revoke(ctx, alice, ra.Revocation{Issuer: e.Issuer, Serial: e.Serial, Reason: ca.Superseded}))
	has(1, "")
	w.world.postponed(bob, "b.example.com")
	has(1, "being issued")
	w.imported(ivo, ra.ImportItem{Certificate: newElsewhere(t).leaf(nil, "www.example.com")})
	has(2, "a valid certificate")
	_, err := w.Add(ctx, operator, "example.com", "below")
	must(t, err)
	has(3, "the domain example.com")
	has(4, "")
	_, err = w.Delegate(ctx, operator, "example.com", "far")
	must(t, err)
	has(4, "by delegation")
	_, err = w.Reject(ctx, operator, "example.com", "far")
	must(t, err)
	has(4, "")
}
