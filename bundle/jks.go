package bundle

import (
	"bytes"
	"fmt"

	keystore "github.com/pavlo-v-chernykh/keystore-go/v4"
)

// jks writes a Java keystore of the kind JKS with one entry, under one password for store and key, as keytool has it.
//
// The form fixes the cryptography: SHA-1, a password that is hashed once per block. It is there for programs that read nothing
// newer. The entry's date of creation is the beginning of the leaf's validity, so that no clock is needed.
func (e entry) jks() ([]byte, error) {
	chain := make([]keystore.Certificate, len(e.certs))
	for i, cert := range e.certs {
		chain[i] = keystore.Certificate{Type: "X.509", Content: cert.Raw}
	}
	store := keystore.New(keystore.WithMinPasswordLen(MinPassword))
	err := store.SetPrivateKeyEntry(e.name, keystore.PrivateKeyEntry{
		CreationTime: e.certs[0].NotBefore, PrivateKey: e.key, CertificateChain: chain,
	}, e.password)
	if err != nil {
		return nil, fmt.Errorf("bundle: JKS: %w", err)
	}
	var out bytes.Buffer
	if err := store.Store(&out, e.password); err != nil {
		return nil, fmt.Errorf("bundle: JKS: %w", err)
	}
	return out.Bytes(), nil
}
