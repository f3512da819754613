package ra_test

import (
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// TestADomainServesItsOrganisation: below it by DNS, at the very name by file; nobody else.
func TestADomainServesItsOrganisation(t *testing.T) {
	for _, m := range []dcv.Method{dcv.DNSTXT, dcv.DNSCNAME} {
		w := newDomainWorld(t)
		w.validated("example.com", "main", m)
		w.issues(alice, "example.com")
		w.issues(bob, "www.example.com", "*.example.com", "a.b.example.com")
		w.refuses(eve, "www.example.com")
		w.refuses(child, "www.example.com")
		w.refuses(alice, "www.example.com", "www.example.org")
	}
	for _, m := range []dcv.Method{dcv.HTTPFile, dcv.HTTPSFile} {
		w := newDomainWorld(t)
		w.validated("example.com", "main", m)
		w.issues(alice, "example.com")
		w.refuses(alice, "www.example.com")
		w.refuses(alice, "*.example.com")
		w.refuses(eve, "example.com")
	}
}

// TestProofsOfDomainsEnd with the domain, with their life, and with the profile.
func TestProofsOfDomainsEnd(t *testing.T) {
	w, ctx := newDomainWorld(t), t.Context()
	d := w.validated("example.com", "main", dcv.DNSTXT)
	if status, until := w.Domains.Status(d); status != ra.DomainValidated || !until.Equal(start.Add(90*24*time.Hour)) {
		t.Errorf("%s, %s", status, until)
	}
	stale := policy.Proven{Proof: *d.Proof, Org: 1, Owner: 1}
	_, err := w.Remove(ctx, operator, "example.com")
	must(t, err)
	w.refuses(alice, "www.example.com")
	// Whoever holds on to the proof has nothing: it is read anew.
	req := w.request(alice, newKey(t), "www.example.com")
	req.Proofs = []policy.Proven{stale}
	_, err = w.reg.Submit(ctx, alice, req)
	wantKind(t, err, problem.Unauthorized)
	_, err = w.Get(ctx, operator, "example.com")
	wantKind(t, err, problem.NotFound)

	// It can be another's then, without what was.
	d, err = w.Add(ctx, operator, "example.com", "other")
	must(t, err)
	if d.Proof != nil || d.Validation != nil || len(d.Delegations) != 0 {
		t.Errorf("%+v", d)
	}
	w.refuses(eve, "www.example.com")

	w.validated("example.org", "main", dcv.DNSCNAME)
	w.clock.add(90*24*time.Hour - time.Second)
	w.issues(alice, "example.org")
	w.clock.add(time.Second)
	w.refuses(alice, "example.org")
	d, err = w.Get(ctx, operator, "example.org")
	must(t, err)
	if status, _ := w.Domains.Status(d); status != ra.DomainExpired {
		t.Error(status)
	}
}

// TestAnEnrollmentInFlightLosesItsDomain: the attempt after the removal is refused, for good.
func TestAnEnrollmentInFlightLosesItsDomain(t *testing.T) {
	w := newDomainWorld(t)
	w.validated("example.com", "main", dcv.DNSTXT)
	w.signer.down.Store(true)
	e, err := w.submit(alice, "www.example.com")
	must(t, err)
	if e.Phase != ra.Requested || len(e.Proofs) != 1 || e.Proofs[0].Owner != 1 {
		t.Fatalf("%+v", e)
	}
	w.signer.down.Store(false)
	_, err = w.Remove(t.Context(), operator, "example.com")
	must(t, err)
	w.clock.add(time.Hour)
	must(t, w.reg.Sweep(t.Context()))
	if e, err = w.reg.Get(t.Context(), operator, e.ID); err != nil || e.Phase != ra.Failed || e.Failure.Kind != problem.Unauthorized {
		t.Errorf("%+v, %v", e, err)
	}
}

// TestNoStoreTripWithoutDelegatedDomains: a profile that takes no proofs of domains costs nothing.
func TestNoStoreTripWithoutDelegatedDomains(t *testing.T) {
	w := newDomainWorld(t)
	w.engine.Reset()
	found, err := w.Proofs(t.Context(), w.Profiles["inner"], policy.Requester{Org: 1, Principal: "acme:alice"}, []identifier.Identifier{ids(t, "www.example.com")[0]}, start)
	if err != nil || len(found) != 1 || found[0] != nil || w.engine.Trips().Total != 0 {
		t.Errorf("%v, %v, %v", found, err, w.engine.Trips())
	}
}
