package dcv

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// short makes a world whose Validator gives a silent server little time.
func short(c *Config) { c.Resolver.TryTimeout = 250 * time.Millisecond }

func TestLookupFailures(t *testing.T) {
	for _, row := range []struct {
		name   string
		kind   testca.DNSFaultKind
		part   string
		result string
		rounds int // questions sent for each type
	}{
		{"RFC 2308, 2.1: NXDOMAIN is final", testca.DNSNXDomain, "does not exist in DNS (NXDOMAIN)", resultNXDomain, 1},
		{"SERVFAIL", testca.DNSServFail, "(SERVFAIL)", resultServFail, 2},
		{"REFUSED", testca.DNSRefused, "REFUSED", "REFUSED", 2},
		{"FORMERR", testca.DNSFormErr, "FORMERR", "FORMERR", 2},
		{"no answer", testca.DNSSilent, "timed out", resultTimeout, 2},
		{"RFC 5452, 9.1: another id", testca.DNSWrongID, "timed out", resultTimeout, 2},
		{"RFC 5452, 9.1: another question", testca.DNSWrongQuestion, "timed out", resultTimeout, 2},
		{"RFC 6891, 6.2.5: more than 1232 bytes", testca.DNSOversized, resultOversized, resultOversized, 2},
		{"RFC 1035, 4.1: records that do not parse", testca.DNSMalformed, resultMalformed, resultMalformed, 2},
		{"RFC 2181, 9: truncated over TCP", testca.DNSTruncatedTCP, resultMalformed, resultMalformed, 4},
		{"RFC 1034, 3.6.2: alias loop", testca.DNSAliasLoop, resultAliasLoop, resultAliasLoop, 1},
		{"records of another name", testca.DNSStranger, "has no address", resultNoData, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			if row.result == resultTimeout {
				w.v.resolver.try = 100 * time.Millisecond
			}
			w.dns.Break(testName, 0, testca.DNSFault{Kind: row.kind})
			rec := w.fails(testName, problem.DNS, testName, row.part)
			for _, l := range rec.Hops[0].Lookups {
				if l.Name != testName || l.Result != row.result || l.Server != w.dns.Addr() || l.Network == "" {
					t.Errorf("lookup %+v", l)
				}
			}
			if n := len(w.dns.Queries()); n != 2*row.rounds {
				t.Errorf("%d questions, want %d", n, 2*row.rounds)
			}
			if strings.Contains(rec.Advice, w.dns.Addr()) {
				t.Error("the advice names our DNS server")
			}
		})
	}
	t.Run("RFC 2308, 2.2: no data", func(t *testing.T) {
		w := newWorld(t)
		w.dns.SetAddrs(testName)
		w.fails(testName, problem.DNS, "has no address in DNS")
	})
	t.Run("nobody listens", func(t *testing.T) {
		w := newWorld(t)
		_ = w.dns.Close()
		w.fails(testName, problem.DNS, resultClosed)
	})
}

func TestLookupSurvives(t *testing.T) {
	for _, row := range []struct {
		name    string
		kind    testca.DNSFaultKind
		network string
	}{
		{"RFC 5452, 9.1: forgeries before the reply", testca.DNSSpoofed, "udp"},
		{"RFC 2181, 9: truncated, so TCP", testca.DNSTruncated, "tcp"},
		{"a flood of guesses, so TCP", testca.DNSFlood, "tcp"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.dns.Break(testName, 0, testca.DNSFault{Kind: row.kind})
			_, rec := w.passes(testName)
			for _, l := range rec.Hops[0].Lookups {
				if l.Network != row.network || slices.Contains(l.Found, netip.MustParseAddr("203.0.113.66")) {
					t.Errorf("lookup %+v", l)
				}
			}
		})
	}
	t.Run("an A record while AAAA fails", func(t *testing.T) {
		w := newWorld(t, short)
		w.dns.Break(testName, dns.TypeAAAA, testca.DNSFault{Kind: testca.DNSSilent})
		_, rec := w.passes(testName)
		if l := rec.Hops[0].Lookups[0]; l.Type != "AAAA" || l.Result != resultTimeout {
			t.Errorf("lookup %+v", l)
		}
		if n := len(w.dns.Queries()); n != 2 {
			t.Errorf("%d questions: the second round was not saved", n)
		}
	})
	t.Run("no A record while AAAA fails is a failure", func(t *testing.T) {
		w := newWorld(t)
		w.dns.SetAddrs(testName)
		w.dns.Break(testName, dns.TypeAAAA, testca.DNSFault{Kind: testca.DNSServFail})
		w.fails(testName, problem.DNS, resultServFail)
	})
}

func TestLookupAliases(t *testing.T) {
	w := newWorld(t)
	w.dns.SetAddrs("end.example.net", loopback4)
	w.dns.SetChain("ten.example.org", "end.example.net", maxAliases)
	w.dns.SetChain("eleven.example.org", "end.example.net", maxAliases+1)
	if err := w.dns.Add("dangling.example.org. 60 IN CNAME nowhere.example.net."); err != nil {
		t.Fatal(err)
	}
	_, rec := w.passes("ten.example.org")
	if aliases := rec.Hops[0].Lookups[1].Aliases; len(aliases) != maxAliases || aliases[maxAliases-1] != "end.example.net" {
		t.Errorf("aliases %v", aliases)
	}
	w.fails("eleven.example.org", problem.DNS, resultAliases)
	w.fails("dangling.example.org", problem.DNS, "NXDOMAIN")
}

func TestLookupNextServer(t *testing.T) {
	spare, err := testca.NewDNS(testca.DNSConfig{Default: []netip.Addr{loopback4}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = spare.Close() }()
	w := newWorld(t, short, func(c *Config) { c.Resolver.Servers = append(c.Resolver.Servers, spare.Addr()) })
	for _, kind := range []testca.DNSFaultKind{testca.DNSServFail, testca.DNSRefused, testca.DNSSilent, testca.DNSMalformed, testca.DNSOversized} {
		w.v.resolver.prefer.Store(0)
		w.dns.Break("", 0, testca.DNSFault{Kind: kind})
		_, rec := w.passes(testName)
		if l := rec.Hops[0].Lookups; len(l) != 4 || l[3].Server != spare.Addr() {
			t.Errorf("fault %d: lookups %+v", kind, l)
		}
	}
	before := len(w.dns.Queries())
	w.passes(testName)
	if len(w.dns.Queries()) != before {
		t.Error("the server that failed last was asked first")
	}
	// When the spare one fails too, the first is asked again.
	w.dns.Break("", 0, testca.DNSFault{})
	spare.Break("", 0, testca.DNSFault{Kind: testca.DNSServFail})
	w.passes(testName)
}

func TestLookupSockets(t *testing.T) {
	w := newWorld(t)
	const validations = 2*socketUses + 1
	for range validations {
		w.passes(testName)
	}
	sources, ids := map[netip.AddrPort]int{}, map[uint16]int{}
	for _, q := range w.dns.Queries() {
		sources[q.Source]++
		ids[q.ID]++
		if q.EDNS != udpPayload {
			t.Fatalf("EDNS size %d", q.EDNS)
		}
	}
	if len(sources) != 3 {
		t.Errorf("%d sockets for %d lookups, want 3: kept, but not for ever", len(sources), validations)
	}
	if len(ids) < validations {
		t.Errorf("only %d ids in %d questions", len(ids), 2*validations)
	}
	if err := w.v.Close(); err != nil {
		t.Error(err)
	}
	w.passes(testName) // Close only lets go of what is kept
	if n := len(w.v.resolver.servers[0].transport.(*server).idle); n != 0 {
		t.Errorf("%d sockets kept after Close", n)
	}
}

// A socket that saw an error or may still get a late reply is not used again.
func TestLookupDropsDirtySockets(t *testing.T) {
	w := newWorld(t, short)
	w.dns.Break("late.example.com", 0, testca.DNSFault{Kind: testca.DNSSilent})
	w.passes(testName)
	w.fails("late.example.com", problem.DNS, resultTimeout)
	w.passes(testName)
	q := w.dns.Queries()
	if first, last := q[0].Source, q[len(q)-1].Source; first == last {
		t.Error("the socket that timed out was used again")
	}
}

func TestLookupCanceled(t *testing.T) {
	w := newWorld(t)
	w.dns.Break(testName, 0, testca.DNSFault{Kind: testca.DNSSilent})
	ctx, cancel := context.WithCancel(t.Context())
	w.dns.Watch(func(testca.DNSQuery) { cancel() })
	rec := w.failsAs(ctx, requestFor(t, testName), problem.Unavailable)
	if got := rec.Hops[0].Lookups[0].Result; got != resultCanceled {
		t.Errorf("result %q", got)
	}
}
