package conformance

import (
	"net/http"
	"testing"

	"github.com/gatehouse-ca/gatehouse/testca"
)

// rfc8555Authorizations is sections 7.5.1 and 7.5.2.
func rfc8555Authorizations() []row {
	return []row{
		{section: "7.5.1", name: "response-fields", rule: "Fields of a response that its type of challenge does not know are ignored",
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				a := c.authz(t, c.order(t, g.name()).Authorizations[0])
				ch := a.of(t, "http-01")
				c.answers(t, a, ch)
				c.post(t, ch.URL, map[string]any{"keyAuthorization": "nonsense", "type": "dns-01", "status": "invalid", "shoeSize": 46}).want(t, http.StatusOK)
				if a = c.validate(t, a.URL, "http-01"); a.Status != "valid" {
					t.Errorf("the authorization is %+v", a)
				}
			}},
		{section: "7.5.1", name: "bad-response", rule: "A response that is invalid is answered with an HTTP error",
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				a := c.authz(t, c.order(t, g.name()).Authorizations[0])
				for _, payload := range []string{"no JSON", "[]", `"{}"`, "null", "{", "{}{}"} {
					c.post(t, a.of(t, "http-01").URL, payload).refused(t, http.StatusBadRequest, "malformed")
				}
				g.account(t).post(t, a.of(t, "http-01").URL, map[string]any{}).refused(t, http.StatusNotFound, "malformed")
				if a = c.authz(t, a.URL); a.Status != "pending" {
					t.Errorf("the authorization is %s", a.Status)
				}
			}},
		{section: "7.5.1", name: "expires", rule: "An authorization that becomes valid has expires",
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				a := c.prove(t, c.order(t, g.name()).Authorizations[0], "dns-01")
				timestamp(t, a.Expires)
			}},
		{section: "7.5.1", name: "poll", rule: "A poll during a validation is answered with 200",
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				a := c.authz(t, c.order(t, g.name()).Authorizations[0])
				ch := a.of(t, "http-01")
				c.answers(t, a, ch)
				held, reached := make(chan struct{}), make(chan struct{}, 1)
				g.web.Watch(func(r testca.HTTPRequest) {
					if r.URI == "/.well-known/acme-challenge/"+ch.Token {
						reached <- struct{}{}
						<-held
					}
				})
				defer g.web.Watch(nil)
				first := c.post(t, ch.URL, map[string]any{}).want(t, http.StatusOK)
				<-reached
				if got := c.authz(t, a.URL); got.Status != "pending" {
					t.Errorf("the authorization is %s", got.Status)
				}
				if got := c.read(t, ch.URL).want(t, http.StatusOK); got.object(t)["status"] != "processing" || got.header.Get("Retry-After") == "" {
					t.Errorf("the challenge is %s, Retry-After %q; first it was %s", got.body, got.header.Get("Retry-After"), first.body)
				}
				close(held)
				if got := c.validate(t, a.URL, "http-01"); got.Status != "valid" {
					t.Errorf("the authorization is %+v", got)
				}
			}},
		{section: "7.5.2", name: "owner", rule: "An authorization is deactivated by the account that owns it",
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				url := c.order(t, g.name()).Authorizations[0]
				if got := c.post(t, url, map[string]any{"status": "deactivated"}).want(t, http.StatusOK).object(t); got["status"] != "deactivated" {
					t.Errorf("the authorization is %v", got)
				}
			},
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				url := c.order(t, g.name()).Authorizations[0]
				g.account(t).post(t, url, map[string]any{"status": "deactivated"}).refused(t, http.StatusNotFound, "malformed")
				c.post(t, url, map[string]any{"status": "deactivated"}, func(r *request) { r.key = newKey(t) }).refused(t, http.StatusBadRequest, "malformed")
				c.post(t, url, map[string]any{"status": "valid"}).refused(t, http.StatusBadRequest, "malformed")
				if a := c.authz(t, url); a.Status != "pending" {
					t.Errorf("the authorization is %s", a.Status)
				}
			}},
		{section: "7.5.2", name: "deactivated", rule: "A deactivated authorization suffices for no certificate",
			refuses: func(t *testing.T, g *gateway) {
				c, name := g.account(t), g.name()
				o := c.ready(t, "http-01", name)
				c.post(t, o.Authorizations[0], map[string]any{"status": "deactivated"}).want(t, http.StatusOK)
				c.post(t, o.Finalize, csr(t, newKey(t), name)).refused(t, http.StatusForbidden, "orderNotReady")
				if again := c.order(t, name); again.Status != "pending" || again.Authorizations[0] == o.Authorizations[0] {
					t.Errorf("a new order is %+v", again)
				}
			}},
	}
}
