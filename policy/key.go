package policy

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"github.com/letsencrypt/boulder/goodkey"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// KeyType is an algorithm with its size.
type KeyType string

// The key types. No other can be certified.
const (
	RSA2048   KeyType = "rsa-2048"
	RSA3072   KeyType = "rsa-3072"
	RSA4096   KeyType = "rsa-4096"
	ECDSAP256 KeyType = "ecdsa-p256"
	ECDSAP384 KeyType = "ecdsa-p384"
	ECDSAP521 KeyType = "ecdsa-p521"
	Ed25519   KeyType = "ed25519"
)

// webKeyTypes are the default, and all that public trust takes (Baseline Requirements 6.1.5, with P-521 left out as the
// root programs do).
func webKeyTypes() []KeyType { return []KeyType{ECDSAP256, ECDSAP384, RSA2048, RSA3072, RSA4096} }

func allKeyTypes() []KeyType { return append(webKeyTypes(), ECDSAP521, Ed25519) }

// fermatRounds is how many rounds of Fermat's method a modulus must withstand (Baseline Requirements 6.1.1.3).
const fermatRounds = 100

// KeyTypes lists the types of keys that the profile takes. The caller owns the slice.
func (p *Profile) KeyTypes() []KeyType { return slices.Clone(p.keyTypes) }

// setKeys reads the key types and the blocked keys.
func (p *Profile) setKeys(c *checker, cfg Config) {
	p.keyTypes = slices.Compact(slices.Sorted(slices.Values(cfg.KeyTypes)))
	if len(p.keyTypes) == 0 {
		p.keyTypes = webKeyTypes()
	}
	for _, t := range p.keyTypes {
		switch {
		case !slices.Contains(allKeyTypes(), t):
			c.refuse("key_types", "%q is no key type; known are %s", t, list(allKeyTypes()))
		case p.public && !slices.Contains(webKeyTypes(), t):
			c.refuse("key_types", "%q is not for public trust (Baseline Requirements 6.1.5); allowed are %s", t, list(webKeyTypes()))
		}
	}
	// No blocked-key function: the list is looked up here, for every algorithm and not for RSA alone.
	keys, err := goodkey.NewPolicy(&goodkey.Config{
		AllowedKeys:  &goodkey.AllowedKeys{RSA2048: true, RSA3072: true, RSA4096: true},
		FermatRounds: fermatRounds,
	}, nil)
	if err != nil {
		c.refuse("key_types", "%v", err)
	}
	p.rsa = keys
	p.blocked = make(map[[32]byte]bool, len(cfg.BlockedKeys))
	for _, sum := range cfg.BlockedKeys {
		p.blocked[sum] = true
	}
}

// keyTypeOf is the type of a public key. The error says what is wrong with the key and may be shown.
func keyTypeOf(pub any) (KeyType, error) {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		if k == nil || k.N == nil {
			return "", fmt.Errorf("the RSA key is empty")
		}
		// One exponent, so that checking a signature has a known cost and the key space stays small.
		if k.E != 65537 {
			return "", fmt.Errorf("the RSA key has the public exponent %d; it must be 65537", k.E)
		}
		switch k.N.BitLen() {
		case 2048:
			return RSA2048, nil
		case 3072:
			return RSA3072, nil
		case 4096:
			return RSA4096, nil
		}
		return "", fmt.Errorf("the RSA key has %d bits; it must have 2048, 3072 or 4096", k.N.BitLen())
	case *ecdsa.PublicKey:
		if k == nil || k.Curve == nil {
			return "", fmt.Errorf("the EC key is empty")
		}
		switch k.Curve {
		case elliptic.P256():
			return ECDSAP256, nil
		case elliptic.P384():
			return ECDSAP384, nil
		case elliptic.P521():
			return ECDSAP521, nil
		}
		return "", fmt.Errorf("the EC key is on the curve %s; it must be on P-256, P-384 or P-521", k.Curve.Params().Name)
	case ed25519.PublicKey:
		if len(k) != ed25519.PublicKeySize {
			return "", fmt.Errorf("the Ed25519 key has %d bytes instead of 32", len(k))
		}
		return Ed25519, nil
	default:
		return "", fmt.Errorf("the key is of an algorithm that is not certified here; use RSA, ECDSA or Ed25519")
	}
}

// CheckKey refuses a key the profile does not allow or that is known to be weak: RSA keys of the ROCA kind, with small
// factors or factors close together, EC points off their curve, blocked keys. The error is BadCSR (RFC 8555, 7.4 gives
// the unacceptable key as its example).
func (p *Profile) CheckKey(pub any) error {
	t, err := keyTypeOf(pub)
	if err != nil {
		return problem.New(problem.BadCSR, "%v", err)
	}
	if !slices.Contains(p.keyTypes, t) {
		return problem.New(problem.BadCSR, "the key is of type %s, which the profile %q does not allow; it allows %s",
			t, p.name, list(p.keyTypes))
	}
	switch k := pub.(type) {
	case *rsa.PublicKey:
		if err := p.rsa.GoodKey(context.Background(), k); err != nil {
			return problem.Wrap(err, problem.BadCSR, "the RSA key is weak (%v); make a new one", err)
		}
	case *ecdsa.PublicKey:
		// ECDH converts only a key whose point lies on the curve and is not infinity (SP 800-56A, 5.6.2.3.3).
		if _, err := k.ECDH(); err != nil {
			return problem.Wrap(err, problem.BadCSR, "the EC key is no point of its curve; make a new one")
		}
	}
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return problem.Wrap(err, problem.BadCSR, "the key cannot be encoded")
	}
	if p.blocked[sha256.Sum256(spki)] {
		return problem.New(problem.BadCSR, "the key is blocked because its private half is known to others; make a new one")
	}
	return nil
}

// list joins words for a message.
func list[T ~string](words []T) string {
	texts := make([]string, len(words))
	for i, w := range words {
		texts[i] = string(w)
	}
	return strings.Join(texts, ", ")
}
