package conformance

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// set puts a parameter into the protected header; without takes one out.
func set(name string, value any) func(*request) {
	return func(r *request) { r.header[name] = value }
}

func without(name string) func(*request) {
	return func(r *request) { delete(r.header, name) }
}

// body writes the three parts in another way.
func body(f func(protected, payload, signature string) string) func(*request) {
	return func(r *request) { r.body = f }
}

// keyInstead carries the key where the account should be named.
func keyInstead(r *request) {
	delete(r.header, "kid")
	r.header["jwk"] = json.RawMessage(jwk(r.key))
}

// rfc8555Requests is sections 5 to 6.2: how requests look and how they are signed.
func rfc8555Requests() []row {
	return []row{
		{section: "5", name: "utf-8", rule: "What is sent is UTF-8",
			accepts: func(t *testing.T, g *gateway) {
				c := g.stranger(t)
				c.post(t, c.url("newAccount"), map[string]any{"termsOfServiceAgreed": true, "note": "gr\u00fc\u00dfe"}).want(t, http.StatusCreated)
			},
			refuses: func(t *testing.T, g *gateway) {
				c := g.stranger(t)
				c.post(t, c.url("newAccount"), "{\"termsOfServiceAgreed\":true,\"note\":\"gr\xfc\xdfe\"}").refused(t, http.StatusBadRequest, "malformed")
			}},
		{section: "6.1", name: "https", rule: "HTTPS is used", departs: "| 6.1 | HTTPS |",
			accepts: func(t *testing.T, g *gateway) {
				for name, url := range g.stranger(t).directory {
					if text, ok := url.(string); ok && !strings.HasPrefix(text, "https://") {
						t.Errorf("%s is %s", name, text)
					}
				}
			}},
		{section: "6.1", name: "padding", rule: "base64url with trailing = is rejected",
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				for i, padded := range []func(p, l, s string) string{
					func(p, l, s string) string {
						return fmt.Sprintf(`{"protected":"%s=","payload":%q,"signature":%q}`, p, l, s)
					},
					func(p, l, s string) string {
						return fmt.Sprintf(`{"protected":%q,"payload":"%s=","signature":%q}`, p, l, s)
					},
					func(p, l, s string) string {
						return fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":"%s=="}`, p, l, s)
					},
				} {
					if a := c.post(t, c.url("newOrder"), dnsNames(g.name()), body(padded)); a.status != http.StatusBadRequest {
						t.Errorf("padding of part %d: %d", i, a.status)
					}
				}
				name := g.name()
				request := csr(t, newKey(t), name)
				request["csr"] = request["csr"].(string) + "="
				c.post(t, c.ready(t, "http-01", name).Finalize, request).refused(t, http.StatusBadRequest, "malformed")
			}},
		{section: "6.2", name: "signature", rule: "The JWS is verified before the request is processed",
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				c.post(t, c.url("newOrder"), dnsNames(g.name()), func(r *request) { r.key = newKey(t) }).refused(t, http.StatusBadRequest, "malformed")
				c.post(t, c.url("newOrder"), dnsNames(g.name()), body(func(p, _, s string) string {
					return fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, p, b64(encode(t, dnsNames("other.example.com"))), s)
				})).refused(t, http.StatusBadRequest, "malformed")
				if list := c.orders(t); len(list) != 0 {
					t.Errorf("orders were made: %v", list)
				}
			}},
		{section: "6.2", name: "flattened", rule: "The JWS is in the flattened JSON serialization",
			accepts: func(t *testing.T, g *gateway) { g.account(t).order(t, g.name()) },
			refuses: func(t *testing.T, g *gateway) {
				g.malformed(t, func(p, l, s string) string { return p + "." + l + "." + s })
				g.malformed(t, func(p, l, s string) string {
					return fmt.Sprintf(`{"payload":%q,"signatures":[{"protected":%q,"signature":%q}]}`, l, p, s)
				})
				g.malformed(t, func(p, l, s string) string {
					return fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}{}`, p, l, s)
				})
				g.malformed(t, func(p, l, s string) string {
					return fmt.Sprintf(`{"protected":%q,"payload":%q,"payload":%q,"signature":%q}`, p, b64([]byte("{}")), l, s)
				})
			}},
		{section: "6.2", name: "one-signature", rule: "The JWS has not several signatures",
			refuses: func(t *testing.T, g *gateway) {
				g.malformed(t, func(p, l, s string) string {
					return fmt.Sprintf(`{"payload":%q,"signatures":[{"protected":%q,"signature":%q},{"protected":%q,"signature":%q}]}`, l, p, s, p, s)
				})
				g.malformed(t, func(p, l, s string) string {
					return fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q,"signatures":[]}`, p, l, s)
				})
			}},
		{section: "6.2", name: "unencoded-payload", rule: "The unencoded payload option (RFC 7797) is not used",
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				for _, value := range []bool{false, true} {
					c.post(t, c.url("newOrder"), dnsNames(g.name()), set("b64", value), set("crit", []string{"b64"})).refused(t, http.StatusBadRequest, "malformed")
				}
				c.post(t, c.url("newOrder"), dnsNames(g.name()), set("b64", false)).refused(t, http.StatusBadRequest, "malformed")
			}},
		{section: "6.2", name: "unprotected-header", rule: "The unprotected header is not used",
			refuses: func(t *testing.T, g *gateway) {
				for _, header := range []string{`{}`, `{"kid":"1"}`, `null`} {
					g.malformed(t, func(p, l, s string) string {
						return fmt.Sprintf(`{"protected":%q,"header":%s,"payload":%q,"signature":%q}`, p, header, l, s)
					})
				}
			}},
		{section: "6.2", name: "detached-payload", rule: "The payload is not detached",
			refuses: func(t *testing.T, g *gateway) {
				g.malformed(t, func(p, _, s string) string { return fmt.Sprintf(`{"protected":%q,"signature":%q}`, p, s) })
				g.malformed(t, func(p, _, s string) string {
					return fmt.Sprintf(`{"protected":%q,"payload":null,"signature":%q}`, p, s)
				})
			}},
		{section: "6.2", name: "protected-fields", rule: "The protected header has alg, nonce, url, and jwk or kid",
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				for _, field := range []string{"alg", "url", "kid"} {
					c.post(t, c.url("newOrder"), dnsNames(g.name()), without(field)).refused(t, http.StatusBadRequest, "malformed")
				}
				c.post(t, c.url("newOrder"), dnsNames(g.name()), without("nonce")).refused(t, http.StatusBadRequest, "badNonce")
				s := g.stranger(t)
				s.post(t, s.url("newAccount"), map[string]any{"termsOfServiceAgreed": true}, without("jwk")).refused(t, http.StatusBadRequest, "malformed")
			}},
		{section: "6.2", name: "no-mac", rule: "alg is neither none nor a MAC",
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				c.post(t, c.url("newOrder"), dnsNames(g.name()), set("alg", "none"), body(func(p, l, _ string) string {
					return fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":""}`, p, l)
				})).want(t, http.StatusBadRequest)
				// A MAC under what everybody knows, the public key.
				for _, alg := range []string{"HS256", "HS384", "HS512"} {
					c.post(t, c.url("newOrder"), dnsNames(g.name()), set("alg", alg), body(func(p, l, _ string) string {
						mac := hmac.New(sha256.New, []byte(jwk(c.key)))
						mac.Write([]byte(p + "." + l))
						return fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, p, l, b64(mac.Sum(nil)))
					})).refused(t, http.StatusBadRequest, "badSignatureAlgorithm")
				}
			}},
		{section: "6.2", name: "es256", rule: "ES256 is implemented (and EdDSA with Ed25519, which should be)",
			accepts: func(t *testing.T, g *gateway) {
				_, edwards, err := ed25519.GenerateKey(rand.Reader)
				must(t, err)
				p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
				must(t, err)
				for _, key := range []crypto.Signer{newKey(t), edwards, p384, rsaKey(t, 2048)} {
					g.with(t, key).register(t).order(t, g.name())
				}
			}},
		{section: "6.2", name: "jwk-or-kid", rule: "A request with both jwk and kid is rejected",
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				both := set("jwk", json.RawMessage(jwk(c.key)))
				c.post(t, c.url("newOrder"), dnsNames(g.name()), both).refused(t, http.StatusBadRequest, "malformed")
				c.post(t, c.url("newAccount"), map[string]any{"onlyReturnExisting": true}, both).refused(t, http.StatusBadRequest, "malformed")
			}},
		{section: "6.2", name: "jwk", rule: "newAccount, and revokeCert by a certificate's key, carry in jwk the key that signed",
			accepts: func(t *testing.T, g *gateway) { g.account(t) },
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				c.post(t, c.url("newAccount"), map[string]any{"onlyReturnExisting": true}).refused(t, http.StatusBadRequest, "malformed")
				s := g.stranger(t)
				s.post(t, s.url("newAccount"), map[string]any{"termsOfServiceAgreed": true}, set("jwk", json.RawMessage(jwk(newKey(t))))).refused(t, http.StatusBadRequest, "malformed")
			}},
		{section: "6.2", name: "kid", rule: "All other requests name in kid an account by its URL",
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				o := c.order(t, g.name())
				for _, url := range []string{c.url("newOrder"), c.url("newAuthz"), c.url("keyChange"), o.URL, o.Finalize, o.Authorizations[0], c.kid} {
					c.post(t, url, map[string]any{}, keyInstead).refused(t, http.StatusBadRequest, "malformed")
				}
				for _, kid := range []string{c.kid + "/", c.kid[:len(c.kid)-1] + "A_", strings.TrimPrefix(c.kid, g.base), "1"} {
					c.post(t, c.url("newOrder"), dnsNames(g.name()), set("kid", kid)).refused(t, http.StatusBadRequest, "accountDoesNotExist")
				}
			}},
		{section: "6.2", name: "bad-algorithm", rule: "An algorithm that is not supported is answered with 400, badSignatureAlgorithm, and algorithms lists those that are",
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				for _, alg := range []string{"PS256", "ES256K", "RS512", "es256"} {
					a := c.post(t, c.url("newOrder"), dnsNames(g.name()), set("alg", alg)).refused(t, http.StatusBadRequest, "badSignatureAlgorithm")
					if list := strings.Join(a.problem().Algorithms, " "); !strings.Contains(list, "ES256") || strings.Contains(list, "HS") {
						t.Errorf("algorithms: %q", list)
					}
				}
			}},
		{section: "6.2", name: "content-type", rule: "Another Content-Type than application/jose+json is answered with 415",
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				for _, media := range []string{"application/json", "application/jose", "application/x-www-form-urlencoded", "text/plain", ""} {
					c.post(t, c.url("newOrder"), dnsNames(g.name()), func(r *request) { r.contentType = media }).want(t, http.StatusUnsupportedMediaType)
				}
			}},
	}
}

// malformed sends a newOrder request in another form.
func (g *gateway) malformed(t *testing.T, form func(protected, payload, signature string) string) {
	t.Helper()
	c := g.account(t)
	c.post(t, c.url("newOrder"), dnsNames(g.name()), body(form)).refused(t, http.StatusBadRequest, "malformed")
}

func rsaKey(t *testing.T, bits int) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	must(t, err)
	return key
}
