package dcv

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// newALPNWorld is a world whose TLS server answers testName's challenge rightly.
func newALPNWorld(t *testing.T, change ...func(*Config)) (*world, *testca.TLSALPN) {
	t.Helper()
	server, err := testca.NewTLSALPN(testca.TLSALPNConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	server.Set(mustDNS(t, testName), testKeyAuth)
	return newWorld(t, append([]func(*Config){func(c *Config) { c.TLSALPNPort = server.Addr().Port() }}, change...)...), server
}

func alpnRequest(t testing.TB, id identifier.Identifier) Request {
	r := requestFor(t, testName)
	r.Method, r.Identifier = TLSALPN01, id
	return r
}

func mustIP(t testing.TB, text string) identifier.Identifier {
	t.Helper()
	id, err := identifier.ParseIP(text)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestTLSALPN01Accepts(t *testing.T) {
	for name, fault := range map[string]testca.TLSALPNFault{
		"RFC 8737, 3":                 testca.TLSALPNHonest,
		"RFC 4343: other letter case": testca.TLSALPNUpperCaseName,
	} {
		t.Run(name, func(t *testing.T) {
			w, server := newALPNWorld(t)
			id := mustDNS(t, testName)
			server.Break(id, fault)
			proof, rec := w.proves(alpnRequest(t, id))
			url := fmt.Sprintf("tls://%s:%d", testName, server.Addr().Port())
			if proof.Method != TLSALPN01 || proof.Identifier != id || proof.Seen != url+" at "+server.Addr().String() || proof.At.Nanosecond() != 0 {
				t.Errorf("proof %+v", proof)
			}
			if len(rec.Hops) != 1 || rec.Hops[0].URL != url || rec.Hops[0].Dialled != server.Addr() || len(rec.Hops[0].Lookups) != 2 {
				t.Errorf("record %+v", rec)
			}
			w.alone(server, testName)
		})
	}
}

// alone holds what the server was sent to RFC 8737, 3: the name in SNI, acme-tls/1 and no other protocol, TLS 1.2 and
// newer, and no data.
func (w *world) alone(server *testca.TLSALPN, serverName string) {
	w.Helper()
	_ = server.Close() // waits until the connections are read to their ends
	hellos := server.Hellos()
	if len(hellos) != 1 {
		w.Fatalf("%d connections", len(hellos))
	}
	h := hellos[0]
	if h.ServerName != serverName || !slices.Equal(h.Protocols, []string{"acme-tls/1"}) || h.After != 0 {
		w.Errorf("hello %+v", h)
	}
	for _, version := range h.Versions {
		if version < tls.VersionTLS12 {
			w.Errorf("offers %s", tls.VersionName(version))
		}
	}
	if len(w.web.Requests()) != 0 {
		w.Error("the web server was asked")
	}
}

// RFC 8738, 6
func TestTLSALPN01Address(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.1":   "1.2.0.192.in-addr.arpa",
		"2001:db8::1": "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
	} {
		if got := serverName(mustIP(t, address)); got != want {
			t.Errorf("%s is asked for as %s, want %s", address, got, want)
		}
	}
	w, server := newALPNWorld(t)
	id := mustIP(t, "127.0.0.1")
	server.Set(id, testKeyAuth)
	proof, _ := w.proves(alpnRequest(t, id))
	if proof.Identifier != id || len(w.dns.Queries()) != 0 {
		t.Errorf("proof %+v after %d questions", proof, len(w.dns.Queries()))
	}
	w.alone(server, "1.0.0.127.in-addr.arpa")
}

func TestTLSALPN01Refuses(t *testing.T) {
	name, address := mustDNS(t, testName), mustIP(t, "127.0.0.1")
	for _, row := range []struct {
		name  string
		id    identifier.Identifier
		fault testca.TLSALPNFault
		kind  problem.Kind
		part  string
	}{
		{"RFC 8737, 3: no protocol negotiated", name, testca.TLSALPNNoProtocol, problem.TLS, "did not negotiate the protocol acme-tls/1"},
		{"RFC 8737, 3: other protocols alone", name, testca.TLSALPNOtherProtocol, problem.TLS, "no application protocol"},
		{"RFC 8737, 3: TLS 1.1", name, testca.TLSALPNOldVersion, problem.TLS, "protocol version"},
		{"no TLS", name, testca.TLSALPNPlain, problem.TLS, "does not speak TLS"},
		{"hangs up", name, testca.TLSALPNHangUp, problem.TLS, "closed the connection early"},
		{"more than is read", name, testca.TLSALPNPadded, problem.TLS, "sent more than 32768 bytes"},
		{"RFC 8737, 3: another name", name, testca.TLSALPNOtherName, problem.IncorrectResponse, "does not name " + testName},
		{"RFC 8737, 3: two names", name, testca.TLSALPNTwoNames, problem.IncorrectResponse, "more than one name"},
		{"RFC 8737, 3: a name x509 does not show", name, testca.TLSALPNHiddenName, problem.IncorrectResponse, "more than one name"},
		{"RFC 8737, 3: no subjectAltName", name, testca.TLSALPNNoName, problem.IncorrectResponse, "0 subjectAltName"},
		{"RFC 8737, 3: an empty subjectAltName", name, testca.TLSALPNEmptyName, problem.IncorrectResponse, "no name in its subjectAltName"},
		{"RFC 8737, 3: the name in the CN", name, testca.TLSALPNCommonName, problem.IncorrectResponse, "0 subjectAltName"},
		{"RFC 8737, 3: no dNSName", name, testca.TLSALPNTextForName, problem.IncorrectResponse, "as dNSName"},
		{"RFC 8737, 3: not critical", name, testca.TLSALPNNotCritical, problem.IncorrectResponse, "not critical"},
		{"RFC 8737, 3: no acmeIdentifier", name, testca.TLSALPNNoExtension, problem.IncorrectResponse, "0 acmeIdentifier"},
		{"RFC 8737, 6.1: the number of drafts", name, testca.TLSALPNDraftOID, problem.IncorrectResponse, "0 acmeIdentifier"},
		{"RFC 8737, 3: another digest", name, testca.TLSALPNOtherDigest, problem.IncorrectResponse, "the digest of something else"},
		{"RFC 8737, 3: 31 octets", name, testca.TLSALPNShortDigest, problem.IncorrectResponse, "32 octets"},
		{"RFC 8737, 3: no octet string", name, testca.TLSALPNBareDigest, problem.IncorrectResponse, "not the DER of an octet string"},
		{"RFC 8737, 3: trailing octets", name, testca.TLSALPNTrailing, problem.IncorrectResponse, "not the DER of an octet string"},
		{"RFC 8737, 3: issued by another", name, testca.TLSALPNIssued, problem.IncorrectResponse, "not self-signed"},
		{"RFC 8737, 3: signed by another", name, testca.TLSALPNForgedIssuer, problem.IncorrectResponse, "not self-signed"},
		{"RFC 8738, 5: address as dNSName", address, testca.TLSALPNTextForName, problem.IncorrectResponse, "as iPAddress"},
		{"RFC 8738, 5: name instead of address", address, testca.TLSALPNOtherName, problem.IncorrectResponse, "as iPAddress"},
		{"RFC 8738, 5: a name beside the address", address, testca.TLSALPNTwoNames, problem.IncorrectResponse, "more than one name"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, server := newALPNWorld(t)
			server.Set(row.id, testKeyAuth)
			server.Break(row.id, row.fault)
			rec := w.failsAs(t.Context(), alpnRequest(t, row.id), row.kind, row.part, server.Addr().String())
			if rec.Advice == "" {
				t.Error("no advice")
			}
			if len(rec.Hops) != 1 {
				t.Errorf("hops %+v", rec.Hops)
			}
		})
	}
	t.Run("nobody answers for the name", func(t *testing.T) {
		w, server := newALPNWorld(t)
		server.Remove(name)
		w.failsAs(t.Context(), alpnRequest(t, name), problem.TLS, "internal error")
	})
	t.Run("a web server's certificate", func(t *testing.T) {
		w, _ := newALPNWorld(t)
		w.v.cfg.TLSALPNPort = w.web.TLSAddr().Port()
		w.failsAs(t.Context(), alpnRequest(t, name), problem.TLS, "did not negotiate the protocol")
	})
	t.Run("RFC 8737, 3: a wildcard", func(t *testing.T) {
		w, server := newALPNWorld(t)
		w.failsAs(t.Context(), alpnRequest(t, mustDNS(t, "*."+testName)), problem.RejectedIdentifier, "tls-alpn-01 cannot prove the wildcard")
		if len(server.Hellos())+len(w.dns.Queries()) != 0 {
			t.Error("something was sent")
		}
	})
}

// The dialer's rules are http-01's: addresses that are shut are not contacted, whatever resolves to them.
func TestTLSALPN01RefusesAddresses(t *testing.T) {
	name := mustDNS(t, testName)
	for _, row := range []struct {
		name   string
		change func(*Config)
		addrs  []string
		part   string
	}{
		{"loopback", func(c *Config) { c.AllowLoopback = false }, []string{"127.0.0.1", "::1"}, "127.0.0.1 (loopback"},
		{"metadata", nil, []string{"169.254.169.254"}, "a cloud metadata address"},
		{"link-local", nil, []string{"fe80::1"}, "fe80::1 (link local"},
		{"private", nil, []string{"10.0.0.1"}, "10.0.0.1 (private use"},
		{"our own listener", func(c *Config) {
			port := c.TLSALPNPort
			c.OwnAddresses = func() []netip.AddrPort { return []netip.AddrPort{netip.AddrPortFrom(loopback4, port)} }
		}, []string{"127.0.0.1"}, "this gateway itself listens on"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var changes []func(*Config)
			if row.change != nil {
				changes = append(changes, row.change)
			}
			w, server := newALPNWorld(t, changes...)
			addrs := make([]netip.Addr, len(row.addrs))
			for i, a := range row.addrs {
				addrs[i] = netip.MustParseAddr(a)
			}
			w.dns.SetAddrs(testName, addrs...)
			rec := w.failsAs(t.Context(), alpnRequest(t, name), problem.DNS, "may not contact", row.part)
			if len(server.Hellos()) != 0 || len(rec.Hops[0].Dials) != 0 {
				t.Errorf("dialled: %+v", rec.Hops[0].Dials)
			}
			id := mustIP(t, row.addrs[0])
			w.failsAs(t.Context(), alpnRequest(t, id), problem.RejectedIdentifier, "may not contact")
		})
	}
	t.Run("rebinding", func(t *testing.T) {
		w, server := newALPNWorld(t)
		w.dns.SetTurns(testName, []netip.Addr{loopback4}, []netip.Addr{netip.MustParseAddr("169.254.169.254")})
		w.proves(alpnRequest(t, name))
		for _, h := range server.Hellos() {
			if h.Source.Addr() != loopback4 {
				t.Errorf("hello %+v", h)
			}
		}
	})
}

func TestTLSALPN01Ends(t *testing.T) {
	name := mustDNS(t, testName)
	t.Run("at its deadline", func(t *testing.T) {
		w, server := newALPNWorld(t, func(c *Config) { c.Timeout = 100 * time.Millisecond })
		server.Break(name, testca.TLSALPNSilent)
		w.failsAs(t.Context(), alpnRequest(t, name), problem.Connection, "timed out while negotiating TLS")
	})
	t.Run("with its caller", func(t *testing.T) {
		w, server := newALPNWorld(t)
		server.Break(name, testca.TLSALPNSilent)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			for len(server.Hellos()) == 0 && ctx.Err() == nil {
				time.Sleep(time.Millisecond)
			}
			cancel()
		}()
		w.failsAs(ctx, alpnRequest(t, name), problem.Unavailable, "interrupted")
	})
	t.Run("when nobody listens", func(t *testing.T) {
		w, server := newALPNWorld(t)
		_ = server.Close()
		w.failsAs(t.Context(), alpnRequest(t, name), problem.Connection, "connection refused")
	})
}

// The certificates in testdata are openssl's: req -x509 with -addext 1.3.6.1.5.5.7.1.31=critical,DER:0420….
func TestACMECertificateGolden(t *testing.T) {
	for file, id := range map[string]identifier.Identifier{
		"name": mustDNS(t, testName), "v4": mustIP(t, "192.0.2.1"), "v6": mustIP(t, "2001:db8::1"),
	} {
		text, err := os.ReadFile("testdata/tls-alpn-01-" + file + ".pem")
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(text)
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if wrong := judgeACMECertificate(cert, id, testKeyAuth); wrong != "" {
			t.Errorf("%s %s", file, wrong)
		}
		if judgeACMECertificate(cert, id, testKeyAuth[:len(testKeyAuth)-1]+"A") == "" {
			t.Errorf("%s is taken for another key's", file)
		}
		for _, other := range []identifier.Identifier{mustDNS(t, "example.com"), mustDNS(t, "xww.example.com"), mustIP(t, "192.0.2.2"), mustIP(t, "2001:db8::2")} {
			if wrong := judgeACMECertificate(cert, other, testKeyAuth); !strings.Contains(wrong, "does not name") {
				t.Errorf("%s for %s: %q", file, other, wrong)
			}
		}
	}
}

// What package x509 or the handshake would hide: the right octets under another tag, a self-signature in another's name.
func TestACMECertificateForgeries(t *testing.T) {
	san := func(tag byte, value []byte) *x509.Certificate {
		inner := append([]byte{0x80 | tag, byte(len(value))}, value...)
		return &x509.Certificate{Extensions: []pkix.Extension{{
			Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: append([]byte{0x30, byte(len(inner))}, inner...),
		}}}
	}
	name, address := mustDNS(t, testName), mustIP(t, "192.0.2.1")
	for tag := range byte(9) {
		if wrong := judgeSAN(san(tag, []byte(testName)), name); (wrong == "") != (tag == 2) {
			t.Errorf("RFC 8737, 3: the name under tag %d: %q", tag, wrong)
		}
		if wrong := judgeSAN(san(tag, []byte{192, 0, 2, 1}), address); (wrong == "") != (tag == 7) {
			t.Errorf("RFC 8738, 5: the address under tag %d: %q", tag, wrong)
		}
	}
	if judgeSAN(san(7, []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1}), address) == "" {
		t.Error("RFC 8738, 5: an IPv4 address in sixteen octets passes")
	}
	trailing := san(2, []byte(testName))
	trailing.Extensions[0].Value = append(trailing.Extensions[0].Value, 5, 0)
	twice := san(2, []byte(testName))
	twice.Extensions = append(twice.Extensions, twice.Extensions[0])
	for what, cert := range map[string]*x509.Certificate{
		"octets behind the list": trailing, "two extensions": twice, "folding letters": san(2, []byte("www.example.\u017from")),
		"no list": {Extensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: []byte{4, 0}}}},
	} {
		if judgeSAN(cert, name) == "" {
			t.Errorf("RFC 8737, 3: %s pass", what)
		}
	}
	text, err := os.ReadFile("testdata/tls-alpn-01-name.pem")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	cert.RawIssuer = []byte{0x30, 0}
	if wrong := judgeACMECertificate(cert, name, testKeyAuth); wrong != "is not self-signed" {
		t.Errorf("RFC 8737, 3: an issuer that is not the subject: %q", wrong)
	}
}
