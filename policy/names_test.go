package policy

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

func TestCheckNames(t *testing.T) {
	no := false
	strict := Config{Name: "web", Issuer: "local", AllowInternalNames: &no}
	listed := Config{
		Name: "web", Issuer: "local",
		AllowNames: []string{"example.com", "*.example.com", "*.lab.example.com", "10.0.0.0/8", "2001:db8::/32"},
		DenyNames:  []string{"secret.example.com", "10.1.0.0/16", "*.hidden.example.com"},
	}
	dnsOnly := Config{Name: "web", Issuer: "local", AllowNames: []string{"example.com"}, DenyNames: []string{"10.0.0.0/8"}}
	ipOnly := Config{Name: "web", Issuer: "local", AllowNames: []string{"10.0.0.0/8"}, DenyNames: []string{"example.net"}}
	denyOnly := Config{Name: "web", Issuer: "local", DenyNames: []string{"*.example.com"}}
	for _, c := range []struct {
		name  string
		cfg   Config
		wild  bool
		value string
		says  string // empty: passes
	}{
		{"private", basic(), false, "www.example.com", ""},
		{"private internal", basic(), false, "db.corp", ""},
		{"private single label", basic(), false, "localhost", ""},
		{"private address", basic(), false, "10.0.0.1", ""},
		{"global address", basic(), false, "8.8.8.8", ""},
		{"multicast", basic(), false, "224.0.0.1", "no host's address"},
		{"unspecified", basic(), false, "::", "no host's address"},
		{"broadcast", basic(), false, "255.255.255.255", "no host's address"},
		{"NAT64 of multicast", basic(), false, "64:ff9b::e000:1", "no host's address"},
		{"public suffix", basic(), false, "co.uk", "public suffix"},
		{"private suffix", basic(), false, "github.io", "public suffix"},
		{"top-level domain", basic(), false, "com", "public suffix"},
		{"RFC 7686", basic(), false, "abc.onion", "onion"},
		{"wildcards off", basic(), false, "*.example.com", "no wildcards"},
		{"wildcard", basic(), true, "*.example.com", ""},
		{"BR 3.2.2.6 wildcard of a suffix", basic(), true, "*.co.uk", "public suffix"},
		{"BR 3.2.2.6 wildcard rule", basic(), true, "*.kawasaki.jp", "public suffix"},
		{"wildcard internal", basic(), true, "*.corp", ""},
		{"internal refused", strict, false, "db.corp", "internal name"},
		{"private address refused", strict, false, "10.0.0.1", "global addresses alone"},
		{"documentation address refused", strict, false, "192.0.2.1", "global addresses alone"},
		{"public", public(), false, "www.example.com", ""},
		{"public internal", public(), false, "localhost", "internal name"},
		{"public special address", public(), false, "100.64.0.1", "global addresses alone"},
		{"public reverse zone", public(), false, "1.2.0.192.in-addr.arpa", "reverse zone"},
		{"private reverse zone", basic(), false, "1.2.0.192.in-addr.arpa", ""},
		{"allowed itself", listed, false, "example.com", ""},
		{"allowed one label more", listed, false, "www.example.com", ""},
		{"not two labels more", listed, false, "a.b.example.com", "not among"},
		{"not a suffix of letters", listed, false, "notexample.com", "not among"},
		{"not another parent", listed, false, "example.com.evil.test", "not among"},
		{"denied", listed, false, "secret.example.com", "is denied"},
		{"denied pattern", listed, false, "a.hidden.example.com", "is denied"},
		{"allowed wildcard below", listed, true, "*.lab.example.com", ""},
		{"wildcard covers a denied name", listed, true, "*.example.com", "would also cover secret.example.com"},
		{"denied wildcard itself", listed, true, "*.hidden.example.com", "is denied"},
		{"allowed range", listed, false, "10.2.3.4", ""},
		{"denied range", listed, false, "10.1.3.4", "is denied"},
		{"other range", listed, false, "192.168.0.1", "not among"},
		{"allowed IPv6", listed, false, "2001:db8::7", ""},
		{"allow list without addresses", dnsOnly, false, "192.168.0.1", "not among"},
		{"allow list without names", ipOnly, false, "www.example.com", "not among"},
		{"deny list alone", denyOnly, false, "www.example.org", ""},
		{"deny list alone, address", denyOnly, false, "10.0.0.1", ""},
		{"deny list alone, denied", denyOnly, false, "www.example.com", "is denied"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.wild {
				c.cfg.AllowWildcards, c.cfg.DCVMethods = true, []dcv.Method{dcv.HTTP01, dcv.DNS01}
			}
			p := mustNew(t, c.cfg)
			kind, detail := p.checkName(names(t, c.value)[0])
			if (c.says == "") != (detail == "") || !strings.Contains(detail, c.says) {
				t.Fatalf("got %v %q, want %q", kind, detail, c.says)
			}
			if c.says != "" {
				pe := wantProblem(t, p.CheckNames(names(t, c.value)), problem.RejectedIdentifier, c.says)
				if len(pe.Parts) != 1 || !strings.Contains(pe.Detail, strings.TrimPrefix(c.value, "*.")) {
					t.Errorf("the refusal does not name the value: %v", pe)
				}
			}
		})
	}
}

func TestCheckNamesReportsEveryName(t *testing.T) {
	p := mustNew(t, public())
	pe := wantProblem(t, p.CheckNames(names(t, "co.uk", "good.example.com", "localhost", "10.0.0.1")),
		problem.RejectedIdentifier, "3 of the 4")
	var got []string
	for _, part := range pe.Parts {
		got = append(got, part.Identifier.Value())
		if part.Kind != problem.RejectedIdentifier || part.Detail == "" {
			t.Errorf("part %+v", part)
		}
	}
	if strings.Join(got, " ") != "co.uk localhost 10.0.0.1" {
		t.Errorf("parts %v are not in the request's order", got)
	}
}

func TestCheckNamesCountsAndKinds(t *testing.T) {
	cfg := basic()
	cfg.MaxNames = 2
	p := mustNew(t, cfg)
	wantProblem(t, p.CheckNames(nil), problem.Malformed, "at least one")
	wantProblem(t, p.CheckNames(names(t, "a.example", "b.example", "c.example")), problem.RejectedIdentifier, "3 names")
	if err := p.CheckNames(names(t, "a.example", "b.example")); err != nil {
		t.Error(err)
	}
	wantProblem(t, p.CheckNames([]identifier.Identifier{{}}), problem.UnsupportedIdentifier, "dns or ip")
	wantProblem(t, p.CheckNames(append(names(t, "com"), identifier.Identifier{})), problem.RejectedIdentifier, "2 of the 2")
}

// What is under an allow list passes only if an entry matches it, whatever the deny list holds.
func TestAllowListIsExhaustive(t *testing.T) {
	host := rapid.StringMatching(`[a-c](\.[a-c]){0,2}\.example`)
	rapid.Check(t, func(rt *rapid.T) {
		cfg := basic()
		cfg.AllowNames = rapid.SliceOfN(host, 1, 4).Draw(rt, "allow")
		cfg.DenyNames = append(rapid.SliceOfN(host, 0, 2).Draw(rt, "deny"), "10.0.0.0/8")
		p, err := New(cfg)
		if err != nil {
			rt.Fatal(err)
		}
		name := host.Draw(rt, "name")
		want := slices.Contains(cfg.AllowNames, name) && !slices.Contains(cfg.DenyNames, name)
		id, err := identifier.ParseDNS(name)
		if err != nil {
			rt.Fatal(err)
		}
		if got := p.CheckNames([]identifier.Identifier{id}) == nil; got != want {
			rt.Fatalf("%s passes: %v, want %v", name, got, want)
		}
		if ip, _ := identifier.ParseIP("192.168.0.1"); p.CheckNames([]identifier.Identifier{ip}) == nil {
			rt.Fatal("an address passed an allow list of names")
		}
	})
}
