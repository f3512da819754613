package jws

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"math/big"
	"slices"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// Algorithm is a signature algorithm by its JOSE name (RFC 7518, 3.1; RFC 8037, 3.1).
type Algorithm string

// The algorithms a message may be signed with. ES256 is mandatory and EdDSA recommended (RFC 8555, 6.2); the others
// are what deployed clients use. Absent on purpose: "none", everything symmetric, RSA-PSS and RSA with longer hashes,
// which no ACME client needs.
const (
	ES256 Algorithm = "ES256"
	ES384 Algorithm = "ES384"
	ES512 Algorithm = "ES512"
	EdDSA Algorithm = "EdDSA" // with Ed25519
	RS256 Algorithm = "RS256" // with 2048 to 4096 bits
)

// Algorithms lists the supported algorithms, the mandatory one first: the "algorithms" of a badSignatureAlgorithm
// document (RFC 8555, 6.2). The slice is the caller's.
func Algorithms() []string {
	return []string{string(ES256), string(ES384), string(ES512), string(EdDSA), string(RS256)}
}

func (a Algorithm) supported() bool { return slices.Contains(Algorithms(), string(a)) }

// fits refuses an algorithm other than the one this key signs with. A key has one, so that a message cannot choose how
// its own signature is looked at.
func (k *PublicKey) fits(alg Algorithm) error {
	if k.algorithm != alg {
		return problem.New(problem.BadSignatureAlgorithm, "the key signs with %s, but the header says %s", k.algorithm, quote(string(alg)))
	}
	return nil
}

// verify reports whether signature is this key's over signed. The sizes of key and signature are checked, here or by
// the standard library, before any arithmetic.
func (k *PublicKey) verify(signed, signature []byte) bool {
	switch pub := k.key.(type) {
	case *ecdsa.PublicKey:
		return verifyECDSA(pub, k.algorithm, signed, signature)
	case ed25519.PublicKey:
		return ed25519.Verify(pub, signed, signature) // RFC 8037, 3.1
	case *rsa.PublicKey:
		digest := sha256.Sum256(signed)
		return rsa.VerifyPKCS1v15(pub, crypto.SHA256, digest[:], signature) == nil // RFC 7518, 3.3
	}
	return false
}

// verifyECDSA checks a signature of RFC 7518, 3.4: R and S, each as long as a coordinate, one after the other.
func verifyECDSA(pub *ecdsa.PublicKey, alg Algorithm, signed, signature []byte) bool {
	size := (pub.Params().BitSize + 7) / 8
	if len(signature) != 2*size {
		return false
	}
	var digest []byte
	switch alg {
	case ES256:
		sum := sha256.Sum256(signed)
		digest = sum[:]
	case ES384:
		sum := sha512.Sum384(signed)
		digest = sum[:]
	case ES512:
		sum := sha512.Sum512(signed)
		digest = sum[:]
	default:
		return false
	}
	r := new(big.Int).SetBytes(signature[:size])
	s := new(big.Int).SetBytes(signature[size:])
	return ecdsa.Verify(pub, digest, r, s)
}
