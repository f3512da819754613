// Package testca makes throw-away worlds to test and demonstrate a certificate authority in: a hierarchy of keys and
// certificates, certificate requests, a DNS server, a web server, one that answers tls-alpn-01 and a mail server, on the loopback, whose
// faults can be switched on name by name.
//
// It decides nothing about issuance. It trusts whoever calls it, completely: a server made here answers whatever it is
// told, right or wrong. It never touches a network beyond the address that it is given (the loopback by default), and
// its keys must never sign anything that somebody relies on: their certificates say "Throw-away" in their names.
//
// Everything is a plain constructor that returns an error, so that demonstrations and load generators can use it as
// well as tests.
package testca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
)

// KeyType is a kind of key pair.
type KeyType string

// The kinds of key [NewKey] makes. RSA keys are slow to make (tens to hundreds of milliseconds).
const (
	P256    KeyType = "p256"
	P384    KeyType = "p384"
	RSA2048 KeyType = "rsa2048"
	RSA3072 KeyType = "rsa3072"
)

// NewKey makes a key pair. The empty type is [P256].
func NewKey(kind KeyType) (crypto.Signer, error) {
	switch kind {
	case P256, "":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case P384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case RSA3072:
		return rsa.GenerateKey(rand.Reader, 3072)
	default:
		return nil, fmt.Errorf("testca: no key type %q", kind)
	}
}
