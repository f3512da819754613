package bundle

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"math/big"
	"testing"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// hugeKey says that it has another modulus than it signs with.
type hugeKey struct {
	crypto.Signer
	modulus *big.Int
}

func (k hugeKey) Public() crypto.PublicKey { return &rsa.PublicKey{N: k.modulus, E: 65537} }

// signOnly is a key that cannot be encoded, like one on a token.
type signOnly struct{ crypto.Signer }

func TestCheckKey(t *testing.T) {
	for name, key := range keys() {
		c := issued(t, key)
		if err := c.CheckKey(key); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for other, wrong := range keys() {
			if other != name {
				refused(t, c.CheckKey(wrong), problem.Malformed, "private key: it does not belong")
			}
		}
		for _, none := range []crypto.PrivateKey{
			nil, "a key", signOnly{key}, (*rsa.PrivateKey)(nil), (*ecdsa.PrivateKey)(nil), &ecdsa.PrivateKey{}, &rsa.PrivateKey{}, ed25519.PrivateKey(nil),
			ed25519.PrivateKey{1, 2, 3}, key.Public(),
		} {
			if err := c.CheckKey(none); err == nil {
				t.Errorf("%s: a %T is taken for the key", name, none)
			} else if p := problem.From(err); p.Kind != problem.Malformed {
				t.Errorf("%s: a %T is refused with %v", name, none, err)
			}
		}
	}
}
