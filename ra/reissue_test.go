package ra_test

import (
	"testing"

	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

func TestCurrent(t *testing.T) {
	w := peopled(t, newWorld(t), nil)
	ctx := t.Context()
	current := func(id, want ra.ID) {
		t.Helper()
		if e, err := w.Current(ctx, rob, id); err != nil || e.ID != want {
			t.Errorf("%d stands for %d, not for %d: %v", e.ID, id, want, err)
		}
	}
	replace := func(id ra.ID) *ra.Enrollment {
		t.Helper()
		e, err := w.Replace(ctx, rob, ra.ReplaceRequest{Door: ra.DoorConsole, ID: id, CSR: csrOf(t, newKey(t), "a.example.com")})
		must(t, err)
		return e
	}
	first := w.managed(rob, "tls", "a.example.com")
	current(first.ID, first.ID)
	second := replace(first.ID)
	third := replace(second.ID)
	if !second.Reissue || !w.read(third.ID).Reissue || w.read(first.ID).Reissue {
		t.Error("what Replace made is not marked as that")
	}
	current(first.ID, third.ID)
	current(second.ID, third.ID)

	// Its renew id renews what stands for it now, and a renewal is another certificate.
	renewal, err := w.Renew(ctx, rob, ra.RenewRequest{Door: ra.DoorConsole, RenewID: first.RenewID()})
	must(t, err)
	if renewal.Replaces != third.ID || renewal.Reissue {
		t.Errorf("the renewal is %+v", renewal)
	}
	current(first.ID, third.ID)
	_, err = w.Renew(ctx, rob, ra.RenewRequest{Door: ra.DoorConsole, RenewID: first.RenewID()})
	wantKind(t, err, problem.Conflict)
	_, err = w.Renew(ctx, evan, ra.RenewRequest{Door: ra.DoorConsole, RenewID: first.RenewID()})
	wantKind(t, err, problem.NotFound)
	_, err = w.Current(ctx, evan, first.ID)
	wantKind(t, err, problem.NotFound)

	// What replaced it and was removed, or declined, stands for nothing.
	again := replace(renewal.ID)
	must(t, w.Remove(ctx, rob, again.ID))
	current(renewal.ID, renewal.ID)
	must(t, w.Revoke(ctx, rob, ra.Revocation{Issuer: "main", Serial: renewal.Serial, Reason: ca.Superseded}))
	current(renewal.ID, renewal.ID)
}

// TestCurrentWaits: what is to replace it stands for it from the request on, until it is declined.
func TestCurrentWaits(t *testing.T) {
	w := peopled(t, newWorld(t), func(c *ra.Config) {
		c.Profiles["two"] = openProfile(t, policy.Config{Name: "two", Approvals: policy.ApprovalRule{Required: 1, Renewals: policy.ApproveRenewals}})
	})
	ctx := t.Context()
	old := w.managed(rob, "two", "a.example.com")
	next, err := w.Replace(ctx, rob, ra.ReplaceRequest{Door: ra.DoorConsole, ID: old.ID, CSR: csrOf(t, newKey(t), "a.example.com")})
	must(t, err)
	if e, err := w.Current(ctx, rob, old.ID); err != nil || e.ID != next.ID || e.Phase != ra.Waiting {
		t.Errorf("while it waits: %+v, %v", e, err)
	}
	_, err = w.Decline(ctx, ann, next.ID, "no")
	must(t, err)
	if e, err := w.Current(ctx, rob, old.ID); err != nil || e.ID != old.ID {
		t.Errorf("once it is declined: %+v, %v", e, err)
	}
}
