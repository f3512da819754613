package ra_test

import (
	"crypto"
	"crypto/x509"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// TestApprovalOfACompromisedKey: what waits to take the place of a certificate that is revoked meanwhile can be approved, unless the
// reason was its key and the request is for that key.
func TestApprovalOfACompromisedKey(t *testing.T) {
	t.Parallel()
	w := peopled(t, newWorld(t), nil)
	ctx := t.Context()
	other := csrOf(t, newKey(t), "a.example.com")
	for name, tt := range map[string]struct {
		reason ca.Reason
		csr    []byte
		kind   problem.Kind // Internal: it is issued
	}{
		"the same key":                   {ca.KeyCompromise, nil, problem.BadPublicKey},
		"another key":                    {ca.KeyCompromise, other, problem.Internal},
		"the same key, another reason":   {ca.Superseded, nil, problem.Internal},
		"the same key, without a reason": {ca.Unspecified, nil, problem.Internal},
	} {
		old := w.managed(rob, "each", "a.example.com")
		next, err := w.Renew(ctx, rob, ra.RenewRequest{Door: ra.DoorConsole, ID: old.ID, CSR: tt.csr})
		must(t, err)
		must(t, w.Revoke(ctx, rob, ra.Revocation{Issuer: old.Issuer, Serial: old.Serial, Reason: tt.reason}))
		if tt.kind == problem.Internal {
			w.approve(ann, next.ID, ra.Issued)
			continue
		}
		_, err = w.Approve(ctx, ann, next.ID, "")
		if got := w.read(next.ID); !problem.Is(err, tt.kind) || got.Phase != ra.Waiting || len(got.Approvals) > 0 {
			t.Errorf("%s: %v, and it is %+v", name, err, got)
		}
		_, err = w.Decline(ctx, ann, next.ID, "the key is known")
		must(t, err)
	}
}

// TestImportedCompromisedKey is the same of a certificate that was issued elsewhere.
func TestImportedCompromisedKey(t *testing.T) {
	t.Parallel()
	w := peopled(t, newWorld(t), nil)
	ctx := t.Context()
	x := newElsewhere(t)
	now := w.clock.now()
	leaf := x.leaf(func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(-time.Hour), now.Add(time.Hour) }, "a.example.com")
	old := w.imported(rob, ra.ImportItem{Certificate: leaf, Profile: "each"})
	next, err := w.Renew(ctx, rob, ra.RenewRequest{Door: ra.DoorConsole, ID: old.ID, CSR: csrOf(t, x.key, "a.example.com")})
	must(t, err)
	_, err = w.MarkRevoked(ctx, rob, old.ID, w.clock.now(), ca.KeyCompromise, "")
	must(t, err)
	_, err = w.Approve(ctx, ann, next.ID, "")
	wantKind(t, err, problem.BadPublicKey)
}

// TestRetryOfACompromisedKey: what was accepted and could not be signed yet fails once its key is known to others.
func TestRetryOfACompromisedKey(t *testing.T) {
	t.Parallel()
	w := peopled(t, newWorld(t), nil)
	ctx := t.Context()
	for name, reason := range map[string]ca.Reason{"its key": ca.KeyCompromise, "another reason": ca.Superseded} {
		old := w.managed(rob, "tls", "a.example.com")
		w.signer.down.Store(true)
		next, err := w.renewed(rob, old.ID)
		w.signer.down.Store(false)
		must(t, err)
		if next.Phase != ra.Requested {
			t.Fatalf("%+v", next)
		}
		must(t, w.Revoke(ctx, rob, ra.Revocation{Issuer: old.Issuer, Serial: old.Serial, Reason: reason}))
		w.clock.set(w.read(next.ID).Due)
		must(t, w.Sweep(ctx))
		got := w.read(next.ID)
		if failed := got.Phase == ra.Failed && got.Failure.Kind == problem.BadPublicKey; failed != (reason == ca.KeyCompromise) || !failed && got.Phase != ra.Issued {
			t.Errorf("after a revocation for %s it is in phase %d (%+v)", name, got.Phase, got.Failure)
		}
	}
}

// TestOrderOfACompromisedKey: a door that says by itself whose place a certificate takes is held to it, too.
func TestOrderOfACompromisedKey(t *testing.T) {
	t.Parallel()
	w := guard(t, newWorld(t))
	ctx := t.Context()
	ask := func(holder string, key crypto.Signer, replaces ra.ID) ra.Request {
		r := w.ask(alice, "open", holder, key)
		r.Replaces = replaces
		return r
	}
	w.Registrar = w.registrar(func(c *ra.Config) {
		c.MayDecide, c.Allowed = decides, func(auth.OrgID, string) bool { return true }
		c.Profiles["open"] = guardedProfile(t, "open", policy.ApprovalRule{})
	})
	key := newKey(t)
	old := w.submit(alice, ask("order1", key, 0), ra.Issued)
	must(t, w.Revoke(ctx, operator, ra.Revocation{Issuer: old.Issuer, Serial: old.Serial, Reason: ca.KeyCompromise}))
	_, err := w.Submit(ctx, alice, ask("order2", key, old.ID))
	wantKind(t, err, problem.BadPublicKey)
	w.submit(alice, ask("order3", newKey(t), old.ID), ra.Issued)
}
