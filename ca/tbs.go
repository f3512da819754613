package ca

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
)

// template builds what will be certified from a decision and the issuer, and from nothing else. Every field that may
// appear in a certificate is named here; the own lints (lint.go) refuse any other.
func (is *issuer) template(d *policy.Decision, serial *big.Int) (*x509.Certificate, error) {
	t := &x509.Certificate{
		SerialNumber:       serial,
		Subject:            subjectOf(d),
		SignatureAlgorithm: is.algorithm,
		NotBefore:          d.NotBefore,
		NotAfter:           d.NotAfter,
		KeyUsage:           d.Profile.KeyUsage(d.PublicKey), // RFC 5280, 4.2.1.3
		ExtKeyUsage:        d.Profile.ExtKeyUsage(),         // RFC 5280, 4.2.1.12
		// RFC 5280, 4.2.1.9: present and CA:FALSE, so that no relying party has to infer it.
		BasicConstraintsValid: true,
		AuthorityKeyId:        is.cert.SubjectKeyId, // RFC 5280, 4.2.1.1
	}
	for _, name := range d.Names { // RFC 5280, 4.2.1.6
		switch name.Type() {
		case identifier.DNS:
			t.DNSNames = append(t.DNSNames, name.Value())
		case identifier.IP:
			t.IPAddresses = append(t.IPAddresses, net.IP(name.Addr().AsSlice())) // RFC 8738, 4: 4 or 16 octets
		default:
			return nil, fmt.Errorf("an identifier of type %q cannot be put into a certificate", name.Type())
		}
	}
	t.CRLDistributionPoints = locations(is.CRLURL)    // RFC 5280, 4.2.1.13
	t.IssuingCertificateURL = locations(is.IssuerURL) // RFC 5280, 4.2.2.1
	if d.Profile.Public() {
		t.Policies = []x509.OID{domainValidated} // RFC 5280, 4.2.1.4
	}
	var err error
	t.SubjectKeyId, err = keyID(d.PublicKey) // RFC 5280, 4.2.1.2
	return t, err
}

// domainValidated is the policy that public trust requires a certificate to name (Baseline Requirements 7.1.2.7.9 and
// 7.1.6.1): control of the names was validated, nothing else about the subject.
var domainValidated = mustOID(2, 23, 140, 1, 2, 1)

func mustOID(arcs ...uint64) x509.OID {
	oid, err := x509.OIDFromInts(arcs)
	if err != nil {
		panic(err) // a constant of this file is wrong
	}
	return oid
}

// locations is the list of a URL that may be empty.
func locations(u string) []string {
	if u == "" {
		return nil
	}
	return []string{u}
}

// subjectOf is a decision's subject (RFC 5280, 4.1.2.6); empty if the names are in subjectAltName alone.
func subjectOf(d *policy.Decision) pkix.Name {
	n := pkix.Name{CommonName: d.CommonName}
	for _, a := range []struct {
		value string
		field *[]string
	}{
		{d.Subject.Country, &n.Country}, {d.Subject.Organization, &n.Organization},
		{d.Subject.OrganizationalUnit, &n.OrganizationalUnit}, {d.Subject.Locality, &n.Locality},
		{d.Subject.Province, &n.Province},
	} {
		if a.value != "" {
			*a.field = []string{a.value}
		}
	}
	return n
}

// keyID is the subject key identifier after RFC 7093, 2, method 1: the leftmost 160 bits of the SHA-256 of the
// subjectPublicKey's bits.
func keyID(pub crypto.PublicKey) ([]byte, error) {
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("the public key cannot be encoded: %w", err)
	}
	in := cryptobyte.String(spki)
	var info, algorithm cryptobyte.String
	var bits asn1.BitString
	if !in.ReadASN1(&info, cbasn1.SEQUENCE) || !info.ReadASN1(&algorithm, cbasn1.SEQUENCE) || !info.ReadASN1BitString(&bits) {
		return nil, errors.New("the public key's encoding is not a SubjectPublicKeyInfo")
	}
	sum := sha256.Sum256(bits.RightAlign())
	return sum[:20], nil
}

// errCaptured ends x509's creation of a certificate or list at the moment its bytes are to be signed.
var errCaptured = errors.New("captured instead of signed")

// captor stands in for the issuer's key: it has the public half, keeps the message it shall sign, and signs nothing.
type captor struct {
	public  crypto.PublicKey
	message []byte
}

func (c *captor) Public() crypto.PublicKey { return c.public }

func (c *captor) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("only whole messages can be captured")
}

// SignMessage makes captor a crypto.MessageSigner, which is handed the message before it is hashed.
func (c *captor) SignMessage(_ io.Reader, msg []byte, _ crypto.SignerOpts) ([]byte, error) {
	c.message = msg
	return nil, errCaptured
}

// capture is the exact to-be-signed bytes that the issuer's key would be given for a template: no key, no signature.
func (is *issuer) capture(t *x509.Certificate, pub crypto.PublicKey) ([]byte, error) {
	c := &captor{public: is.cert.PublicKey}
	if _, err := x509.CreateCertificate(rand.Reader, t, is.cert, pub, c); !errors.Is(err, errCaptured) {
		return nil, fmt.Errorf("the certificate cannot be encoded: %w", err)
	}
	return c.message, nil
}

// captureCRL is [issuer.capture] for a revocation list.
func (is *issuer) captureCRL(l *x509.RevocationList) ([]byte, error) {
	c := &captor{public: is.cert.PublicKey}
	if _, err := x509.CreateRevocationList(rand.Reader, l, is.cert, c); !errors.Is(err, errCaptured) {
		return nil, fmt.Errorf("the revocation list cannot be encoded: %w", err)
	}
	return c.message, nil
}

// placeholder is a certificate (RFC 5280, 4.1) around tbs whose signature is zeros of a plausible length: what the lints
// read before anything is signed.
func placeholder(tbs []byte) ([]byte, error) {
	in := cryptobyte.String(tbs)
	var fields, algorithm cryptobyte.String
	if !in.ReadASN1(&fields, cbasn1.SEQUENCE) ||
		!fields.SkipOptionalASN1(cbasn1.Tag(0).Constructed().ContextSpecific()) || // version
		!fields.SkipASN1(cbasn1.INTEGER) || // serialNumber
		!fields.ReadASN1Element(&algorithm, cbasn1.SEQUENCE) { // signature (RFC 5280, 4.1.2.3)
		return nil, errors.New("the to-be-signed bytes are not a TBSCertificate")
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, len(tbs)+len(algorithm)+80))
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(tbs)
		b.AddBytes(algorithm)
		b.AddASN1BitString(make([]byte, 64))
	})
	return b.Bytes()
}
