package policy

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// unvalidated is a profile that requires no validation.
func unvalidated() Config {
	cfg := basic()
	cfg.DCV, cfg.AllowNames, cfg.AllowWildcards = NoValidation, []string{"*.example.com", "10.0.0.0/8"}, true
	return cfg
}

// byDomain is a profile that takes proofs of domains and nothing else.
func byDomain() Config {
	cfg := basic()
	cfg.DCV, cfg.AllowWildcards = PerDomain, true
	return cfg
}

// TestNoValidation: what is issued without one has a record of that for each name, made for this requester.
func TestNoValidation(t *testing.T) {
	p := mustNew(t, unvalidated())
	r := goodRequest(t, "www.example.com", "*.example.com", "10.0.0.1")
	if _, err := p.Decide(r); !problem.Is(err, problem.Unauthorized) {
		t.Errorf("with proofs by http-01 in place of the record: %v", err)
	}
	r.Proofs = p.Unvalidated(r.Requester, r.Names, r.Now)
	if len(r.Proofs) != 3 {
		t.Fatalf("%+v", r.Proofs)
	}
	for _, proof := range r.Proofs {
		if proof.Method != NotRequired || proof.Org != 1 || proof.Account != "7" || proof.At != testNow.Truncate(time.Second) ||
			!strings.Contains(proof.Seen, `no validation was required: the profile "web"`) {
			t.Errorf("the record says %+v", proof)
		}
	}
	if _, err := p.Decide(r); err != nil {
		t.Fatal(err)
	}
	r.Now = r.Now.Add(1000 * day)
	if _, err := p.Decide(r); err != nil {
		t.Errorf("the record has grown old: %v", err)
	}
	r.Now = testNow
	for name, change := range map[string]func(*Request){
		"no records":               func(r *Request) { r.Proofs = nil },
		"one is missing":           func(r *Request) { r.Proofs = r.Proofs[1:] },
		"another account's":        func(r *Request) { r.Requester.Principal = "acme:8" },
		"an account's, for others": func(r *Request) { r.Requester.Principal = "user:8" },
		"another organisation's":   func(r *Request) { r.Requester.Org = 2 },
		"of another name":          func(r *Request) { r.Proofs[0].Identifier = dnsName(t, "other.example.com") },
		"of the name, for a wildcard": func(r *Request) {
			r.Proofs[slices.IndexFunc(r.Proofs, isWildcard)].Identifier = dnsName(t, "example.com")
		},
		"of a domain":                  func(r *Request) { r.Proofs[0].Owner = 1 },
		"a domain's proof":             func(r *Request) { r.Proofs = []Proven{domainProof(t, dcv.DNSTXT, "example.com")} },
		"from the future":              func(r *Request) { r.Proofs[0].At = testNow.Add(time.Minute) },
		"of no time":                   func(r *Request) { r.Proofs[0].At = time.Time{} },
		"a proof of configured names":  func(r *Request) { r.Proofs[0].Method = Configured },
		"a proof by a method that was": func(r *Request) { r.Proofs[0].Method = dcv.HTTP01 },
	} {
		bad := r
		bad.Proofs = slices.Clone(r.Proofs)
		change(&bad)
		if _, err := p.Decide(bad); !problem.Is(err, problem.Unauthorized) || !strings.Contains(problem.From(err).Detail, "record") && len(problem.From(err).Parts) == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := p.Decide(goodRequest(t, "www.example.org"))
	wantProblem(t, err, problem.RejectedIdentifier, `is not among what the profile "web" allows`)
	r = goodRequest(t, "www.example.com")
	r.Proofs = p.Unvalidated(r.Requester, r.Names, r.Now)
	_, err = mustNew(t, basic()).Decide(r)
	wantProblem(t, err, problem.Unauthorized, "was validated by not-required, which the profile")
	if mustNew(t, basic()).Unvalidated(r.Requester, r.Names, r.Now) != nil || mustNew(t, byDomain()).Unvalidated(r.Requester, r.Names, r.Now) != nil {
		t.Error("a profile that requires a validation makes records that there was none")
	}
}

func isWildcard(p Proven) bool { return p.Identifier.IsWildcard() }

// TestNoValidationAsksCAA: what the profile says of CAA holds, and no method is one that proved the name (RFC 8657, 4).
func TestNoValidationAsksCAA(t *testing.T) {
	cfg := unvalidated()
	cfg.CAA, cfg.DNSSEC = CAAOn, dcv.DNSSECOpportunistic
	p := mustNew(t, cfg)
	r := goodRequest(t, "www.example.com", "10.0.0.1")
	r.Proofs = p.Unvalidated(r.Requester, r.Names, r.Now)
	d, err := p.Decide(r)
	if err != nil || len(d.CAA) != 1 || d.CAA[0].Identifier != dnsName(t, "www.example.com") || !slices.Equal(d.CAA[0].Methods, []dcv.Method{NotRequired}) || !d.CAA[0].Permission.At.IsZero() {
		t.Errorf("%+v, %v", d, err)
	}
}

// TestDomainsAlone: of two requests with the same name the one whose organisation has the domain gets it.
func TestDomainsAlone(t *testing.T) {
	p := mustNew(t, byDomain())
	if !p.DelegatedDomains() || len(p.Methods()) != 0 {
		t.Error("domains are not looked for, or something else is")
	}
	request := func(proofs ...Proven) Request {
		r := goodRequest(t, "www.example.com", "*.example.com")
		r.Proofs = proofs
		return r
	}
	good := domainProof(t, dcv.DNSTXT, "example.com")
	if _, err := p.Decide(request(good)); err != nil {
		t.Error(err)
	}
	another, aged := good, good
	another.Org, aged.At = 2, testNow.Add(-DefaultDomainProofLifetimePrivate)
	for name, proofs := range map[string][]Proven{
		"nothing": nil, "another organisation's": {another}, "too old": {aged}, "a file, of the name above": {domainProof(t, dcv.HTTPFile, "example.com")},
		"the account's own":  {{Proof: dcv.Proof{Method: dcv.DNS01, Identifier: dnsName(t, "www.example.com"), At: testNow}, Org: 1, Account: "7"}},
		"a record of none":   mustNew(t, unvalidated()).Unvalidated(Requester{Org: 1, Principal: "acme:7"}, names(t, "www.example.com", "*.example.com"), testNow),
		"a configured one":   {{Proof: dcv.Proof{Method: Configured, Identifier: dnsName(t, "www.example.com"), At: testNow}, Org: 1, Account: "7"}},
		"another domain's":   {domainProof(t, dcv.DNSTXT, "example.org")},
		"some names of them": {domainProof(t, dcv.HTTPFile, "www.example.com")},
	} {
		_, err := p.Decide(request(proofs...))
		if !problem.Is(err, problem.Unauthorized) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := p.Decide(func() Request { r := goodRequest(t, "www.example.com"); return r }())
	wantProblem(t, err, problem.Unauthorized, `was validated by http-01, and the profile "web" takes proofs of domains alone; have a domain that covers it validated`)
	_, err = p.Decide(func() Request { r := goodRequest(t, "10.0.0.1"); return r }())
	wantProblem(t, err, problem.UnsupportedIdentifier, "(validated domains alone) proves it")
}

// TestCheckDomains is what a door asks before it begins.
func TestCheckDomains(t *testing.T) {
	p := mustNew(t, byDomain())
	ids := names(t, "a.example.com", "b.example.com")
	found := domainProof(t, dcv.DNSTXT, "example.com")
	if err := p.CheckDomains(ids, []*Proven{&found, &found}); err != nil {
		t.Error(err)
	}
	e := wantProblem(t, p.CheckDomains(ids, []*Proven{&found, nil}), problem.RejectedIdentifier, "b.example.com is covered by no validated domain of the organisation")
	if len(e.Parts) != 1 || e.Parts[0].Identifier != ids[1] || !strings.Contains(e.Detail, "gatehouse domain add") || !strings.Contains(e.Detail, "delegated to it") {
		t.Errorf("%+v", e)
	}
	if e = wantProblem(t, p.CheckDomains(ids, nil), problem.RejectedIdentifier, "2 of the 2 names"); len(e.Parts) != 2 {
		t.Errorf("%+v", e)
	}
	for _, cfg := range []Config{basic(), delegated(), unvalidated()} {
		if err := mustNew(t, cfg).CheckDomains(ids, nil); err != nil {
			t.Errorf("dcv: %s: %v", mustNew(t, cfg).Requirement(), err)
		}
	}
}

func TestProvable(t *testing.T) {
	for value, want := range map[string][3]bool{ // request, domain, none
		"www.example.com": {true, true, true}, "*.example.com": {false, true, true}, "10.0.0.1": {true, false, true},
	} {
		id := names(t, value)[0]
		for i, cfg := range []Config{basic(), byDomain(), unvalidated()} {
			p := mustNew(t, cfg)
			if p.Provable(id) != want[i] {
				t.Errorf("%s under dcv: %s: %v", value, p.Requirement(), !want[i])
			}
			if offered := p.ChallengesFor(id); i > 0 && len(offered) > 0 {
				t.Errorf("%s under dcv: %s is offered %v", value, p.Requirement(), offered)
			}
		}
	}
}

func TestRequirementConfig(t *testing.T) {
	for name, tt := range map[string]struct {
		cfg    func() Config
		change func(*Config)
		field  string
		says   string
	}{
		"unknown":                       {basic, func(c *Config) { c.DCV = "sometimes" }, "dcv", `none of "none", "domain" and "request"`},
		"none in public mode":           {public, func(c *Config) { c.DCV, c.AllowNames = NoValidation, []string{"a.example.com"} }, "dcv", "3.2.2.4"},
		"none without a list":           {unvalidated, func(c *Config) { c.AllowNames = nil }, "allow_names", "list what may be issued for"},
		"none with methods":             {unvalidated, func(c *Config) { c.DCVMethods = []dcv.Method{dcv.HTTP01} }, "dcv_methods", "leave it out"},
		"none with a lifetime":          {unvalidated, func(c *Config) { c.ProofLifetime = time.Hour }, "proof_lifetime", "leave it out"},
		"none with ranges":              {unvalidated, func(c *Config) { c.PrivateRanges = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} }, "private_ranges", "leave it out"},
		"none with domains":             {unvalidated, func(c *Config) { c.DelegatedDomains = true }, "delegated_domains", "leave it out"},
		"none with a domain's lifetime": {unvalidated, func(c *Config) { c.DomainProofLifetime = time.Hour }, "domain_proof_lifetime", "leave it out"},
		"none with DNSSEC of nothing":   {unvalidated, func(c *Config) { c.DNSSEC = dcv.DNSSECRequire }, "dnssec", "leave it out"},
		"domain with methods":           {byDomain, func(c *Config) { c.DCVMethods = []dcv.Method{dcv.HTTP01} }, "dcv_methods", "leave it out"},
		"domain with a lifetime":        {byDomain, func(c *Config) { c.ProofLifetime = time.Hour }, "proof_lifetime", "leave it out"},
		"domain with ranges":            {byDomain, func(c *Config) { c.PrivateRanges = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} }, "private_ranges", "leave it out"},
		"the record as a method":        {basic, func(c *Config) { c.DCVMethods = []dcv.Method{NotRequired} }, "dcv_methods", "no validation method"},
		"the gateway's own":             {own, func(c *Config) { c.DCV = NoValidation }, "dcv", "own certificate"},
	} {
		cfg := tt.cfg()
		tt.change(&cfg)
		_, err := New(cfg)
		ce, ok := errors.AsType[*ConfigError](err)
		if !ok || ce.Field != tt.field || !strings.Contains(ce.Reason, tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := byDomain()
	good.Mode, good.Now, good.DelegatedDomains, good.DomainProofLifetime = Public, testNow, true, 10*day
	mustNew(t, good)
}

func TestRequirementHash(t *testing.T) {
	spelled := basic()
	spelled.DCV = PerRequest
	if mustNew(t, spelled).Hash() != mustNew(t, basic()).Hash() {
		t.Error("the default, spelled out, changes the hash")
	}
	listed := basic()
	listed.AllowNames, listed.AllowWildcards, listed.DCVMethods = unvalidated().AllowNames, true, []dcv.Method{dcv.DNS01}
	hashes := []string{mustNew(t, unvalidated()).Hash(), mustNew(t, byDomain()).Hash(), mustNew(t, listed).Hash(), mustNew(t, basic()).Hash()}
	if slices.Sort(hashes); len(slices.Compact(hashes)) != 4 {
		t.Error("the requirement is no part of the hash")
	}
}
