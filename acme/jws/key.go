package jws

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/big"
)

// A PublicKey is an account key (or, in a revocation, a certificate's key) that passed the checks of this package: its
// kind and size are allowed and its point is valid. It is immutable, and it is never a private key.
type PublicKey struct {
	key       crypto.PublicKey // *ecdsa.PublicKey, ed25519.PublicKey or *rsa.PublicKey
	algorithm Algorithm
	canonical string // RFC 7638, 3: the required members only, in lexical order, no white space
}

// ParsePublicKey reads a key that [PublicKey.Marshal] wrote, or any JWK that a message might carry. It is cheap enough
// to be called for every request. The error is no problem.Error: a stored key that cannot be read is our fault, not
// the client's.
func ParsePublicKey(jwk []byte) (*PublicKey, error) {
	key, err := parseJWK(jwk)
	if err != nil {
		// %v and not %w: the kind inside is for clients that sent a key.
		return nil, fmt.Errorf("jws: public key: %v", err)
	}
	return key, nil
}

// Marshal is the key as a JWK in the one form that RFC 7638, 3 gives it, so equal keys have equal bytes. The slice is
// the caller's.
func (k *PublicKey) Marshal() []byte { return []byte(k.canonical) }

// Thumbprint is the SHA-256 JWK thumbprint (RFC 7638), base64url without padding: 43 characters, the same for the
// same key and fit to be an index key.
func (k *PublicKey) Thumbprint() string {
	sum := sha256.Sum256([]byte(k.canonical))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// KeyAuthorization is what a challenge with this token must be answered with (RFC 8555, 8.1).
func (k *PublicKey) KeyAuthorization(token string) string { return token + "." + k.Thumbprint() }

// Equal reports whether both are the same key. A nil key equals only nil.
func (k *PublicKey) Equal(other *PublicKey) bool {
	if k == nil || other == nil {
		return k == other
	}
	return k.canonical == other.canonical
}

// Matches reports whether pub, taken from a certificate or a CSR, is this key: what revocation by certificate key
// needs (RFC 8555, 7.6) and what a CSR must not do (RFC 8555, 11.1).
func (k *PublicKey) Matches(pub crypto.PublicKey) bool {
	own, ok := k.key.(interface{ Equal(crypto.PublicKey) bool })
	return ok && own.Equal(pub)
}

// ThumbprintOf is the thumbprint of a key from a certificate or a CSR, by which an account that has it would be found (RFC
// 8555, 11.1). False if no account can have it.
func ThumbprintOf(pub crypto.PublicKey) (string, bool) {
	var raw rawJWK
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		point, err := k.Bytes() // SEC 1, 2.3.3: 04, x, y
		if err != nil {
			return "", false
		}
		half := (len(point) - 1) / 2
		raw = rawJWK{kty: "EC", crv: k.Params().Name, x: base64url.EncodeToString(point[1 : 1+half]), y: base64url.EncodeToString(point[1+half:])}
	case ed25519.PublicKey:
		raw = rawJWK{kty: "OKP", crv: "Ed25519", x: base64url.EncodeToString(k)}
	case *rsa.PublicKey:
		raw = rawJWK{kty: "RSA", n: base64url.EncodeToString(k.N.Bytes()), e: base64url.EncodeToString(big.NewInt(int64(k.E)).Bytes())}
	}
	key, err := raw.publicKey()
	if err != nil {
		return "", false
	}
	return key.Thumbprint(), true
}

// CryptoKey is the key as the standard library knows it: *ecdsa.PublicKey, ed25519.PublicKey or *rsa.PublicKey.
// Callers must not change it.
func (k *PublicKey) CryptoKey() crypto.PublicKey { return k.key }
