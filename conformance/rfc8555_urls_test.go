package conformance

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// rfc8555URLs is sections 6.3 to 6.4.1: how resources are read, and to which URL a request is bound.
func rfc8555URLs() []row {
	return []row{
		{section: "6.3", name: "no-get", rule: "GET of other resources is answered with 405 and malformed",
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				i := c.issue(t, g.name())
				a := c.authz(t, i.order.Authorizations[0])
				for _, url := range []string{
					c.kid, c.kid + "/orders", i.order.URL, i.order.Finalize, i.order.Certificate, a.URL, a.Challenges[0].URL,
					c.url("newAccount"), c.url("newOrder"), c.url("newAuthz"), c.url("revokeCert"), c.url("keyChange"),
				} {
					c.plain(t, http.MethodGet, url).refused(t, http.StatusMethodNotAllowed, "malformed")
				}
			}},
		{section: "6.3", name: "post-as-get", rule: "A POST with an empty payload reads what GET would, once its sender is authenticated and allowed to",
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				i := c.issue(t, g.name())
				for _, url := range []string{c.kid, c.kid + "/orders", i.order.URL, i.order.Certificate, i.order.Authorizations[0]} {
					c.read(t, url).want(t, http.StatusOK)
				}
			},
			refuses: func(t *testing.T, g *gateway) {
				c, other := g.account(t), g.account(t)
				i := c.issue(t, g.name())
				a := c.authz(t, i.order.Authorizations[0])
				for _, url := range []string{i.order.URL, i.order.Certificate, a.URL, a.Challenges[0].URL, c.kid, c.kid + "/orders"} {
					if got := other.read(t, url); got.status != http.StatusNotFound && got.status != http.StatusForbidden {
						t.Errorf("%s was answered to another account with %d", url, got.status)
					}
					c.read(t, url, func(r *request) { r.key = newKey(t) }).refused(t, http.StatusBadRequest, "malformed")
				}
				for _, payload := range []string{"{}", "null", " "} {
					c.post(t, i.order.URL, payload).refused(t, http.StatusBadRequest, "malformed")
				}
			}},
		{section: "6.3", name: "get", rule: "directory and newNonce are answered to GET, and to POST-as-GET",
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				directory := g.base + "/acme/directory"
				if get, post := c.plain(t, http.MethodGet, directory).want(t, http.StatusOK), c.read(t, directory).want(t, http.StatusOK); string(get.body) != string(post.body) {
					t.Errorf("GET %s, POST-as-GET %s", get.body, post.body)
				}
				get, post := c.plain(t, http.MethodGet, c.url("newNonce")), c.read(t, c.url("newNonce"))
				if get.status != post.status || post.header.Get("Replay-Nonce") == "" {
					t.Errorf("newNonce: GET %d, POST-as-GET %d", get.status, post.status)
				}
			}},
		{section: "6.4", name: "url", rule: "A url that is not, as a string, the one that was asked for is rejected as unauthorized",
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				c.post(t, c.url("newOrder"), dnsNames(g.name()), set("url", strings.Replace(c.url("newOrder"), g.base, "https://acme.example.com", 1))).want(t, http.StatusCreated)
			},
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				url := c.url("newOrder")
				for _, sent := range []string{
					c.url("newAuthz"), url + "/", url + "?", url + "#", strings.Replace(url, "new-order", "new%2Dorder", 1), strings.ToUpper(url),
					strings.Replace(url, g.base, "https://elsewhere.example.com", 1), strings.TrimPrefix(url, g.base), strings.Replace(url, "https:", "http:", 1),
				} {
					c.post(t, url, dnsNames(g.name()), set("url", sent)).refused(t, http.StatusForbidden, "unauthorized")
				}
			}},
		{section: "6.4.1", name: "url-form", rule: "url is in the protected header and is a string",
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				for _, value := range []any{1, nil, []string{c.url("newOrder")}, ""} {
					c.post(t, c.url("newOrder"), dnsNames(g.name()), set("url", value)).refused(t, http.StatusBadRequest, "malformed")
				}
				c.post(t, c.url("newOrder"), dnsNames(g.name()), without("url"), body(func(p, l, s string) string {
					return fmt.Sprintf(`{"protected":%q,"header":{"url":%q},"payload":%q,"signature":%q}`, p, c.url("newOrder"), l, s)
				})).refused(t, http.StatusBadRequest, "malformed")
			}},
	}
}
