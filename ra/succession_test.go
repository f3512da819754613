package ra_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

func TestMarkRenewed(t *testing.T) {
	w := peopled(t, newWorld(t), nil)
	ctx := t.Context()
	old := w.managed(rob, "tls", "a.example.com")
	w.clock.add(time.Second)
	by, other := w.managed(rob, "tls", "a.example.com"), w.managed(rob, "tls", "a.example.com")
	foreign, err := w.Submit(ctx, evan, ra.Request{Door: ra.DoorConsole, Profile: "tls", Names: ids(t, "e.example.com"), CSR: csrOf(t, newKey(t), "e.example.com")})
	must(t, err)
	mark := func(caller auth.Caller, id, by ra.ID) error {
		_, err := w.MarkRenewed(ctx, caller, id, by)
		return err
	}
	wantKind(t, mark(evan, old.ID, 0), problem.NotFound)
	wantKind(t, mark(ann, old.ID, 0), problem.Unauthorized)
	wantKind(t, mark(rob, old.ID, old.ID), problem.Malformed)
	wantKind(t, mark(rob, old.ID, foreign.ID), problem.NotFound)
	wantKind(t, mark(operator, old.ID, foreign.ID), problem.Conflict)
	wantKind(t, mark(rob, by.ID, old.ID), problem.Conflict) // the older one
	must(t, mark(rob, old.ID, 0))
	must(t, mark(rob, old.ID, by.ID))
	must(t, mark(rob, old.ID, by.ID))
	wantKind(t, mark(rob, old.ID, other.ID), problem.Conflict)
	if got := w.read(old.ID); got.RenewedManually.IsZero() || w.read(by.ID).Replaces != old.ID {
		t.Errorf("marked: %+v", got)
	}
	if e := w.lastOf(audit.EnrollmentEdited); e.Actor != rob.Principal || e.Enrollment != int64(old.ID) || len(e.DER) == 0 {
		t.Errorf("the journal says %+v", e)
	}
	_, err = w.renewed(rob, old.ID)
	wantKind(t, err, problem.Conflict)
}

// TestSuccessorRaces: a certificate has one successor, whoever asks at once, and what is revoked first has none.
func TestSuccessorRaces(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		peopled(t, w, nil)
		two := w.registrar(func(c *ra.Config) { *c = w.Registrar.Config })
		ctx := t.Context()
		renew := func(r *ra.Registrar, id ra.ID) func() error {
			return func() error {
				_, err := r.Renew(ctx, rob, ra.RenewRequest{Door: ra.DoorConsole, ID: id})
				return err
			}
		}
		replace := func(r *ra.Registrar, id ra.ID) func() error {
			csr := csrOf(t, newKey(t), "n.example.com")
			return func() error {
				_, err := r.Replace(ctx, rob, ra.ReplaceRequest{Door: ra.DoorConsole, ID: id, CSR: csr, Names: []identifier.Identifier{ids(t, "n.example.com")[0]}})
				return err
			}
		}
		for range rounds {
			for name, pair := range map[string][2]func(*ra.Registrar, ra.ID) func() error{
				"renew x renew": {renew, renew}, "replace x replace": {replace, replace}, "renew x replace": {renew, replace},
			} {
				old := w.managed(rob, "tls", "a.example.com")
				before := w.signer.signed.Load()
				errs := atOnce(pair[0](w.Registrar, old.ID), pair[1](two, old.ID))
				if n := w.signer.signed.Load() - before; n != 1 || (errs[0] == nil) == (errs[1] == nil) || !problem.Is(errors.Join(errs...), problem.Conflict) {
					t.Errorf("%s: %v, %d certificates", name, errs, n)
				}
			}
			old := w.managed(rob, "tls", "a.example.com")
			errs := atOnce(renew(w.Registrar, old.ID), func() error {
				return two.Revoke(ctx, rob, ra.Revocation{Issuer: "main", Serial: old.Serial, Reason: ca.KeyCompromise})
			})
			got := w.read(old.ID)
			if errs[1] != nil || got.Phase != ra.Revoked || errs[0] != nil && !problem.Is(errs[0], problem.Conflict) {
				t.Errorf("renew x revoke: %v, %+v", errs, got)
			}
		}
	})
}

// TestSuccessorsOfTwoDoors: ACME orders see that another door has renewed a certificate, and the other doors see an order.
func TestSuccessorsOfTwoDoors(t *testing.T) {
	w := peopled(t, newWorld(t), nil)
	ctx := t.Context()
	at := func(e *ra.Enrollment) acme.CertificateID {
		return acme.CertificateID{Issuer: e.Issuer, Serial: e.Serial}
	}
	old := w.managed(rob, "tls", "a.example.com")
	for _, want := range []acme.Status{acme.StatusProcessing, acme.StatusValid} {
		e := w.managed(rob, map[acme.Status]string{acme.StatusProcessing: "each", acme.StatusValid: "tls"}[want], "a.example.com")
		_, err := w.renewed(rob, e.ID)
		must(t, err)
		if p, err := w.db.Predecessor(ctx, at(e)); err != nil || p.Order == nil || p.Order.Status(w.clock.now(), p.Facts) != want || p.Mark == [16]byte{} {
			t.Errorf("an order is told %+v, %v", p, err)
		}
	}
	order := func(e *ra.Enrollment, authz ...acme.AuthzID) *acme.Order {
		p, err := w.db.Predecessor(ctx, at(e))
		must(t, err)
		o := &acme.Order{
			ID: acme.OrderID("order" + string(e.Serial)), Account: "alice", Org: 1, Names: e.Names, Authzs: authz, Created: w.clock.now(), Expires: w.clock.now().Add(time.Hour),
			Replaces: &acme.Replaces{ID: "id", Certificate: at(e), Enrollment: e.ID, Mark: p.Mark},
		}
		must(t, w.db.CreateOrder(ctx, o, nil))
		return o
	}
	o := order(old) // of nothing that would have to be proven, so it is ready
	_, err := w.renewed(rob, old.ID)
	if wantKind(t, err, problem.Conflict); err == nil || !strings.Contains(err.Error(), "ACME order") {
		t.Errorf("while an order is ready: %v", err)
	}
	w.clock.set(o.Expires)
	next, err := w.renewed(rob, old.ID)
	must(t, err)
	if next.Phase != ra.Issued {
		t.Errorf("once it is invalid: %+v", next)
	}
	// What another door did since the order was made holds when that is to begin.
	req := w.request(alice, newKey(t), "a.example.com")
	req.Begin = func(id ra.ID) any { return &acme.OrderBegun{Order: o, Enrollment: id} }
	if _, err := w.Submit(ctx, alice, req); !problem.Is(err, problem.Conflict) {
		t.Errorf("the order that came too late: %v", err)
	}
}

// TestChangedWhileRenewing: what happens to a certificate after its renewal was decided and before that is recorded comes first.
func TestChangedWhileRenewing(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		peopled(t, w, nil)
		ctx := t.Context()
		for name, happens := range map[string]func(e *ra.Enrollment) error{
			"revoked": func(e *ra.Enrollment) error {
				return w.Revoke(ctx, rob, ra.Revocation{Issuer: "main", Serial: e.Serial, Reason: ca.KeyCompromise})
			},
			"removed": func(e *ra.Enrollment) error { return w.Remove(ctx, rob, e.ID) },
			"renewed": func(e *ra.Enrollment) error { _, err := w.renewed(una, e.ID); return err },
		} {
			old := w.managed(rob, "tls", "a.example.com")
			before := w.signer.signed.Load()
			first, met := true, error(nil)
			f := func(step int) {
				if step == 5 && first { // decided and linted; the intent comes next
					first = false
					met = happens(old)
				}
			}
			w.step.Store(&f)
			_, err := w.renewed(rob, old.ID)
			w.step.Store(nil)
			must(t, met)
			wanted := int64(0)
			if name == "renewed" {
				wanted = 1
			}
			if n := w.signer.signed.Load() - before; n != wanted || !problem.Is(err, problem.Conflict) && !problem.Is(err, problem.NotFound) {
				t.Errorf("%s meanwhile: %v, %d certificates", name, err, n)
			}
		}
	})
}

// TestImportedLife: what was imported can be marked as revoked and as renewed, removed, and forgotten; nothing of it is on a list
// of ours.
func TestImportedLife(t *testing.T) {
	w := peopled(t, newWorld(t), nil)
	w.clock.set(start)
	ctx := t.Context()
	x := newElsewhere(t)
	der := x.leaf(nil, "a.example.com")
	e := w.imported(rob, ra.ImportItem{Certificate: der, Issuers: x.chain()})
	twin := w.imported(rob, ra.ImportItem{Certificate: x.leaf(nil, "a.example.com")})
	mark := func(caller auth.Caller, id ra.ID, at time.Time, reason ca.Reason) error {
		_, err := w.MarkRevoked(ctx, caller, id, at, reason, "by its issuer")
		return err
	}
	own := w.managed(rob, "tls", "b.example.com")
	wantKind(t, mark(evan, e.ID, time.Time{}, 0), problem.NotFound)
	wantKind(t, mark(audra, e.ID, time.Time{}, 0), problem.Unauthorized)
	wantKind(t, mark(rob, own.ID, time.Time{}, 0), problem.Conflict)
	wantKind(t, mark(rob, e.ID, start.Add(time.Minute), 0), problem.Malformed)
	wantKind(t, mark(rob, e.ID, e.NotBefore.Add(-time.Second), 0), problem.Malformed)
	wantKind(t, mark(rob, e.ID, time.Time{}, 6), problem.BadRevocationReason)
	_, err := w.RevokeEnrollment(ctx, rob, e.ID, ca.Superseded, "")
	wantKind(t, err, problem.Conflict)
	_, err = w.renewed(rob, e.ID)
	wantKind(t, err, problem.Conflict)
	_, err = w.MarkRenewed(ctx, rob, e.ID, own.ID)
	must(t, err)
	if list, err := w.Lineage(ctx, rob, own.ID); err != nil || len(list) != 2 || list[0].ID != e.ID {
		t.Errorf("the lineage is %v, %v", list, err)
	}
	if by, err := w.ReplacedBy(ctx, w.read(e.ID)); err != nil || by != own.ID {
		t.Errorf("replaced by %d, %v", by, err)
	}
	must(t, mark(ann, e.ID, start.Add(-time.Hour), ca.Superseded))
	wantKind(t, mark(rob, e.ID, time.Time{}, ca.Superseded), problem.AlreadyRevoked)
	must(t, mark(rob, e.ID, time.Time{}, ca.KeyCompromise))
	got := w.read(e.ID)
	if r := got.Revocation; got.Status(w.clock.now()) != ra.StatusRevoked || r.Reason != ca.KeyCompromise || !r.At.Equal(start.Add(-time.Hour)) || len(w.revoked()) != 0 {
		t.Errorf("marked as %+v; the list names %v", got, w.revoked())
	}
	must(t, w.Remove(ctx, rob, e.ID))
	n := newWorldWith(t, w)
	if x := n.read(e.ID); x.Removed.IsZero() || x.Revocation == nil || x.Revocation.Reason != ca.KeyCompromise || n.read(twin.ID).Phase != ra.Issued {
		t.Errorf("replayed as %+v", x)
	}
	for _, w := range []*world{w, n} {
		w.clock.set(e.NotAfter.Add(ra.RemovedRetention))
		must(t, w.ForgetRemoved(ctx))
		if _, err := w.db.Enrollment(ctx, e.ID); !problem.Is(err, problem.NotFound) {
			t.Errorf("in its time: %v", err)
		}
		if _, _, err := w.db.ImportedCertificate(ctx, e.ID); !problem.Is(err, problem.NotFound) {
			t.Errorf("its certificate: %v", err)
		}
	}
}

func TestRevokeEnrollment(t *testing.T) {
	w := peopled(t, newWorld(t), nil)
	ctx := t.Context()
	old := w.managed(rob, "tls", "a.example.com")
	revoke := func(caller auth.Caller, id ra.ID, reason ca.Reason, comment string) error {
		_, err := w.RevokeEnrollment(ctx, caller, id, reason, comment)
		return err
	}
	wantKind(t, revoke(evan, old.ID, ca.Superseded, ""), problem.NotFound)
	wantKind(t, revoke(audra, old.ID, ca.Superseded, ""), problem.Unauthorized)
	wantKind(t, revoke(rob, old.ID, 2, ""), problem.BadRevocationReason)
	wantKind(t, revoke(rob, old.ID, ca.Superseded, "two\nlines"), problem.Malformed)
	must(t, revoke(ann, old.ID, ca.Superseded, "a new one is there"))
	wantKind(t, revoke(rob, old.ID, ca.CessationOfOperation, "again"), problem.AlreadyRevoked)
	must(t, revoke(una, old.ID, ca.KeyCompromise, ""))
	got := w.read(old.ID)
	if r := got.Revocation; r.Reason != ca.KeyCompromise || r.Comment != "a new one is there" || r.Actor != una.Principal {
		t.Errorf("the revocation is %+v", r)
	}
	if c := w.certificate(old.Serial); *c.Revocation != *got.Revocation {
		t.Errorf("the certificate's is %+v", c.Revocation)
	}
	if e := w.lastOf(audit.Revoked); e.Detail != "a new one is there" {
		t.Errorf("the journal says %+v", e)
	}
	waiting, err := w.Submit(ctx, rob, ra.Request{Door: ra.DoorConsole, Profile: "one", Names: ids(t, "w.example.com"), CSR: csrOf(t, newKey(t), "w.example.com")})
	must(t, err)
	wantKind(t, revoke(rob, waiting.ID, ca.Superseded, ""), problem.Conflict)
	wantKind(t, revoke(audra, waiting.ID, ca.Superseded, ""), problem.Unauthorized)
}
