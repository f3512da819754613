package conformance

import (
	"net/http"
	"slices"
	"testing"

	"github.com/gatehouse-ca/gatehouse/testca"
)

// addresses are identifiers of the type ip.
func addresses(values ...string) map[string]any {
	ids := []ident{}
	for _, value := range values {
		ids = append(ids, ident{"ip", value})
	}
	return map[string]any{"identifiers": ids}
}

func rfc8738() []row {
	return []row{
		{section: "3", name: "type", rule: "Control of an address is asked for by an authorization of the type ip",
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				for _, value := range []string{"127.0.0.1", "2001:db8::1"} {
					if a := c.authz(t, c.orderOf(t, addresses(value)).Authorizations[0]); a.Identifier != (ident{"ip", value}) {
						t.Errorf("%s became %+v", value, a.Identifier)
					}
				}
			},
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				c.post(t, c.url("newOrder"), dnsNames("127.0.0.1")).refused(t, http.StatusBadRequest, "malformed")
				c.post(t, c.url("newOrder"), addresses("host.example.com")).refused(t, http.StatusBadRequest, "malformed")
			}},
		{section: "3", name: "text", rule: "Its value is the text of RFC 1123, 2.1 or RFC 5952, 4",
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				for _, value := range []string{
					"127.1", "0127.0.0.1", "2130706433", "0x7f000001", "127.0.0.1/32", "127.0.0.1:80", " 127.0.0.1", "256.0.0.1", "[2001:db8::1]",
					"2001:db8::1%eth0", "2001:db8:0:0:0:0:0:1", "2001:DB8::1", "2001:db8::0001", "::ffff:127.0.0.1", "",
				} {
					if a := c.post(t, c.url("newOrder"), addresses(value)); a.status == http.StatusCreated {
						if got := c.parseOrder(t, a, "").Identifiers[0].Value; got == value {
							t.Errorf("%q was taken as it stands", value)
						}
					} else {
						a.want(t, http.StatusBadRequest)
					}
				}
			}},
		{section: "4", name: "no-resolution", rule: "The address itself is contacted, and nothing is resolved",
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				for _, kind := range []string{"http-01", "tls-alpn-01"} {
					asked := len(g.dns.Queries())
					o := c.proved(t, c.orderOf(t, addresses("127.0.0.1")), kind)
					if now := g.dns.Queries()[asked:]; len(now) != 0 {
						t.Errorf("asked were %+v", now)
					}
					c.finalized(t, o, csr(t, newKey(t), "127.0.0.1"))
					c = g.account(t)
				}
			}},
		{section: "5", name: "host", rule: "For http-01 the Host header is the address",
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				o := c.proved(t, c.orderOf(t, addresses("127.0.0.1")), "http-01")
				uri := "/.well-known/acme-challenge/" + c.authz(t, o.Authorizations[0]).of(t, "http-01").Token
				list := g.web.Requests()
				i := slices.IndexFunc(list, func(r testca.HTTPRequest) bool { return r.URI == uri })
				// Where http-01 goes to port 80 there is no port behind it; here there is.
				if i < 0 || (list[i].Host != "127.0.0.1" && list[i].Host != g.web.Addr().String()) {
					t.Errorf("the requests are %+v", list)
				}
			}},
		{section: "6", name: "alternative-name", rule: "For tls-alpn-01 the certificate has the address as its one iPAddress",
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				c.proved(t, c.orderOf(t, addresses("127.0.0.1")), "tls-alpn-01")
			},
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				id := parse(t, ident{"ip", "127.0.0.1"})
				for _, fault := range []testca.TLSALPNFault{testca.TLSALPNTextForName, testca.TLSALPNTwoNames, testca.TLSALPNOtherName, testca.TLSALPNNoName} {
					a := c.authz(t, c.orderOf(t, addresses("127.0.0.1")).Authorizations[0])
					c.answers(t, a, a.of(t, "tls-alpn-01"))
					g.alpn.Break(id, fault)
					if a = c.validate(t, a.URL, "tls-alpn-01"); a.Status != "invalid" {
						t.Errorf("fault %d: the authorization is %+v", fault, a)
					}
				}
				g.alpn.Break(id, testca.TLSALPNHonest)
			}},
		{section: "6", name: "server-name", rule: "SNI has the address's name in in-addr.arpa or ip6.arpa, not the address",
			elsewhere: []string{"dcv.TestTLSALPN01Address"},
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				c.proved(t, c.orderOf(t, addresses("127.0.0.1")), "tls-alpn-01")
				for _, h := range g.alpn.Hellos() {
					if h.ServerName != "1.0.0.127.in-addr.arpa" {
						t.Errorf("SNI is %q", h.ServerName)
					}
				}
			}},
		{section: "7", name: "no-dns", rule: "dns-01 proves no address",
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				for _, ch := range c.authz(t, c.orderOf(t, addresses("127.0.0.1")).Authorizations[0]).Challenges {
					if ch.Type == "dns-01" {
						t.Error("dns-01 is offered")
					}
				}
				request := addresses("127.0.0.1")
				request["profile"] = "names" // which has dns-01 alone
				if a := c.post(t, c.url("newOrder"), request); a.status != http.StatusBadRequest {
					t.Errorf("%d %s", a.status, a.body)
				}
			}},
	}
}
