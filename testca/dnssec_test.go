package testca

import (
	"crypto/tls"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// askWith sends a question with the bits that change sets.
func askWith(t *testing.T, d *DNS, name string, qtype uint16, change func(*dns.Msg)) *dns.Msg {
	t.Helper()
	q := new(dns.Msg)
	q.SetQuestion(dns.Fqdn(name), qtype)
	change(q)
	client := &dns.Client{Net: "tcp", Timeout: 5 * time.Second}
	reply, _, err := client.ExchangeContext(t.Context(), q, d.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

func plain(*dns.Msg) {}

func withDO(m *dns.Msg) { m.SetEdns0(1232, true) }

func withCD(m *dns.Msg) {
	m.SetEdns0(1232, true)
	m.CheckingDisabled = true
}

func withAD(m *dns.Msg) { m.AuthenticatedData = true }

func signedDNS(t *testing.T, state ZoneState) *DNS {
	t.Helper()
	d := newDNS(t, DNSConfig{})
	for zone, s := range map[string]ZoneState{".": ZoneSigned, "example.com": state} {
		if err := d.SignZone(zone, s); err != nil {
			t.Fatal(err)
		}
	}
	d.SetAddrs("www.example.com", netip.MustParseAddr("192.0.2.1"))
	return d
}

// The signatures are real: whoever has the zone's key can verify them.
func TestDNSSECSignatures(t *testing.T) {
	d := signedDNS(t, ZoneSigned)
	key := askWith(t, d, "example.com", dns.TypeDNSKEY, withDO).Answer[0].(*dns.DNSKEY)
	for _, row := range []struct {
		name  string
		qtype uint16
	}{{"www.example.com", dns.TypeA}, {"www.example.com", dns.TypeTXT}, {"no.example.com", dns.TypeA}} {
		m := askWith(t, d, row.name, row.qtype, withDO)
		sets := rrsets(append(m.Answer, m.Ns...))
		verified := 0
		for _, set := range sets {
			sig, ok := set[0].(*dns.RRSIG)
			if !ok {
				continue
			}
			for _, sig := range append([]*dns.RRSIG{sig}, others(set)...) {
				for _, covered := range sets {
					if h := covered[0].Header(); h.Rrtype == sig.TypeCovered && h.Name == sig.Hdr.Name {
						if err := sig.Verify(key, covered); err != nil || !sig.ValidityPeriod(time.Now()) {
							t.Errorf("%s: %v: %v", row.name, sig, err)
						}
						verified++
					}
				}
			}
		}
		if verified == 0 || !m.AuthenticatedData || !m.IsEdns0().Do() {
			t.Errorf("%s: %d signatures verified in %v", row.name, verified, m)
		}
	}
}

func others(set []dns.RR) []*dns.RRSIG {
	var sigs []*dns.RRSIG
	for _, rr := range set[1:] {
		sigs = append(sigs, rr.(*dns.RRSIG))
	}
	return sigs
}

func TestDNSSECStates(t *testing.T) {
	for state, row := range map[ZoneState]struct {
		rcode int
		code  uint16
		ad    bool
	}{
		ZoneSigned:   {dns.RcodeSuccess, 0, true},
		ZoneInsecure: {dns.RcodeSuccess, 0, false},
		ZoneBogus:    {dns.RcodeServerFailure, dns.ExtendedErrorCodeDNSBogus, false},
		ZoneExpired:  {dns.RcodeServerFailure, dns.ExtendedErrorCodeSignatureExpired, false},
		ZoneStripped: {dns.RcodeServerFailure, dns.ExtendedErrorCodeRRSIGsMissing, false},
	} {
		d := signedDNS(t, state)
		for name, change := range map[string]func(*dns.Msg){"DO": withDO, "AD": withAD, "neither": plain, "CD": withCD} {
			for qname, rcode := range map[string]int{"www.example.com": dns.RcodeSuccess, "no.example.com": dns.RcodeNameError} {
				m := askWith(t, d, qname, dns.TypeA, change)
				if row.rcode == dns.RcodeServerFailure && name != "CD" {
					rcode = dns.RcodeServerFailure
				}
				if m.Rcode != rcode || m.AuthenticatedData != (row.ad && name != "neither") {
					t.Errorf("state %d, %s, %s: %v", state, name, qname, m)
				}
				if rcode == dns.RcodeServerFailure && name == "DO" {
					if opt := m.IsEdns0(); len(opt.Option) != 1 || opt.Option[0].(*dns.EDNS0_EDE).InfoCode != row.code {
						t.Errorf("state %d: explained by %v", state, opt)
					}
				}
			}
		}
	}
	d := signedDNS(t, ZoneBogus)
	if err := d.SignZone("example.com", ZoneSigned); err != nil {
		t.Fatal(err)
	}
	if m := askWith(t, d, "www.example.com", dns.TypeA, withDO); !m.AuthenticatedData {
		t.Errorf("a mended zone: %v", m)
	}
}

func TestDNSOverTLS(t *testing.T) {
	h, err := NewHierarchy(HierarchyConfig{})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := h.Leaf("dns.example.net")
	if err != nil {
		t.Fatal(err)
	}
	d := newDNS(t, DNSConfig{TLS: &tls.Config{Certificates: []tls.Certificate{leaf}, MinVersion: tls.VersionTLS12}, Default: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	client := &dns.Client{Net: "tcp-tls", Timeout: 5 * time.Second, TLSConfig: &tls.Config{RootCAs: h.Pool(), ServerName: "dns.example.net"}}
	q := new(dns.Msg)
	q.SetQuestion("www.example.com.", dns.TypeA)
	if m, _, err := client.ExchangeContext(t.Context(), q, d.TLSAddr()); err != nil || len(m.Answer) != 1 {
		t.Errorf("%v, %v", m, err)
	}
	if seen := d.Queries(); len(seen) != 1 || seen[0].Network != "tls" {
		t.Errorf("queries %+v", seen)
	}
	if addr := newDNS(t, DNSConfig{}).TLSAddr(); addr != "" {
		t.Errorf("TLS at %s without a certificate", addr)
	}
}

// What goes wrong with a connection needs one, so over UDP it is a truncated reply.
func TestDNSStreamFaults(t *testing.T) {
	d := newDNS(t, DNSConfig{Default: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	for kind, answered := range map[DNSFaultKind]bool{DNSClosed: false, DNSDribble: false, DNSHangUp: true} {
		d.Break("", 0, DNSFault{Kind: kind})
		if m, err := ask(t, d, "udp", "www.example.com", dns.TypeA); err != nil || !m.Truncated {
			t.Errorf("fault %d over UDP: %v, %v", kind, m, err)
		}
		ask := ask
		if kind == DNSDribble {
			ask = askBriefly
		}
		if m, err := ask(t, d, "tcp", "www.example.com", dns.TypeA); (err == nil) != answered {
			t.Errorf("fault %d over TCP: %v, %v", kind, m, err)
		}
	}
	for kind, check := range map[DNSFaultKind]func(*dns.Msg) bool{
		DNSLame:       func(m *dns.Msg) bool { return len(m.Answer) == 0 && len(m.Ns) == 1 && m.RecursionAvailable },
		DNSDuplicated: func(m *dns.Msg) bool { return len(m.Answer) == 2 },
		DNSHuge:       func(m *dns.Msg) bool { return len(m.Answer) == 201 },
	} {
		d.Break("", 0, DNSFault{Kind: kind, EDE: dns.ExtendedErrorCodeNotReady, AD: true})
		if m := askWith(t, d, "www.example.com", dns.TypeA, withDO); !check(m) || len(m.IsEdns0().Option) != 1 || !m.AuthenticatedData {
			t.Errorf("fault %d: %v", kind, m)
		}
	}
}
