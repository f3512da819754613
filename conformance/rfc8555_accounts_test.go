package conformance

import (
	"net/http"
	"reflect"
	"slices"
	"testing"

	"github.com/gatehouse-ca/gatehouse/acme"
)

// agreed is a newAccount request that agrees to the terms.
func agreed(more ...any) map[string]any {
	request := map[string]any{"termsOfServiceAgreed": true}
	for i := 0; i < len(more); i += 2 {
		request[more[i].(string)] = more[i+1]
	}
	return request
}

// rfc8555Accounts is sections 7.3 to 7.3.3.
func rfc8555Accounts() []row {
	return []row{
		{section: "7.3", name: "only-return-existing", rule: "onlyReturnExisting makes no account",
			refuses: func(t *testing.T, g *gateway) {
				c := g.stranger(t)
				for range 2 {
					c.post(t, c.url("newAccount"), agreed("onlyReturnExisting", true)).refused(t, http.StatusBadRequest, "accountDoesNotExist")
				}
				c.register(t) // 201: there was none
			}},
		{section: "7.3", name: "unknown-fields", rule: "orders, status and fields that are not known are ignored in a request, and not reflected",
			accepts: func(t *testing.T, g *gateway) {
				c := g.stranger(t)
				a := c.post(t, c.url("newAccount"), agreed("orders", "https://elsewhere.example.com/orders", "status", "revoked", "shoeSize", 46)).want(t, http.StatusCreated)
				got := a.object(t)
				if got["status"] != "valid" || got["orders"] == "https://elsewhere.example.com/orders" || got["shoeSize"] != nil {
					t.Errorf("the account is %v", got)
				}
			}},
		{section: "7.3", name: "mailto", rule: "Of contacts, mailto is supported",
			accepts: func(t *testing.T, g *gateway) {
				c := g.stranger(t)
				contact := []any{"mailto:admin@example.com", "mailto:root+ca@example.org"}
				if got := c.post(t, c.url("newAccount"), agreed("contact", contact)).want(t, http.StatusCreated).object(t); !reflect.DeepEqual(got["contact"], contact) {
					t.Errorf("the contacts are %v", got["contact"])
				}
			}},
		{section: "7.3", name: "unsupported-contact", rule: "A contact of another scheme is unsupportedContact, and the answer says which are supported",
			refuses: func(t *testing.T, g *gateway) {
				for _, contact := range []string{"tel:+12025551212", "https://example.com/", "admin@example.com"} {
					c := g.stranger(t)
					if p := c.post(t, c.url("newAccount"), agreed("contact", []string{contact})).refused(t, http.StatusBadRequest, "unsupportedContact").problem(); p.Detail == "" {
						t.Error("no detail")
					}
				}
			}},
		{section: "7.3", name: "invalid-contact", rule: "A mailto with an invalid value is invalidContact",
			refuses: func(t *testing.T, g *gateway) {
				for _, contact := range []string{"mailto:", "mailto:admin", "mailto:a@example.com,b@example.com", "mailto:a@example.com?subject=x", "mailto:@example.com"} {
					c := g.stranger(t)
					c.post(t, c.url("newAccount"), agreed("contact", []string{contact})).refused(t, http.StatusBadRequest, "invalidContact")
					c.register(t) // the refused request made none
				}
			}},
		{section: "7.3", name: "terms", rule: "Terms that must be agreed to have their URL in meta, and newAccount without agreement is rejected",
			accepts: func(t *testing.T, g *gateway) {
				if meta := g.account(t).directory["meta"].(map[string]any); meta["termsOfService"] != termsURL {
					t.Errorf("meta is %v", meta)
				}
			},
			refuses: func(t *testing.T, g *gateway) {
				c := g.stranger(t)
				for _, request := range []map[string]any{{}, {"termsOfServiceAgreed": false}, {"termsOfServiceAgreed": nil}} {
					c.post(t, c.url("newAccount"), request).refused(t, http.StatusForbidden, "userActionRequired")
				}
				c.post(t, c.url("newAccount"), map[string]any{"termsOfServiceAgreed": "true"}).refused(t, http.StatusBadRequest, "malformed")
			}},
		{section: "7.3.1", name: "existing", rule: "newAccount for a key that has an account is answered with 200, its URL, and the account as it was", departs: "| 7.3.1 | a newAccount for a key that has an account changes nothing",
			accepts: func(t *testing.T, g *gateway) {
				c := g.stranger(t)
				first := c.post(t, c.url("newAccount"), agreed("contact", []string{"mailto:first@example.com"})).want(t, http.StatusCreated)
				again := c.post(t, c.url("newAccount"), agreed("contact", []string{"mailto:second@example.com"})).want(t, http.StatusOK)
				if again.header.Get("Location") != first.header.Get("Location") || string(again.body) != string(first.body) {
					t.Errorf("first %s %s, then %s %s", first.header.Get("Location"), first.body, again.header.Get("Location"), again.body)
				}
			}},
		{section: "7.3.1", name: "absent", rule: "onlyReturnExisting for a key without an account is answered with 400 and accountDoesNotExist",
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				s := g.with(t, c.key)
				if got := s.post(t, s.url("newAccount"), map[string]any{"onlyReturnExisting": true}).want(t, http.StatusOK).header.Get("Location"); got != c.kid {
					t.Errorf("found %s, want %s", got, c.kid)
				}
			},
			refuses: func(t *testing.T, g *gateway) {
				c := g.stranger(t)
				c.post(t, c.url("newAccount"), map[string]any{"onlyReturnExisting": true}).refused(t, http.StatusBadRequest, "accountDoesNotExist")
			}},
		{section: "7.3.2", name: "update", rule: "An update is answered with 200 and the account; orders, termsOfServiceAgreed, status but deactivated, and unknown fields are ignored",
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				before := c.read(t, c.kid).want(t, http.StatusOK).object(t)
				after := c.post(t, c.kid, map[string]any{
					"contact": []string{"mailto:new@example.com"}, "orders": "https://elsewhere.example.com/", "termsOfServiceAgreed": false, "status": "revoked", "shoeSize": 46,
				}).want(t, http.StatusOK).object(t)
				before["contact"] = []any{"mailto:new@example.com"}
				if !reflect.DeepEqual(after, before) {
					t.Errorf("the account is %v, want %v", after, before)
				}
			},
			refuses: func(t *testing.T, g *gateway) {
				c, other := g.account(t), g.account(t)
				other.post(t, c.kid, map[string]any{"contact": []string{}}).refused(t, http.StatusNotFound, "malformed")
				c.post(t, c.kid, map[string]any{"contact": []string{"tel:1"}}).refused(t, http.StatusBadRequest, "unsupportedContact")
			}},
		{section: "7.3.3", name: "changed-terms", rule: "Where changed terms must be agreed to first, the answer is 403, userActionRequired, with a link terms-of-service and a URL for a person in instance",
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				o := c.order(t, g.name())
				next := "https://ca.example.com/terms/2"
				s := g.sibling(t, func(c *acme.Config) { c.TermsURL = next })
				a := c.post(t, c.url("newOrder"), dnsNames(g.name()), via(g, s)).refused(t, http.StatusForbidden, "userActionRequired")
				if p := a.problem(); p.Instance != next || !slices.Contains(a.links("terms-of-service"), next) {
					t.Errorf("instance %q, links %v", p.Instance, a.links("terms-of-service"))
				}
				c.read(t, o.URL, via(g, s)).want(t, http.StatusOK) // what is no new authority goes on
			}},
	}
}
