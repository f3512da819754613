package ra_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/dcv"
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
