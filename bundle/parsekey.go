package bundle

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// MaxKey is the most octets that a private key may have as it is sent, in PEM or DER: enough for RSA with 8192 bits.
const MaxKey = 8 << 10

// The labels of older forms: PKCS #1 (RFC 8017, A.1.2) and SEC 1 (RFC 5915), and what openssl writes before the latter.
const (
	labelRSAKey       = "RSA PRIVATE KEY"
	labelECKey        = "EC PRIVATE KEY"
	labelECParameters = "EC PARAMETERS"
)

// ParseKey reads one private key as somebody sends it: PKCS #8 (RFC 5958), PKCS #1 or SEC 1 in PEM or DER, or PKCS #8 that is
// encrypted by PBES2 with PBKDF2 and AES-CBC (RFC 8018), which needs the password. The result is an *rsa.PrivateKey,
// *ecdsa.PrivateKey or ed25519.PrivateKey, checked in itself; [Chain.CheckKey] says whether it is a certificate's.
//
// Errors are a [problem.Error] of kind Malformed or TooLarge whose detail begins with "private key" or "password"; none shows
// the key or the password. A password that the key has no use for is refused.
func ParseKey(data, password []byte) (crypto.PrivateKey, error) {
	if len(data) > MaxKey {
		return nil, problem.New(problem.TooLarge, "private key: it has %d bytes; at most %d are taken", len(data), MaxKey)
	}
	label, der := "", data
	if bytes.Contains(data, []byte("-----BEGIN ")) {
		block, err := keyBlock(data)
		if err != nil {
			return nil, err
		}
		label, der = block.Type, block.Bytes
		defer clear(block.Bytes)
	}
	if enc, ok := parseEncrypted(der); ok && (label == "" || label == labelEncryptedKey) {
		plain, err := enc.open(password)
		if err != nil {
			return nil, err
		}
		defer clear(plain)
		return parseDER(labelKey, plain)
	}
	switch {
	case label == labelEncryptedKey:
		return nil, errNoKey
	case len(password) > 0:
		return nil, problem.New(problem.Malformed, "password: the private key is not encrypted and takes none; leave it out")
	}
	return parseDER(label, der)
}

var errNoKey = problem.New(problem.Malformed, "private key: it cannot be read; send one RSA, ECDSA or Ed25519 key as PKCS #8, PKCS #1 or SEC 1, in PEM or DER")

// keyBlock finds the one block of PEM that is a private key.
func keyBlock(data []byte) (found *pem.Block, err error) {
	for len(data) > 0 {
		var b *pem.Block
		if b, data = pem.Decode(data); b == nil {
			break
		}
		switch {
		case b.Type == labelECParameters:
			continue
		case found != nil:
			return nil, problem.New(problem.Malformed, "private key: there are two PEM blocks; send the key alone")
		case b.Headers["Proc-Type"] != "" || b.Headers["DEK-Info"] != "": // RFC 1421: a hash of the password is all that protects it
			return nil, problem.New(problem.Malformed, "private key: it is encrypted in the old way of PEM; convert it with openssl pkcs8 -topk8")
		}
		switch b.Type {
		case labelKey, labelEncryptedKey, labelRSAKey, labelECKey:
			found = b
		default:
			return nil, problem.New(problem.Malformed, "private key: a PEM block has the label %.40q; send the key alone", b.Type)
		}
	}
	if found == nil {
		return nil, errNoKey
	}
	return found, nil
}

// parseDER reads a key that is not encrypted; without a label it tries the forms one after the other.
func parseDER(label string, der []byte) (crypto.PrivateKey, error) {
	rest := cryptobyte.String(der)
	if !rest.SkipASN1(cbasn1.SEQUENCE) || !rest.Empty() { // the parsers pass over what comes behind
		return nil, errNoKey
	}
	var key any
	err := error(errNoKey)
	if label == "" || label == labelKey {
		key, err = x509.ParsePKCS8PrivateKey(der)
	}
	if err != nil && (label == "" || label == labelRSAKey) {
		key, err = x509.ParsePKCS1PrivateKey(der)
	}
	if err != nil && (label == "" || label == labelECKey) {
		key, err = x509.ParseECPrivateKey(der)
	}
	if err != nil {
		return nil, errNoKey // what the parsers say may quote the key
	}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		if err := key.Validate(); err != nil {
			return nil, problem.New(problem.Malformed, "private key: its parts do not go together; send the key as it was made")
		}
		return key, nil
	case *ecdsa.PrivateKey, ed25519.PrivateKey:
		return key, nil
	default: // X25519, which signs nothing
		return nil, errNoKey
	}
}
