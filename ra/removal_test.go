package ra_test

import (
	"errors"
	"testing"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// TestRemoveRaces: of a removal and an approval at once one comes first; both, two gateways, one store.
func TestRemoveRaces(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		peopled(t, w, nil)
		two := w.registrar(func(c *ra.Config) { *c = w.Registrar.Config })
		ctx := t.Context()
		for range rounds {
			e, err := w.Submit(ctx, rob, ra.Request{Door: ra.DoorConsole, Profile: "each", Names: ids(t, "w.example.com"), CSR: csrOf(t, newKey(t), "w.example.com")})
			must(t, err)
			before := w.signer.signed.Load()
			errs := atOnce(
				func() error { return w.Remove(ctx, rob, e.ID) },
				func() error { _, err := two.Approve(ctx, ann, e.ID, ""); return err },
			)
			got, signed := w.read(e.ID), w.signer.signed.Load()-before
			if errs[0] != nil || got.Removed.IsZero() {
				t.Fatalf("%v: %+v", errs, got)
			}
			switch {
			case got.Phase == ra.Declined && signed == 0 && (problem.Is(errs[1], problem.NotFound) || problem.Is(errs[1], problem.Conflict)):
			case got.Phase == ra.Issued && signed == 1 && errs[1] == nil: // it was approved and issued, and then removed
			case got.Phase == ra.Failed || got.Phase == ra.Declined: // it was approved, and removed while it was being issued
				if got.Serial != "" {
					w.abandoned(got.Serial)
				}
			default:
				t.Errorf("%v came to %+v with %d signatures", errs, got, signed)
			}
			w.hidden(got)
			x := w.managed(rob, "tls", "x.example.com")
			errs = atOnce(func() error { return w.Remove(ctx, rob, x.ID) }, func() error { return two.Remove(ctx, rob, x.ID) })
			must(t, errors.Join(errs...))
			y := w.managed(rob, "tls", "y.example.com")
			errs = atOnce(func() error { return w.Remove(ctx, rob, y.ID) }, func() error {
				return two.Revoke(ctx, boss, ra.Revocation{Issuer: "main", Serial: y.Serial, Reason: ca.Superseded})
			})
			must(t, errors.Join(errs...))
			if got := w.read(y.ID); got.Removed.IsZero() || got.Phase != ra.Revoked {
				t.Errorf("remove x revoke: %+v", got)
			}
		}
	})
}

// TestRemoveWhatIsBeingIssued: the certificate that is on its way is refused, or it was there first and is removed; never is
// there one in a list.
func TestRemoveWhatIsBeingIssued(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		peopled(t, w, nil)
		ctx := t.Context()
		for _, step := range []int{6, 8, 9} {
			there, release := w.hold(step)
			done := w.submitting(w.Registrar, rob, ra.Request{Door: ra.DoorConsole, Profile: "tls", Names: ids(t, "a.example.com"), CSR: csrOf(t, newKey(t), "a.example.com")})
			<-there
			found, err := w.Search(ctx, operator, ra.Query{Org: 1, Status: ra.StatusRequested, Limit: 10})
			must(t, err)
			if len(found.Enrollments) != 1 {
				t.Fatalf("%d are being issued", len(found.Enrollments))
			}
			e := found.Enrollments[0]
			must(t, w.Remove(ctx, rob, e.ID))
			release()
			<-done
			w.step.Store(nil)
			w.hidden(e)
			if got := w.read(e.ID); got.Phase != ra.Failed && got.Phase != ra.Declined || !got.Issued.IsZero() {
				t.Errorf("after step %d it is %+v", step, got)
			}
			w.abandoned(e.Serial)
		}
		for range rounds {
			reached, release := w.hold(6)
			done := w.submitting(w.Registrar, rob, ra.Request{Door: ra.DoorConsole, Profile: "tls", Names: ids(t, "a.example.com"), CSR: csrOf(t, newKey(t), "a.example.com")})
			<-reached
			found, err := w.Search(ctx, operator, ra.Query{Org: 1, Status: ra.StatusRequested, Limit: 10})
			must(t, err)
			e := found.Enrollments[0]
			errs := atOnce(func() error { return w.Remove(ctx, rob, e.ID) }, func() error { release(); <-done; return nil })
			w.step.Store(nil)
			must(t, errors.Join(errs...))
			w.hidden(w.read(e.ID))
		}
	})
}

// TestRemovedCountsTowardsQuotas: its certificate is as good as before, so that removing makes no room.
func TestRemovedCountsTowardsQuotas(t *testing.T) {
	w := peopled(t, newWorld(t), func(c *ra.Config) {
		c.Profiles["few"] = openProfile(t, policy.Config{Name: "few", Quota: policy.Quota{Certificates: 3, PerName: 1}})
	})
	ctx := t.Context()
	e := w.managed(rob, "few", "a.example.com")
	must(t, w.Remove(ctx, rob, e.ID))
	again := ra.Request{Door: ra.DoorConsole, Profile: "few", Names: ids(t, "a.example.com"), CSR: csrOf(t, newKey(t), "a.example.com")}
	_, err := w.Submit(ctx, rob, again)
	wantKind(t, err, problem.RateLimited)
	if _, err := w.RevokeEnrollment(ctx, operator, e.ID, ca.Superseded, ""); err != nil {
		t.Fatal(err)
	}
	if e, err := w.Submit(ctx, rob, again); err != nil || e.Phase != ra.Issued {
		t.Errorf("once it is revoked: %+v, %v", e, err)
	}
}

// TestRemovalIsReplayed: a store that went back is given the removal, whichever journal comes first, and it never comes undone.
func TestRemovalIsReplayed(t *testing.T) {
	w := peopled(t, newWorld(t), nil)
	ctx := t.Context()
	e := w.managed(rob, "tls", "a.example.com")
	_, err := w.Update(ctx, rob, e.ID, ra.Changes{Comments: new("first")})
	must(t, err)
	must(t, w.Remove(ctx, rob, e.ID))
	removal := func(x audit.Event) bool { return x.Kind == audit.EnrollmentRemoved }
	for name, parts := range map[string][]func(audit.Event) bool{
		"in order":      {func(audit.Event) bool { return true }},
		"removal alone": {removal},
		"removal first": {removal, func(x audit.Event) bool { return !removal(x) }},
		"removal last":  {func(x audit.Event) bool { return !removal(x) }, removal},
		"twice":         {func(audit.Event) bool { return true }, func(audit.Event) bool { return true }},
	} {
		n := peopled(t, newWorld(t), nil)
		n.clock.set(w.clock.now())
		for _, part := range parts {
			must(t, n.replay(w.journal.events, func(x audit.Event) bool { return !part(x) }))
		}
		got := n.read(e.ID)
		if !got.Removed.Equal(w.read(e.ID).Removed) || got.Remover != rob.Principal || got.Phase != ra.Issued || got.Comments != "first" {
			t.Errorf("%s: %+v", name, got)
		}
		n.hidden(got)
	}
	// The store that has it is given nothing twice.
	r := w.db.Replay(nil)
	for _, x := range w.journal.events {
		must(t, r.Apply(ctx, x))
	}
	must(t, r.End(ctx))
	if r.Changed != 0 {
		t.Errorf("%d entries changed a store that lacks nothing", r.Changed)
	}
}

// TestRemovalNeedsTheJournal: what the journal did not take was not acknowledged, and is there once it is said again.
func TestRemovalNeedsTheJournal(t *testing.T) {
	w := peopled(t, newWorld(t), nil)
	ctx := t.Context()
	e := w.managed(rob, "tls", "a.example.com")
	w.journal.refuse(audit.EnrollmentRemoved)
	wantKind(t, w.Remove(ctx, rob, e.ID), problem.Unavailable)
	w.journal.refuse("")
	must(t, w.Remove(ctx, rob, e.ID))
	n := newWorldWith(t, w)
	if got := n.read(e.ID); got.Removed.IsZero() {
		t.Errorf("after a replay: %+v", got)
	}
	w.Registrar = w.registrar(func(c *ra.Config) { c.Journal = nil })
	wantKind(t, w.Remove(ctx, auth.Caller{Operator: true, Principal: "uid:0"}, e.ID), problem.Unauthorized)
}

// TestRemovedApprovalsServeNothing: what was approved and removed while it was being issued leaves no approval over.
func TestRemovedApprovalsServeNothing(t *testing.T) {
	w := peopled(t, newWorld(t), nil)
	ctx := t.Context()
	req := ra.Request{Door: ra.DoorConsole, Profile: "each", Names: ids(t, "w.example.com"), CSR: csrOf(t, newKey(t), "w.example.com")}
	e, err := w.Submit(ctx, rob, req)
	must(t, err)
	there, release := w.hold(8)
	done := make(chan error, 1)
	go func() { _, err := w.Approve(ctx, ann, e.ID, ""); done <- err }()
	<-there
	must(t, w.Remove(ctx, rob, e.ID))
	release()
	must(t, <-done)
	w.step.Store(nil)
	w.abandoned(w.read(e.ID).Serial)
	again, err := w.Submit(ctx, rob, req)
	must(t, err)
	if again.Phase != ra.Waiting || len(again.Approvals) > 0 {
		t.Errorf("the next request is %+v", again)
	}
}
