//go:build cgo && !nopkcs11

package ca

import (
	"bytes"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/seal"
)

// TestSoftHSMSeals: secrets are sealed under an RSA key on a token, beside a key that signs, through one login; what was
// altered does not open and costs the token nothing.
func TestSoftHSMSeals(t *testing.T) {
	h := newSoftHSM(t)
	h.generate("rsa2048", "p256")
	keys := new(Keys)
	t.Cleanup(func() {
		if err := keys.Close(); err != nil {
			t.Error(err)
		}
	})
	signer, err := keys.Open(h.uri("p256"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := keys.OpenDecrypter(h.uri("rsa2048"))
	if err != nil {
		t.Fatal(err)
	}
	k, err := seal.NewTokenKey(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	s, err := seal.New(k)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := s.Seal(t.Context(), seal.EABKey, "kid", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	open := func() error {
		got, err := s.Open(t.Context(), seal.EABKey, "kid", sealed)
		if err == nil && string(got) != "secret" {
			t.Errorf("it is %q", got)
		}
		return err
	}
	if err := open(); err != nil {
		t.Fatal(err)
	}
	good := bytes.Clone(sealed)
	sealed[20] ^= 1 // in the wrapped data key
	if open() == nil {
		t.Error("opened with an octet changed")
	}
	sealed = good
	for _, key := range []any{signer, d} {
		if err := key.(*tokenKey).Ready(); err != nil {
			t.Errorf("an altered value took the token away: %v", err)
		}
	}
	if err := open(); err != nil {
		t.Error(err)
	}

	for uri, says := range map[string]string{
		h.uri("p256"): "only an RSA key", h.uri("none"): "no key pair", "/etc/gatehouse/seal.key": "pkcs11: URI", "pkcs11:object=x": "names no token",
	} {
		if _, err := keys.OpenDecrypter(uri); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want it to say %q", uri, err, says)
		}
	}
	if _, err := signer.(*tokenKey).Decrypt(nil, nil, nil); err == nil || !strings.Contains(err.Error(), "cannot decrypt") {
		t.Errorf("an EC key decrypts: %v", err)
	}
}
