package jws

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"math/big"
	"slices"

	"filippo.io/edwards25519"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// Sizes of an RSA account key. The upper one bounds what a stranger can make us compute.
const (
	minRSABits = 2048
	maxRSABits = 4096
)

// rawJWK holds the members of a JSON Web Key that say what key it is (RFC 7517, 4; RFC 7518, 6; RFC 8037, 2). An absent
// one is empty.
type rawJWK struct {
	kty, crv, x, y, n, e string
}

// parseJWK checks a JSON Web Key. The errors are of kind BadPublicKey (RFC 8555, 6.7). Certificates in a key (x5c and its
// like) are ignored and never parsed.
func parseJWK(data []byte) (*PublicKey, error) {
	var kty, crv, x, y, n, e, use, operations, alg, secret json.RawMessage
	err := decodeMembers(data, []member{
		{"kty", &kty}, {"crv", &crv}, {"x", &x}, {"y", &y}, {"n", &n}, {"e", &e},
		{"use", &use}, {"key_ops", &operations}, {"alg", &alg},
		{"d", &secret}, {"p", &secret}, {"q", &secret}, {"dp", &secret}, {"dq", &secret},
		{"qi", &secret}, {"oth", &secret}, {"k", &secret},
	})
	if err != nil {
		return nil, asBadKey(err)
	}
	// RFC 7515, 4.1.3: the key in a header is a public key.
	if secret != nil {
		return nil, badKey("this is a private or symmetric key; it was sent to us and must not be used any more")
	}
	var raw rawJWK
	var purpose, algorithm string
	for _, m := range []struct {
		name string
		json json.RawMessage
		text *string
	}{
		{"kty", kty, &raw.kty}, {"crv", crv, &raw.crv}, {"x", x, &raw.x}, {"y", y, &raw.y}, {"n", n, &raw.n}, {"e", e, &raw.e},
		{"use", use, &purpose}, {"alg", alg, &algorithm},
	} {
		if m.json == nil {
			continue
		}
		if *m.text, err = stringValue(m.name, m.json); err != nil {
			return nil, asBadKey(err)
		}
	}
	key, err := raw.publicKey()
	if err != nil {
		return nil, err
	}
	// RFC 7517, 4.2 to 4.4: a key that says what it is for must be for this.
	switch {
	case use != nil && purpose != "sig":
		return nil, badKey(`"use" must be "sig" if present`)
	case operations != nil && !verifies(operations):
		return nil, badKey(`"key_ops" must contain "verify" if present`)
	case alg != nil && algorithm != string(key.algorithm):
		return nil, problem.New(problem.BadPublicKey, `"alg" must be %q for this key if present`, key.algorithm)
	}
	return key, nil
}

// verifies reports whether key_ops, a list of words, has the one for checking signatures.
func verifies(operations json.RawMessage) bool {
	var words []string
	return json.Unmarshal(operations, &words) == nil && slices.Contains(words, "verify")
}

// asBadKey gives a refusal of the JSON the kind that says which part of the request is to blame.
func asBadKey(err error) error {
	return problem.Wrap(err, problem.BadPublicKey, "%s", problem.From(err).Detail)
}

func badKey(detail string) error { return problem.New(problem.BadPublicKey, "%s", detail) }

func (raw *rawJWK) publicKey() (*PublicKey, error) {
	switch raw.kty {
	case "EC":
		switch raw.crv {
		case "P-256":
			return raw.ellipticKey(elliptic.P256(), ES256)
		case "P-384":
			return raw.ellipticKey(elliptic.P384(), ES384)
		case "P-521":
			return raw.ellipticKey(elliptic.P521(), ES512)
		}
		return nil, badKey(`"crv" of an EC key must be P-256, P-384 or P-521`)
	case "OKP":
		if raw.crv != "Ed25519" {
			return nil, badKey(`"crv" of an OKP key must be Ed25519`)
		}
		return raw.edwardsKey()
	case "RSA":
		return raw.rsaKey()
	}
	return nil, badKey(`"kty" must be EC, OKP or RSA`)
}

// ellipticKey reads an EC key (RFC 7518, 6.2.1): coordinates of full length, of a point on the curve.
func (raw *rawJWK) ellipticKey(curve elliptic.Curve, alg Algorithm) (*PublicKey, error) {
	size := (curve.Params().BitSize + 7) / 8
	x, errX := fixed64(raw.x, size)
	y, errY := fixed64(raw.y, size)
	if err := errors.Join(errX, errY); err != nil {
		return nil, problem.Wrap(err, problem.BadPublicKey, `"x" and "y" must be base64url of %d octets each`, size)
	}
	point := make([]byte, 0, 1+2*size)
	point = append(point, 4) // SEC 1, 2.3.3: uncompressed
	point = append(point, x...)
	point = append(point, y...)
	pub, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return nil, problem.Wrap(err, problem.BadPublicKey, `"x" and "y" are no point on %s`, raw.crv)
	}
	return &PublicKey{
		key:       pub,
		algorithm: alg,
		canonical: `{"crv":"` + raw.crv + `","kty":"EC","x":"` + raw.x + `","y":"` + raw.y + `"}`,
	}, nil
}

// edwardsKey reads an Ed25519 key (RFC 8037, 2). The standard library looks at the point only when it verifies, and
// takes points of small order, for which signatures verify that nobody made; so the point is checked here.
func (raw *rawJWK) edwardsKey() (*PublicKey, error) {
	x, err := fixed64(raw.x, ed25519.PublicKeySize)
	if err != nil {
		return nil, problem.Wrap(err, problem.BadPublicKey, `"x" must be base64url of %d octets`, ed25519.PublicKeySize)
	}
	point, err := new(edwards25519.Point).SetBytes(x)
	if err != nil || !bytes.Equal(point.Bytes(), x) { // RFC 8032, 5.1.3: one encoding for each point
		return nil, problem.Wrap(err, problem.BadPublicKey, `"x" is no point on Ed25519`)
	}
	if new(edwards25519.Point).MultByCofactor(point).Equal(edwards25519.NewIdentityPoint()) == 1 {
		return nil, badKey(`"x" is a point of small order`)
	}
	return &PublicKey{
		key:       ed25519.PublicKey(x),
		algorithm: EdDSA,
		canonical: `{"crv":"Ed25519","kty":"OKP","x":"` + raw.x + `"}`,
	}, nil
}

// rsaKey reads an RSA key (RFC 7518, 6.3.1). The length of the text is looked at before it becomes a number. Only the
// exponent 65537 is taken: every client in use makes it, and others cost either safety or our time.
func (raw *rawJWK) rsaKey() (*PublicKey, error) {
	if len(raw.n) > (maxRSABits+5)/6 {
		return nil, problem.New(problem.BadPublicKey, `"n" must have %d to %d bits`, minRSABits, maxRSABits)
	}
	modulus, err := decode64(raw.n)
	if err != nil {
		return nil, problem.Wrap(err, problem.BadPublicKey, `"n" is not base64url without padding`)
	}
	// RFC 7518, 2: a Base64urlUInt has the fewest octets possible; the thumbprint depends on it.
	if len(modulus) > 0 && modulus[0] == 0 {
		return nil, badKey(`"n" must not begin with a zero octet`)
	}
	n := new(big.Int).SetBytes(modulus)
	if n.BitLen() < minRSABits || n.BitLen() > maxRSABits {
		return nil, problem.New(problem.BadPublicKey, `"n" must have %d to %d bits`, minRSABits, maxRSABits)
	}
	if n.Bit(0) == 0 {
		return nil, badKey(`"n" is even, hence no product of two large primes`)
	}
	if raw.e != "AQAB" {
		return nil, badKey(`"e" must be AQAB, which is 65537`)
	}
	return &PublicKey{
		key:       &rsa.PublicKey{N: n, E: 65537},
		algorithm: RS256,
		canonical: `{"e":"AQAB","kty":"RSA","n":"` + raw.n + `"}`,
	}, nil
}

// fixed64 decodes base64url of exactly size octets, judging the length before it decodes.
func fixed64(text string, size int) ([]byte, error) {
	if len(text) != (size*8+5)/6 {
		return nil, errors.New("wrong length")
	}
	return decode64(text)
}
