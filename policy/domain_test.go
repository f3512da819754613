package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
)

// delegated is a profile that takes proofs of domains.
func delegated() Config {
	cfg := every()
	cfg.DelegatedDomains = true
	return cfg
}

func domainProof(t *testing.T, m dcv.Method, domain string) Proven {
	t.Helper()
	return Proven{Proof: dcv.Proof{Method: m, Identifier: dnsName(t, domain), At: testNow.Add(-time.Hour)}, Org: 1, Owner: 1}
}

// TestWhatADomainCovers: BR 3.2.2.4.7, all below; BR 3.2.2.4.18, the very name.
func TestWhatADomainCovers(t *testing.T) {
	p := mustNew(t, delegated())
	by := Requester{Org: 1, Principal: "acme:7"}
	for _, row := range []struct{ id, dns, file string }{
		{"example.com", "yes", "yes"}, {"*.example.com", "yes", ""}, {"www.example.com", "yes", ""}, {"a.b.example.com", "yes", ""},
		{"*.www.example.com", "yes", ""}, {"com", "", ""}, {"badexample.com", "", ""}, {"example.org", "", ""}, {"example.com.example.org", "", ""},
		{"192.0.2.1", "", ""},
	} {
		id := names(t, row.id)[0]
		for m, want := range map[dcv.Method]string{
			dcv.DNSTXT: row.dns, dcv.DNSCNAME: row.dns, dcv.HTTPFile: row.file, dcv.HTTPSFile: row.file,
			dcv.DNS01: "", dcv.HTTP01: "", Configured: "", "ca-email": "", "": "", // no domain is validated by these
		} {
			if got := p.Suffices(domainProof(t, m, "example.com"), by, id, testNow); got != (want != "") {
				t.Errorf("%q of example.com covers %s: %v", m, row.id, got)
			}
		}
	}
	if p.Suffices(domainProof(t, dcv.DNSTXT, "co.uk"), by, dnsName(t, "example.co.uk"), testNow) {
		t.Error("a public suffix covers what is below it")
	}
	// "*.kawasaki.jp" is a rule of the list and "kawasaki.jp" is none: what it has below it is other registrants'.
	for id, want := range map[string]bool{"kawasaki.jp": true, "www.example.kawasaki.jp": false, "example.kawasaki.jp": false, "*.kawasaki.jp": false, "city.kawasaki.jp": false} {
		if covers(domainProof(t, dcv.DNSTXT, "kawasaki.jp"), names(t, id)[0]) != want {
			t.Errorf("kawasaki.jp covers %s: %v", id, !want)
		}
	}
	if !covers(domainProof(t, dcv.DNSTXT, "shop.example.kawasaki.jp"), names(t, "*.www.shop.example.kawasaki.jp")[0]) || !covers(domainProof(t, dcv.DNSTXT, "corp.internal"), names(t, "a.corp.internal")[0]) {
		t.Error("a registered domain, or one of no public suffix, does not cover what is below it")
	}
}

func TestDomainProofsAreRefused(t *testing.T) {
	by := Requester{Org: 1, Principal: "acme:7"}
	good := domainProof(t, dcv.DNSTXT, "example.com")
	for _, row := range []struct {
		name   string
		cfg    func(*Config)
		change func(*Proven)
		by     Requester
		says   string
	}{
		{"another organisation's", nil, func(p *Proven) { p.Org = 2 }, by, "belongs to the requester"},
		{"delegated to another", nil, nil, Requester{Org: 2, Principal: "acme:7"}, "belongs to the requester"},
		{"an account's", nil, func(p *Proven) { p.Account = "7" }, by, "belongs to the requester"},
		{"a profile that takes none", func(c *Config) { c.DelegatedDomains = false }, nil, by, "does not count under the profile"},
		{"too old", nil, func(p *Proven) { p.At = testNow.Add(-90 * day) }, by, "too long ago"},
		{"too old for the profile", func(c *Config) { c.DomainProofLifetime = time.Hour }, nil, by, "too long ago"},
		{"over", nil, func(p *Proven) { p.Until = testNow }, by, "too long ago"},
		{"from the future", nil, func(p *Proven) { p.At = testNow.Add(time.Minute) }, by, "no possible time"},
		{"from no time", nil, func(p *Proven) { p.At = time.Time{} }, by, "no possible time"},
		{"without DNSSEC where it is required", func(c *Config) { c.DNSSEC = dcv.DNSSECRequire }, nil, by, "DNSSEC"},
		{"no domain's", nil, func(p *Proven) { p.Owner = 0 }, by, "belongs to the requester"},
		{"by a domain's method and no domain's", nil, func(p *Proven) { p.Owner, p.Account = 0, "7" }, by, "belongs to the requester"},
	} {
		cfg := delegated()
		if row.cfg != nil {
			row.cfg(&cfg)
		}
		p, proof := mustNew(t, cfg), good
		if row.change != nil {
			row.change(&proof)
		}
		if why := p.lacking(proof, row.by, dnsName(t, "example.com"), testNow); !strings.Contains(why, row.says) {
			t.Errorf("%s: %q", row.name, why)
		}
	}
	p := mustNew(t, delegated())
	if why := p.lacking(good, Requester{Org: 1, Principal: "user:9"}, dnsName(t, "www.example.com"), testNow); why != "" {
		t.Errorf("whoever asks for the organisation: %s", why)
	}
}

func TestDomainSettings(t *testing.T) {
	for _, row := range []struct {
		name  string
		cfg   Config
		field string
	}{
		{"lifetime alone", func() Config { c := every(); c.DomainProofLifetime = time.Hour; return c }(), "domain_proof_lifetime"},
		{"half a second", func() Config { c := delegated(); c.DomainProofLifetime = time.Second / 2; return c }(), "domain_proof_lifetime"},
		{"a domain's method of every request", func() Config { c := every(); c.DCVMethods = append(c.DCVMethods, dcv.EmailConstructed); return c }(), "dcv_methods"},
	} {
		if _, err := New(row.cfg); err == nil || !strings.Contains(err.Error(), row.field) {
			t.Errorf("%s: %v", row.name, err)
		}
	}
	plain, with := mustNew(t, every()), mustNew(t, delegated())
	if plain.Hash() == with.Hash() {
		t.Error("delegated_domains is no part of the hash")
	}
	if at := testNow; !plain.DomainProofUntil(dcv.DNSTXT, at, at).Equal(at) || !with.DomainProofUntil(dcv.DNSTXT, at, at).Equal(at.Add(90*day)) {
		t.Error("the end of use is wrong")
	}
	for _, m := range with.MethodsFor(dnsName(t, "example.com")) {
		if provesDomain(m) {
			t.Errorf("%s is offered as a challenge", m)
		}
	}
}

// TestPublicDomainReuse follows the limits' table also where the configuration is older than a limit.
func TestPublicDomainReuse(t *testing.T) {
	cfg := delegated()
	cfg.Mode, cfg.Now, cfg.AllowNames, cfg.Issuer = Public, time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC), nil, "main"
	cfg.DomainProofLifetime = 200 * day
	p := mustNew(t, cfg)
	for _, row := range []struct {
		now  time.Time
		want time.Duration
	}{
		{cfg.Now, 200 * day}, {time.Date(2027, 3, 15, 0, 0, 0, 0, time.UTC), 100 * day}, {time.Date(2029, 3, 15, 0, 0, 0, 0, time.UTC), 10 * day},
	} {
		if got := p.DomainProofUntil(dcv.DNSTXT, row.now, row.now).Sub(row.now); got != row.want {
			t.Errorf("at %s: %v", row.now, got)
		}
		proof := domainProof(t, dcv.DNSTXT, "example.com")
		proof.At, proof.Secure = row.now.Add(-row.want), true
		if p.Suffices(proof, Requester{Org: 1, Principal: "acme:7"}, dnsName(t, "example.com"), row.now) {
			t.Errorf("at %s a proof of %v counts", row.now, row.want)
		}
	}
	cfg.DomainProofLifetime = 201 * day
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "domain_proof_lifetime") {
		t.Errorf("201 days in public mode: %v", err)
	}
}
