package dcv

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/gatehouse-ca/gatehouse/identifier"
)

// judgeACMECertificate holds a certificate to RFC 8737, 3: self-signed, the identifier as its one subject alternative name,
// and a critical acmeIdentifier with the digest of the key authorization. It returns "" or what is wrong, in words that fit
// behind "the certificate". Validity, key usage and everything else are the applicant's.
func judgeACMECertificate(c *x509.Certificate, id identifier.Identifier, keyAuthorization string) string {
	if wrong := judgeSAN(c, id); wrong != "" {
		return wrong
	}
	if wrong := judgeACMEIdentifier(c, keyAuthorization); wrong != "" {
		return wrong
	}
	// Last, because it is what costs. The handshake has refused RSA keys beyond 8192 bits.
	if !bytes.Equal(c.RawIssuer, c.RawSubject) || c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) != nil {
		return "is not self-signed"
	}
	return ""
}

// judgeSAN wants exactly one GeneralName: a dNSName, or for an address an iPAddress of its four or sixteen octets
// (RFC 8738, 5). It reads the names themselves, because package x509 passes over those it does not know.
func judgeSAN(c *x509.Certificate, id identifier.Identifier) string {
	oid := asn1.ObjectIdentifier{2, 5, 29, 17}
	sans := extensions(c, oid)
	if len(sans) != 1 {
		return fmt.Sprintf("has %d subjectAltName extensions instead of one", len(sans))
	}
	list := cryptobyte.String(sans[0].Value)
	var names cryptobyte.String
	if !list.ReadASN1(&names, cryptobyte_asn1.SEQUENCE) || !list.Empty() {
		return "has a subjectAltName that is not well formed"
	}
	var name cryptobyte.String
	var tag cryptobyte_asn1.Tag
	if !names.ReadAnyASN1(&name, &tag) {
		return "has no name in its subjectAltName"
	}
	if !names.Empty() {
		return "has more than one name in its subjectAltName"
	}
	if id.Type() == identifier.IP {
		if tag != cryptobyte_asn1.Tag(7).ContextSpecific() || !bytes.Equal(name, id.Addr().AsSlice()) {
			return "does not name the address " + id.Value() + " as iPAddress"
		}
		return ""
	}
	// RFC 4343: the case of ASCII letters does not matter. Letters that fold into ASCII have more octets.
	if tag != cryptobyte_asn1.Tag(2).ContextSpecific() || len(name) != len(id.Value()) || !strings.EqualFold(string(name), id.Value()) {
		return "does not name " + id.Value() + " as dNSName"
	}
	return ""
}

// judgeACMEIdentifier wants id-pe-acmeIdentifier (RFC 8737, 3 and 6.1), critical, with an octet string of the SHA-256 of
// the key authorization and nothing more. The number of earlier drafts (…1.30.1) is another extension.
func judgeACMEIdentifier(c *x509.Certificate, keyAuthorization string) string {
	oid := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}
	found := extensions(c, oid)
	if len(found) != 1 {
		return fmt.Sprintf("has %d acmeIdentifier extensions (%v) instead of one", len(found), oid)
	}
	if !found[0].Critical {
		return "has an acmeIdentifier extension that is not critical"
	}
	value := cryptobyte.String(found[0].Value)
	var digest cryptobyte.String
	if !value.ReadASN1(&digest, cryptobyte_asn1.OCTET_STRING) || !value.Empty() || len(digest) != sha256.Size {
		return "has an acmeIdentifier extension that is not the DER of an octet string with 32 octets"
	}
	want := sha256.Sum256([]byte(keyAuthorization))
	if subtle.ConstantTimeCompare(digest, want[:]) != 1 {
		return "has the digest of something else than this challenge's key authorization"
	}
	return ""
}

func extensions(c *x509.Certificate, oid asn1.ObjectIdentifier) (found []pkix.Extension) {
	for _, e := range c.Extensions {
		if e.Id.Equal(oid) {
			found = append(found, e)
		}
	}
	return found
}
