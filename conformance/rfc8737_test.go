package conformance

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// broken has a tls-alpn-01 server go wrong, and the challenge fail.
func broken(faults ...testca.TLSALPNFault) func(*testing.T, *gateway) {
	return func(t *testing.T, g *gateway) {
		c := g.account(t)
		for _, fault := range faults {
			c.wrongly(t, "tls-alpn-01", func(a authz, ch challenge) {
				c.answers(t, a, ch)
				g.alpn.Break(parse(t, a.Identifier), fault)
			})
		}
	}
}

// hello is the one ClientHello in which a server name was asked for.
func (g *gateway) hello(t *testing.T, name string) testca.TLSHello {
	t.Helper()
	list := slices.DeleteFunc(g.alpn.Hellos(), func(h testca.TLSHello) bool { return h.ServerName != name })
	if len(list) != 1 {
		t.Fatalf("%s was asked for %d times", name, len(list))
	}
	return list[0]
}

// dialled holds a validator with the default ports to contacting one of them.
func dialled(t *testing.T, g *gateway, method dcv.Method, port string) {
	t.Helper()
	v, err := dcv.New(dcv.Config{Resolver: dcv.ResolverConfig{Servers: []string{g.dns.Addr()}}, AllowLoopback: true, Timeout: 5 * time.Second})
	must(t, err)
	defer v.Close()
	key := newKey(t)
	token := b64([]byte("a token of 24 octets ..."))
	_, record, _ := v.Check(t.Context(), dcv.Request{Method: method, Identifier: parse(t, ident{"dns", g.name()}), Token: token, KeyAuthorization: keyAuthorization(key, token)})
	if seen := fmt.Sprintf("%+v", record.Hops); !strings.Contains(seen, "127.0.0.1:"+port) {
		t.Errorf("%s went to %s", method, seen)
	}
}

func rfc8737() []row {
	return []row{
		{section: "3", name: "token", rule: "The token has at least 128 bits, in base64url without padding", accepts: tokens("tls-alpn-01")},
		{section: "3", name: "port", rule: "The connection goes to TCP port 443",
			accepts: func(t *testing.T, g *gateway) { dialled(t, g, dcv.TLSALPN01, "443") }},
		{section: "3", name: "client-hello", rule: "ALPN offers acme-tls/1 alone, SNI has the domain name alone",
			accepts: func(t *testing.T, g *gateway) {
				c, name := g.account(t), g.name()
				c.ready(t, "tls-alpn-01", name)
				if h := g.hello(t, name); !slices.Equal(h.Protocols, []string{"acme-tls/1"}) {
					t.Errorf("ALPN offers %v", h.Protocols)
				}
			}},
		{section: "3", name: "negotiated", rule: "The server must have negotiated acme-tls/1",
			refuses: broken(testca.TLSALPNNoProtocol, testca.TLSALPNOtherProtocol, testca.TLSALPNPlain, testca.TLSALPNHangUp)},
		{section: "3", name: "alternative-name", rule: "The certificate's subjectAltName has the domain name as dNSName and nothing else",
			accepts: func(t *testing.T, g *gateway) { g.account(t).ready(t, "tls-alpn-01", g.name()) },
			refuses: broken(testca.TLSALPNOtherName, testca.TLSALPNTwoNames, testca.TLSALPNHiddenName, testca.TLSALPNNoName, testca.TLSALPNEmptyName,
				testca.TLSALPNCommonName, testca.TLSALPNTextForName)},
		{section: "3", name: "acme-identifier", rule: "Its acmeIdentifier is critical and has the SHA-256 digest of the key authorization",
			refuses: broken(testca.TLSALPNNotCritical, testca.TLSALPNNoExtension, testca.TLSALPNDraftOID, testca.TLSALPNOtherDigest,
				testca.TLSALPNShortDigest, testca.TLSALPNBareDigest, testca.TLSALPNTrailing)},
		{section: "3", name: "letter-case", rule: "dNSNames are compared without regard to letter case",
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				a := c.authz(t, c.order(t, g.name()).Authorizations[0])
				c.answers(t, a, a.of(t, "tls-alpn-01"))
				g.alpn.Break(parse(t, a.Identifier), testca.TLSALPNUpperCaseName)
				if a = c.validate(t, a.URL, "tls-alpn-01"); a.Status != "valid" {
					t.Errorf("the authorization is %+v", a)
				}
			}},
		{section: "4", name: "nothing-behind", rule: "Nothing is sent behind the handshake, and the connection is closed at once",
			accepts: func(t *testing.T, g *gateway) {
				c, name := g.account(t), g.name()
				c.ready(t, "tls-alpn-01", name)
				if h := g.hello(t, name); h.After != 0 {
					t.Errorf("%d octets came behind the handshake", h.After)
				}
			}},
		{section: "4", name: "only-for-validation", rule: "acme-tls/1 serves validation alone: the gateway's own listeners do not speak it",
			refuses: func(t *testing.T, g *gateway) {
				conn, err := tls.Dial("tcp", strings.TrimPrefix(g.base, "https://"), &tls.Config{
					NextProtos: []string{"acme-tls/1"}, RootCAs: g.http.Transport.(*http.Transport).TLSClientConfig.RootCAs,
				})
				if err == nil {
					defer conn.Close()
					if got := conn.ConnectionState().NegotiatedProtocol; got != "" {
						t.Errorf("negotiated %q", got)
					}
				}
			}},
		{section: "4", name: "tls-version", rule: "Nothing older than TLS 1.2 is negotiated",
			accepts: func(t *testing.T, g *gateway) {
				c, name := g.account(t), g.name()
				c.ready(t, "tls-alpn-01", name)
				if h := g.hello(t, name); slices.Min(h.Versions) < tls.VersionTLS12 {
					t.Errorf("offered are %x", h.Versions)
				}
			},
			refuses: broken(testca.TLSALPNOldVersion)},
	}
}
