package dcv

import (
	"bytes"
	"crypto/tls"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/testca"
)

var update = flag.Bool("update", false, "write testdata/dns.txt anew")

// resolverName is what the certificate of a world's DNS over TLS is for.
const resolverName = "dns.example.net"

// overTLS makes a hierarchy and a DNS server that it certifies for names, and a change to a Validator that asks it over TLS.
func overTLS(t *testing.T, names ...string) (*testca.DNS, func(*Config)) {
	t.Helper()
	h, err := testca.NewHierarchy(testca.HierarchyConfig{})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := h.Leaf(names...)
	if err != nil {
		t.Fatal(err)
	}
	d, err := testca.NewDNS(testca.DNSConfig{TLS: &tls.Config{Certificates: []tls.Certificate{leaf}, MinVersion: tls.VersionTLS12}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d, func(c *Config) {
		c.Resolver.Servers = []string{dotScheme + d.TLSAddr() + "#" + resolverName}
		c.Resolver.Roots = h.Pool()
	}
}

// dotWorld is a world that is looked up over TLS.
func dotWorld(t *testing.T, change ...func(*Config)) *world {
	t.Helper()
	d, use := overTLS(t, resolverName)
	w := newWorld(t, append([]func(*Config){use}, change...)...)
	_ = w.dns.Close() // the one that newWorld made is not asked
	w.dns = d
	d.SetAddrs(testName, loopback4)
	return w
}

// sign makes root and example.com signed zones, the latter in a state.
func (w *world) sign(state testca.ZoneState) {
	w.Helper()
	for name, s := range map[string]testca.ZoneState{".": testca.ZoneSigned, "example.com": state} {
		if err := w.dns.SignZone(name, s); err != nil {
			w.Fatal(err)
		}
	}
}

// dnsTrouble is one thing that goes wrong with the DNS, for every name.
type dnsTrouble struct {
	name  string
	fault testca.DNSFault
	zone  testca.ZoneState
	slow  bool // ends by a timeout, so the test makes it a short one
}

func dnsTroubles() []dnsTrouble {
	all := []dnsTrouble{
		{name: "honest, signed"},
		{name: "bogus signatures", zone: testca.ZoneBogus},
		{name: "expired signatures", zone: testca.ZoneExpired},
		{name: "stripped signatures", zone: testca.ZoneStripped},
		{name: "unsigned", zone: testca.ZoneInsecure},
		{name: "SERVFAIL, explained", fault: testca.DNSFault{Kind: testca.DNSServFail, EDE: dns.ExtendedErrorCodeNoReachableAuthority, Text: "at 192.0.2.1\x1b[31m\r\n"}},
		{name: "NXDOMAIN, blocked", fault: testca.DNSFault{Kind: testca.DNSNXDomain, EDE: dns.ExtendedErrorCodeBlocked}},
		{name: "stale", fault: testca.DNSFault{EDE: dns.ExtendedErrorCodeStaleAnswer}},
		{name: "slow", fault: testca.DNSFault{Delay: time.Hour}, slow: true},
	}
	for _, k := range []struct {
		name string
		kind testca.DNSFaultKind
		slow bool
	}{
		{"SERVFAIL", testca.DNSServFail, false}, {"REFUSED", testca.DNSRefused, false}, {"NXDOMAIN", testca.DNSNXDomain, false},
		{"FORMERR", testca.DNSFormErr, false}, {"silent", testca.DNSSilent, true}, {"wrong id", testca.DNSWrongID, true},
		{"wrong question", testca.DNSWrongQuestion, true}, {"spoofed", testca.DNSSpoofed, false},
		{"truncated", testca.DNSTruncated, false}, {"truncated everywhere", testca.DNSTruncatedTCP, false},
		{"oversized", testca.DNSOversized, false}, {"malformed", testca.DNSMalformed, false}, {"alias loop", testca.DNSAliasLoop, false},
		{"records of a stranger", testca.DNSStranger, false}, {"no recursion", testca.DNSReferral, false}, {"lame", testca.DNSLame, false},
		{"without SOA", testca.DNSBare, false}, {"shuffled", testca.DNSShuffled, false}, {"duplicated", testca.DNSDuplicated, false},
		{"huge", testca.DNSHuge, false}, {"closed", testca.DNSClosed, false}, {"hangs up", testca.DNSHangUp, false},
		{"dribbles", testca.DNSDribble, true},
	} {
		all = append(all, dnsTrouble{name: k.name, fault: testca.DNSFault{Kind: k.kind}, slow: k.slow})
	}
	return all
}

// verdict validates testName in a troubled world and says what came of it.
func (d dnsTrouble) verdict(t *testing.T, dot bool, mode DNSSEC, what string) string {
	change := func(c *Config) {
		c.CAAIdentities = []string{ownIdentity}
		c.Resolver.TryTimeout = time.Minute
		if d.slow {
			c.Resolver.TryTimeout = 200 * time.Millisecond
		}
	}
	var w *world
	if dot {
		w = dotWorld(t, change)
	} else {
		w = newWorld(t, change)
	}
	w.sign(d.zone)
	if err := w.dns.Add(`example.com. 60 IN CAA 0 issue "ca.example.com"`); err != nil {
		t.Fatal(err)
	}
	w.txt(testLabel, testDigest)
	req := requestFor(t, testName)
	req.DNSSEC = mode
	var err error
	switch what {
	case "http-01":
		w.dns.Break("", dns.TypeA, d.fault)
		w.dns.Break("", dns.TypeAAAA, d.fault)
		_, _, err = w.v.Check(t.Context(), req)
	case "dns-01":
		req.Method = DNS01
		w.dns.Break("", dns.TypeTXT, d.fault)
		_, _, err = w.v.Check(t.Context(), req)
	case "CAA":
		w.dns.Break("", dns.TypeCAA, d.fault)
		_, err = w.v.CheckCAA(t.Context(), CAARequest{DNSSEC: mode, Names: []CAAName{{Identifier: req.Identifier, Methods: []Method{HTTP01}}}})
	}
	if err == nil {
		return "accepted"
	}
	p := problem.From(err)
	return fmt.Sprintf("%v: %s", p.Kind, p.Detail)
}

// TestDNSTroubles holds what comes of everything that can go wrong with the DNS to testdata/dns.txt, over UDP without
// DNSSEC and over TLS with DNSSEC required. Run with -update to write it, and read what changed.
func TestDNSTroubles(t *testing.T) {
	var mu sync.Mutex
	verdicts := map[string]string{}
	var order []string
	t.Run("all", func(t *testing.T) {
		for _, d := range dnsTroubles() {
			for _, dot := range []bool{false, true} {
				mode, how := DNSSECOff, "UDP, off"
				if dot {
					mode, how = DNSSECRequire, "TLS, require"
				}
				for _, what := range []string{"http-01", "dns-01", "CAA"} {
					key := strings.Join([]string{d.name, how, what}, " | ")
					order = append(order, key)
					t.Run(key, func(t *testing.T) {
						t.Parallel()
						got := d.verdict(t, dot, mode, what)
						mu.Lock()
						defer mu.Unlock()
						verdicts[key] = got
					})
				}
			}
		}
	})
	var text bytes.Buffer
	for _, key := range order {
		fmt.Fprintf(&text, "%s | %s\n", key, verdicts[key])
	}
	const file = "testdata/dns.txt"
	if *update {
		if err := os.WriteFile(file, text.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	wanted := strings.Split(string(want), "\n")
	got := strings.Split(text.String(), "\n")
	if len(got) != len(wanted) {
		t.Fatalf("%d rows, %s has %d", len(got), file, len(wanted))
	}
	for i := range got {
		if got[i] != wanted[i] {
			t.Errorf("got  %s\nwant %s", got[i], wanted[i])
		}
	}
}
