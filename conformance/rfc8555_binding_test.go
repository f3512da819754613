package conformance

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/seal"
)

// bindings is a gateway whose default directory makes no account without a binding, and one of its keys.
type bindings struct {
	*gateway
	kid string
	mac []byte
}

func (g *gateway) bindings(t *testing.T) *bindings {
	t.Helper()
	raw := make([]byte, 32)
	rand.Read(raw)
	key, err := seal.NewKey(raw)
	must(t, err)
	sealer, err := seal.New(key)
	must(t, err)
	external := auth.NewExternalAccounts(auth.ExternalAccountsConfig{
		Store: g.db, Sealer: sealer, Journal: g.journal, Directory: g.config.Organisations, Now: g.now, CheckNames: func([]string) error { return nil },
	})
	made, mac, err := external.Add(t.Context(), auth.Caller{Principal: "uid:0", Operator: true}, auth.NewEABKey{Org: "main", Reusable: true})
	must(t, err)
	s := g.sibling(t, func(c *acme.Config) { c.EAB, c.External = auth.EABRequired, external })
	return &bindings{s, made.ID, mac}
}

// binding is the JWS of an external account binding. A change sees its header first.
func (b *bindings) binding(t *testing.T, c *client, changes ...func(header map[string]any)) map[string]any {
	t.Helper()
	header := map[string]any{"alg": "HS256", "kid": b.kid, "url": c.url("newAccount")}
	for _, change := range changes {
		change(header)
	}
	return b.signed(t, encode(t, header), []byte(jwk(c.key)), b.mac)
}

func (b *bindings) signed(t *testing.T, header, payload, mac []byte) map[string]any {
	t.Helper()
	h := hmac.New(sha256.New, mac)
	fmt.Fprintf(h, "%s.%s", b64(header), b64(payload))
	return map[string]any{"protected": b64(header), "payload": b64(payload), "signature": b64(h.Sum(nil))}
}

// rejected sends a binding and holds the gateway to making no account.
func (b *bindings) rejected(t *testing.T, c *client, binding any) {
	t.Helper()
	if a := c.post(t, c.url("newAccount"), agreed("externalAccountBinding", binding)); a.status != http.StatusBadRequest && a.status != http.StatusForbidden {
		t.Errorf("%v: %d %s", binding, a.status, a.body)
	}
	c.post(t, c.url("newAccount"), map[string]any{"onlyReturnExisting": true}).refused(t, http.StatusBadRequest, "accountDoesNotExist")
}

// rejects tries headers of a binding that do not meet the criteria.
func rejects(changes ...func(header map[string]any)) func(*testing.T, *gateway) {
	return func(t *testing.T, g *gateway) {
		b := g.bindings(t)
		for _, change := range changes {
			c := b.stranger(t)
			b.rejected(t, c, b.binding(t, c, change))
		}
	}
}

// rfc8555Binding is section 7.3.4.
func rfc8555Binding() []row {
	return []row{
		{section: "7.3.4", name: "key-identifier", rule: "The key identifier is ASCII text",
			accepts: func(t *testing.T, g *gateway) {
				if kid := g.bindings(t).kid; kid == "" || strings.ContainsFunc(kid, func(r rune) bool { return r < '!' || r > '~' }) {
					t.Errorf("the identifier is %q", kid)
				}
			}},
		{section: "7.3.4", name: "required", rule: "A directory that makes no account without a binding has externalAccountRequired: true in meta",
			accepts: func(t *testing.T, g *gateway) {
				for s, want := range map[*gateway]bool{g: false, g.bindings(t).gateway: true} {
					if meta := s.stranger(t).directory["meta"].(map[string]any); meta["externalAccountRequired"] != want {
						t.Errorf("meta is %v, want %v", meta, want)
					}
				}
			},
			refuses: func(t *testing.T, g *gateway) {
				c := g.bindings(t).stranger(t)
				c.post(t, c.url("newAccount"), agreed()).refused(t, http.StatusForbidden, "externalAccountRequired")
				c.post(t, c.url("newAccount"), agreed("externalAccountBinding", nil)).refused(t, http.StatusForbidden, "externalAccountRequired")
			}},
		{section: "7.3.4", name: "not-verified", rule: "A binding that is not verified is not reflected",
			accepts: func(t *testing.T, g *gateway) {
				b := g.bindings(t)
				c := g.stranger(t) // whose directory does not look at bindings
				for _, binding := range []any{"nonsense", b.binding(t, c)} {
					c = g.stranger(t)
					if got := c.post(t, c.url("newAccount"), agreed("externalAccountBinding", binding)).want(t, http.StatusCreated).object(t); got["externalAccountBinding"] != nil {
						t.Errorf("the account is %v", got)
					}
				}
			}},
		{section: "7.3.4", name: "verified", rule: "The account of a binding that was verified has it, as it was sent",
			accepts: func(t *testing.T, g *gateway) {
				b := g.bindings(t)
				c := b.stranger(t)
				binding := b.binding(t, c)
				a := c.post(t, c.url("newAccount"), agreed("externalAccountBinding", binding)).want(t, http.StatusCreated)
				c.kid = a.header.Get("Location")
				for _, got := range []map[string]any{a.object(t), c.read(t, c.kid).want(t, http.StatusOK).object(t)} {
					if !reflect.DeepEqual(got["externalAccountBinding"], any(binding)) {
						t.Errorf("the account is %v", got)
					}
				}
				c.order(t, g.name())
			}},
		{section: "7.3.4", name: "form", rule: "A binding is a well-formed JWS",
			refuses: func(t *testing.T, g *gateway) {
				b := g.bindings(t)
				c := b.stranger(t)
				good := b.binding(t, c)
				compact := good["protected"].(string) + "." + good["payload"].(string) + "." + good["signature"].(string)
				for _, binding := range []any{"", compact, []any{good}, map[string]any{}, map[string]any{"protected": good["protected"], "payload": good["payload"]}} {
					b.rejected(t, c, binding)
				}
			}},
		{section: "7.3.4", name: "algorithm", rule: "Its alg is a MAC",
			refuses: rejects(
				func(h map[string]any) { h["alg"] = "none" },
				func(h map[string]any) { h["alg"] = "ES256" },
				func(h map[string]any) { h["alg"] = "RS256" },
				func(h map[string]any) { delete(h, "alg") },
			)},
		{section: "7.3.4", name: "kid", rule: "Its kid is the identifier of a MAC key of the CA",
			refuses: rejects(
				func(h map[string]any) { h["kid"] = "another" },
				func(h map[string]any) { h["kid"] = "" },
				func(h map[string]any) { delete(h, "kid") },
			)},
		{section: "7.3.4", name: "nonce", rule: "It has no nonce",
			refuses: rejects(func(h map[string]any) { h["nonce"] = "YWJjZA" })},
		{section: "7.3.4", name: "url", rule: "Its url is that of the outer JWS",
			refuses: rejects(
				func(h map[string]any) { h["url"] = h["url"].(string) + "/" },
				func(h map[string]any) { delete(h, "url") },
			)},
		{section: "7.3.4", name: "mac", rule: "Its MAC verifies with that key",
			refuses: func(t *testing.T, g *gateway) {
				b := g.bindings(t)
				c := b.stranger(t)
				header := encode(t, map[string]any{"alg": "HS256", "kid": b.kid, "url": c.url("newAccount")})
				b.rejected(t, c, b.signed(t, header, []byte(jwk(c.key)), []byte("another key")))
				b.rejected(t, c, b.signed(t, header, []byte(jwk(c.key)), nil))
				cut := b.binding(t, c)
				cut["signature"] = cut["signature"].(string)[:22]
				b.rejected(t, c, cut)
			}},
		{section: "7.3.4", name: "payload", rule: "Its payload is the key that signs the request",
			refuses: func(t *testing.T, g *gateway) {
				b := g.bindings(t)
				c, other := b.stranger(t), b.stranger(t)
				b.rejected(t, c, b.binding(t, other))
				header := encode(t, map[string]any{"alg": "HS256", "kid": b.kid, "url": c.url("newAccount")})
				for _, payload := range []string{"", "{}", "null", string(encode(t, json.RawMessage(jwk(c.key)))) + "x"} {
					b.rejected(t, c, b.signed(t, header, []byte(payload), b.mac))
				}
			}},
	}
}
