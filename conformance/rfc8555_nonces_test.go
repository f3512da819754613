package conformance

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"
)

// rfc8555Nonces is section 6.5: replay protection. 7.2, which gives the first nonce, is among the objects.
func rfc8555Nonces() []row {
	return []row{
		{section: "6.5", name: "in-answers", rule: "Every successful answer to a POST has a Replay-Nonce (and errors should)",
			accepts: func(t *testing.T, g *gateway) { // every test of this package looks at every answer; see answer.check
				c := g.account(t)
				i := c.issue(t, g.name())
				for _, a := range []*answer{
					c.read(t, c.kid), c.read(t, i.order.URL), c.read(t, i.order.Certificate), c.read(t, c.url("newNonce")),
					c.post(t, i.order.URL, "{}"), c.post(t, c.url("newOrder"), "no JSON"), c.plain(t, http.MethodGet, c.kid),
				} {
					if a.header.Get("Replay-Nonce") == "" {
						t.Errorf("%s: %d without a nonce", a.what, a.status)
					}
				}
			}},
		{section: "6.5", name: "ours", rule: "A nonce is accepted only if the server has provided it",
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				stranger := newGateway(t).stranger(t)
				for _, nonce := range []string{
					stranger.fresh(t), b64([]byte("a nonce of 32 octets, made up...")), b64([]byte("short")), altered(c.fresh(t)),
				} {
					c.post(t, c.url("newOrder"), dnsNames(g.name()), set("nonce", nonce)).refused(t, http.StatusBadRequest, "badNonce")
				}
			}},
		{section: "6.5", name: "once", rule: "A nonce that has appeared in a request is invalid from then on", departs: "| 6.5 | a nonce is invalid once it has appeared in a request |",
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				nonce := c.fresh(t)
				c.post(t, c.url("newOrder"), dnsNames(g.name()), set("nonce", nonce)).want(t, http.StatusCreated)
				for range 2 {
					c.post(t, c.url("newOrder"), dnsNames(g.name()), set("nonce", nonce)).refused(t, http.StatusBadRequest, "badNonce")
				}
				nonce = c.fresh(t) // also by a request that fails
				c.post(t, c.url("newOrder"), dnsNames(g.name()), set("nonce", nonce), func(r *request) { r.key = newKey(t) }).want(t, http.StatusBadRequest)
				c.post(t, c.url("newOrder"), dnsNames(g.name()), set("nonce", nonce)).refused(t, http.StatusBadRequest, "badNonce")
				other := g.account(t) // and for everybody
				other.post(t, c.url("newOrder"), dnsNames(g.name()), set("nonce", nonce)).refused(t, http.StatusBadRequest, "badNonce")
			}},
		{section: "6.5", name: "bad-nonce", rule: "A nonce that is missing or not accepted is answered with 400, badNonce, and a fresh nonce that is good for the retry",
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				a := c.post(t, c.url("newOrder"), dnsNames(g.name()), without("nonce")).refused(t, http.StatusBadRequest, "badNonce")
				c.post(t, c.url("newOrder"), dnsNames(g.name()), set("nonce", a.header.Get("Replay-Nonce"))).want(t, http.StatusCreated)
				nonce := c.fresh(t)
				c.post(t, c.url("newOrder"), dnsNames(g.name()), set("nonce", nonce)).want(t, http.StatusCreated)
				a = c.post(t, c.url("newOrder"), dnsNames(g.name()), set("nonce", nonce)).refused(t, http.StatusBadRequest, "badNonce")
				c.post(t, c.url("newOrder"), dnsNames(g.name()), set("nonce", a.header.Get("Replay-Nonce"))).want(t, http.StatusCreated)
			},
			refuses: func(t *testing.T, _ *gateway) { // one that is too old is not accepted either
				g := newGateway(t)
				c := g.account(t)
				nonce := c.fresh(t)
				c.later(time.Hour)
				a := c.post(t, c.url("newOrder"), dnsNames(g.name()), set("nonce", nonce)).refused(t, http.StatusBadRequest, "badNonce")
				c.post(t, c.url("newOrder"), dnsNames(g.name()), set("nonce", a.header.Get("Replay-Nonce"))).want(t, http.StatusCreated)
			}},
		{section: "6.5.1", name: "unpredictable", rule: "Nonces are unique with high probability and nobody else can predict them",
			accepts: func(t *testing.T, g *gateway) {
				c := g.stranger(t)
				seen := map[string]bool{}
				for range 200 {
					seen[c.fresh(t)] = true
				}
				if len(seen) != 200 {
					t.Errorf("200 nonces, %d of them different", len(seen))
				}
			}},
		{section: "6.5.1", name: "encoding", rule: "Replay-Nonce is base64url without padding",
			accepts: func(t *testing.T, g *gateway) {
				if octets, err := base64.RawURLEncoding.Strict().DecodeString(g.stranger(t).fresh(t)); err != nil || len(octets) < 16 {
					t.Errorf("%d octets, %v", len(octets), err)
				}
			}},
		{section: "6.5.2", name: "protected", rule: "nonce is in the protected header",
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				c.post(t, c.url("newOrder"), dnsNames(g.name()), without("nonce"), func(r *request) {
					nonce := c.fresh(t)
					r.body = func(p, l, s string) string {
						return `{"protected":"` + p + `","header":{"nonce":"` + nonce + `"},"payload":"` + l + `","signature":"` + s + `"}`
					}
				}).refused(t, http.StatusBadRequest, "malformed")
			}},
		{section: "6.5.2", name: "nonce-encoding", rule: "A nonce that is not base64url is rejected as malformed",
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				for _, nonce := range []any{"a+b/", "YWJj=", "no nonce", "\u00fc", 7, nil, []string{"YWJj"}} {
					c.post(t, c.url("newOrder"), dnsNames(g.name()), set("nonce", nonce)).refused(t, http.StatusBadRequest, "malformed")
				}
			}},
	}
}

// altered is a nonce with another letter in its middle.
func altered(nonce string) string {
	n := len(nonce) / 2
	letter := "A"
	if strings.HasPrefix(nonce[n:], letter) {
		letter = "B"
	}
	return nonce[:n] + letter + nonce[n+1:]
}
