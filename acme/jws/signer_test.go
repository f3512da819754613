package jws

import (
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
)

// signer is a client's key. It signs by hand, so that tests can put anything they like into a message.
type signer struct {
	algorithm Algorithm
	private   crypto.Signer
	jwk       string
}

const (
	testNonce = "dGhpcyBpcyBhIG5vbmNl"
	testURL   = "https://ca.example.com/acme/r/new-order"
	testKeyID = "https://ca.example.com/acme/r/account/1"
)

func b64(octets []byte) string { return base64.RawURLEncoding.EncodeToString(octets) }

func newSigner(t testing.TB, alg Algorithm) *signer {
	t.Helper()
	var private crypto.Signer
	var err error
	switch alg {
	case ES256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case ES384:
		private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case ES512:
		private, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case EdDSA:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	case RS256:
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &signer{alg, private, jwkOf(t, private.Public())}
}

func jwkOf(t testing.TB, public crypto.PublicKey) string {
	t.Helper()
	switch pub := public.(type) {
	case *ecdsa.PublicKey:
		point, err := pub.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		half := len(point) / 2
		return fmt.Sprintf(`{"kty":"EC","crv":%q,"x":%q,"y":%q}`, pub.Params().Name, b64(point[1:1+half]), b64(point[1+half:]))
	case ed25519.PublicKey:
		return fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":%q}`, b64(pub))
	case *rsa.PublicKey:
		return fmt.Sprintf(`{"kty":"RSA","n":%q,"e":%q}`, b64(pub.N.Bytes()), b64(big.NewInt(int64(pub.E)).Bytes()))
	}
	t.Fatalf("no JWK for %T", public)
	return ""
}

// header is a good protected header: with kid, or with jwk if kid is empty.
func (s *signer) header(kid string) string {
	who := `"jwk":` + s.jwk
	if kid != "" {
		who = fmt.Sprintf(`"kid":%q`, kid)
	}
	return fmt.Sprintf(`{"alg":%q,%s,"nonce":%q,"url":%q}`, s.algorithm, who, testNonce, testURL)
}

func (s *signer) sign(t testing.TB, protected, payload string) []byte {
	t.Helper()
	return envelopeOf(protected, payload, s.signature(t, b64([]byte(protected))+"."+b64([]byte(payload))))
}

func envelopeOf(protected, payload string, signature []byte) []byte {
	return fmt.Appendf(nil, `{"protected":%q,"payload":%q,"signature":%q}`, b64([]byte(protected)), b64([]byte(payload)), b64(signature))
}

func (s *signer) signature(t testing.TB, input string) []byte {
	t.Helper()
	hash := map[Algorithm]crypto.Hash{ES256: crypto.SHA256, ES384: crypto.SHA384, ES512: crypto.SHA512, RS256: crypto.SHA256}[s.algorithm]
	digest := []byte(input)
	if hash != 0 {
		h := hash.New()
		h.Write(digest)
		digest = h.Sum(nil)
	}
	if key, ok := s.private.(*ecdsa.PrivateKey); ok {
		r, ss, err := ecdsa.Sign(rand.Reader, key, digest)
		if err != nil {
			t.Fatal(err)
		}
		size := (key.Params().BitSize + 7) / 8
		out := make([]byte, 2*size)
		r.FillBytes(out[:size])
		ss.FillBytes(out[size:])
		return out
	}
	out, err := s.private.Sign(rand.Reader, digest, hash)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (s *signer) publicKey(t testing.TB) *PublicKey {
	t.Helper()
	key, err := ParsePublicKey([]byte(s.jwk))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// swap replaces old in text by new and fails if it is not there, so that no row tests the good case by mistake.
func swap(t testing.TB, text, old, new string) string {
	t.Helper()
	if !strings.Contains(text, old) {
		t.Fatalf("%q is not in %q", old, text)
	}
	return strings.Replace(text, old, new, 1)
}
