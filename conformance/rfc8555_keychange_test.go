package conformance

import (
	"crypto"
	"encoding/json"
	"net/http"
	"testing"
)

// inner is the JWS that the new key signs in a key change.
type inner struct {
	header  map[string]any
	payload map[string]any
	key     crypto.Signer
}

// rollover is the payload of a key change of c to a key.
func (c *client) rollover(t *testing.T, key crypto.Signer, changes ...func(*inner)) string {
	t.Helper()
	in := &inner{
		header:  map[string]any{"alg": algorithm(key), "jwk": json.RawMessage(jwk(key)), "url": c.url("keyChange")},
		payload: map[string]any{"account": c.kid, "oldKey": json.RawMessage(jwk(c.key))},
		key:     key,
	}
	for _, change := range changes {
		change(in)
	}
	r := &request{header: in.header, payload: encode(t, in.payload), key: in.key}
	return r.sign(t)
}

// rfc8555KeyChange is sections 7.3.5 and 7.3.6.
func rfc8555KeyChange() []row {
	// refusedWith has a changed inner JWS refused, and the old key go on.
	refusedWith := func(changes ...func(*inner)) func(*testing.T, *gateway) {
		return func(t *testing.T, g *gateway) {
			for _, change := range changes {
				c := g.account(t)
				c.post(t, c.url("keyChange"), c.rollover(t, newKey(t), change)).refused(t, http.StatusBadRequest, "malformed")
				c.order(t, g.name())
			}
		}
	}
	return []row{
		{section: "7.3.5", name: "key-change", rule: "If all checks pass the new key takes the old one's place, and the answer is 200",
			accepts: func(t *testing.T, g *gateway) {
				c, next := g.account(t), newKey(t)
				c.post(t, c.url("keyChange"), c.rollover(t, next)).want(t, http.StatusOK)
				c.post(t, c.url("newOrder"), dnsNames(g.name())).refused(t, http.StatusBadRequest, "malformed") // by the old key
				c.key = next
				c.order(t, g.name())
				s := g.with(t, next)
				if got := s.post(t, s.url("newAccount"), map[string]any{"onlyReturnExisting": true}).want(t, http.StatusOK).header.Get("Location"); got != c.kid {
					t.Errorf("the new key has the account %s, want %s", got, c.kid)
				}
			}},
		{section: "7.3.5", name: "inner-form", rule: "The payload is itself a well-formed JWS, held to 6.2",
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				for _, payload := range []any{map[string]any{}, "no JSON", `{"protected":"e30","payload":"e30","signature":"AA"}`, c.rollover(t, newKey(t)) + "x"} {
					c.post(t, c.url("keyChange"), payload).refused(t, http.StatusBadRequest, "malformed")
				}
				c.post(t, c.url("keyChange"), c.rollover(t, newKey(t), func(in *inner) { in.header["alg"] = "HS256" })).refused(t, http.StatusBadRequest, "badSignatureAlgorithm")
				c.post(t, c.url("keyChange"), c.rollover(t, rsaKey(t, 1024))).refused(t, http.StatusBadRequest, "badPublicKey")
			}},
		{section: "7.3.5", name: "inner-jwk", rule: "The inner JWS has the new key in jwk",
			refuses: refusedWith(
				func(in *inner) { delete(in.header, "jwk") },
				func(in *inner) { in.header["kid"] = in.payload["account"] },
				func(in *inner) { delete(in.header, "jwk"); in.header["kid"] = in.payload["account"] },
			)},
		{section: "7.3.5", name: "inner-signature", rule: "The inner JWS verifies with that key",
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				c.post(t, c.url("keyChange"), c.rollover(t, newKey(t), func(in *inner) { in.key = newKey(t) })).refused(t, http.StatusBadRequest, "malformed")
				c.post(t, c.url("keyChange"), c.rollover(t, newKey(t), func(in *inner) { in.key = c.key })).refused(t, http.StatusBadRequest, "malformed")
			}},
		{section: "7.3.5", name: "inner-url", rule: "Inner and outer JWS have the same url",
			refuses: refusedWith(
				func(in *inner) { delete(in.header, "url") },
				func(in *inner) { in.header["url"] = "https://elsewhere.example.com/acme/r/key-change" },
				func(in *inner) { in.header["url"] = in.payload["account"] },
			)},
		{section: "7.3.5", name: "inner-nonce", rule: "The inner JWS has no nonce",
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				nonce := g.stranger(t).fresh(t)
				c.post(t, c.url("keyChange"), c.rollover(t, newKey(t), func(in *inner) { in.header["nonce"] = nonce })).refused(t, http.StatusBadRequest, "malformed")
			}},
		{section: "7.3.5", name: "account", rule: "account is the URL of the account that signs the outer JWS",
			refuses: func(t *testing.T, g *gateway) {
				c, other := g.account(t), g.account(t)
				for _, account := range []any{other.kid, c.kid + "/", "", nil, 1} {
					c.post(t, c.url("keyChange"), c.rollover(t, newKey(t), func(in *inner) { in.payload["account"] = account })).refused(t, http.StatusBadRequest, "malformed")
				}
				// Signed by another account than the one that is to be changed.
				other.post(t, c.url("keyChange"), c.rollover(t, newKey(t))).refused(t, http.StatusBadRequest, "malformed")
				c.order(t, g.name())
			}},
		{section: "7.3.5", name: "old-key", rule: "oldKey is the account's present key",
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				for _, old := range []any{json.RawMessage(jwk(newKey(t))), nil, map[string]any{}, "key"} {
					c.post(t, c.url("keyChange"), c.rollover(t, newKey(t), func(in *inner) { in.payload["oldKey"] = old })).refused(t, http.StatusBadRequest, "malformed")
				}
				c.post(t, c.url("keyChange"), c.rollover(t, newKey(t), func(in *inner) { delete(in.payload, "oldKey") })).refused(t, http.StatusBadRequest, "malformed")
			}},
		{section: "7.3.5", name: "key-in-use", rule: "No account has the new key (409, with that account's URL)",
			refuses: func(t *testing.T, g *gateway) {
				c, other := g.account(t), g.account(t)
				a := c.post(t, c.url("keyChange"), c.rollover(t, other.key)).refused(t, http.StatusConflict, "malformed")
				if got := a.header.Get("Location"); got != other.kid {
					t.Errorf("Location %q, want %q", got, other.kid)
				}
				c.order(t, g.name())
				other.order(t, g.name())
			}},
		{section: "7.3.5", name: "pending-work", rule: "Pending orders and authorizations survive the change",
			accepts: func(t *testing.T, g *gateway) {
				c, name, next := g.account(t), g.name(), newKey(t)
				o := c.order(t, name)
				c.post(t, c.url("keyChange"), c.rollover(t, next)).want(t, http.StatusOK)
				c.key = next
				c.complete(t, o, name)
			}},
		{section: "7.3.6", name: "deactivation", rule: "Deactivating an account is a request that its key signs",
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				if got := c.post(t, c.kid, map[string]any{"status": "deactivated"}).want(t, http.StatusOK).object(t); got["status"] != "deactivated" {
					t.Errorf("the account is %v", got)
				}
			},
			refuses: func(t *testing.T, g *gateway) {
				c, other := g.account(t), g.account(t)
				c.post(t, c.kid, map[string]any{"status": "deactivated"}, func(r *request) { r.key = other.key }).refused(t, http.StatusBadRequest, "malformed")
				other.post(t, c.kid, map[string]any{"status": "deactivated"}).refused(t, http.StatusNotFound, "malformed")
				c.order(t, g.name())
			}},
		{section: "7.3.6", name: "deactivated", rule: "A deactivated account's requests are answered with 401 and unauthorized, and nothing its key signs is accepted", departs: "| 7.3.6 | a request of a deactivated account is 401 |",
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				i := c.issue(t, g.name())
				o := c.order(t, g.name())
				a := c.authz(t, o.Authorizations[0])
				ch := a.of(t, "http-01")
				c.post(t, c.kid, map[string]any{"status": "deactivated"}).want(t, http.StatusOK)
				for _, url := range []string{c.kid, c.kid + "/orders", o.URL, a.URL, ch.URL, i.order.Certificate} {
					c.read(t, url).refused(t, http.StatusUnauthorized, "unauthorized")
				}
				for url, payload := range map[string]any{
					c.url("newOrder"): dnsNames(g.name()), ch.URL: map[string]any{}, c.kid: map[string]any{"status": "valid"},
					c.url("keyChange"): c.rollover(t, newKey(t)), c.url("revokeCert"): map[string]any{"certificate": b64(i.leaf.Raw)},
				} {
					c.post(t, url, payload).refused(t, http.StatusUnauthorized, "unauthorized")
				}
				c.kid = ""
				c.post(t, c.url("newAccount"), agreed()).refused(t, http.StatusUnauthorized, "unauthorized")
			}},
	}
}
