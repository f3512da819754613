// Package bundle encodes issued certificates as the doors hand them out: PEM in either order, DER, PKCS #7, and, with the
// private key, PKCS #12, JKS and PKCS #8. [Read] takes certificates out of files that others have made.
//
// It decides whether certificates form a chain, whether a key belongs to them, and whether a format, a selection and a
// password go together; one table, [Formats], says what there is. A door has a table of its own from its vendor's names to a
// [Format] and [Options], and no encoder. What a format has no use for is refused, never ignored: whoever sends a password
// with a format that has none would take the file for protected.
//
// It trusts the caller to have asked whether the key may leave, and to have chosen the certificates. It judges no validity,
// no name and no trust: an expired or revoked certificate encodes like any other. It never logs, keeps no key and no
// password, writes none into an error, and overwrites both in memory where they are its own and Go lets it.
package bundle

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"github.com/gatehouse-ca/gatehouse/problem"
)

const (
	// MaxCertificate is the most octets of DER that a certificate may have.
	MaxCertificate = 64 << 10
	// MaxRSA is the most bits of a certificate's RSA key: what a signature costs to verify grows with the square of them.
	MaxRSA = 16384
	// MaxIssuers is the most certificates that may stand above the first.
	MaxIssuers = 10
)

// Chain is a certificate and what certified it, up to and perhaps including a root, each verified with the key of the
// next. It is immutable and safe for concurrent use.
type Chain struct {
	certs   []*x509.Certificate // the leaf first
	hasRoot bool                // the last one signed itself, and is not the leaf
}

// NewChain parses DER certificates: the leaf, and its issuers in order, the issuing CA first. No issuers are a chain as well.
// The slices are copied.
//
// Each certificate's issuer name must be the next one's subject, and its signature must verify with the next one's key, which must be
// a CA's (RFC 5280, 6.1.3 and 6.1.4); signatures with MD5 and SHA-1 do not verify. Otherwise the error is a [problem.Malformed]
// that says which certificate is wrong.
func NewChain(leaf []byte, issuers [][]byte) (*Chain, error) {
	if len(issuers) > MaxIssuers {
		return nil, problem.New(problem.TooLarge, "the chain has %d issuers; at most %d are taken", len(issuers), MaxIssuers)
	}
	c := &Chain{certs: make([]*x509.Certificate, 0, 1+len(issuers))}
	for i, der := range slices.Concat([][]byte{leaf}, issuers) {
		cert, err := parse(place(i), der)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(c.certs, func(other *x509.Certificate) bool { return bytes.Equal(other.Raw, cert.Raw) }) {
			return nil, problem.New(problem.Malformed, "%s is in the chain twice; send each certificate once", place(i))
		}
		if i > 0 {
			if err := certified(place(i-1), c.certs[i-1], place(i), cert); err != nil {
				return nil, err
			}
		}
		c.certs = append(c.certs, cert)
	}
	c.hasRoot = len(c.certs) > 1 && isRoot(c.certs[len(c.certs)-1])
	return c, nil
}

// place is what errors call the certificate at a position.
func place(i int) string {
	if i == 0 {
		return "certificate"
	}
	return fmt.Sprintf("issuer %d", i)
}

func parse(where string, der []byte) (*x509.Certificate, error) {
	switch {
	case len(der) == 0:
		return nil, problem.New(problem.Malformed, "%s is empty; send an X.509 certificate in DER", where)
	case len(der) > MaxCertificate:
		return nil, problem.New(problem.TooLarge, "%s has %d bytes; at most %d are taken", where, len(der), MaxCertificate)
	}
	cert, err := x509.ParseCertificate(bytes.Clone(der))
	if err != nil {
		return nil, problem.Wrap(err, problem.Malformed, "%s cannot be parsed; send one X.509 certificate in DER and nothing after it", where)
	}
	if key, ok := cert.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > MaxRSA {
		return nil, problem.New(problem.TooLarge, "%s has an RSA key of %d bits; at most %d are taken", where, key.N.BitLen(), MaxRSA)
	}
	return cert, nil
}

// certified demands that parent certified cert.
func certified(where string, cert *x509.Certificate, parentWhere string, parent *x509.Certificate) error {
	if !bytes.Equal(cert.RawIssuer, parent.RawSubject) {
		return problem.New(problem.Malformed,
			"%s did not issue %s: its subject is not the other's issuer; send the issuers in order, the issuing CA first", parentWhere, where)
	}
	if err := cert.CheckSignatureFrom(parent); err != nil {
		return problem.Wrap(err, problem.Malformed,
			"%s did not issue %s: it is no CA certificate, or the signature does not verify with its key; send the certificate of the CA that signed", parentWhere, where)
	}
	return nil
}

// isRoot reports whether the certificate signed itself. A name that is its own issuer is not enough: a CA that changes its
// key certifies the new one under the same name (RFC 5280, 3.2, self-issued), and without such a certificate the chain
// breaks. A root's signature over itself protects nothing, so SHA-1, which CheckSignature takes, and what
// is too old even for it make it no less a root.
func isRoot(cert *x509.Certificate) bool {
	if !bytes.Equal(cert.RawIssuer, cert.RawSubject) {
		return false
	}
	err := cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature)
	_, old := errors.AsType[x509.InsecureAlgorithmError](err)
	return err == nil || old
}
