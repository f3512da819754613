package testca

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/asn1"
	"net/netip"
	"slices"
	"testing"

	"github.com/miekg/dns"

	"github.com/gatehouse-ca/gatehouse/identifier"
)

func TestTLSALPN(t *testing.T) {
	s, err := NewTLSALPN(TLSALPNConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	name, err := identifier.ParseDNS("www.example.com")
	if err != nil {
		t.Fatal(err)
	}
	address, err := identifier.ParseIP("192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	s.Set(name, "token.print")
	s.Set(address, "token.print")
	dial := func(id identifier.Identifier) (*tls.Conn, error) {
		return tls.Dial("tcp", s.Addr().String(), &tls.Config{
			ServerName: ServerName(id), NextProtos: []string{"acme-tls/1"}, InsecureSkipVerify: true,
		})
	}
	for _, id := range []identifier.Identifier{name, address} {
		c, err := dial(id)
		if err != nil {
			t.Fatal(err)
		}
		state := c.ConnectionState()
		cert := state.PeerCertificates[0]
		if state.NegotiatedProtocol != "acme-tls/1" || len(cert.DNSNames)+len(cert.IPAddresses) != 1 {
			t.Errorf("%s: %s, %v, %v", id, state.NegotiatedProtocol, cert.DNSNames, cert.IPAddresses)
		}
		if !slices.ContainsFunc(cert.UnhandledCriticalExtensions, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}.Equal) {
			t.Errorf("%s: critical are %v", id, cert.UnhandledCriticalExtensions)
		}
		_ = c.Close()
	}
	s.Break(name, TLSALPNOtherProtocol)
	if _, err := dial(name); err == nil {
		t.Error("a protocol that was not offered was negotiated")
	}
	s.Remove(name)
	if _, err := dial(name); err == nil {
		t.Error("a name that was removed is answered for")
	}
	hellos := s.Hellos()
	if len(hellos) != 4 || hellos[0].ServerName != "www.example.com" || hellos[1].ServerName != "1.2.0.192.in-addr.arpa" {
		t.Errorf("hellos %+v", hellos)
	}
}

// TestTLSALPNDigest has a server show what somebody else answers, and break it on the way.
func TestTLSALPNDigest(t *testing.T) {
	right := sha256.Sum256([]byte("token.print"))
	s, err := NewTLSALPN(TLSALPNConfig{Digest: func(_ context.Context, name string) ([]byte, bool) {
		return right[:], name == "known.example"
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	shown := func(name string) (digest []byte) {
		t.Helper()
		c, err := tls.Dial("tcp", s.Addr().String(), &tls.Config{ServerName: name, NextProtos: []string{"acme-tls/1"}, InsecureSkipVerify: true})
		if err != nil {
			return nil
		}
		defer c.Close()
		for _, e := range c.ConnectionState().PeerCertificates[0].Extensions {
			if e.Id.Equal(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}) {
				if _, err := asn1.Unmarshal(e.Value, &digest); err != nil {
					t.Error(err)
				}
			}
		}
		return digest
	}
	if got := shown("known.example"); !bytes.Equal(got, right[:]) {
		t.Errorf("known: %x, want %x", got, right)
	}
	if got := shown("unknown.example"); got != nil {
		t.Errorf("unknown: %x", got)
	}
	id, err := identifier.ParseDNS("known.example")
	if err != nil {
		t.Fatal(err)
	}
	s.Break(id, TLSALPNOtherDigest)
	if got := shown("known.example"); len(got) != len(right) || bytes.Equal(got, right[:]) {
		t.Errorf("another digest: %x", got)
	}
	s.Break(id, TLSALPNHonest)
	other := sha256.Sum256([]byte("other.print"))
	if s.Set(id, "other.print"); !bytes.Equal(shown("known.example"), other[:]) {
		t.Error("what was set does not go before what is asked for")
	}
}

// RFC 2136
func TestDNSUpdate(t *testing.T) {
	d := newDNS(t, DNSConfig{Updates: true, Default: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	const name = "_acme-challenge.example.com."
	record := func(value string) dns.RR {
		rr, err := dns.NewRR(name + ` 60 IN TXT "` + value + `"`)
		if err != nil {
			t.Fatal(err)
		}
		return rr
	}
	update := func(d *DNS, change func(*dns.Msg)) int {
		m := new(dns.Msg)
		m.SetUpdate("example.com.")
		change(m)
		reply, _, err := new(dns.Client).ExchangeContext(t.Context(), m, d.Addr())
		if err != nil {
			t.Fatal(err)
		}
		return reply.Rcode
	}
	count := func() int {
		reply, err := ask(t, d, "udp", name, dns.TypeTXT)
		if err != nil {
			t.Fatal(err)
		}
		return len(reply.Answer)
	}
	for i, step := range []struct {
		change func(*dns.Msg)
		left   int
	}{
		{func(m *dns.Msg) { m.Insert([]dns.RR{record("one"), record("two")}) }, 2},
		{func(m *dns.Msg) { m.Insert([]dns.RR{record("one")}) }, 2},
		{func(m *dns.Msg) { m.Remove([]dns.RR{record("one")}) }, 1},
		{func(m *dns.Msg) { m.Remove([]dns.RR{record("absent")}) }, 1},
		{func(m *dns.Msg) { m.RemoveRRset([]dns.RR{record("any")}) }, 0},
		{func(m *dns.Msg) { m.Insert([]dns.RR{record("three")}) }, 1},
		{func(m *dns.Msg) { m.RemoveName([]dns.RR{record("any")}) }, 0},
	} {
		if code := update(d, step.change); code != dns.RcodeSuccess {
			t.Errorf("step %d: %s", i, dns.RcodeToString[code])
		}
		if n := count(); n != step.left {
			t.Errorf("step %d left %d records, want %d", i, n, step.left)
		}
	}
	if code := update(d, func(m *dns.Msg) { m.NameUsed([]dns.RR{record("one")}); m.Insert([]dns.RR{record("one")}) }); code != dns.RcodeNotImplemented || count() != 0 {
		t.Errorf("a prerequisite: %s, %d records", dns.RcodeToString[code], count())
	}
	if reply, err := ask(t, d, "udp", name, dns.TypeA); err != nil || len(reply.Answer) != 1 {
		t.Errorf("the name's default: %v, %v", reply, err)
	}
	shut := newDNS(t, DNSConfig{})
	if code := update(shut, func(m *dns.Msg) { m.Insert([]dns.RR{record("one")}) }); code != dns.RcodeRefused {
		t.Errorf("without Updates: %s", dns.RcodeToString[code])
	}
}
