package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"time"
)

const (
	rootYears   = 10
	issuerYears = 5
)

// hierarchy is a root and the issuer it certified.
type hierarchy struct {
	root, issuer       *x509.Certificate
	rootKey, issuerKey *ecdsa.PrivateKey
}

// newHierarchy makes both with new keys. The root signs once in years and is trusted for ten, so it has the larger curve;
// the issuer signs all day, and P-256 verifies everywhere.
func newHierarchy(name string, now time.Time) (*hierarchy, error) {
	h := &hierarchy{}
	var err error
	if h.rootKey, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader); err != nil {
		return nil, err
	}
	if h.issuerKey, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	start := now.UTC().Truncate(time.Second).Add(-time.Hour) // for peers whose clocks are behind
	root, err := authorityTemplate(name+" Root CA", h.rootKey.Public(), start, rootYears)
	if err != nil {
		return nil, err
	}
	if h.root, err = certify(root, root, h.rootKey.Public(), h.rootKey); err != nil {
		return nil, err
	}
	issuer, err := authorityTemplate(name+" Issuing CA", h.issuerKey.Public(), start, issuerYears)
	if err != nil {
		return nil, err
	}
	issuer.MaxPathLenZero = true // RFC 5280, 4.2.1.9: no CA below it
	h.issuer, err = certify(issuer, h.root, h.issuerKey.Public(), h.rootKey)
	return h, err
}

// authorityTemplate is a CA certificate (RFC 5280, 4.2.1.3 and 4.2.1.9).
func authorityTemplate(commonName string, pub crypto.PublicKey, start time.Time, years int) (*x509.Certificate, error) {
	id, err := keyID(pub)
	if err != nil {
		return nil, err
	}
	var serial [16]byte // 126 bits of chance, positive (RFC 5280, 4.1.2.2)
	rand.Read(serial[:])
	serial[0] = serial[0]&0x7f | 0x40
	return &x509.Certificate{
		SerialNumber:          new(big.Int).SetBytes(serial[:]),
		Subject:               pkix.Name{CommonName: commonName},
		NotBefore:             start,
		NotAfter:              start.AddDate(years, 0, 0).Add(-time.Second), // inclusive (RFC 5280, 4.1.2.5)
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		SubjectKeyId:          id,
	}, nil
}

// keyID is RFC 7093, section 2, method 1: the leftmost 160 bits of the SHA-256 of the key, as in the leaves.
func keyID(pub crypto.PublicKey) ([]byte, error) {
	ec, err := pub.(*ecdsa.PublicKey).ECDH()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(ec.Bytes())
	return sum[:20], nil
}

func certify(template, parent *x509.Certificate, pub crypto.PublicKey, by crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, by)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// keyText is a private key as PKCS #8 PEM (RFC 5958), not encrypted.
func keyText(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func certText(certs ...*x509.Certificate) []byte {
	var out []byte
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}
