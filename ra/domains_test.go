package ra_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// prober finds what it was told is published.
type prober struct {
	mu     sync.Mutex
	now    func() time.Time
	found  map[dcv.Publication]bool
	before func() // called in each check
	asked  []dcv.Request
}

func (p *prober) publish(v *ra.DomainValidation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.found[v.Publication] = true
}

func (p *prober) Check(_ context.Context, req dcv.Request) (*dcv.Proof, *dcv.Record, error) {
	p.mu.Lock()
	before, found := p.before, p.found[req.Publication]
	p.asked = append(p.asked, req)
	p.mu.Unlock()
	if before != nil {
		before()
	}
	rec := &dcv.Record{Started: p.now(), Hops: []dcv.Hop{{URL: "dns:here"}}}
	if !found {
		return nil, rec, problem.New(problem.DNS, "nothing is there")
	}
	return &dcv.Proof{Method: req.Method, Identifier: req.Identifier, At: p.now().UTC().Truncate(time.Second), Seen: "here"}, rec, nil
}

// domainWorld is a world whose organisations own domains: 1 is main, 3 below is below it, 4 far below that, and 2 is other.
type domainWorld struct {
	*world
	*ra.Domains
	dns *prober
	reg *ra.Registrar
}

var child = auth.Caller{Principal: "acme:kim", Org: 3}

func newDomainWorld(t *testing.T) *domainWorld {
	t.Helper()
	return domainsOver(t, newWorld(t))
}

func domainsOver(t *testing.T, w *world) *domainWorld {
	t.Helper()
	d := &domainWorld{world: w, dns: &prober{now: w.clock.now, found: map[dcv.Publication]bool{}}}
	dir, err := auth.NewDirectory([]auth.Org{{ID: 1, Slug: "main"}, {ID: 2, Slug: "other"}, {ID: 3, Slug: "below", Parent: 1}, {ID: 4, Slug: "far", Parent: 3}})
	must(t, err)
	tls, err := policy.New(policy.Config{
		Name: "tls", Issuer: "main", Validity: time.Hour, DelegatedDomains: true, AllowWildcards: true, DCVMethods: []dcv.Method{dcv.HTTP01, dcv.DNS01},
	})
	must(t, err)
	profiles := map[string]*policy.Profile{"tls": tls, "inner": newProfile(t, "inner", time.Hour)}
	d.Domains = ra.NewDomains(ra.DomainsConfig{
		Store: w.db, Directory: dir, Profiles: profiles, Validator: d.dns, Journal: w.journal, Target: "dcv.example.net", Now: w.clock.now,
	})
	d.reg = w.registrar(func(c *ra.Config) {
		c.Profiles, c.Domains, c.Allowed = profiles, d.Domains, func(auth.OrgID, string) bool { return true }
	})
	return d
}

// validated is a domain of an organisation with a proof by a method.
func (w *domainWorld) validated(domain, slug string, m dcv.Method) *ra.Domain {
	w.t.Helper()
	ctx := w.t.Context()
	_, err := w.Add(ctx, operator, domain, slug)
	must(w.t, err)
	d, err := w.Validate(ctx, operator, domain, m)
	must(w.t, err)
	w.dns.publish(d.Validation)
	d, err = w.Check(ctx, operator, domain)
	must(w.t, err)
	if d.Proof == nil || d.Validation != nil {
		w.t.Fatalf("%+v", d)
	}
	return d
}

// submit asks for a certificate without any proof of the caller's own.
func (w *domainWorld) submit(caller auth.Caller, names ...string) (*ra.Enrollment, error) {
	w.t.Helper()
	req := w.request(caller, newKey(w.t), names...)
	req.Proofs = nil
	return w.reg.Submit(w.t.Context(), caller, req)
}

func (w *domainWorld) issues(caller auth.Caller, names ...string) {
	w.t.Helper()
	e, err := w.submit(caller, names...)
	if err != nil || e.Phase != ra.Issued {
		w.t.Errorf("%s is not given %v: %v", caller.Principal, names, err)
	}
}

func (w *domainWorld) refuses(caller auth.Caller, names ...string) {
	w.t.Helper()
	if e, err := w.submit(caller, names...); !problem.Is(err, problem.Unauthorized) {
		w.t.Errorf("%s is given %v: %+v, %v", caller.Principal, names, e, err)
	}
}

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

// TestDelegation has effect from its approval until it is taken back, for the organisation that it names.
func TestDelegation(t *testing.T) {
	w, ctx := newDomainWorld(t), t.Context()
	w.validated("example.com", "main", dcv.DNSTXT)
	_, err := w.Approve(ctx, operator, "example.com", "below")
	wantKind(t, err, problem.NotFound)
	_, err = w.Delegate(ctx, operator, "example.com", "below")
	must(t, err)
	w.refuses(child, "www.example.com")
	d, err := w.Approve(ctx, operator, "example.com", "below")
	must(t, err)
	if len(d.Delegations) != 1 || d.Delegations[0].State != ra.DelegationApproved || d.Delegations[0].Decided.IsZero() {
		t.Errorf("%+v", d.Delegations)
	}
	w.issues(child, "www.example.com")
	w.refuses(auth.Caller{Principal: "acme:far", Org: 4}, "www.example.com")
	_, err = w.Approve(ctx, operator, "example.com", "below")
	wantKind(t, err, problem.Conflict)
	_, err = w.Reject(ctx, operator, "example.com", "below")
	must(t, err)
	w.refuses(child, "www.example.com")
	_, err = w.Approve(ctx, operator, "example.com", "below") // a new request comes first
	wantKind(t, err, problem.Conflict)
	_, err = w.Delegate(ctx, operator, "example.com", "below")
	must(t, err)
	w.refuses(child, "www.example.com")
	for _, slug := range []string{"other", "main"} {
		_, err = w.Delegate(ctx, operator, "example.com", slug)
		wantKind(t, err, problem.Malformed)
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

// TestLooksComeAgain with a back-off, keep what they saw, and end with the value's life.
func TestLooksComeAgain(t *testing.T) {
	w, ctx := newDomainWorld(t), t.Context()
	_, err := w.Add(ctx, operator, "example.com", "main")
	must(t, err)
	_, err = w.Check(ctx, operator, "example.com")
	wantKind(t, err, problem.Conflict)
	_, err = w.Validate(ctx, operator, "example.com", dcv.DNSTXT)
	must(t, err)
	must(t, w.Domains.Sweep(ctx))
	if len(w.dns.asked) != 0 {
		t.Error("it is looked at before anybody can have published")
	}
	looks := 0
	for range 6 {
		w.clock.add(time.Minute)
		must(t, w.Domains.Sweep(ctx))
		looks = len(w.dns.asked)
	}
	if looks < 2 || looks > 4 {
		t.Errorf("%d looks in six minutes", looks)
	}
	d, err := w.Get(ctx, operator, "example.com")
	must(t, err)
	f := d.Validation.Failed
	if f == nil || f.Kind != problem.DNS || f.Detail != "nothing is there" || !strings.Contains(string(f.Record), "dns:here") || d.Validation.Attempts != looks {
		t.Errorf("%+v", d.Validation)
	}
	w.dns.publish(d.Validation)
	w.clock.add(time.Hour)
	must(t, w.Domains.Sweep(ctx))
	if d, err = w.Get(ctx, operator, "example.com"); err != nil || d.Proof == nil || d.Validation != nil {
		t.Errorf("%+v, %v", d, err)
	}

	// Thirty days on the value is too old, whatever is published; the proof that there was stays.
	again, err := w.Validate(ctx, operator, "example.com", dcv.DNSTXT)
	must(t, err)
	w.dns.publish(again.Validation)
	w.clock.add(30 * 24 * time.Hour)
	looks = len(w.dns.asked)
	_, err = w.Check(ctx, operator, "example.com")
	wantKind(t, err, problem.Conflict)
	must(t, w.Domains.Sweep(ctx))
	must(t, w.Domains.Sweep(ctx))
	now, err := w.Get(ctx, operator, "example.com")
	if err != nil || len(w.dns.asked) != looks || !now.Proof.At.Equal(d.Proof.At) || !now.Validation.Due.IsZero() {
		t.Errorf("%+v, %v", now, err)
	}
	if due, err := w.db.DueDomains(ctx, w.clock.now().Add(time.Hour), 10); err != nil || len(due) != 0 {
		t.Errorf("left are %v, %v", due, err)
	}
}

// TestAChangeDuringALook wins: a proof for what was removed, given away or begun anew is none.
func TestAChangeDuringALook(t *testing.T) {
	for name, change := range map[string]func(context.Context, *domainWorld) error{
		"removed": func(ctx context.Context, w *domainWorld) error {
			_, err := w.Remove(ctx, operator, "example.com")
			return err
		},
		"another's": func(ctx context.Context, w *domainWorld) error {
			if _, err := w.Remove(ctx, operator, "example.com"); err != nil {
				return err
			}
			_, err := w.Add(ctx, operator, "example.com", "other")
			return err
		},
		"begun anew": func(ctx context.Context, w *domainWorld) error {
			_, err := w.Validate(ctx, operator, "example.com", dcv.DNSTXT)
			return err
		},
	} {
		w, ctx := newDomainWorld(t), t.Context()
		_, err := w.Add(ctx, operator, "example.com", "main")
		must(t, err)
		d, err := w.Validate(ctx, operator, "example.com", dcv.DNSTXT)
		must(t, err)
		w.dns.publish(d.Validation)
		w.dns.before = func() { must(t, change(context.WithoutCancel(ctx), w)) }
		_, err = w.Check(ctx, operator, "example.com")
		wantKind(t, err, problem.Conflict)
		w.dns.before = nil
		found, err := w.db.Domains(ctx, ids(t, "example.com"))
		if err != nil || found[0].Proof != nil {
			t.Errorf("%s: %+v, %v", name, found[0], err)
		}
	}
	// A delegation meanwhile does no harm.
	w, ctx := newDomainWorld(t), t.Context()
	_, err := w.Add(ctx, operator, "example.com", "main")
	must(t, err)
	d, err := w.Validate(ctx, operator, "example.com", dcv.DNSTXT)
	must(t, err)
	w.dns.publish(d.Validation)
	w.dns.before = func() {
		_, err := w.Delegate(context.WithoutCancel(ctx), operator, "example.com", "below")
		must(t, err)
	}
	if d, err = w.Check(ctx, operator, "example.com"); err != nil || d.Proof == nil || len(d.Delegations) != 1 {
		t.Errorf("%+v, %v", d, err)
	}
}

// TestNamesThatAreNoDomains and methods that are none.
func TestNamesThatAreNoDomains(t *testing.T) {
	w, ctx := newDomainWorld(t), t.Context()
	for _, name := range []string{"", "com", "co.uk", "*.example.com", "a..b", "192.0.2.1", "_a.example.com"} {
		if _, err := w.Add(ctx, operator, name, "main"); !problem.Is(err, problem.Malformed) {
			t.Errorf("%q: %v", name, err)
		}
	}
	_, err := w.Add(ctx, operator, "example.com", "nobody")
	wantKind(t, err, problem.NotFound)
	_, err = w.Add(ctx, operator, "Example.COM", "main")
	must(t, err)
	_, err = w.Add(ctx, operator, "example.com", "main")
	wantKind(t, err, problem.Conflict)
	for _, m := range []dcv.Method{"", dcv.HTTP01, dcv.DNS01, policy.Configured} {
		_, err = w.Validate(ctx, operator, "example.com", m)
		wantKind(t, err, problem.Malformed)
	}
	w.Target = ""
	_, err = w.Validate(ctx, operator, "example.com", dcv.DNSCNAME)
	wantKind(t, err, problem.Malformed)
}

// TestValuesAreNeverTheSame, and the place does not tell the value.
func TestValuesAreNeverTheSame(t *testing.T) {
	w, ctx := newDomainWorld(t), t.Context()
	_, err := w.Add(ctx, operator, "example.com", "main")
	must(t, err)
	seen := map[string]bool{}
	for range 20 {
		for _, m := range []dcv.Method{dcv.HTTPFile, dcv.HTTPSFile, dcv.DNSTXT, dcv.DNSCNAME} {
			d, err := w.Validate(ctx, operator, "example.com", m)
			must(t, err)
			p := d.Validation.Publication
			if seen[p.Value] || len(p.Value) < 32 || strings.Contains(p.Place, p.Value) || strings.Contains(p.Value, strings.TrimSuffix(strings.TrimPrefix(p.Place, "_"), ".txt")) {
				t.Errorf("%s: %+v", m, p)
			}
			seen[p.Value] = true
		}
	}
}

// TestDomainsOfOthers are absent, byte for byte, for whoever may not see them; and nobody but who manages them changes them.
func TestDomainsOfOthers(t *testing.T) {
	w, ctx := newDomainWorld(t), t.Context()
	w.validated("example.com", "main", dcv.DNSTXT)
	admin := func(org auth.OrgID) auth.Caller {
		return auth.Caller{Principal: "user:1", Org: org, Roles: []auth.Grant{{Org: org, Role: auth.Administrator}}}
	}
	auditor := auth.Caller{Principal: "user:2", Org: 1, Roles: []auth.Grant{{Org: 1, Role: auth.Auditor}}}
	try := map[string]func(auth.Caller, string) error{
		"get":      func(c auth.Caller, n string) error { _, err := w.Get(ctx, c, n); return err },
		"validate": func(c auth.Caller, n string) error { _, err := w.Validate(ctx, c, n, dcv.DNSTXT); return err },
		"check":    func(c auth.Caller, n string) error { _, err := w.Check(ctx, c, n); return err },
		"remove":   func(c auth.Caller, n string) error { _, err := w.Remove(ctx, c, n); return err },
		"approve":  func(c auth.Caller, n string) error { _, err := w.Approve(ctx, c, n, "below"); return err },
		"reject":   func(c auth.Caller, n string) error { _, err := w.Reject(ctx, c, n, "below"); return err },
	}
	for what, do := range try {
		for name, caller := range map[string]auth.Caller{"nobody": {}, "other's administrator": admin(2), "other's account": eve} {
			foreign, absent := do(caller, "example.com"), do(caller, "example.org")
			if !problem.Is(foreign, problem.NotFound) || strings.ReplaceAll(foreign.Error(), "example.com", "example.org") != absent.Error() {
				t.Errorf("%s by %s: %v, of an absent one %v", what, name, foreign, absent)
			}
		}
		if what == "get" {
			must(t, do(auditor, "example.com"))
			must(t, do(alice, "example.com"))
			continue
		}
		wantKind(t, do(auditor, "example.com"), problem.Unauthorized)
		wantKind(t, do(alice, "example.com"), problem.Unauthorized)
	}
	// An organisation below sees nothing of it before it asks, then its own part.
	_, err := w.Get(ctx, admin(3), "example.com")
	wantKind(t, err, problem.NotFound)
	_, err = w.Delegate(ctx, admin(3), "example.com", "below")
	must(t, err)
	_, err = w.Delegate(ctx, operator, "example.com", "far")
	must(t, err)
	_, err = w.Approve(ctx, admin(3), "example.com", "below") // not by whoever asks
	wantKind(t, err, problem.NotFound)
	_, err = w.Validate(ctx, operator, "example.com", dcv.DNSTXT)
	must(t, err)
	far := auth.Caller{Principal: "user:3", Org: 4, Roles: []auth.Grant{{Org: 4, Role: auth.Administrator}}}
	d, err := w.Get(ctx, far, "example.com")
	must(t, err)
	if d.Validation != nil || len(d.Delegations) != 1 || d.Delegations[0].Org != 4 {
		t.Errorf("far sees %+v", d)
	}
	_, err = w.Approve(ctx, admin(1), "example.com", "below")
	must(t, err)
	for slug, want := range map[string]int{"main": 1, "below": 1, "other": 0} {
		list, err := w.List(ctx, operator, slug, "", 10)
		if err != nil || len(list) != want {
			t.Errorf("%s lists %d, %v", slug, len(list), err)
		}
	}
	_, err = w.List(ctx, admin(2), "main", "", 10)
	wantKind(t, err, problem.NotFound)
	_, err = w.List(ctx, admin(2), "", "", 10)
	wantKind(t, err, problem.Unauthorized)
}

// TestDomainsComeBack from the journal into an emptied store, in any order of two journals, and removed ones do not.
func TestDomainsComeBack(t *testing.T) {
	w, ctx := newDomainWorld(t), t.Context()
	w.validated("example.com", "main", dcv.DNSTXT)
	_, err := w.Delegate(ctx, operator, "example.com", "below")
	must(t, err)
	_, err = w.Approve(ctx, operator, "example.com", "below")
	must(t, err)
	w.validated("gone.example.org", "main", dcv.DNSTXT)
	_, err = w.Remove(ctx, operator, "gone.example.org")
	must(t, err)
	_, err = w.Add(ctx, operator, "pending.example.org", "main")
	must(t, err)
	pending, err := w.Validate(ctx, operator, "pending.example.org", dcv.HTTPFile)
	must(t, err)

	for _, backwards := range []bool{false, true} {
		other := newDomainWorld(t)
		events := append([]audit.Event{}, w.journal.events...)
		if backwards {
			for i, j := 0, len(events)-1; i < j; i, j = i+1, j-1 {
				events[i], events[j] = events[j], events[i]
			}
		}
		for range 2 {
			r := other.db.Replay(nil)
			for _, e := range events {
				must(t, r.Apply(ctx, e))
			}
		}
		other.issues(alice, "www.example.com")
		other.issues(child, "www.example.com")
		other.refuses(eve, "www.example.com")
		other.refuses(alice, "gone.example.org")
		if d, err := other.Get(ctx, operator, "gone.example.org"); !problem.Is(err, problem.NotFound) {
			t.Errorf("a removed domain is back: %+v", d)
		}
		other.dns.publish(pending.Validation)
		if d, err := other.Check(ctx, operator, "pending.example.org"); err != nil || d.Proof == nil {
			t.Errorf("%+v, %v", d, err)
		}
		if list, err := other.List(ctx, operator, "below", "", 10); err != nil || len(list) != 1 {
			t.Errorf("%v, %v", list, err)
		}
	}
}

// TestAnUnjournaledChange is not acknowledged, and another gateway's journal is told of it later.
func TestAnUnjournaledChange(t *testing.T) {
	w, ctx := newDomainWorld(t), t.Context()
	w.journal.refuse(audit.DomainChanged)
	if _, err := w.Add(ctx, operator, "example.com", "main"); err == nil {
		t.Error("acknowledged without the journal")
	}
	w.journal.refuse("")
	must(t, w.Settle(ctx))
	if len(w.journal.events) != 0 {
		t.Error("told too early")
	}
	w.clock.add(time.Minute)
	must(t, w.Settle(ctx))
	must(t, w.Settle(ctx))
	if len(w.journal.events) != 1 || w.journal.events[0].Kind != audit.DomainChanged || w.journal.events[0].Org != 1 {
		t.Errorf("%+v", w.journal.events)
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

// TestDelegateTellsNothingOfOthers: who asks for a domain learns of no domain outside of what is above it, and is not given
// what only the owner sees.
func TestDelegateTellsNothingOfOthers(t *testing.T) {
	w, ctx := newDomainWorld(t), t.Context()
	w.validated("example.com", "main", dcv.DNSTXT)
	admin := func(org auth.OrgID) auth.Caller {
		return auth.Caller{Principal: "user:1", Org: org, Roles: []auth.Grant{{Org: org, Role: auth.Administrator}}}
	}
	_, foreign := w.Delegate(ctx, admin(2), "example.com", "other")
	_, absent := w.Delegate(ctx, admin(2), "example.org", "other")
	if !problem.Is(foreign, problem.NotFound) || strings.ReplaceAll(foreign.Error(), "example.com", "example.org") != absent.Error() {
		t.Errorf("of another's domain: %v, of an absent one: %v", foreign, absent)
	}
	_, err := w.Delegate(ctx, admin(1), "example.com", "main")
	wantKind(t, err, problem.Malformed)
	_, err = w.Delegate(ctx, operator, "example.com", "far")
	must(t, err)
	_, err = w.Validate(ctx, operator, "example.com", dcv.DNSTXT)
	must(t, err)
	_, err = w.Delegate(ctx, operator, "example.com", "below")
	must(t, err)
	_, err = w.Reject(ctx, operator, "example.com", "far")
	must(t, err)
	far := auth.Caller{Principal: "user:3", Org: 4, Roles: []auth.Grant{{Org: 4, Role: auth.Administrator}}}
	d, err := w.Delegate(ctx, far, "example.com", "far")
	must(t, err)
	if d.Validation != nil || len(d.Delegations) != 1 || d.Delegations[0].Org != 4 {
		t.Errorf("far is given %+v", d)
	}
}

// TestADisabledOrganisationLosesItsDelegation: what it was given is taken back, and not there when it works again.
func TestADisabledOrganisationLosesItsDelegation(t *testing.T) {
	w, ctx := newDomainWorld(t), t.Context()
	w.validated("example.com", "main", dcv.DNSTXT)
	_, err := w.Delegate(ctx, operator, "example.com", "below")
	must(t, err)
	_, err = w.Delegate(ctx, operator, "example.com", "far")
	must(t, err)
	_, err = w.Approve(ctx, operator, "example.com", "below")
	must(t, err)
	works := w.Directory
	w.Directory, err = auth.NewDirectory([]auth.Org{{ID: 1, Slug: "main"}, {ID: 2, Slug: "other"}, {ID: 3, Slug: "below", Parent: 1, Disabled: w.clock.now()}, {ID: 4, Slug: "far", Parent: 3}})
	must(t, err)
	_, err = w.Approve(ctx, operator, "example.com", "far")
	wantKind(t, err, problem.NotFound)
	_, err = w.Reject(ctx, operator, "example.com", "below")
	must(t, err)
	w.Directory = works
	w.refuses(child, "www.example.com")
}
