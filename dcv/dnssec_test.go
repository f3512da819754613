package dcv

import (
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// signedWorld is a world whose names are all in signed zones, with CAA records for this gateway and a dns-01 answer.
func signedWorld(t *testing.T) *world {
	t.Helper()
	w := caaWorld(t, `example.com. 60 IN CAA 0 issue "ca.example.com"`)
	w.sign(testca.ZoneSigned)
	w.txt(testLabel, testDigest)
	return w
}

func secured(t *testing.T, method Method, mode DNSSEC) Request {
	req := requestFor(t, testName)
	req.Method, req.DNSSEC = method, mode
	req.CAA = &CAAFor{Identifier: req.Identifier}
	return req
}

// Which questions say that they understand DNSSEC, and what is recorded of the answers.
func TestDNSSECModes(t *testing.T) {
	for mode, want := range map[DNSSEC]bool{"": false, DNSSECOff: false, DNSSECOpportunistic: true, DNSSECRequire: true} {
		for _, method := range []Method{HTTP01, DNS01} {
			w := signedWorld(t)
			proof, rec := w.proves(secured(t, method, mode))
			if proof.Secure != want || proof.CAA.Secure != want {
				t.Errorf("%q, %s: proof %v, CAA %v", mode, method, proof.Secure, proof.CAA.Secure)
			}
			for _, l := range append(rec.Hops[0].Lookups, rec.CAA[0].Lookup) {
				if l.AD != want {
					t.Errorf("%q: lookup %+v", mode, l)
				}
			}
			for _, q := range w.dns.Queries() {
				if q.DO != want || q.AD != want || q.CD {
					t.Errorf("RFC 4035, 3.2; RFC 6840, 5.7: %q: question %+v", mode, q)
				}
			}
		}
	}
	// A resolver that says AD unasked is not listened to.
	w := signedWorld(t)
	w.dns.Break("", 0, testca.DNSFault{AD: true})
	if proof, rec := w.proves(secured(t, HTTP01, DNSSECOff)); proof.Secure || proof.CAA.Secure || rec.Hops[0].Lookups[0].AD {
		t.Errorf("proof %+v, lookup %+v", proof, rec.Hops[0].Lookups[0])
	}
	w = signedWorld(t)
	w.failsAs(t.Context(), secured(t, HTTP01, "on"), problem.Malformed, `"on" is no DNSSEC mode`)
	if _, err := w.v.CheckCAA(t.Context(), CAARequest{DNSSEC: "Require", Names: []CAAName{{Identifier: mustDNS(t, testName)}}}); !problem.Is(err, problem.Malformed) {
		t.Error(err)
	}
}

// An unsigned part of what a validation rests on is all it takes.
func TestDNSSECRequired(t *testing.T) {
	for name, row := range map[string]struct {
		method  Method
		prepare func(*world)
		kind    problem.Kind
		part    string
	}{
		"the name's zone": {HTTP01, func(w *world) { w.sign(testca.ZoneInsecure) }, problem.DNS, "www.example.com is not authenticated"},
		"an alias's zone": {DNS01, func(w *world) {
			w.dns.Remove(testLabel)
			w.dns.SetChain(testLabel, "validation.example.net", 1)
			w.txt("validation.example.net", testDigest)
			w.zone("example.net", testca.ZoneInsecure)
		}, problem.DNS, `(an alias of "validation.example.net") is not authenticated`},
		"no such name": {DNS01, func(w *world) { w.dns.Remove(testLabel); w.zone(testLabel, testca.ZoneInsecure) }, problem.DNS, "not authenticated"},
		"CAA of the name": {HTTP01, func(w *world) {
			w.dns.Break(testName, dns.TypeA, testca.DNSFault{AD: true})
			w.dns.Break(testName, dns.TypeAAAA, testca.DNSFault{AD: true})
			w.zone("www.example.com", testca.ZoneInsecure)
		}, problem.CAA, "CAA records of www.example.com is not authenticated"},
		"CAA at the top": {HTTP01, func(w *world) {
			w.dns.Remove("example.com")
			w.zone("example.com", testca.ZoneSigned)
			w.zone("com", testca.ZoneInsecure)
		},
			problem.CAA, "CAA records of com, which govern www.example.com, is not authenticated"},
	} {
		t.Run(name, func(t *testing.T) {
			w := signedWorld(t)
			row.prepare(w)
			rec := w.failsAs(t.Context(), secured(t, row.method, DNSSECRequire), row.kind, row.part, "Sign its zone")
			lookups := rec.Hops[0].Lookups
			if row.kind == problem.CAA {
				lookups = []Lookup{rec.CAA[len(rec.CAA)-1].Lookup}
			}
			if last := lookups[len(lookups)-1]; last.Result != resultInsecure || last.AD || len(last.Found) != 0 || last.Texts != 0 {
				t.Errorf("lookup %+v", last)
			}
			// The same world is good enough where authentication is not required, and not called secure.
			if strings.HasPrefix(name, "no such") {
				return
			}
			proof, _ := w.proves(secured(t, row.method, DNSSECOpportunistic))
			if proof.Secure && proof.CAA.Secure {
				t.Error("an unsigned answer was called secure")
			}
		})
	}
	t.Run("one question each", func(t *testing.T) {
		w := signedWorld(t)
		w.sign(testca.ZoneInsecure)
		w.failsAs(t.Context(), secured(t, DNS01, DNSSECRequire), problem.DNS)
		if n := len(w.dns.Queries()); n != 1 {
			t.Errorf("%d questions: what is not signed was asked for again", n)
		}
	})
	t.Run("one family unsigned", func(t *testing.T) {
		w := signedWorld(t)
		w.dns.Break(testName, dns.TypeAAAA, testca.DNSFault{Kind: testca.DNSServFail})
		if proof, _ := w.proves(secured(t, HTTP01, DNSSECRequire)); !proof.Secure {
			t.Error("the address that was used was authenticated")
		}
	})
}

func (w *world) zone(name string, state testca.ZoneState) {
	w.Helper()
	if err := w.dns.SignZone(name, state); err != nil {
		w.Fatal(err)
	}
}

// What a resolver says counts only if nobody can have said it for it.
func TestDNSSECUntrustedResolver(t *testing.T) {
	w := signedWorld(t)
	w.v.resolver.servers[0].trusted = false
	proof, rec := w.proves(secured(t, HTTP01, DNSSECOpportunistic))
	if proof.Secure || proof.CAA.Secure || !rec.Hops[0].Lookups[0].AD {
		t.Errorf("proof %+v, lookup %+v", proof, rec.Hops[0].Lookups[0])
	}
	before := len(w.dns.Queries())
	w.failsAs(t.Context(), secured(t, HTTP01, DNSSECRequire), problem.DNS, resultUnasked)
	if _, err := w.v.CheckCAA(t.Context(), CAARequest{DNSSEC: DNSSECRequire, Names: []CAAName{{Identifier: mustDNS(t, testName)}}}); !problem.Is(err, problem.CAA) {
		t.Error(err)
	}
	if len(w.dns.Queries()) != before {
		t.Error("a resolver that is not trusted was asked")
	}

	trusted, use := overTLS(t, resolverName)
	second := newWorld(t, use, func(c *Config) {
		c.Resolver.Servers = append([]string{w.dns.Addr()}, c.Resolver.Servers...)
		c.CAAIdentities = []string{ownIdentity}
	})
	_ = second.dns.Close()
	second.dns = trusted
	second.sign(testca.ZoneSigned)
	trusted.SetAddrs(testName, loopback4)
	second.v.resolver.servers[0].trusted = false
	if proof, _ := second.proves(secured(t, HTTP01, DNSSECRequire)); !proof.Secure || !proof.CAA.Secure {
		t.Errorf("by way of the second resolver: %+v", proof)
	}
	if len(w.dns.Queries()) != before {
		t.Error("a resolver that is not trusted was asked beside one that is")
	}
}

// The next trusted resolver may validate where the first does not.
func TestDNSSECNextResolver(t *testing.T) {
	lax, w := newWorld(t), signedWorld(t)
	r, err := NewResolver(ResolverConfig{Servers: []string{lax.dns.Addr(), w.dns.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	found, lookups, how := r.addresses(t.Context(), testName, DNSSECRequire)
	if len(found) != 1 || !how.secure || len(lookups) != 4 || lookups[1].Result != resultInsecure || !lookups[3].AD {
		t.Errorf("%v, %+v, %+v", found, lookups, how)
	}
}

// Every hop's lookup is held to the mode, and so is tls-alpn-01's.
func TestDNSSECOfHops(t *testing.T) {
	w := signedWorld(t)
	w.dns.SetAddrs("end.example.net", loopback4)
	w.zone("example.net", testca.ZoneInsecure)
	w.web.Break(testToken, testca.HTTPFault{Kind: testca.HTTPRedirect, URL: fmt.Sprintf("http://end.example.net:%d%s%s", w.web.Addr().Port(), challengePath, "end")})
	w.web.Set("end", testKeyAuth)
	w.failsAs(t.Context(), secured(t, HTTP01, DNSSECRequire), problem.DNS, "end.example.net is not authenticated")
	if proof, _ := w.proves(secured(t, HTTP01, DNSSECOpportunistic)); proof.Secure {
		t.Error("a hop's unsigned answer was called secure")
	}
	w.zone("example.net", testca.ZoneSigned)
	if proof, _ := w.proves(secured(t, HTTP01, DNSSECRequire)); !proof.Secure {
		t.Error("not secure")
	}

	alpn, _ := newALPNWorld(t)
	alpn.sign(testca.ZoneInsecure)
	req := alpnRequest(t, mustDNS(t, testName))
	req.DNSSEC = DNSSECRequire
	alpn.failsAs(t.Context(), req, problem.DNS, "not authenticated")
	alpn.sign(testca.ZoneSigned)
	if proof, _ := alpn.proves(req); !proof.Secure {
		t.Error("not secure")
	}
}

// An address is validated without the DNS, so nothing about it is unauthenticated.
func TestDNSSECOfAddresses(t *testing.T) {
	w := signedWorld(t)
	id, err := identifier.ParseIP("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	req := secured(t, HTTP01, DNSSECRequire)
	req.Identifier, req.CAA = id, nil
	if proof, _ := w.proves(req); !proof.Secure {
		t.Error("not secure")
	}
	found, err := w.v.CheckCAA(t.Context(), CAARequest{DNSSEC: DNSSECRequire, Names: []CAAName{{Identifier: id}}})
	if err != nil || !found[0].Secure {
		t.Errorf("%+v, %v", found, err)
	}
}
