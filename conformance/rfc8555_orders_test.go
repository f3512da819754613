package conformance

import (
	"crypto/ecdsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/testca"
)

// csrOf is a finalize request with a CSR that a test fills in itself.
func csrOf(t *testing.T, template *x509.CertificateRequest) map[string]any {
	t.Helper()
	der, err := testca.CSRFrom(newKey(t), template)
	must(t, err)
	return map[string]any{"csr": b64(der)}
}

// rfc8555Orders is sections 7.4 to 7.4.2.
func rfc8555Orders() []row {
	return []row{
		{section: "7.4", name: "as-requested", rule: "A request that cannot be fulfilled as it stands is an error; no certificate has other contents than were requested",
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				names := []string{g.name(), g.name()}
				i := c.issue(t, names...)
				slices.Sort(names)
				if got := slices.Sorted(slices.Values(i.leaf.DNSNames)); !slices.Equal(got, names) || len(i.leaf.IPAddresses)+len(i.leaf.EmailAddresses)+len(i.leaf.URIs) != 0 {
					t.Errorf("the certificate is for %v, want %v", got, names)
				}
				if !i.key.Public().(*ecdsa.PublicKey).Equal(i.leaf.PublicKey) || i.leaf.IsCA {
					t.Error("the certificate has another key, or is a CA's")
				}
			},
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				c.post(t, c.url("newOrder"), map[string]any{"identifiers": []ident{{"email", "a@example.com"}}}).refused(t, http.StatusBadRequest, "unsupportedIdentifier")
				c.post(t, c.url("newOrder"), map[string]any{"identifiers": []ident{{"DNS", g.name()}}}).refused(t, http.StatusBadRequest, "unsupportedIdentifier")
				c.post(t, c.url("newOrder"), map[string]any{"identifiers": []ident{}}).refused(t, http.StatusBadRequest, "malformed")
				c.post(t, c.url("newOrder"), dnsNames("forbidden.example.com")).refused(t, http.StatusForbidden, "rejectedIdentifier")
			}},
		{section: "7.4", name: "validity", rule: "notBefore and notAfter of a request are honoured or refused, never passed over",
			departs: "| 7.4 | `notBefore` and `notAfter` are refused as `malformed` unless the profile has `requested_validity: clamp`",
			accepts: func(t *testing.T, g *gateway) {
				c, name := g.account(t), g.name()
				from := time.Now().UTC().Truncate(time.Second)
				until := from.Add(5 * time.Hour)
				request := dnsNamesIn("dated", name)
				request["notBefore"], request["notAfter"] = from.Format(time.RFC3339), until.Format(time.RFC3339)
				i := c.complete(t, c.orderOf(t, request), name)
				if !i.leaf.NotBefore.Equal(from) || !i.leaf.NotAfter.Equal(until) {
					t.Errorf("valid from %v to %v, want %v to %v", i.leaf.NotBefore, i.leaf.NotAfter, from, until)
				}
				if o := i.order; !timestamp(t, o.NotBefore).Equal(from) || !timestamp(t, o.NotAfter).Equal(until) {
					t.Errorf("the order is %+v", o)
				}
			},
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				for field, at := range map[string]time.Time{"notBefore": time.Now().Add(-1000 * time.Hour), "notAfter": time.Now().Add(10000 * time.Hour)} {
					request := dnsNames(g.name())
					request[field] = at.UTC().Format(time.RFC3339)
					if a := c.post(t, c.url("newOrder"), request); a.status != http.StatusBadRequest && a.status != http.StatusForbidden {
						t.Errorf("%s: %d %s", field, a.status, a.body)
					}
				}
			}},
		{section: "7.4", name: "csr-identifiers", rule: "The CSR has exactly the order's identifiers, in the common name, the subjectAltName, or both",
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				for _, template := range []func(names []string) *x509.CertificateRequest{
					func(n []string) *x509.CertificateRequest {
						return &x509.CertificateRequest{DNSNames: []string{n[1], n[0]}}
					},
					func(n []string) *x509.CertificateRequest {
						return &x509.CertificateRequest{Subject: pkix.Name{CommonName: n[0]}, DNSNames: n[1:]}
					},
					func(n []string) *x509.CertificateRequest {
						return &x509.CertificateRequest{Subject: pkix.Name{CommonName: strings.ToUpper(n[0])}, DNSNames: n}
					},
				} {
					names := []string{g.name(), g.name()}
					c.finalized(t, c.ready(t, "http-01", names...), csrOf(t, template(names)))
				}
			},
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				names := []string{g.name(), g.name()}
				o := c.ready(t, "http-01", names...)
				for _, template := range []*x509.CertificateRequest{
					{DNSNames: names[:1]},
					{DNSNames: append([]string{g.name()}, names...)},
					{DNSNames: []string{names[0], g.name()}},
					{DNSNames: names, Subject: pkix.Name{CommonName: g.name()}},
					{DNSNames: names, Subject: pkix.Name{CommonName: "Some text"}},
					{DNSNames: names, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}},
					{DNSNames: names, EmailAddresses: []string{"admin@example.com"}},
					{DNSNames: []string{names[0], "*." + names[1]}},
					{},
				} {
					c.post(t, o.Finalize, csrOf(t, template)).refused(t, http.StatusBadRequest, "badCSR")
				}
				if o = c.look(t, o); o.Status != "ready" {
					t.Errorf("the order is %s", o.Status)
				}
			}},
		{section: "7.4", name: "not-ready", rule: "Finalizing an order that is not ready is answered with 403 and orderNotReady",
			refuses: func(t *testing.T, g *gateway) {
				c, name := g.account(t), g.name()
				o := c.order(t, name)
				c.post(t, o.Finalize, csr(t, newKey(t), name)).refused(t, http.StatusForbidden, "orderNotReady")
				i := c.complete(t, o, name)
				c.post(t, i.order.Finalize, csr(t, newKey(t), name)).refused(t, http.StatusForbidden, "orderNotReady")
				failed := c.order(t, g.name())
				c.validate(t, failed.Authorizations[0], "http-01")
				c.post(t, failed.Finalize, csr(t, newKey(t), name)).refused(t, http.StatusForbidden, "orderNotReady")
			}},
		{section: "7.4", name: "owner", rule: "An order is finalized by the account that made it, once",
			refuses: func(t *testing.T, g *gateway) {
				c, other, name := g.account(t), g.account(t), g.name()
				o := c.ready(t, "http-01", name)
				other.post(t, o.Finalize, csr(t, newKey(t), name)).refused(t, http.StatusNotFound, "malformed")
				first := c.finalized(t, o, csr(t, newKey(t), name))
				c.post(t, o.Finalize, csr(t, newKey(t), name)).refused(t, http.StatusForbidden, "orderNotReady")
				if last := c.look(t, o); last.Certificate != first.Certificate {
					t.Errorf("the certificate was %s and is %s", first.Certificate, last.Certificate)
				}
			}},
		{section: "7.4", name: "expired", rule: "After expires an order is not finalized",
			refuses: func(t *testing.T, _ *gateway) {
				g := newGateway(t)
				c, name := g.account(t), g.name()
				o := c.ready(t, "http-01", name)
				c.later(timestamp(t, o.Expires).Sub(g.now()) + time.Second)
				c.post(t, o.Finalize, csr(t, newKey(t), name)).refused(t, http.StatusForbidden, "orderNotReady")
				if o = c.look(t, o); o.Status != "invalid" {
					t.Errorf("the order is %s", o.Status)
				}
			}},
		{section: "7.4.1", name: "pre-authorization", rule: "A new authorization is pending, unless the server knows already; 201, with its URL in Location",
			accepts: func(t *testing.T, g *gateway) {
				c, name := g.account(t), g.name()
				a := c.post(t, c.url("newAuthz"), map[string]any{"identifier": ident{"dns", name}}).want(t, http.StatusCreated)
				url := a.header.Get("Location")
				if got := c.authz(t, url); got.Status != "pending" || got.Identifier != (ident{"dns", name}) || got.Wildcard != nil {
					t.Errorf("the authorization is %+v", got)
				}
				c.prove(t, url, "http-01")
				if o := c.order(t, name); o.Status != "ready" || o.Authorizations[0] != url {
					t.Errorf("the order is %+v", o)
				}
			},
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				for _, name := range []string{"*." + g.name(), "forbidden.example.com"} {
					c.post(t, c.url("newAuthz"), map[string]any{"identifier": ident{"dns", name}}).refused(t, http.StatusForbidden, "rejectedIdentifier")
				}
				c.post(t, c.url("newAuthz"), map[string]any{"identifier": ident{"email", "a@example.com"}}).refused(t, http.StatusBadRequest, "unsupportedIdentifier")
				c.post(t, c.url("newAuthz"), map[string]any{}).refused(t, http.StatusBadRequest, "malformed")
			}},
		{section: "7.4.2", name: "download", rule: "The certificate is at the order's URL as application/pem-certificate-chain, and stays what it is",
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				i := c.issue(t, g.name())
				a := c.read(t, i.order.Certificate).want(t, http.StatusOK)
				if got := a.header.Get("Content-Type"); got != "application/pem-certificate-chain" || string(a.body) != string(i.text) {
					t.Errorf("%s: %s", got, a.body)
				}
				alternates := a.links("alternate")
				if len(alternates) != 1 {
					t.Fatalf("alternates: %v", alternates)
				}
				other := parsePEM(t, c.read(t, alternates[0]).want(t, http.StatusOK).body)
				if !other[0].Equal(i.leaf) || other[1].Equal(i.chain[0]) {
					t.Error("the alternate chain has another certificate, or is the same")
				}
				must(t, other[0].CheckSignatureFrom(other[1]))
			}},
	}
}
