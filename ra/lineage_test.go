package ra_test

import (
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// renew submits the request of an order that replaces an enrollment's certificate.
func (w *world) renew(old *ra.Enrollment) (*ra.Enrollment, error) {
	w.t.Helper()
	at := acme.CertificateID{Issuer: old.Issuer, Serial: old.Serial}
	p, err := w.db.Predecessor(w.t.Context(), at)
	must(w.t, err)
	order := &acme.Order{
		ID: acme.OrderID("order" + string(old.Serial)), Account: "alice", Org: 1, Names: old.Names,
		Created: start, Expires: time.Now().Add(time.Hour), // the engine goes by its own clock
		Replaces: &acme.Replaces{ID: "id", Certificate: at, Enrollment: old.ID, Mark: p.Mark},
	}
	must(w.t, w.db.CreateOrder(w.t.Context(), order, nil))
	req := w.request(alice, newKey(w.t), old.Names[0].Value())
	req.Replaces = old.ID
	req.Begin = func(id ra.ID) any { return &acme.OrderBegun{Order: order, Enrollment: id} }
	return w.Submit(w.t.Context(), alice, req)
}

// TestLineage: an enrollment and the one that takes its place name each other, once there is a certificate, and through
// every later change of either.
func TestLineage(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	old := w.issue(alice, "a.example.com")
	by := func() ra.ID {
		t.Helper()
		id, err := w.ReplacedBy(ctx, w.read(old.ID))
		must(t, err)
		return id
	}
	if by() != 0 || old.Replaces != 0 {
		t.Error("a lineage of one has more")
	}
	w.signer.down.Store(true)
	next, err := w.renew(old)
	must(t, err)
	w.signer.down.Store(false)
	if next.Phase != ra.Requested || by() != 0 {
		t.Errorf("in phase %d it replaces already", next.Phase)
	}
	w.clock.set(next.Due)
	must(t, w.Sweep(ctx))
	if got := w.read(next.ID); got.Phase != ra.Issued || got.Replaces != old.ID || by() != next.ID {
		t.Errorf("%+v, replaced by %d", got, by())
	}
	must(t, w.Revoke(ctx, alice, ra.Revocation{Issuer: "main", Serial: old.Serial, Reason: ca.Superseded}))
	must(t, w.Revoke(ctx, alice, ra.Revocation{Issuer: "main", Serial: w.read(next.ID).Serial, Reason: ca.KeyCompromise}))
	if got := w.read(next.ID); got.Replaces != old.ID || by() != next.ID {
		t.Errorf("after revocations: %+v, replaced by %d", got, by())
	}
	if id, err := w.ReplacedBy(ctx, &ra.Enrollment{ID: 99}); id != 0 || err != nil {
		t.Errorf("of no certificate: %d, %v", id, err)
	}
}
