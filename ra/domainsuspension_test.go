package ra_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// suspends refuses with the reason.
func (w *domainWorld) suspended(err error) {
	w.t.Helper()
	if !problem.Is(err, problem.RejectedIdentifier) || !errors.Is(err, ra.ErrDomainSuspended) || !strings.Contains(err.Error(), "suspended") {
		w.t.Errorf("it is not refused for the suspension: %v", err)
	}
}

// TestASuspendedDomain serves nobody, neither by its proof nor by one of the requester's own, until it is active again. It stays in
// lists, its proof and delegations stay, and those of other tenants are not held to it.
func TestASuspendedDomain(t *testing.T) {
	t.Parallel()
	w, ctx := newDomainWorld(t), t.Context()
	w.validated("example.com", "main", dcv.DNSTXT)
	_, err := w.Grant(ctx, operator, "example.com", 3)
	must(t, err)
	w.issues(alice, "www.example.com")
	w.issues(child, "www.example.com")
	for range 2 { // the second time nothing is left to do
		d, err := w.Suspend(ctx, operator, "example.com")
		must(t, err)
		if d.Suspended.IsZero() || d.Proof == nil || len(d.Delegations) != 1 {
			t.Errorf("%+v", d)
		}
	}
	entries := len(w.journal.events)
	for _, names := range [][]string{{"example.com"}, {"www.example.com"}, {"*.example.com"}, {"www.example.org", "a.b.example.com"}} {
		_, err := w.submit(alice, names...)
		w.suspended(err)
	}
	_, err = w.submit(child, "www.example.com")
	w.suspended(err)
	for _, profile := range []string{"tls", "inner"} { // with a proof of the requester's own; inner takes no others
		req := w.request(alice, newKey(t), "www.example.com")
		req.Profile = profile
		_, err = w.reg.Submit(ctx, alice, req)
		w.suspended(err)
	}
	if len(w.journal.events) != entries {
		t.Error("what was refused is journaled")
	}
	e, err := w.reg.Submit(ctx, eve, w.request(eve, newKey(t), "www.example.com"))
	if err != nil || e.Phase != ra.Issued {
		t.Errorf("another tenant is held to it: %+v, %v", e, err)
	}
	for org, want := range map[bool]int64{true: 0, false: 1} {
		found, err := w.Search(ctx, operator, ra.DomainQuery{Org: 3, Active: &org, Limit: 10})
		if err != nil || found.Total != want {
			t.Errorf("of active %v there are %+v, %v", org, found, err)
		}
	}
	_, err = w.Activate(ctx, operator, "example.com")
	must(t, err)
	_, err = w.Activate(ctx, operator, "example.com")
	must(t, err)
	w.issues(alice, "www.example.com")
	w.issues(child, "www.example.com")
}

// TestTheNearestDomainDecides: one below a suspended domain is its own, and one below an active domain can be suspended.
func TestTheNearestDomainDecides(t *testing.T) {
	t.Parallel()
	w, ctx := newDomainWorld(t), t.Context()
	w.validated("example.com", "main", dcv.DNSTXT)
	w.validated("shop.example.com", "main", dcv.DNSTXT)
	_, err := w.Suspend(ctx, operator, "example.com")
	must(t, err)
	w.issues(alice, "www.shop.example.com")
	_, err = w.submit(alice, "www.example.com")
	w.suspended(err)
	_, err = w.Activate(ctx, operator, "example.com")
	must(t, err)
	_, err = w.Suspend(ctx, operator, "shop.example.com")
	must(t, err)
	_, err = w.submit(alice, "www.shop.example.com")
	w.suspended(err)
	w.issues(alice, "www.example.com")
	_, err = w.Remove(ctx, operator, "shop.example.com")
	must(t, err)
	w.issues(alice, "www.shop.example.com")
	d, err := w.Add(ctx, operator, "shop.example.com", "main")
	if err != nil || !d.Suspended.IsZero() {
		t.Errorf("its next life is %+v, %v", d, err)
	}
}

// TestNobodyBelowEndsASuspension: what an organisation enters for itself does not make names free that one above it has suspended.
func TestNobodyBelowEndsASuspension(t *testing.T) {
	t.Parallel()
	w, ctx := newDomainWorld(t), t.Context()
	w.validated("example.com", "main", dcv.DNSTXT)
	w.validated("shop.example.com", "below", dcv.DNSTXT)
	w.validated("www.shop.example.com", "main", dcv.DNSTXT)
	_, err := w.Grant(ctx, operator, "www.shop.example.com", 3)
	must(t, err)
	w.issues(child, "a.shop.example.com")
	_, err = w.Suspend(ctx, operator, "example.com")
	must(t, err)
	_, err = w.submit(child, "a.shop.example.com")
	w.suspended(err)
	req := w.request(child, newKey(t), "a.shop.example.com") // with a proof of its own
	req.Profile = "inner"
	_, err = w.reg.Submit(ctx, child, req)
	w.suspended(err)
	serves, err := w.Serves(ctx, 3, ids(t, "a.shop.example.com", "www.shop.example.com"))
	if err != nil || serves[0] || !serves[1] {
		t.Errorf("%v, %v", serves, err)
	}
	w.issues(child, "www.shop.example.com") // what the one above lets go on goes on
	_, err = w.Suspend(ctx, operator, "shop.example.com")
	must(t, err)
	w.issues(child, "www.shop.example.com")
}

// TestASuspensionReachesBelowPublicSuffixes, though a proof does not.
func TestASuspensionReachesBelowPublicSuffixes(t *testing.T) {
	t.Parallel()
	w, ctx := newDomainWorld(t), t.Context()
	w.validated("amazonaws.com", "main", dcv.DNSTXT) // s3.amazonaws.com is a public suffix
	w.refuses(alice, "x.s3.amazonaws.com")
	if serves, err := w.Serves(ctx, 1, ids(t, "x.s3.amazonaws.com")); err != nil || serves[0] {
		t.Errorf("%v, %v", serves, err)
	}
	_, err := w.Suspend(ctx, operator, "amazonaws.com")
	must(t, err)
	req := w.request(alice, newKey(t), "x.s3.amazonaws.com")
	_, err = w.reg.Submit(ctx, alice, req)
	w.suspended(err)
}

// TestSuspensionComesBack from the journal, and ends what was under way.
func TestSuspensionComesBack(t *testing.T) {
	t.Parallel()
	w, ctx := newDomainWorld(t), t.Context()
	w.validated("example.com", "main", dcv.DNSTXT)
	w.validated("example.org", "main", dcv.DNSTXT)
	_, err := w.Grant(ctx, operator, "example.com", 3, ra.PrivilegeSubdomains)
	must(t, err)
	w.signer.down.Store(true)
	e, err := w.submit(alice, "www.example.com")
	must(t, err)
	w.signer.down.Store(false)
	for _, name := range []string{"example.com", "example.org"} {
		_, err = w.Suspend(ctx, operator, name)
		must(t, err)
	}
	_, err = w.Activate(ctx, operator, "example.org")
	must(t, err)
	other := newDomainWorld(t)
	r := other.db.Replay(nil)
	for _, event := range w.journal.events {
		must(t, r.Apply(ctx, event))
	}
	must(t, r.End(ctx))
	_, err = other.submit(alice, "www.example.com")
	other.suspended(err)
	other.issues(alice, "www.example.org")
	_, err = other.Activate(ctx, operator, "example.com")
	must(t, err)
	other.issues(child, "www.example.com")
	other.refuses(child, "example.com")

	w.clock.add(time.Hour)
	must(t, w.reg.Sweep(ctx))
	if e, err = w.reg.Get(ctx, operator, e.ID); err != nil || e.Phase != ra.Failed || e.Failure.Kind != problem.RejectedIdentifier {
		t.Errorf("%+v, %v", e, err)
	}
}
