package conformance

import (
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// orders is the account's list of orders.
func (c *client) orders(t *testing.T) []string {
	t.Helper()
	account := c.read(t, c.kid).want(t, http.StatusOK).object(t)
	var list struct{ Orders *[]string }
	c.read(t, account["orders"].(string)).want(t, http.StatusOK).into(t, &list)
	if list.Orders == nil {
		t.Fatal("the list has no orders")
	}
	return *list.Orders
}

// timestamp reads RFC 3339.
func timestamp(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	must(t, err)
	return at
}

// rfc8555Objects is sections 7.1 and 7.2: what resources there are and how they look.
func rfc8555Objects() []row {
	return []row{
		{section: "7.1", name: "resources", rule: "There are directory and newNonce",
			accepts: func(t *testing.T, g *gateway) {
				c := g.stranger(t)
				for _, name := range []string{"newNonce", "newAccount", "newOrder", "newAuthz", "revokeCert", "keyChange"} {
					if !strings.HasPrefix(c.url(name), g.base+"/") {
						t.Errorf("the directory names %s as %q", name, c.url(name))
					}
				}
			}},
		{section: "7.1.1", name: "new-authz", rule: "newAuthz is in the directory only where it is implemented",
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				c.post(t, c.url("newAuthz"), map[string]any{"identifier": ident{"dns", g.name()}}).want(t, http.StatusCreated)
			}},
		{section: "7.1.1", name: "meta", rule: "meta is an object; its caaIdentities are, octet for octet, what CAA records name",
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				meta, ok := c.directory["meta"].(map[string]any)
				if !ok || !reflect.DeepEqual(meta["caaIdentities"], []any{caaName}) {
					t.Fatalf("meta is %v", c.directory["meta"])
				}
				name := g.name()
				g.addHost(t, name, name+`. CAA 0 issue "`+meta["caaIdentities"].([]any)[0].(string)+`"`)
				c.complete(t, c.orderOf(t, dnsNamesIn("checked", name)), name)
			}},
		{section: "7.1.2.1", name: "orders", rule: "An account's list is an object whose orders are the URLs of orders of that account",
			accepts: func(t *testing.T, g *gateway) {
				c, other := g.account(t), g.account(t)
				first, second := c.order(t, g.name()), c.order(t, g.name())
				other.order(t, g.name())
				list := c.orders(t)
				slices.Sort(list)
				want := []string{first.URL, second.URL}
				slices.Sort(want)
				if !slices.Equal(list, want) {
					t.Errorf("listed are %v, want %v", list, want)
				}
			},
			refuses: func(t *testing.T, g *gateway) {
				c, other := g.account(t), g.account(t)
				other.read(t, c.kid+"/orders").refused(t, http.StatusNotFound, "malformed")
			}},
		{section: "7.1.3", name: "expires", rule: "expires is in orders that are pending or valid, in RFC 3339's form",
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				pending := c.order(t, g.name())
				for _, o := range []order{pending, c.issue(t, g.name()).order} {
					if at := timestamp(t, o.Expires); !at.After(time.Now()) || (o.Status != "pending" && o.Status != "valid") {
						t.Errorf("%s, expires %s", o.Status, o.Expires)
					}
				}
			}},
		{section: "7.1.3", name: "wildcard", rule: "The authorization of a wildcard has the name without *. and wildcard: true",
			accepts: func(t *testing.T, g *gateway) {
				c, name := g.account(t), g.name()
				o := c.order(t, "*."+name)
				a := c.authz(t, o.Authorizations[0])
				if a.Identifier != (ident{"dns", name}) || a.Wildcard == nil || !*a.Wildcard || o.Identifiers[0].Value != "*."+name {
					t.Errorf("the authorization is %+v of %+v", a, o)
				}
			},
			refuses: func(t *testing.T, g *gateway) { // nothing but one asterisk and a full stop in front of a name
				c := g.account(t)
				for _, name := range []string{"*", "*.", "**.example.com", "a.*.example.com", "*a.example.com", "*.*.example.com"} {
					c.post(t, c.url("newOrder"), dnsNames(name)).refused(t, http.StatusBadRequest, "malformed")
				}
			}},
		{section: "7.1.3", name: "immutable", rule: "identifiers and authorizations of an order never change",
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				names := []string{g.name(), g.name()}
				first := c.order(t, names...)
				last := c.complete(t, first, names...).order
				if !reflect.DeepEqual(first.Identifiers, last.Identifiers) || !reflect.DeepEqual(first.Authorizations, last.Authorizations) {
					t.Errorf("from %+v to %+v", first, last)
				}
				if now := c.look(t, last); !reflect.DeepEqual(now.Authorizations, last.Authorizations) {
					t.Errorf("read again: %+v", now)
				}
			}},
		{section: "7.1.4", name: "expires", rule: "expires is in authorizations that are valid, in RFC 3339's form",
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				if a := c.prove(t, c.order(t, g.name()).Authorizations[0], "http-01"); !timestamp(t, a.Expires).After(time.Now()) {
					t.Errorf("expires %s", a.Expires)
				}
			}},
		{section: "7.1.4", name: "form", rule: "A domain name is in the form that certificates have, and never with * in an authorization",
			accepts: func(t *testing.T, g *gateway) {
				c, name := g.account(t), g.name()
				for asked, want := range map[string]string{strings.ToUpper(name): name, "xn--bcher-kva." + name: "xn--bcher-kva." + name, "*.w." + name: "w." + name} {
					if a := c.authz(t, c.order(t, asked).Authorizations[0]); a.Identifier != (ident{"dns", want}) {
						t.Errorf("%s became %+v", asked, a.Identifier)
					}
				}
			},
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				for _, name := range []string{"b\u00fccher.example.com", "under_score.example.com", "-a.example.com", "a..example.com", strings.Repeat("a", 64) + ".example.com", "192.0.2.1", "a.example.com:443", ""} {
					c.post(t, c.url("newOrder"), dnsNames(name)).refused(t, http.StatusBadRequest, "malformed")
				}
			}},
		{section: "7.1.4", name: "a-labels", rule: "Labels that begin with xn-- are verified to be properly encoded",
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				// No Punycode; nothing encoded; upper case inside; what IDNA forbids; not in its normal form.
				for _, label := range []string{"xn--0", "xn--", "xn--abc-", "xn--a", "xn--zzzzzzzzzzzz99999", "xn---", "xn--bcher-kv"} {
					c.post(t, c.url("newOrder"), dnsNames(label+".example.com")).refused(t, http.StatusBadRequest, "malformed")
				}
			}},
		{section: "7.2", name: "new-nonce", rule: "newNonce gives a fresh nonce to HEAD (with 200) and to GET (with 204 and no body)",
			accepts: func(t *testing.T, g *gateway) {
				c := g.stranger(t)
				seen := map[string]bool{}
				for method, status := range map[string]int{http.MethodHead: http.StatusOK, http.MethodGet: http.StatusNoContent} {
					for range 2 {
						a := c.plain(t, method, c.url("newNonce")).want(t, status)
						if seen[a.header.Get("Replay-Nonce")] = true; len(a.body) > 0 {
							t.Errorf("%s: %q", method, a.body)
						}
					}
				}
				if len(seen) != 4 || seen[""] {
					t.Errorf("nonces: %v", seen)
				}
			}},
		{section: "7.2", name: "no-store", rule: "Answers of newNonce have Cache-Control: no-store",
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				for _, a := range []*answer{
					c.plain(t, http.MethodHead, c.url("newNonce")), c.plain(t, http.MethodGet, c.url("newNonce")), c.read(t, c.url("newNonce")),
				} {
					if got := a.header.Get("Cache-Control"); !strings.Contains(got, "no-store") {
						t.Errorf("%s: Cache-Control %q", a.what, got)
					}
				}
			}},
	}
}
