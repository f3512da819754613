package policy

import (
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
)

// TestUses: a proof of a domain that is for some kinds of names proves no others, also where both are in one request.
func TestUses(t *testing.T) {
	t.Parallel()
	p := mustNew(t, Config{Name: "web", Issuer: "main", Validity: time.Hour, DelegatedDomains: true, AllowWildcards: true, DCVMethods: []dcv.Method{dcv.DNS01}})
	var names []identifier.Identifier
	for _, text := range []string{"example.com", "a.b.example.com", "*.example.com", "*.b.example.com"} {
		id, err := identifier.ParseDNS(text)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, id)
	}
	now := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	for i, use := range []Uses{UseDomain, UseSubdomains, UseWildcard, UseSubdomainWildcards} {
		proof := Proven{Proof: dcv.Proof{Method: dcv.DNSTXT, Identifier: names[0], At: now}, Org: 1, Owner: 1, Uses: use}
		r := Request{Requester: Requester{Org: 1, Door: "acme", Principal: "acme:a"}, Proofs: []Proven{proof}, Now: now}
		for j, name := range names {
			if got := p.Suffices(proof, r.Requester, name, now); got != (i == j) {
				t.Errorf("the use %d proves %s: %v", use, name.Value(), got)
			}
		}
		if err := p.checkProofs(r, names); err == nil {
			t.Errorf("the use %d proves all names of a request", use)
		}
		both := proof
		both.Uses |= UseSubdomains | UseDomain
		if !p.Suffices(both, r.Requester, names[0], now) || !p.Suffices(both, r.Requester, names[i], now) {
			t.Errorf("%d does not have both uses", both.Uses)
		}
	}
}
