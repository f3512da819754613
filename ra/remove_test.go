package ra_test

import (
	"slices"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// hidden demands that a removed enrollment is in no list, and not there for those who are not the operator.
func (w *world) hidden(e *ra.Enrollment) {
	w.t.Helper()
	ctx := w.t.Context()
	for name, q := range map[string]ra.Query{
		"all": {}, "organisation": {Org: e.Org}, "issued": {Org: e.Org, Status: ra.StatusIssued}, "revoked": {Org: e.Org, Status: ra.StatusRevoked},
		"declined": {Org: e.Org, Status: ra.StatusDeclined}, "waiting": {Org: e.Org, Status: ra.StatusWaiting},
		"profile": {Org: e.Org, Profile: e.Profile}, "requester": {Org: e.Org, Requester: e.Requester}, "name": {Org: e.Org, Name: e.Names[0].Value()},
		"suffix": {Org: e.Org, Suffix: "example.com"}, "end": {Org: e.Org, NotAfterTo: w.clock.now().Add(time.Hour * 10000)},
	} {
		q.Limit = 1000
		found, err := w.Search(ctx, operator, q)
		must(w.t, err)
		if slices.ContainsFunc(found.Enrollments, func(x *ra.Enrollment) bool { return x.ID == e.ID }) || int(found.Total) != len(found.Enrollments) {
			w.t.Errorf("it is in the list %s, or counted: %d", name, found.Total)
		}
	}
	if list, _, err := w.Waiting(ctx, operator, 0, 0, 1000); err != nil || slices.ContainsFunc(list, func(x *ra.Enrollment) bool { return x.ID == e.ID }) {
		w.t.Errorf("it waits: %v, %v", list, err)
	}
	_, err := w.Get(ctx, boss, e.ID)
	wantKind(w.t, err, problem.NotFound)
	if e.Serial != "" && !e.Issued.IsZero() {
		_, err = w.BySerial(ctx, boss, e.Serial)
		wantKind(w.t, err, problem.NotFound)
		if found, err := w.BySerial(ctx, operator, e.Serial); err != nil || len(found) != 1 || found[0].Removed.IsZero() {
			w.t.Errorf("the operator finds %v, %v", found, err)
		}
	}
	if got, err := w.Get(ctx, operator, e.ID); err != nil || got.Removed.IsZero() || got.Remover == "" {
		w.t.Errorf("the operator sees %+v, %v", got, err)
	}
}

func TestRemove(t *testing.T) {
	w := peopled(t, newWorld(t), nil)
	ctx := t.Context()
	before := w.managed(rob, "tls", "a.example.com")
	e, err := w.renewed(rob, before.ID)
	must(t, err)
	_, err = w.Update(ctx, rob, e.ID, ra.Changes{AutoRenew: &ra.AutoRenew{On: true, Days: 1}})
	must(t, err)
	acme := w.acmeIssued()
	wantKind(t, w.Remove(ctx, evan, e.ID), problem.NotFound)
	wantKind(t, w.Remove(ctx, ann, e.ID), problem.Unauthorized)
	wantKind(t, w.Remove(ctx, audra, e.ID), problem.Unauthorized)
	wantKind(t, w.Remove(ctx, una, e.ID), problem.Unauthorized) // a colleague
	wantKind(t, w.Remove(ctx, bob, acme.ID), problem.Unauthorized)
	wantKind(t, w.Remove(ctx, rob, 999), problem.NotFound)
	must(t, w.Remove(ctx, rob, e.ID))
	w.hidden(e)
	must(t, w.Remove(ctx, rob, e.ID)) // after an answer that was lost
	wantKind(t, w.Remove(ctx, una, e.ID), problem.NotFound)
	if entry := w.lastOf(audit.EnrollmentRemoved); entry.Actor != rob.Principal || entry.Serial != string(e.Serial) || len(entry.DER) == 0 {
		t.Errorf("the journal says %+v", entry)
	}
	for name, do := range map[string]func() error{
		"renew": func() error { _, err := w.renewed(rob, e.ID); return err },
		"renew id": func() error {
			_, err := w.Renew(ctx, rob, ra.RenewRequest{Door: ra.DoorConsole, RenewID: e.RenewID()})
			return err
		},
		"update":  func() error { _, err := w.Update(ctx, operator, e.ID, ra.Changes{Comments: new("x")}); return err },
		"locate":  func() error { _, err := w.Locate(ctx, rob, e.ID, ra.Location{Name: "x"}); return err },
		"mark":    func() error { _, err := w.MarkRenewed(ctx, rob, e.ID, 0); return err },
		"lineage": func() error { _, err := w.Lineage(ctx, rob, e.ID); return err },
		"revoke":  func() error { _, err := w.RevokeEnrollment(ctx, rob, e.ID, ca.Superseded, ""); return err },
	} {
		if err := do(); !problem.Is(err, problem.NotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if list, err := w.Lineage(ctx, rob, before.ID); err != nil || len(list) != 1 {
		t.Errorf("the lineage has %v, %v", list, err)
	}
	if c := w.certificate(e.Serial); c.State != ca.Issued || c.Revocation != nil {
		t.Errorf("its certificate is %+v", c)
	}
	// It stays revocable, and what is revoked and then removed stays revoked.
	_, err = w.RevokeEnrollment(ctx, operator, e.ID, ca.KeyCompromise, "found on a disk")
	must(t, err)
	must(t, w.Revoke(ctx, alice, ra.Revocation{Issuer: "main", Serial: acme.Serial, Reason: ca.Superseded}))
	must(t, w.Remove(ctx, boss, acme.ID))
	w.hidden(e)
	w.hidden(acme)
	if list := w.revoked(); !slices.Contains(list, e.Serial) || !slices.Contains(list, acme.Serial) {
		t.Errorf("the list names %v", list)
	}
}

// TestForgetRemoved: 30 days after the end of its certificate it is gone, with the certificate unless that is revoked.
func TestForgetRemoved(t *testing.T) {
	w := peopled(t, newWorld(t), nil)
	ctx := t.Context()
	plain, revoked, kept := w.managed(rob, "tls", "a.example.com"), w.managed(rob, "tls", "b.example.com"), w.managed(rob, "tls", "c.example.com")
	must(t, w.Revoke(ctx, rob, ra.Revocation{Issuer: "main", Serial: revoked.Serial, Reason: ca.KeyCompromise}))
	waiting, err := w.Submit(ctx, rob, ra.Request{Door: ra.DoorConsole, Profile: "one", Names: ids(t, "w.example.com"), CSR: csrOf(t, newKey(t), "w.example.com")})
	must(t, err)
	for _, e := range []*ra.Enrollment{plain, revoked, waiting} {
		must(t, w.Remove(ctx, rob, e.ID))
	}
	gone := func(id ra.ID) bool {
		_, err := w.db.Enrollment(ctx, id)
		return problem.Is(err, problem.NotFound)
	}
	w.clock.set(plain.NotAfter.Add(ra.RemovedRetention - time.Second))
	must(t, w.ForgetRemoved(ctx))
	if gone(plain.ID) || gone(revoked.ID) || !gone(waiting.ID) {
		t.Errorf("before its time: %v, %v; of no certificate: %v", gone(plain.ID), gone(revoked.ID), gone(waiting.ID))
	}
	w.clock.add(time.Second)
	must(t, w.ForgetRemoved(ctx))
	must(t, w.ForgetRemoved(ctx))
	if !gone(plain.ID) || !gone(revoked.ID) || gone(kept.ID) {
		t.Errorf("in its time: %v, %v, and %v", gone(plain.ID), gone(revoked.ID), gone(kept.ID))
	}
	if _, err := w.db.Certificate(ctx, "main", plain.Serial); !problem.Is(err, problem.NotFound) {
		t.Errorf("its certificate: %v", err)
	}
	if c := w.certificate(revoked.Serial); c.Revocation == nil {
		t.Errorf("the revoked one is %+v", c)
	}
	_, err = w.Renew(ctx, rob, ra.RenewRequest{Door: ra.DoorConsole, RenewID: plain.RenewID()})
	wantKind(t, err, problem.NotFound)
	// Its number is nobody's again.
	if next := w.managed(rob, "tls", "d.example.com"); next.ID <= waiting.ID {
		t.Errorf("the next number is %d", next.ID)
	}
	// A replay that meets the revocation again, and a stronger reason, finds the certificate without its enrollment.
	must(t, w.replay(w.journal.events, nil))
	e := w.lastOf(audit.Revoked)
	e.Reason = int(ca.KeyCompromise)
	must(t, w.replay([]audit.Event{e}, nil))
}

// TestRemoveWhatWaits: an approval of what was removed is refused, and those it had do not come back for the next request.
func TestRemoveWhatWaits(t *testing.T) {
	w := peopled(t, newWorld(t), nil)
	ctx := t.Context()
	req := ra.Request{Door: ra.DoorConsole, Profile: "two", Names: ids(t, "w.example.com"), CSR: csrOf(t, newKey(t), "w.example.com")}
	w.Registrar = w.registrar(func(c *ra.Config) {
		*c = w.Registrar.Config
		c.Profiles["two"] = openProfile(t, policy.Config{Name: "two", Approvals: policy.ApprovalRule{Required: 2}})
	})
	e, err := w.Submit(ctx, rob, req)
	must(t, err)
	w.approve(ann, e.ID, ra.Waiting)
	must(t, w.Remove(ctx, rob, e.ID))
	w.hidden(e)
	for _, say := range []func() (*ra.Enrollment, error){
		func() (*ra.Enrollment, error) { return w.Approve(ctx, ben, e.ID, "") },
		func() (*ra.Enrollment, error) { return w.Decline(ctx, ben, e.ID, "no") },
	} {
		_, err := say()
		wantKind(t, err, problem.NotFound)
	}
	if got := w.journal.decisions(); !slices.Equal(got, []string{"approved user:1", "declined user:7"}) {
		t.Errorf("the journal has %v", got)
	}
	for name, n := range map[string]*world{"here": w, "replayed": peopled(t, newWorldWith(t, w), func(c *ra.Config) { *c = w.configOver(c) })} {
		again, err := n.Submit(ctx, rob, req)
		must(t, err)
		if again.Phase != ra.Waiting || again.ID == e.ID && n == w || len(again.Approvals) > 0 {
			t.Errorf("%s, the next request is %+v", name, again)
		}
	}
}

// newWorldWith is a world whose store was given the journal of another.
func newWorldWith(t *testing.T, w *world) *world {
	t.Helper()
	n := newWorld(t)
	n.clock.set(w.clock.now())
	must(t, n.replay(w.journal.events, nil))
	return n
}

// configOver has this world's profiles over another's store.
func (w *world) configOver(c *ra.Config) ra.Config {
	n := *c
	n.Profiles = w.Registrar.Profiles
	return n
}
