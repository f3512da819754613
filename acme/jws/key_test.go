package jws

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/gatehouse-ca/gatehouse/problem"
)

func TestKeysOfEveryAlgorithm(t *testing.T) {
	for _, name := range Algorithms() {
		t.Run(name, func(t *testing.T) {
			s, other := newSigner(t, Algorithm(name)), newSigner(t, Algorithm(name))
			key := s.publicKey(t)
			again, err := ParsePublicKey(key.Marshal())
			if err != nil {
				t.Fatal(err)
			}
			if !again.Equal(key) || !bytes.Equal(again.Marshal(), key.Marshal()) || again.algorithm != Algorithm(name) {
				t.Errorf("%s became %s", key.Marshal(), again.Marshal())
			}
			if key.Equal(other.publicKey(t)) || key.Equal(nil) || (*PublicKey)(nil).Equal(key) || !(*PublicKey)(nil).Equal(nil) {
				t.Error("Equal is wrong")
			}
			if !key.Matches(s.private.Public()) || key.Matches(other.private.Public()) || key.Matches(nil) || key.Matches("x") {
				t.Error("Matches is wrong")
			}
			oracle := jose.JSONWebKey{Key: key.CryptoKey()}
			want, err := oracle.Thumbprint(crypto.SHA256)
			if err != nil || key.Thumbprint() != b64(want) {
				t.Errorf("thumbprint %s, want %s (%v)", key.Thumbprint(), b64(want), err)
			}
			if got := key.KeyAuthorization("tok"); got != "tok."+b64(want) {
				t.Errorf("key authorization %s", got)
			}
			key.Marshal()[0] = 'x'
			if !again.Equal(key) {
				t.Error("Marshal gave away the key's own bytes")
			}
		})
	}
}

func TestKeyWithExtraMembersIsTheSameKey(t *testing.T) {
	s := newSigner(t, ES256)
	extra := swap(t, s.jwk, "{", `{ "kid":"1","use":"sig","alg":"ES256","key_ops":["sign","verify"],"ext":true,"x5c":["no certificate"],`)
	key, err := ParsePublicKey([]byte(extra))
	if err != nil {
		t.Fatal(err)
	}
	if !key.Equal(s.publicKey(t)) {
		t.Errorf("%s", key.Marshal())
	}
}

// modulus makes a text for an RSA modulus of so many bits. It is odd but no product of primes, which nobody checks.
func modulus(bits int) string {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
	return b64(n.SetBit(n, 0, 1).Bytes())
}

func TestRSASizes(t *testing.T) {
	for _, bits := range []int{2048, 2049, 3072, 4095, 4096} {
		if _, err := ParsePublicKey(fmt.Appendf(nil, `{"kty":"RSA","e":"AQAB","n":%q}`, modulus(bits))); err != nil {
			t.Errorf("%d bits: %v", bits, err)
		}
	}
}

func TestRefusedKeys(t *testing.T) {
	p256, p521 := newSigner(t, ES256), newSigner(t, ES512)
	x := strings.Split(p256.jwk, `"`)[11]
	y := strings.Split(p256.jwk, `"`)[15]
	octets, _ := base64.RawURLEncoding.DecodeString(x)
	zero := b64(make([]byte, 32))
	okp := func(x []byte) string { return fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":%q}`, b64(x)) }
	rsa := func(n, e string) string { return fmt.Sprintf(`{"kty":"RSA","n":%q,"e":%q}`, n, e) }
	with := func(member string) string { return swap(t, p256.jwk, "{", "{"+member+",") }
	tests := []struct{ clause, jwk, detail string }{
		{"RFC 7517 4.1 no kty", swap(t, p256.jwk, `"kty":"EC",`, ""), `"kty" must be`},
		{"RFC 7517 4.1 symmetric", `{"kty":"oct"}`, `"kty" must be`},
		{"RFC 7517 4.1 kty is case-sensitive", swap(t, p256.jwk, `"EC"`, `"ec"`), `"kty" must be`},
		{"RFC 7517 4.1 kty a number", swap(t, p256.jwk, `"EC"`, `1`), `"kty" must be a string`},
		{"RFC 7517 4.2 use", with(`"use":"enc"`), `"use"`},
		{"RFC 7517 4.3 key_ops", with(`"key_ops":["encrypt"]`), `"key_ops"`},
		{"RFC 7517 4.3 empty key_ops", with(`"key_ops":[]`), `"key_ops"`},
		{"RFC 7517 4.4 alg", with(`"alg":"ES384"`), `"alg" must be "ES256"`},
		{"RFC 7515 4.1.3 private EC", with(`"d":"AA"`), "private"},
		{"RFC 7515 4.1.3 private, null", with(`"d":null`), "private"},
		{"RFC 7515 4.1.3 private RSA", swap(t, rsa(modulus(2048), "AQAB"), "{", `{"d":"AA",`), "private"},
		{"RFC 7515 4.1.3 private RSA, CRT only", swap(t, rsa(modulus(2048), "AQAB"), "{", `{"qi":"AA",`), "private"},
		{"RFC 7515 4.1.3 secret", with(`"k":"AA"`), "private"},

		{"RFC 7518 6.2.1.1 no crv", swap(t, p256.jwk, `"crv":"P-256",`, ""), `"crv" of an EC key`},
		{"RFC 7518 6.2.1.1 P-224", swap(t, p256.jwk, "P-256", "P-224"), `"crv" of an EC key`},
		{"RFC 8812 secp256k1", swap(t, p256.jwk, "P-256", "secp256k1"), `"crv" of an EC key`},
		{"RFC 7518 6.2.1.1 another curve", swap(t, p256.jwk, "P-256", "P-384"), "48 octets"},
		{"RFC 7518 6.2.1.2 no x", swap(t, p256.jwk, `"x":"`+x+`",`, ""), "32 octets"},
		{"RFC 7518 6.2.1.2 short x", swap(t, p256.jwk, x, b64(octets[1:])), "32 octets"},
		{"RFC 7518 6.2.1.2 long x", swap(t, p256.jwk, x, b64(append([]byte{0}, octets...))), "32 octets"},
		{"RFC 7518 6.2.1.2 padding", swap(t, p256.jwk, x, x+"="), "32 octets"},
		{"RFC 7518 6.2.1.2 line break", swap(t, p256.jwk, x, `\n`+x[1:]), "32 octets"},
		{"RFC 7518 6.2.1.2 huge x", swap(t, p256.jwk, x, strings.Repeat("A", 100_000)), "32 octets"},
		{"RFC 7518 6.2.1.3 no y", swap(t, p256.jwk, `,"y":"`+y+`"`, ""), "32 octets"},
		{"off the curve", swap(t, p256.jwk, y, x), "no point on P-256"},
		{"the origin", swap(t, swap(t, p256.jwk, x, zero), y, zero), "no point on P-256"},
		{"coordinate not below the field's size", swap(t, p256.jwk, x, b64(elliptic.P256().Params().P.Bytes())), "no point on P-256"},
		{"P-521 off the curve", p521OffCurve(t, p521), "no point on P-521"},

		{"RFC 8037 2 Ed448", swap(t, okp(make([]byte, 32)), "Ed25519", "Ed448"), "must be Ed25519"},
		{"RFC 8037 2 X25519", swap(t, okp(make([]byte, 32)), "Ed25519", "X25519"), "must be Ed25519"},
		{"RFC 8037 2 short x", okp(make([]byte, 31)), "32 octets"},
		{"RFC 8032 5.1.3 off the curve", okp(append([]byte{2}, make([]byte, 31)...)), "no point on Ed25519"},
		{"RFC 8032 5.1.3 second encoding", okp(append(append([]byte{0xee + 3}, bytes.Repeat([]byte{0xff}, 30)...), 0x7f)), "no point on Ed25519"},
		{"small order: the identity", okp(append([]byte{1}, make([]byte, 31)...)), "small order"},
		{"small order: of order 4", okp(make([]byte, 32)), "small order"},
		{"small order: of order 2", okp(append(append([]byte{0xec}, bytes.Repeat([]byte{0xff}, 30)...), 0x7f)), "small order"},

		{"RFC 7518 6.3.1.1 no n", `{"kty":"RSA","e":"AQAB"}`, "2048 to 4096 bits"},
		{"RFC 7518 3.3 1024 bits", rsa(modulus(1024), "AQAB"), "2048 to 4096 bits"},
		{"RFC 7518 3.3 2047 bits", rsa(modulus(2047), "AQAB"), "2048 to 4096 bits"},
		{"RFC 7518 3.3 zeros", rsa(b64(make([]byte, 256)), "AQAB"), "zero octet"},
		{"4097 bits", rsa(modulus(4097), "AQAB"), "2048 to 4096 bits"},
		{"65536 bits", rsa(modulus(65536), "AQAB"), "2048 to 4096 bits"},
		{"RFC 7518 2 leading zero octet", rsa(b64(append([]byte{0, 0x80}, bytes.Repeat([]byte{1}, 255)...)), "AQAB"), "zero octet"},
		{"even modulus", rsa(b64(append([]byte{0x80}, make([]byte, 255)...)), "AQAB"), "even"},
		{"n not base64url", rsa(strings.Repeat("+", 342), "AQAB"), "base64url"},
		{"RFC 7518 6.3.1.2 no e", `{"kty":"RSA","n":"` + modulus(2048) + `"}`, `"e" must be`},
		{"e = 1", rsa(modulus(2048), "AQ"), `"e" must be`},
		{"e = 3", rsa(modulus(2048), "Aw"), `"e" must be`},
		{"even e", rsa(modulus(2048), "AQAA"), `"e" must be`},
		{"RFC 7518 2 e with a leading zero", rsa(modulus(2048), "AAEAAQ"), `"e" must be`},
		{"huge e", rsa(modulus(2048), modulus(4096)), `"e" must be`},
	}
	for _, tt := range tests {
		t.Run(tt.clause, func(t *testing.T) {
			_, err := parseJWK([]byte(tt.jwk))
			refused(t, err, problem.BadPublicKey, tt.detail)
			// In a message it is the same refusal: nothing before it looks at the key.
			_, err = Parse(p256.sign(t, swap(t, p256.header(""), p256.jwk, tt.jwk), "{}"))
			refused(t, err, problem.BadPublicKey, "protected header: jwk: ")
			// In our own records it is our fault and shows nothing.
			if _, err := ParsePublicKey([]byte(tt.jwk)); err == nil || problem.From(err).Kind != problem.Internal {
				t.Errorf("ParsePublicKey: %v", err)
			}
		})
	}
}

func p521OffCurve(t *testing.T, s *signer) string {
	point, err := s.private.Public().(*ecdsa.PublicKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	point[len(point)-1] ^= 1
	return fmt.Sprintf(`{"kty":"EC","crv":"P-521","x":%q,"y":%q}`, b64(point[1:67]), b64(point[67:]))
}

// TestThumbprintOf: RFC 8555, 11.1: a key in a CSR is found as the account's key that it is, and one that no account can
// have is nobody's.
func TestThumbprintOf(t *testing.T) {
	for _, name := range Algorithms() {
		key := newSigner(t, Algorithm(name)).publicKey(t)
		if got, ok := ThumbprintOf(key.CryptoKey()); !ok || got != key.Thumbprint() {
			t.Errorf("%s: %q, want %q", name, got, key.Thumbprint())
		}
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, pub := range []crypto.PublicKey{nil, "key", &p224.PublicKey, &rsa.PublicKey{N: big.NewInt(15), E: 65537}, ed25519.PublicKey(make([]byte, 32))} {
		if got, ok := ThumbprintOf(pub); ok || got != "" {
			t.Errorf("%T has the thumbprint %q", pub, got)
		}
	}
}
