package ra_test

import (
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// TestReplayedDetailsUseApprovals: a certificate that comes back with what goes with it has used up its approvals, in whichever
// order the journals of the gateway that approved and described it, and of the one that signed it, are replayed.
func TestReplayedDetailsUseApprovals(t *testing.T) {
	w := peopled(t, newWorld(t), nil)
	ctx := t.Context()
	req := ra.Request{Door: ra.DoorConsole, Profile: "each", Names: ids(t, "a.example.com"), CSR: csrOf(t, newKey(t), "a.example.com")}
	e, err := w.Submit(ctx, rob, req)
	must(t, err)
	w.approve(ann, e.ID, ra.Issued)
	_, err = w.Update(ctx, rob, e.ID, ra.Changes{Comments: new("first")})
	must(t, err)
	must(t, w.Revoke(ctx, rob, ra.Revocation{Issuer: "main", Serial: w.read(e.ID).Serial, Reason: ca.Superseded}))
	kind := func(list ...audit.Kind) func(audit.Event) bool {
		return func(x audit.Event) bool {
			for _, k := range list {
				if x.Kind == k {
					return true
				}
			}
			return false
		}
	}
	all := func(audit.Event) bool { return true }
	described, revoked := kind(audit.Approved, audit.EnrollmentEdited), kind(audit.Approved, audit.Revoked)
	others := func(of func(audit.Event) bool) func(audit.Event) bool {
		return func(x audit.Event) bool { return !of(x) }
	}
	for name, parts := range map[string][]func(audit.Event) bool{
		"in order":               {all},
		"described first":        {described, others(described)},
		"described last":         {others(described), described},
		"revoked first":          {revoked, others(revoked)},
		"described, then signed": {described, kind(audit.WillSign, audit.Signed)},
		"described alone":        {described},
	} {
		n := peopled(t, newWorld(t), nil)
		n.clock.set(w.clock.now())
		for _, part := range parts {
			must(t, n.replay(w.journal.events, others(part)))
		}
		got := n.read(e.ID)
		if got.Content != w.read(e.ID).Content || len(got.Approvals) != 1 || got.Approvals[0].Approver != ann.Principal {
			t.Errorf("%s: it came back for %q with %+v", name, got.Content, got.Approvals)
		}
		if again, err := n.Submit(ctx, rob, req); err != nil || again.Phase != ra.Waiting || len(again.Approvals) > 0 {
			t.Errorf("%s: the next request is %+v, %v", name, again, err)
		}
	}
}

// TestReplayedRemovalVoidsApprovals: what was approved and removed while it was being issued leaves no approval over in a store that
// has lost it.
func TestReplayedRemovalVoidsApprovals(t *testing.T) {
	w := peopled(t, newWorld(t), nil)
	ctx := t.Context()
	req := ra.Request{Door: ra.DoorConsole, Profile: "each", Names: ids(t, "w.example.com"), CSR: csrOf(t, newKey(t), "w.example.com")}
	e, err := w.Submit(ctx, rob, req)
	must(t, err)
	w.signer.down.Store(true)
	_, err = w.Approve(ctx, ann, e.ID, "")
	must(t, err)
	must(t, w.Remove(ctx, rob, e.ID))
	n := peopled(t, newWorld(t), nil)
	n.clock.set(w.clock.now())
	must(t, n.replay(w.journal.events, nil))
	if again, err := n.Submit(ctx, rob, req); err != nil || again.Phase != ra.Waiting || len(again.Approvals) > 0 {
		t.Errorf("the next request is %+v, %v", again, err)
	}
}

// TestRemovalLeavesLaterRequests: the removal of a request that failed says nothing of a later one, which has its approvals.
func TestRemovalLeavesLaterRequests(t *testing.T) {
	w := peopled(t, newWorld(t), func(c *ra.Config) {
		c.Profiles["two"] = openProfile(t, policy.Config{Name: "two", Approvals: policy.ApprovalRule{Required: 2}})
	})
	ctx := t.Context()
	req := ra.Request{Door: ra.DoorConsole, Profile: "two", Names: ids(t, "w.example.com"), CSR: csrOf(t, newKey(t), "w.example.com")}
	e, err := w.Submit(ctx, rob, req)
	must(t, err)
	w.approve(ann, e.ID, ra.Waiting)
	_, err = w.Cancel(ctx, rob, e.ID)
	must(t, err)
	later, err := w.Submit(ctx, rob, req)
	must(t, err)
	w.clock.add(time.Minute)
	must(t, w.Remove(ctx, rob, e.ID))
	must(t, w.replay(w.journal.events, nil))
	if got := w.read(later.ID); got.Phase != ra.Waiting || len(got.Approvals) != 1 {
		t.Errorf("after a replay the later one is %+v", got)
	}
}

// TestReplayedEndLeavesLaterRequests: that a request which had lapsed was removed or declined says nothing of the one that was made
// since, in a store that knows the former's end.
func TestReplayedEndLeavesLaterRequests(t *testing.T) {
	for name, end := range map[string]func(w *world, id ra.ID) error{
		"removed":  func(w *world, id ra.ID) error { return w.Remove(w.t.Context(), rob, id) },
		"declined": func(w *world, id ra.ID) error { _, err := w.Decline(w.t.Context(), ann, id, "no"); return err },
	} {
		w := peopled(t, newWorld(t), nil)
		req := ra.Request{Door: ra.DoorConsole, Profile: "one", Names: ids(t, "w.example.com"), CSR: csrOf(t, newKey(t), "w.example.com")}
		e, err := w.Submit(t.Context(), rob, req)
		must(t, err)
		w.clock.set(e.Due)
		later, err := w.Submit(t.Context(), rob, req)
		must(t, err)
		must(t, end(w, e.ID))
		must(t, w.replay(w.journal.events, nil))
		if got := w.read(later.ID); later.ID == e.ID || got.Phase != ra.Waiting {
			t.Errorf("%s: the later one is %+v", name, got)
		}
	}
}

// TestReplayedMarksOfRevocation: that an imported certificate was revoked elsewhere is not undone by a journal that says less, nor
// lost because other things of it were changed more often.
func TestReplayedMarksOfRevocation(t *testing.T) {
	w := peopled(t, newWorld(t), nil)
	w.clock.set(start)
	ctx := t.Context()
	x := newElsewhere(t)
	e := w.imported(rob, ra.ImportItem{Certificate: x.leaf(nil, "a.example.com"), Issuers: x.chain()})
	imports := func(x audit.Event) bool { return x.Kind != audit.Imported }
	_, err := w.MarkRevoked(ctx, rob, e.ID, start.Add(-time.Hour), ca.Superseded, "")
	must(t, err)
	other := newWorld(t) // a store that went back behind that, and on
	must(t, other.replay(w.journal.events, imports))
	other = peopled(t, other, nil)
	other.clock.set(start)
	_, err = other.MarkRevoked(ctx, rob, e.ID, start.Add(-time.Minute), ca.KeyCompromise, "")
	must(t, err)
	for _, text := range []string{"a", "b", "c"} {
		_, err = w.Update(ctx, rob, e.ID, ra.Changes{Comments: &text})
		must(t, err)
	}
	must(t, other.replay(w.journal.events, nil))
	if got := other.read(e.ID); got.Revocation.Reason != ca.KeyCompromise || got.Comments != "c" {
		t.Errorf("keyCompromise became %+v", got.Revocation)
	}
	plain := newWorld(t)
	must(t, plain.replay(w.journal.events, imports))
	plain = peopled(t, plain, nil)
	plain.clock.set(start)
	for _, text := range []string{"x", "y"} {
		_, err = plain.Update(ctx, rob, e.ID, ra.Changes{Comments: &text})
		must(t, err)
	}
	must(t, plain.replay(w.journal.events[:len(w.journal.events)-3], nil))
	if got := plain.read(e.ID); got.Phase != ra.Revoked || got.Revocation.Reason != ca.Superseded || got.Comments != "y" {
		t.Errorf("the mark was lost: %+v", got)
	}
}

// TestFieldsWhileValidating: what approvers will look at does not change on the way to them.
func TestFieldsWhileValidating(t *testing.T) {
	w := newPendingWorld(t)
	e := w.begin("one", dcv.DNSTXT, "a.example.com")
	_, err := w.Update(t.Context(), rob, e.ID, ra.Changes{CustomFields: new([]policy.FieldValue{})})
	wantKind(t, err, problem.Conflict)
}

// TestRenewedAfterReplacementWasDeclined: what was to be replaced and then was renewed is not revoked.
func TestRenewedAfterReplacementWasDeclined(t *testing.T) {
	for name, succeed := range map[string]func(w *world, old *ra.Enrollment) error{
		"renewed": func(w *world, old *ra.Enrollment) error { _, err := w.renewed(rob, old.ID); return err },
		"marked": func(w *world, old *ra.Enrollment) error {
			_, err := w.MarkRenewed(w.t.Context(), rob, old.ID, w.managed(rob, "tls", "b.example.com").ID)
			return err
		},
		"by a client": func(w *world, old *ra.Enrollment) error {
			at := acme.CertificateID{Issuer: old.Issuer, Serial: old.Serial}
			p, err := w.db.Predecessor(w.t.Context(), at)
			must(w.t, err)
			o := &acme.Order{
				ID: "order", Account: "alice", Org: 1, Names: old.Names, Created: w.clock.now(), Expires: w.clock.now().Add(time.Hour),
				Replaces: &acme.Replaces{ID: "id", Certificate: at, Enrollment: old.ID, Mark: p.Mark},
			}
			must(w.t, w.db.CreateOrder(w.t.Context(), o, nil))
			req := w.request(alice, newKey(w.t), "a.example.com")
			req.Replaces, req.Begin = old.ID, func(id ra.ID) any { return &acme.OrderBegun{Order: o, Enrollment: id} }
			_, err = w.Submit(w.t.Context(), alice, req)
			return err
		},
	} {
		w := peopled(t, newWorld(t), func(c *ra.Config) { c.RevokeReplaced = time.Hour })
		ctx := t.Context()
		old := w.managed(rob, "one", "a.example.com")
		next, err := w.Replace(ctx, rob, ra.ReplaceRequest{Door: ra.DoorConsole, ID: old.ID, CSR: csrOf(t, newKey(t), "a.example.com")})
		must(t, err)
		_, err = w.Decline(ctx, ann, next.ID, "no")
		must(t, err)
		must(t, succeed(w, old))
		w.clock.add(2 * time.Hour)
		must(t, w.Upkeep(ctx))
		if got := w.read(old.ID); got.Phase != ra.Issued || !got.UpkeepDue().IsZero() {
			t.Errorf("%s: the old one is %+v", name, got)
		}
	}
}

// TestValidatingSuccessorStandsInTheWay: a certificate has one successor also while that waits for validation, by another door.
func TestValidatingSuccessorStandsInTheWay(t *testing.T) {
	w := newPendingWorld(t)
	ctx := t.Context()
	old := w.begin("tls", dcv.DNSTXT, "a.example.com")
	w.net.publish(old.Challenges...)
	old = w.validates(old.ID, ra.Issued)
	next, err := w.Renew(ctx, rob, ra.RenewRequest{Door: "test", ID: old.ID, Validate: &ra.Validation{Method: dcv.DNSTXT}})
	must(t, err)
	if next.Phase != ra.Validating || next.Replaces != old.ID {
		t.Fatalf("the renewal is %+v", next)
	}
	p, err := w.db.Predecessor(ctx, acme.CertificateID{Issuer: old.Issuer, Serial: old.Serial})
	must(t, err)
	if p.Order == nil || p.Order.Status(w.clock.now(), p.Facts) != acme.StatusProcessing {
		t.Errorf("an order that wants to replace the same is told %+v, %s", p.Order, p.Order.Status(w.clock.now(), p.Facts))
	}
}

// TestAgentsApproveNoRenewal: who asked in another's name approves no renewal that the gateway asks for either.
func TestAgentsApproveNoRenewal(t *testing.T) {
	w := peopled(t, newWorld(t), nil)
	ctx := t.Context()
	e, err := w.Submit(ctx, rob, ra.Request{
		Door: ra.DoorConsole, Agent: operator.Principal, Profile: "each", Names: ids(t, "a.example.com"), CSR: csrOf(t, newKey(t), "a.example.com"),
	})
	must(t, err)
	w.approve(ann, e.ID, ra.Issued)
	_, err = w.Update(ctx, rob, e.ID, ra.Changes{AutoRenew: &ra.AutoRenew{On: true, Days: 3}})
	must(t, err)
	w.clock.set(w.read(e.ID).RenewalDue())
	must(t, w.Upkeep(ctx))
	s, err := w.db.Succession(ctx, w.read(e.ID), w.clock.now())
	must(t, err)
	if got := w.read(s.Next); got.Phase != ra.Waiting || got.Agent != operator.Principal {
		t.Errorf("the renewal is %+v", got)
	}
	_, err = w.Approve(ctx, operator, s.Next, "")
	wantKind(t, err, problem.Unauthorized)
}
