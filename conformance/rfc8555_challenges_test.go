package conformance

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// tokens holds the tokens of a kind of challenge to having 128 bits, in base64url without padding, each once.
func tokens(kind string) func(*testing.T, *gateway) {
	return func(t *testing.T, g *gateway) {
		c := g.account(t)
		seen := map[string]bool{}
		for range 8 {
			a := c.authz(t, c.order(t, g.name()).Authorizations[0])
			token := a.of(t, kind).Token
			octets, err := base64.RawURLEncoding.Strict().DecodeString(token)
			if err != nil || len(octets) < 16 || seen[token] {
				t.Errorf("token %q: %v", token, err)
			}
			seen[token] = true
		}
	}
}

// wrongly lets a challenge be answered in a way that must not pass.
func (c *client) wrongly(t *testing.T, kind string, publish func(authz, challenge)) authz {
	t.Helper()
	a := c.authz(t, c.order(t, c.g.name()).Authorizations[0])
	publish(a, a.of(t, kind))
	if a = c.validate(t, a.URL, kind); a.Status != "invalid" {
		t.Errorf("%s: the authorization is %+v", kind, a)
	}
	return a
}

// rfc8555Challenges is section 8.
func rfc8555Challenges() []row {
	return []row{
		{section: "8", name: "validated", rule: "A valid challenge has the time of its validation, in RFC 3339's form",
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				a := c.prove(t, c.order(t, g.name()).Authorizations[0], "http-01")
				timestamp(t, a.of(t, "http-01").Validated)
			}},
		{section: "8", name: "error", rule: "A challenge with an error is invalid",
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				a := c.wrongly(t, "http-01", func(authz, challenge) {})
				if ch := a.of(t, "http-01"); ch.Error == nil || ch.Error.Type == "" || ch.Status != "invalid" || ch.Validated != "" {
					t.Errorf("the challenge is %+v", ch)
				}
			}},
		{section: "8.1", name: "thumbprint", rule: "A key authorization has the key's SHA-256 thumbprint of RFC 7638, whose fields have no leading zero octets",
			accepts: func(t *testing.T, g *gateway) {
				c := g.with(t, rsaKey(t, 2048)).register(t)
				c.ready(t, "http-01", g.name())
			},
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				for _, text := range []func(token string) string{
					func(token string) string { return keyAuthorization(newKey(t), token) }, // another account's
					func(token string) string { return token },
					func(token string) string { return keyAuthorization(c.key, token) + "x" },
					func(token string) string { return strings.ToLower(keyAuthorization(c.key, token)) },
				} {
					c.wrongly(t, "http-01", func(_ authz, ch challenge) { g.web.Set(ch.Token, text(ch.Token)) })
				}
				// A modulus with a zero octet in front would be the same key with another thumbprint.
				key := rsaKey(t, 2048)
				s := g.with(t, key)
				padded := map[string]any{"kty": "RSA", "e": "AQAB", "n": b64(append([]byte{0}, key.N.Bytes()...))}
				s.post(t, s.url("newAccount"), agreed(), set("jwk", padded)).refused(t, http.StatusBadRequest, "badPublicKey")
			}},
		{section: "8.2", name: "retry-state", rule: "error and Retry-After of a challenge tell what failed and when is tried again", departs: "| 8.2 | a server may try a validation again before it gives up |",
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				a := c.wrongly(t, "http-01", func(_ authz, ch challenge) { g.web.Set(ch.Token, "wrong") })
				got := c.read(t, a.of(t, "http-01").URL).want(t, http.StatusOK)
				var ch challenge
				got.into(t, &ch)
				if ch.Error == nil || ch.Error.Detail == "" || got.header.Get("Retry-After") != "" { // it is not tried again
					t.Errorf("%s, Retry-After %q", got.body, got.header.Get("Retry-After"))
				}
			}},
		{section: "8.3", name: "token", rule: "The token of http-01 has at least 128 bits, in base64url without padding", accepts: tokens("http-01")},
		{section: "8.3", name: "get", rule: "It is asked for by GET over HTTP at /.well-known/acme-challenge/ and the token, on port 80 of the name's server",
			accepts: func(t *testing.T, g *gateway) {
				c, name := g.account(t), g.name()
				o := c.ready(t, "http-01", name)
				token := c.authz(t, o.Authorizations[0]).of(t, "http-01").Token
				for _, r := range g.web.Requests() {
					if r.URI == "/.well-known/acme-challenge/"+token && r.Method == http.MethodGet && strings.HasPrefix(r.Host, name) && !r.TLS {
						dialled(t, g, dcv.HTTP01, "80")
						return
					}
				}
				t.Error("nobody asked for the token")
			}},
		{section: "8.3", name: "body", rule: "The body is the key authorization (white space at its end aside)",
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				a := c.authz(t, c.order(t, g.name()).Authorizations[0])
				ch := a.of(t, "http-01")
				g.web.Set(ch.Token, keyAuthorization(c.key, ch.Token)+" \r\n\t\n")
				if a = c.validate(t, a.URL, "http-01"); a.Status != "valid" {
					t.Errorf("with white space behind it: %+v", a)
				}
			},
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				for _, text := range []func(string) string{
					func(string) string { return "" },
					func(s string) string { return " " + s },
					func(s string) string { return s + "\n" + s },
					func(s string) string { return "<html>" + s + "</html>" },
				} {
					c.wrongly(t, "http-01", func(_ authz, ch challenge) { g.web.Set(ch.Token, text(keyAuthorization(c.key, ch.Token))) })
				}
				c.wrongly(t, "http-01", func(_ authz, ch challenge) {
					c.g.web.Set(ch.Token, keyAuthorization(c.key, ch.Token))
					c.g.web.Break(ch.Token, testca.HTTPFault{Kind: testca.HTTPContent, Status: http.StatusNotFound, Body: keyAuthorization(c.key, ch.Token)})
				})
			}},
		{section: "8.4", name: "token", rule: "The token of dns-01 has at least 128 bits, in base64url without padding", accepts: tokens("dns-01")},
		{section: "8.4", name: "record", rule: "One of the TXT records of _acme-challenge below the name is the digest of the key authorization",
			accepts: func(t *testing.T, g *gateway) {
				c, name := g.account(t), g.name()
				g.addDNS(t, `_acme-challenge.`+name+`. TXT "of somebody else"`)
				c.ready(t, "dns-01", name)
				c.ready(t, "dns-01", "*."+g.name())
			},
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				for _, line := range []func(name, keyAuth string) string{
					func(name, keyAuth string) string { return `_acme-challenge.` + name + `. TXT "` + keyAuth + `"` },
					func(name, keyAuth string) string {
						return `_acme-challenge.` + name + `. TXT "` + digest(keyAuth) + `="`
					},
					func(name, keyAuth string) string {
						return `_acme-challenge.` + name + `. TXT "` + digest(keyAuth+"x") + `"`
					},
					func(name, keyAuth string) string { return name + `. TXT "` + digest(keyAuth) + `"` },
					func(name, keyAuth string) string { return `_acme-challenge.` + name + `. A 127.0.0.1` },
				} {
					c.wrongly(t, "dns-01", func(a authz, ch challenge) {
						g.addDNS(t, line(a.Identifier.Value, keyAuthorization(c.key, ch.Token)))
					})
				}
				c.wrongly(t, "dns-01", func(authz, challenge) {})
			}},
	}
}
