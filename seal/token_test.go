package seal_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/seal"
)

// fakeToken decrypts with a key in memory, by the hashes that it has.
type fakeToken struct {
	*rsa.PrivateKey
	without map[crypto.Hash]bool
	hang    chan struct{} // if not nil, nothing is decrypted until it is closed
	wrong   bool
}

func (f *fakeToken) Decrypt(random io.Reader, message []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	if f.hang != nil {
		<-f.hang
	}
	oaep, ok := opts.(*rsa.OAEPOptions)
	if !ok || f.without[oaep.Hash] || len(oaep.Label) > 0 {
		return nil, errors.New("CKR_MECHANISM_PARAM_INVALID")
	}
	if f.wrong {
		return make([]byte, 32), nil
	}
	return f.PrivateKey.Decrypt(random, message, opts)
}

func rsaKey(t testing.TB, bits int) *rsa.PrivateKey {
	return must(rsa.GenerateKey(rand.Reader, bits))(t)
}

// TestTokenKey: data keys are wrapped for a token's RSA key by the better hash that it has, and unwrapped by it.
func TestTokenKey(t *testing.T) {
	private := rsaKey(t, 2048)
	for name, tt := range map[string]struct {
		without map[crypto.Hash]bool
		how     byte
	}{
		"SHA-256": {nil, 2}, "SHA-1 alone": {map[crypto.Hash]bool{crypto.SHA256: true}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			token := &fakeToken{PrivateKey: private, without: tt.without}
			k := must(seal.NewTokenKey(t.Context(), token))(t)
			s, old := must(seal.New(k))(t), must(seal.New(newKey(t)))(t)
			sealed := must(s.Seal(t.Context(), purpose, "kid", []byte("secret")))(t)
			if sealed[1] != tt.how {
				t.Errorf("wrapped in the way %d", sealed[1])
			}
			if got := must(s.Open(t.Context(), purpose, "kid", sealed))(t); string(got) != "secret" {
				t.Errorf("it is %q", got)
			}
			for i := range 12 + 256 {
				bad := bytes.Clone(sealed)
				bad[i] ^= 1
				if _, err := s.Open(t.Context(), purpose, "kid", bad); err == nil {
					t.Fatalf("opened with octet %d changed", i)
				}
			}
			both := must(seal.New(k, newKey(t)))(t)
			_ = old
			plain := must(old.Seal(t.Context(), purpose, "kid", []byte("secret")))(t)
			if _, err := both.Open(t.Context(), purpose, "kid", plain); err == nil {
				t.Error("opened without its key")
			}
		})
	}
}

func TestTokenKeyRefuses(t *testing.T) {
	good := rsaKey(t, 2048)
	ec := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	for name, tt := range map[string]struct {
		key  crypto.Decrypter
		says string
	}{
		"elliptic curve": {ecDecrypter{ec}, "RSA"},
		"too short":      {&fakeToken{PrivateKey: rsaKey(t, 1024)}, "1024 bits"},
		"no hash":        {&fakeToken{PrivateKey: good, without: map[crypto.Hash]bool{crypto.SHA256: true, crypto.SHA1: true}}, "CKA_DECRYPT"},
		"another pair":   {&fakeToken{PrivateKey: good, wrong: true}, "one pair"},
	} {
		if _, err := seal.NewTokenKey(t.Context(), tt.key); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want it to say %q", name, err, tt.says)
		}
	}
}

type ecDecrypter struct{ *ecdsa.PrivateKey }

func (ecDecrypter) Decrypt(io.Reader, []byte, crypto.DecrypterOpts) ([]byte, error) {
	return nil, errors.New("no")
}

// TestTokenHangs: a token that does not answer costs its callers ten seconds at most, and no more goroutines than calls it is
// given at once.
func TestTokenHangs(t *testing.T) {
	private := rsaKey(t, 2048)
	synctest.Test(t, func(t *testing.T) {
		token := &fakeToken{PrivateKey: private}
		s := must(seal.New(must(seal.NewTokenKey(t.Context(), token))(t)))(t)
		sealed := must(s.Seal(t.Context(), purpose, "kid", []byte("secret")))(t)
		token.hang = make(chan struct{})
		for range 20 {
			_, err := s.Open(t.Context(), purpose, "kid", sealed)
			if p := problem.From(err); p.Kind != problem.Unavailable || p.RetryAfter == 0 {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.Open(ctx, purpose, "kid", sealed); !problem.Is(err, problem.Unavailable) {
			t.Error(err)
		}
		close(token.hang)
		synctest.Wait()
		if got := must(s.Open(t.Context(), purpose, "kid", sealed))(t); string(got) != "secret" {
			t.Errorf("it is %q", got)
		}
	})
}
