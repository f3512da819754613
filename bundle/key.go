package bundle

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// CheckKey says whether a private key is the leaf's: an *rsa.PrivateKey, *ecdsa.PrivateKey or ed25519.PrivateKey with the
// leaf's public key. Keys that only sign, on a token or in a service, cannot be encoded. The error is a [problem.Malformed].
func (c *Chain) CheckKey(key crypto.PrivateKey) error {
	var public interface{ Equal(crypto.PublicKey) bool }
	switch key := key.(type) {
	case *rsa.PrivateKey:
		if key != nil && key.N != nil {
			public = &key.PublicKey
		}
	case *ecdsa.PrivateKey:
		if key != nil && key.Curve != nil {
			public = &key.PublicKey
		}
	case ed25519.PrivateKey:
		if len(key) == ed25519.PrivateKeySize {
			public = key.Public().(ed25519.PublicKey)
		}
	}
	switch {
	case public == nil:
		return problem.New(problem.Malformed, "private key: it is none that can be encoded; send an RSA, ECDSA or Ed25519 key itself")
	case !public.Equal(c.certs[0].PublicKey):
		return problem.New(problem.Malformed, "private key: it does not belong to the certificate; send the key that the certificate was issued for")
	}
	return nil
}
