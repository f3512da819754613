package ca

import (
	"crypto"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
)

// OpenDecrypter opens an RSA key on a PKCS#11 token, to decrypt with: one that wraps other keys, not an issuer's. uri is a
// "pkcs11:" URI as [Keys.Open] has it; errors are as there. The token must allow decryption (CKA_DECRYPT).
func (k *Keys) OpenDecrypter(uri string) (crypto.Decrypter, error) {
	if scheme(uri) != "pkcs11" {
		return nil, errors.New("a key that decrypts is named by a pkcs11: URI (RFC 7512)")
	}
	u, err := parseKeyURI(uri)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	t, err := k.tokenFor(u)
	if err != nil {
		return nil, err
	}
	key, err := t.find(u.key(), u.keyName())
	if err != nil {
		return nil, err
	}
	if _, ok := key.public.(*rsa.PublicKey); !ok {
		return nil, fmt.Errorf("%s: the key %s is a %T; only an RSA key decrypts", t.name, key.name, key.public)
	}
	return key, nil
}

// Decrypt has the token decrypt. Only an RSA key can.
func (k *tokenKey) Decrypt(rand io.Reader, message []byte, opts crypto.DecrypterOpts) (plain []byte, err error) {
	t := k.token
	handle, epoch, err := k.begin()
	if err != nil {
		return nil, err
	}
	var lost error
	defer func() { t.end(epoch, lost) }() // also if the module panics
	d, ok := handle.(crypto.Decrypter)
	if !ok {
		return nil, fmt.Errorf("%s: the key %s cannot decrypt", t.name, k.name)
	}
	if plain, err = d.Decrypt(rand, message, opts); err != nil {
		// Modules have a general error for a message that was altered, too, which says nothing about their sessions.
		if !generalError(err) {
			lost = err
		}
		return nil, fmt.Errorf("%s: the key %s did not decrypt: %w", t.name, k.name, err)
	}
	return plain, nil
}
