package conformance

import (
	"net/http"
	"testing"
)

// revoke asks for a revocation by the account.
func (c *client) revoke(t *testing.T, i issued, more ...any) *answer {
	t.Helper()
	return c.post(t, c.url("revokeCert"), revocation(i, more...))
}

// revocation is the payload, with the reason in more.
func revocation(i issued, more ...any) map[string]any {
	request := map[string]any{"certificate": b64(i.leaf.Raw)}
	if len(more) > 0 {
		request["reason"] = more[0]
	}
	return request
}

// rfc8555Revocation is section 7.6.
func rfc8555Revocation() []row {
	return []row{
		{section: "7.6", name: "reasons", rule: "A reason that is not allowed is badRevocationReason",
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				for _, reason := range []int{0, 1, 3, 4, 5} {
					c.revoke(t, c.issue(t, g.name()), reason).want(t, http.StatusOK)
				}
			},
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				i := c.issue(t, g.name())
				for _, reason := range []int{-1, 2, 6, 7, 8, 10, 11, 256} { // cACompromise, hold, unused, removeFromCRL, aACompromise …
					c.revoke(t, i, reason).refused(t, http.StatusBadRequest, "badRevocationReason")
				}
				c.revoke(t, i, "1").refused(t, http.StatusBadRequest, "malformed")
				c.revoke(t, i).want(t, http.StatusOK) // it was not revoked by any of them
			}},
		{section: "7.6", name: "authorized", rule: "The key that signs is authorized to revoke",
			refuses: func(t *testing.T, g *gateway) {
				c, other := g.account(t), g.account(t)
				i := c.issue(t, g.name())
				other.revoke(t, i).refused(t, http.StatusForbidden, "unauthorized")
				s := g.stranger(t)
				s.revoke(t, i).refused(t, http.StatusForbidden, "unauthorized")
				// The key of the account, as if it were the certificate's.
				c.post(t, c.url("revokeCert"), revocation(i), keyInstead).refused(t, http.StatusForbidden, "unauthorized")
				c.post(t, c.url("revokeCert"), revocation(i), func(r *request) { r.key = i.key }).refused(t, http.StatusBadRequest, "malformed")
				foreign, err := g.ca.Leaf("foreign.example.com") // of the same issuer, and never issued here
				must(t, err)
				c.post(t, c.url("revokeCert"), map[string]any{"certificate": b64(foreign.Certificate[0])}).refused(t, http.StatusForbidden, "unauthorized")
				c.revoke(t, i).want(t, http.StatusOK)
			}},
		{section: "7.6", name: "by-issuing-account", rule: "The account that the certificate was issued to is authorized",
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				i := c.issue(t, g.name())
				c.revoke(t, i, 4).want(t, http.StatusOK)
				c.revoke(t, i, 4).refused(t, http.StatusBadRequest, "alreadyRevoked")
			}},
		{section: "7.6", name: "by-authorized-account", rule: "An account that holds authorizations for all its identifiers is authorized", departs: "| 7.6 | an account that holds authorizations for all of a certificate's names",
			accepts: func(t *testing.T, g *gateway) {
				c, other := g.account(t), g.account(t)
				names := []string{g.name(), g.name()}
				i := c.issue(t, names...)
				other.ready(t, "http-01", names...)
				other.revoke(t, i).want(t, http.StatusOK)
			},
			refuses: func(t *testing.T, g *gateway) {
				c, other := g.account(t), g.account(t)
				names := []string{g.name(), g.name()}
				i := c.issue(t, names...)
				o := other.order(t, names...)
				other.prove(t, o.Authorizations[0], "http-01") // one of two
				other.revoke(t, i).refused(t, http.StatusForbidden, "unauthorized")
				other.prove(t, o.Authorizations[1], "http-01")
				other.post(t, o.Authorizations[0], map[string]any{"status": "deactivated"}).want(t, http.StatusOK)
				other.revoke(t, i).refused(t, http.StatusForbidden, "unauthorized")
			}},
		{section: "7.6", name: "by-certificate-key", rule: "A request that the certificate's own key signs is valid",
			accepts: func(t *testing.T, g *gateway) {
				i := g.account(t).issue(t, g.name())
				s := g.with(t, i.key)
				s.revoke(t, i, 1).want(t, http.StatusOK)
			},
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				first, second := c.issue(t, g.name()), c.issue(t, g.name())
				g.with(t, second.key).revoke(t, first, 1).refused(t, http.StatusForbidden, "unauthorized")
			}},
	}
}
