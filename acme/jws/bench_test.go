package jws

import (
	"crypto/sha256"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

const benchPayload = `{"identifiers":[{"type":"dns","value":"www.example.com"},{"type":"dns","value":"example.com"}]}`

// BenchmarkMessage is one request: body to payload, with the account key read from its stored form. "signature" is the
// cryptography alone and "library" the general JOSE library doing the same work; the difference is why this package
// verifies by itself.
func BenchmarkMessage(b *testing.B) {
	for _, alg := range []Algorithm{ES256, EdDSA, RS256} {
		s := newSigner(b, alg)
		stored := s.publicKey(b).Marshal()
		withID, withKey := s.sign(b, s.header(testKeyID), benchPayload), s.sign(b, s.header(""), benchPayload)
		b.Run(string(alg)+"/kid", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m, err := Parse(withID)
				if err != nil {
					b.Fatal(err)
				}
				key, err := ParsePublicKey(stored)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := m.Verify(key); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(string(alg)+"/jwk", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m, err := Parse(withKey)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := m.Verify(m.Key()); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(string(alg)+"/signature", func(b *testing.B) {
			m, err := Parse(withID)
			if err != nil {
				b.Fatal(err)
			}
			key := s.publicKey(b)
			b.ReportAllocs()
			for b.Loop() {
				if !key.verify(m.signed, m.signature) {
					b.Fatal("does not verify")
				}
			}
		})
		b.Run(string(alg)+"/library", func(b *testing.B) {
			key := s.publicKey(b).CryptoKey()
			b.ReportAllocs()
			for b.Loop() {
				m, err := jose.ParseSignedJSON(string(withID), []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := m.Verify(key); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	s := newSigner(b, ES256)
	for name, body := range map[string][]byte{"kid": s.sign(b, s.header(testKeyID), benchPayload), "jwk": s.sign(b, s.header(""), benchPayload)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParsePublicKey(b *testing.B) {
	for _, name := range Algorithms() {
		stored := newSigner(b, Algorithm(name)).publicKey(b).Marshal()
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ParsePublicKey(stored); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecodeStrict(b *testing.B) {
	type identifier struct {
		Type  string `json:"type"`
		Value string `json:"value"`
	}
	for b.Loop() {
		var v struct {
			Identifiers []identifier `json:"identifiers"`
		}
		if err := DecodeStrict([]byte(benchPayload), &v); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkThumbprint(b *testing.B) {
	key := newSigner(b, ES256).publicKey(b)
	b.SetBytes(sha256.Size)
	for b.Loop() {
		key.Thumbprint()
	}
}
