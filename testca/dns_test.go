package testca

import (
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func newDNS(t *testing.T, cfg DNSConfig) *DNS {
	t.Helper()
	d, err := NewDNS(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// ask sends one question and waits for a reply for as long as that may take.
func ask(t *testing.T, d *DNS, network, name string, qtype uint16) (*dns.Msg, error) {
	t.Helper()
	return askWithin(t, d, network, name, qtype, 20*time.Second)
}

// askBriefly is ask where no reply will come.
func askBriefly(t *testing.T, d *DNS, network, name string, qtype uint16) (*dns.Msg, error) {
	t.Helper()
	return askWithin(t, d, network, name, qtype, 200*time.Millisecond)
}

func askWithin(t *testing.T, d *DNS, network, name string, qtype uint16, timeout time.Duration) (*dns.Msg, error) {
	t.Helper()
	q := new(dns.Msg)
	q.SetQuestion(dns.Fqdn(name), qtype)
	client := &dns.Client{Net: network, Timeout: timeout, UDPSize: 65535}
	reply, _, err := client.ExchangeContext(t.Context(), q, d.Addr())
	return reply, err
}

func TestDNSAnswers(t *testing.T) {
	d := newDNS(t, DNSConfig{})
	d.SetAddrs("www.example.com", netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"))
	d.SetAddrs("empty.example.com")
	d.SetChain("alias.example.com", "www.example.com", 3)
	if err := d.Add("_acme.example.com. 60 IN TXT \"x\"", "example.com. 60 IN CAA 0 issue \"ca.example\""); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name    string
		qtype   uint16
		rcode   int
		answers int
	}{
		{"www.example.com", dns.TypeA, dns.RcodeSuccess, 1},
		{"WWW.example.com", dns.TypeAAAA, dns.RcodeSuccess, 1},
		{"www.example.com", dns.TypeTXT, dns.RcodeSuccess, 0},
		{"empty.example.com", dns.TypeA, dns.RcodeSuccess, 0},
		{"alias.example.com", dns.TypeA, dns.RcodeSuccess, 4},
		{"alias.example.com", dns.TypeCNAME, dns.RcodeSuccess, 1},
		{"_acme.example.com", dns.TypeTXT, dns.RcodeSuccess, 1},
		{"example.com", dns.TypeCAA, dns.RcodeSuccess, 1},
		{"nowhere.example.com", dns.TypeA, dns.RcodeNameError, 0},
	} {
		for _, network := range []string{"udp", "tcp"} {
			reply, err := ask(t, d, network, row.name, row.qtype)
			if err != nil {
				t.Fatalf("%s %d: %v", row.name, row.qtype, err)
			}
			if reply.Rcode != row.rcode || len(reply.Answer) != row.answers || !reply.RecursionAvailable {
				t.Errorf("%s over %s: %v", row.name, network, reply)
			}
		}
	}
	d.Remove("www.example.com")
	if reply, err := ask(t, d, "udp", "www.example.com", dns.TypeA); err != nil || reply.Rcode != dns.RcodeNameError {
		t.Errorf("a removed name: %v, %v", reply, err)
	}
	if err := d.Add("not a record"); err == nil {
		t.Error("nonsense was added")
	}
	if q := d.Queries(); len(q) != 19 || q[0].Network != "udp" || q[1].Network != "tcp" || q[0].Name != "www.example.com." {
		t.Errorf("%d queries: %+v", len(q), q)
	}
}

func TestDNSDefaultAndTurns(t *testing.T) {
	one, two := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.2")
	d := newDNS(t, DNSConfig{Default: []netip.Addr{one}})
	d.SetTurns("liar.example.com", []netip.Addr{one}, []netip.Addr{two})
	for i, want := range []netip.Addr{one, two, two} {
		reply, err := ask(t, d, "udp", "liar.example.com", dns.TypeA)
		if err != nil || len(reply.Answer) != 1 || reply.Answer[0].(*dns.A).A.String() != want.String() {
			t.Errorf("turn %d: %v, %v", i, reply, err)
		}
	}
	if reply, err := ask(t, d, "udp", "any.example.com", dns.TypeA); err != nil || len(reply.Answer) != 1 {
		t.Errorf("default: %v, %v", reply, err)
	}
}

func TestDNSFaults(t *testing.T) {
	d := newDNS(t, DNSConfig{Default: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	const name = "www.example.com"
	for kind, check := range map[DNSFaultKind]func(*dns.Msg, error) bool{
		DNSServFail:      func(m *dns.Msg, err error) bool { return err == nil && m.Rcode == dns.RcodeServerFailure },
		DNSRefused:       func(m *dns.Msg, err error) bool { return err == nil && m.Rcode == dns.RcodeRefused },
		DNSNXDomain:      func(m *dns.Msg, err error) bool { return err == nil && m.Rcode == dns.RcodeNameError },
		DNSFormErr:       func(m *dns.Msg, err error) bool { return err == nil && m.Rcode == dns.RcodeFormatError },
		DNSSilent:        func(_ *dns.Msg, err error) bool { return err != nil },
		DNSWrongID:       func(_ *dns.Msg, err error) bool { return err != nil },
		DNSWrongQuestion: func(m *dns.Msg, err error) bool { return err == nil && m.Question[0].Name != name+"." },
		DNSTruncated:     func(m *dns.Msg, err error) bool { return err == nil && m.Truncated && len(m.Answer) == 0 },
		DNSOversized:     func(m *dns.Msg, err error) bool { return err == nil && len(m.Answer) == 2000 },
		DNSMalformed:     func(_ *dns.Msg, err error) bool { return err != nil },
		DNSAliasLoop:     func(m *dns.Msg, err error) bool { return err == nil && len(m.Answer) == 2 },
		DNSStranger:      func(m *dns.Msg, err error) bool { return err == nil && m.Answer[0].Header().Name != name+"." },
	} {
		d.Break(name, dns.TypeA, DNSFault{Kind: kind})
		ask := ask
		if kind == DNSSilent || kind == DNSWrongID {
			ask = askBriefly
		}
		if m, err := ask(t, d, "udp", name, dns.TypeA); !check(m, err) {
			t.Errorf("fault %d: %v, %v", kind, m, err)
		}
		if m, err := ask(t, d, "udp", name, dns.TypeAAAA); err != nil || m.Rcode != dns.RcodeSuccess {
			t.Errorf("fault %d touched another type: %v, %v", kind, m, err)
		}
	}
	d.Break(name, dns.TypeA, DNSFault{Kind: DNSTruncated})
	if m, err := ask(t, d, "tcp", name, dns.TypeA); err != nil || m.Truncated || len(m.Answer) != 1 {
		t.Errorf("truncated over UDP only: %v, %v", m, err)
	}
	d.Break(name, dns.TypeA, DNSFault{})
	d.Break("", 0, DNSFault{Delay: time.Hour})
	if m, err := askBriefly(t, d, "udp", name, dns.TypeA); err == nil {
		t.Errorf("slow: %v", m)
	}
	d.Break("", 0, DNSFault{})
	if m, err := ask(t, d, "udp", name, dns.TypeA); err != nil || len(m.Answer) != 1 {
		t.Errorf("mended: %v, %v", m, err)
	}
}
