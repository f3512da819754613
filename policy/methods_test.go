package policy

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// every is a profile with all methods and wildcards.
func every() Config {
	cfg := basic()
	cfg.DCVMethods, cfg.AllowWildcards = []dcv.Method{dcv.TLSALPN01, dcv.HTTP01, dcv.DNS01}, true
	return cfg
}

// TestWhichMethodProvesWhat is the whole table: RFC 8555, 8.3 and 8.4, RFC 8737, 3, RFC 8738, sections 4, 5 and 7, Baseline
// Requirements 3.2.2.4.7, .19, .20.
func TestWhichMethodProvesWhat(t *testing.T) {
	p := mustNew(t, every())
	for _, row := range []struct {
		method dcv.Method
		proves string
	}{
		{dcv.HTTP01, "www.example.com 192.0.2.1 2001:db8::1"},
		{dcv.TLSALPN01, "www.example.com 192.0.2.1 2001:db8::1"},
		{dcv.DNS01, "www.example.com *.example.com"},
		{"dns-99", ""},
		{"", ""},
		{Configured, ""}, // the profile is not the gateway's own
	} {
		for _, name := range []string{"www.example.com", "*.example.com", "192.0.2.1", "2001:db8::1"} {
			id := names(t, name)[0]
			want := slices.Contains(strings.Fields(row.proves), name)
			proof := Proven{Proof: dcv.Proof{Method: row.method, Identifier: id.Base(), At: testNow.Add(-time.Minute)}, Org: 1, Account: "7"}
			if got := p.Suffices(proof, Requester{Org: 1, Principal: "acme:7"}, id, testNow); got != want {
				t.Errorf("%q proves %s: %v, want %v", row.method, name, got, want)
			}
			if got := slices.Contains(p.MethodsFor(id), row.method); got != want {
				t.Errorf("%q is offered for %s: %v, want %v", row.method, name, got, want)
			}
		}
	}
}

// A proof about one name says nothing about another, related or not; dns-01's reach ends at the wildcard of the very name.
func TestDNS01CoversTheNameAndItsWildcardAlone(t *testing.T) {
	p := mustNew(t, every())
	proof := Proven{Proof: dcv.Proof{Method: dcv.DNS01, Identifier: dnsName(t, "example.com"), At: testNow}, Org: 1, Account: "7"}
	for name, want := range map[string]bool{
		"example.com": true, "*.example.com": true, "www.example.com": false, "*.www.example.com": false, "example.org": false, "*.com": false,
	} {
		if got := p.Suffices(proof, Requester{Org: 1, Principal: "acme:7"}, dnsName(t, name), testNow); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	foreign := Requester{Org: 1, Principal: "acme:8"}
	if p.Suffices(proof, foreign, dnsName(t, "*.example.com"), testNow) {
		t.Error("a wildcard is proved by another account's proof")
	}
}

// A profile takes the methods it lists, whatever they could prove.
func TestMethodsAreTheProfiles(t *testing.T) {
	cfg := basic()
	cfg.DCVMethods = []dcv.Method{dcv.DNS01}
	p := mustNew(t, cfg)
	address := names(t, "8.8.8.8")
	if got := p.MethodsFor(address[0]); len(got) != 0 {
		t.Errorf("%v is offered for an address", got)
	}
	wantProblem(t, p.CheckNames(address), problem.UnsupportedIdentifier, "no method of the profile")
	wantProblem(t, p.CheckNames(names(t, "*.example.com")), problem.RejectedIdentifier, "allows no wildcards")
	if got := p.MethodsFor(dnsName(t, "example.com")); !slices.Equal(got, []dcv.Method{dcv.DNS01}) {
		t.Errorf("offered are %v", got)
	}
	for _, method := range []dcv.Method{dcv.HTTP01, dcv.TLSALPN01} {
		r := goodRequest(t, "a.example.com")
		r.Proofs[0].Method = method
		wantProblem(t, second(p.Decide(r)), problem.Unauthorized, "does not take; validate it by one of dns-01")
	}
}

func TestDecideWildcardsAndAddresses(t *testing.T) {
	p := mustNew(t, every())
	r := goodRequest(t, "*.example.com", "192.0.2.1", "2001:db8::1", "example.com")
	for i := range r.Proofs {
		r.Proofs[i].Method = dcv.TLSALPN01
	}
	pe := wantProblem(t, second(p.Decide(r)), problem.Unauthorized, "cannot be proved by tls-alpn-01")
	if len(pe.Parts) != 1 || pe.Parts[0].Identifier != dnsName(t, "*.example.com") {
		t.Errorf("parts %+v", pe.Parts)
	}
	r.Proofs = append(r.Proofs, r.Proofs[0])
	last := &r.Proofs[len(r.Proofs)-1]
	last.Method, last.Identifier = dcv.DNS01, dnsName(t, "example.com")
	d, err := p.Decide(r)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, id := range d.Names {
		got = append(got, id.Value())
	}
	slices.Sort(got)
	if !slices.Equal(got, []string{"*.example.com", "192.0.2.1", "2001:db8::1", "example.com"}) {
		t.Errorf("decided on %v", got)
	}
	// RFC 8738, 7: whatever a record says.
	r.Proofs = slices.DeleteFunc(r.Proofs, func(q Proven) bool { return q.Identifier.Type() == identifier.IP })
	for _, address := range []string{"192.0.2.1", "2001:db8::1"} {
		forged := *last
		forged.Identifier = names(t, address)[0]
		r.Proofs = append(r.Proofs, forged)
	}
	wantProblem(t, second(p.Decide(r)), problem.Unauthorized, "2 of the 4")
}

func TestWildcardsNeedDNS01(t *testing.T) {
	cfg := every()
	cfg.DCVMethods = []dcv.Method{dcv.HTTP01, dcv.TLSALPN01}
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "add dns-01 there or leave it out") {
		t.Errorf("wildcards without dns-01: %v", err)
	}
	cfg.DCVMethods = []dcv.Method{"dns-02"}
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), `"dns-02" is no validation method of this gateway; known are http-01, dns-01, tls-alpn-01`) {
		t.Errorf("an unknown method: %v", err)
	}
}
