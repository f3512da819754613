package dcv

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/testca"
)

const (
	testDigest = "jAeRKvOkKDEFZbI8zQdXnc8-7y3692CTeOKRW0hRP48" // openssl dgst -sha256 of testKeyAuth, in base64url
	testLabel  = "_acme-challenge." + testName
)

func dnsRequest(t testing.TB, name string) Request {
	r := requestFor(t, name)
	r.Method = DNS01
	return r
}

func (w *world) txt(owner string, values ...string) {
	w.Helper()
	for _, v := range values {
		if err := w.dns.Add(fmt.Sprintf("%s. 60 IN TXT %s", owner, v)); err != nil {
			w.Fatal(err)
		}
	}
}

func (w *world) proves(req Request) (*Proof, *Record) {
	w.Helper()
	proof, rec, err := w.v.Check(w.Context(), req)
	if err != nil {
		w.Fatalf("refused: %v", err)
	}
	return proof, rec
}

func TestDNS01Accepts(t *testing.T) {
	if got := dnsDigest(testKeyAuth); got != testDigest {
		t.Fatalf("RFC 8555, 8.4: the digest is %s", got)
	}
	for _, row := range []struct {
		name    string
		prepare func(*world)
		asked   string
	}{
		{"RFC 8555, 8.4: the digest", func(w *world) { w.txt(testLabel, testDigest) }, testName},
		{"RFC 8555, 8.4: one of several records", func(w *world) { w.txt(testLabel, "other", testDigest, `"v=spf1 -all"`) }, testName},
		{"RFC 1035, 3.3.14: in several character-strings", func(w *world) {
			w.txt(testLabel, fmt.Sprintf("%q %q", testDigest[:10], testDigest[10:]))
		}, testName},
		{"RFC 8555, 8.4: delegated by CNAME", func(w *world) {
			w.dns.SetChain(testLabel, "validation.example.net", maxAliases)
			w.txt("validation.example.net", testDigest)
		}, testName},
		{"RFC 8555, 7.1.3: a wildcard at its base", func(w *world) { w.txt(testLabel, testDigest) }, "*." + testName},
		{"RFC 2181, 9: truncated, so TCP", func(w *world) {
			w.txt(testLabel, testDigest)
			w.dns.Break(testLabel, dns.TypeTXT, testca.DNSFault{Kind: testca.DNSTruncated})
		}, testName},
		{"RFC 5452, 9.1: behind forgeries", func(w *world) {
			w.txt(testLabel, testDigest)
			w.dns.Break(testLabel, dns.TypeTXT, testca.DNSFault{Kind: testca.DNSSpoofed})
		}, testName},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			row.prepare(w)
			proof, rec := w.proves(dnsRequest(t, row.asked))
			if proof.Method != DNS01 || proof.Identifier != mustDNS(t, testName) || proof.At.IsZero() || proof.At.Nanosecond() != 0 {
				t.Errorf("proof %+v", proof)
			}
			url := "dns:" + testLabel + "?type=TXT"
			if want := url + " from " + w.dns.Addr(); proof.Seen != want {
				t.Errorf("seen %q, want %q", proof.Seen, want)
			}
			if len(rec.Hops) != 1 || rec.Hops[0].URL != url || rec.Hops[0].Lookups[0].Type != "TXT" || rec.Hops[0].Lookups[0].Texts == 0 {
				t.Errorf("record %+v", rec)
			}
			for _, q := range w.dns.Queries() {
				if q.Type != dns.TypeTXT || q.Name != testLabel+"." || q.EDNS != udpPayload {
					t.Errorf("question %+v", q)
				}
			}
			if len(w.web.Requests()) != 0 {
				t.Error("the web server was asked")
			}
		})
	}
}

func TestDNS01RefusesRecords(t *testing.T) {
	lower := strings.ToLower(testDigest)
	for _, row := range []struct {
		name    string
		prepare func(*world)
		kind    problem.Kind
		part    string
	}{
		{"no record", func(w *world) { w.dns.SetAddrs(testLabel, loopback4) }, problem.DNS, testLabel + " has no TXT record"},
		{"no name", func(*world) {}, problem.DNS, testLabel + " does not exist in DNS (NXDOMAIN)"},
		{"at the name itself", func(w *world) { w.txt(testName, testDigest) }, problem.DNS, "does not exist"},
		{"at a name below", func(w *world) { w.txt("_acme-challenge."+testLabel, testDigest) }, problem.DNS, "does not exist"},
		{"at the parent", func(w *world) { w.txt("_acme-challenge.example.com", testDigest) }, problem.DNS, "does not exist"},
		{"another digest", func(w *world) { w.txt(testLabel, dnsDigest(testKeyAuth+"x")) }, problem.IncorrectResponse, "1 might be another challenge's"},
		{"something else", func(w *world) { w.txt(testLabel, canary) }, problem.IncorrectResponse, "none of 1 TXT records is \"" + testDigest + "\"; none looks like"},
		{"the key authorization", func(w *world) { w.txt(testLabel, testKeyAuth) }, problem.IncorrectResponse, "the key authorization itself"},
		{"the token", func(w *world) { w.txt(testLabel, testToken) }, problem.IncorrectResponse, "the token instead"},
		{"lower case", func(w *world) { w.txt(testLabel, lower) }, problem.IncorrectResponse, "other letter case"},
		{"padded", func(w *world) { w.txt(testLabel, testDigest+"=") }, problem.IncorrectResponse, "padding"},
		{"quoted twice", func(w *world) { w.txt(testLabel, `"\"`+testDigest+`\""`) }, problem.IncorrectResponse, "quotation marks"},
		{"a beginning", func(w *world) { w.txt(testLabel, testDigest[:42]) }, problem.IncorrectResponse, "none of 1"},
		{"the digest split over two records", func(w *world) { w.txt(testLabel, testDigest[:20], testDigest[20:]) }, problem.IncorrectResponse, "none of 2"},
		{"an empty string", func(w *world) { w.txt(testLabel, `""`) }, problem.IncorrectResponse, "none of 1"},
		{"RFC 1034, 3.6.2: alias loop", func(w *world) {
			w.txt(testLabel, testDigest)
			w.dns.Break(testLabel, dns.TypeTXT, testca.DNSFault{Kind: testca.DNSAliasLoop})
		}, problem.DNS, resultAliasLoop},
		{"more aliases than are followed", func(w *world) {
			w.dns.SetChain(testLabel, "validation.example.net", maxAliases+1)
			w.txt("validation.example.net", testDigest)
		}, problem.DNS, resultAliases},
		{"an alias to nowhere", func(w *world) { w.dns.SetChain(testLabel, "validation.example.net", 1) }, problem.DNS, `(an alias of "validation.example.net") does not exist`},
		{"an alias to a name with another digest", func(w *world) {
			w.dns.SetChain(testLabel, "validation.example.net", 1)
			w.txt("validation.example.net", "x")
		}, problem.IncorrectResponse, `an alias of "validation.example.net"`},
		{"records of another owner", func(w *world) {
			w.txt(testLabel, testDigest)
			w.dns.Break(testLabel, dns.TypeTXT, testca.DNSFault{Kind: testca.DNSStranger})
		}, problem.DNS, "has no TXT record"},
		{"SERVFAIL", func(w *world) {
			w.txt(testLabel, testDigest)
			w.dns.Break(testLabel, dns.TypeTXT, testca.DNSFault{Kind: testca.DNSServFail})
		}, problem.DNS, "SERVFAIL"},
		{"REFUSED", func(w *world) {
			w.txt(testLabel, testDigest)
			w.dns.Break(testLabel, dns.TypeTXT, testca.DNSFault{Kind: testca.DNSRefused})
		}, problem.DNS, "REFUSED"},
		{"NXDOMAIN with the record", func(w *world) {
			w.dns.Break(testLabel, dns.TypeTXT, testca.DNSFault{Kind: testca.DNSNXDomain})
		}, problem.DNS, "NXDOMAIN"},
		{"more records than are read", func(w *world) {
			w.txt(testLabel, testDigest)
			w.dns.Break(testLabel, dns.TypeTXT, testca.DNSFault{Kind: testca.DNSOversized})
		}, problem.DNS, resultOversized},
		{"another id", func(w *world) {
			w.txt(testLabel, testDigest)
			w.dns.Break(testLabel, dns.TypeTXT, testca.DNSFault{Kind: testca.DNSWrongID})
		}, problem.DNS, "timed out"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			if row.part == "timed out" {
				w.v.resolver.try = 100 * time.Millisecond
			}
			row.prepare(w)
			rec := w.failsAs(t.Context(), dnsRequest(t, testName), row.kind, row.part)
			if rec.Advice == "" {
				t.Error("no advice")
			}
			_, _, err := w.v.Check(t.Context(), dnsRequest(t, testName))
			for _, text := range []string{err.Error(), fmt.Sprintf("%+v", rec)} {
				if strings.Contains(text, canary) {
					t.Errorf("the record's text shows: %s", text)
				}
			}
		})
	}
}

func TestDNS01RefusesRequests(t *testing.T) {
	w := newWorld(t)
	address, err := identifier.ParseIP("192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat(strings.Repeat("a", 59)+".", 4) + "example" // 247 characters
	for name, id := range map[string]identifier.Identifier{
		"RFC 8738, 7: an address":                                address,
		"RFC 1035, 2.3.4: no room for the label":                 mustDNS(t, long),
		"RFC 1035, 2.3.4: no room for the label of its wildcard": mustDNS(t, "*."+long),
	} {
		req := dnsRequest(t, testName)
		req.Identifier = id
		t.Run(name, func(t *testing.T) {
			(&world{T: t, v: w.v}).failsAs(t.Context(), req, problem.RejectedIdentifier, "dns-01 cannot prove")
		})
	}
	if n := len(w.dns.Queries()); n != 0 {
		t.Errorf("%d questions", n)
	}
}
