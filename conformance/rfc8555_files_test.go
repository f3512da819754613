package conformance

import (
	"encoding/pem"
	"net/http"
	"testing"
)

// rfc8555Files is section 9.1, and section 11.1, which is about keys.
func rfc8555Files() []row {
	return []row{
		{section: "9.1", name: "strict-pem", rule: "A chain is PEM in the strict encoding of RFC 7468, without explanatory text",
			accepts: func(t *testing.T, g *gateway) {
				i := g.account(t).issue(t, g.name())
				var again []byte
				for rest := i.text; ; {
					var block *pem.Block
					if block, rest = pem.Decode(rest); block == nil {
						break
					}
					if block.Type != "CERTIFICATE" || len(block.Headers) > 0 {
						t.Errorf("a block of %s with %v", block.Type, block.Headers)
					}
					again = append(again, pem.EncodeToMemory(block)...)
				}
				if string(again) != string(i.text) { // which writes lines of 64 characters and nothing between
					t.Errorf("the file is\n%s", i.text)
				}
			}},
		{section: "9.1", name: "end-entity-first", rule: "The first certificate is the end entity's (and each next one certifies the one before)",
			accepts: func(t *testing.T, g *gateway) {
				i := g.account(t).issue(t, g.name())
				if i.leaf.IsCA || len(i.chain) == 0 {
					t.Fatal("the first is a CA's, or the only one")
				}
				below := i.leaf
				for _, above := range i.chain {
					must(t, below.CheckSignatureFrom(above))
					below = above
				}
				must(t, below.CheckSignatureFrom(g.ca.Root.Certificate))
			}},
		{section: "11.1", name: "csr-key", rule: "The key of a CSR is not that of the account that finalizes, nor of any other account",
			refuses: func(t *testing.T, g *gateway) {
				c, other, name := g.account(t), g.account(t), g.name()
				o := c.ready(t, "http-01", name)
				c.post(t, o.Finalize, csr(t, c.key, name)).refused(t, http.StatusBadRequest, "badCSR")
				c.post(t, o.Finalize, csr(t, other.key, name)).refused(t, http.StatusBadRequest, "badCSR")
				c.finalized(t, o, csr(t, newKey(t), name))
			}},
		{section: "11.1", name: "one-account", rule: "A key has one account",
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				s := g.with(t, c.key)
				if got := s.post(t, s.url("newAccount"), agreed()).want(t, http.StatusOK).header.Get("Location"); got != c.kid {
					t.Errorf("the key has %s and %s", c.kid, got)
				}
				// Nor in another organisation.
				elsewhere := g.at(t, g.base+"/acme/in/other/directory", c.key)
				elsewhere.post(t, elsewhere.url("newAccount"), agreed()).refused(t, http.StatusForbidden, "unauthorized")
				// Nor by a key change.
				other := g.account(t)
				other.post(t, other.url("keyChange"), other.rollover(t, c.key)).refused(t, http.StatusConflict, "malformed")
			}},
	}
}
