package ca

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
)

// candidate is a certificate before it is signed, read back from its bytes, with what it was meant to be.
type candidate struct {
	cert     *x509.Certificate
	decision *policy.Decision
	issuer   *issuer
	serial   *big.Int
}

// ownLints hold a candidate to the decision: zlint knows the RFCs and the Forum's rules, not the profile. Each returns what
// is wrong, or nothing.
var ownLints = []struct {
	name  string
	check func(c *candidate) string
}{
	{"gatehouse_serial", checkSerial},
	{"gatehouse_issuer", checkIssuer},
	{"gatehouse_validity", checkValidity},
	{"gatehouse_subject", checkSubject},
	{"gatehouse_public_key", checkPublicKey},
	{"gatehouse_extensions", checkExtensions},
	{"gatehouse_subject_alternative_name", checkNames},
	{"gatehouse_usages", checkUsages},
	{"gatehouse_basic_constraints", checkBasicConstraints},
	{"gatehouse_policies", checkPolicies},
	{"gatehouse_locations", checkLocations},
}

func (c *candidate) lint() error {
	for _, l := range ownLints {
		if detail := l.check(c); detail != "" {
			return &lintError{l.name, detail}
		}
	}
	return nil
}

// RFC 5280, 4.1.2.2, and the shape that newSerial makes.
func checkSerial(c *candidate) string {
	b := c.cert.SerialNumber.Bytes()
	if c.cert.SerialNumber.Cmp(c.serial) != 0 || c.cert.SerialNumber.Sign() <= 0 || len(b) != serialOctets || b[0] > 0x7f {
		return "the serial number is not the one that was drawn, positive and of 17 octets"
	}
	return ""
}

// RFC 5280, 4.1.2.4 and 4.2.1.1.
func checkIssuer(c *candidate) string {
	switch {
	case !bytes.Equal(c.cert.RawIssuer, c.issuer.cert.RawSubject):
		return "the issuer field is not the issuer's subject, octet for octet"
	case !bytes.Equal(c.cert.AuthorityKeyId, c.issuer.cert.SubjectKeyId):
		return "authorityKeyIdentifier is not the issuer's subjectKeyIdentifier"
	case c.cert.SignatureAlgorithm != c.issuer.algorithm:
		return fmt.Sprintf("the signature algorithm is %s, the issuer's is %s", c.cert.SignatureAlgorithm, c.issuer.algorithm)
	}
	return ""
}

// RFC 5280, 4.1.2.5: both ends are inclusive, so the last second counts.
func checkValidity(c *candidate) string {
	from, to := c.cert.NotBefore, c.cert.NotAfter
	switch {
	case !from.Equal(c.decision.NotBefore) || !to.Equal(c.decision.NotAfter):
		return "the validity is not the decision's"
	case to.Before(from) || to.Sub(from)+time.Second > c.decision.Term:
		return fmt.Sprintf("the validity is %s, the profile's at most %s", to.Sub(from)+time.Second, c.decision.Term)
	case from.Before(c.issuer.cert.NotBefore) || to.After(c.issuer.cert.NotAfter):
		return "the validity is not inside the issuer's"
	}
	return ""
}

// RFC 5280, 4.1.2.6: the decision's attributes, octet for octet, so that nothing can hide in the sequence.
func checkSubject(c *candidate) string {
	want, err := asn1.Marshal(subjectOf(c.decision).ToRDNSequence())
	if err != nil || !bytes.Equal(c.cert.RawSubject, want) {
		return "the subject is not the decision's"
	}
	if cn := c.decision.CommonName; cn != "" && !slices.ContainsFunc(c.decision.Names, func(id identifier.Identifier) bool {
		return id.Value() == cn
	}) {
		return "the common name is not among the subject alternative names"
	}
	return ""
}

func checkPublicKey(c *candidate) string {
	want, err := x509.MarshalPKIXPublicKey(c.decision.PublicKey)
	if err != nil || !bytes.Equal(c.cert.RawSubjectPublicKeyInfo, want) {
		return "the public key is not the decision's"
	}
	if id, err := keyID(c.decision.PublicKey); err != nil || !bytes.Equal(c.cert.SubjectKeyId, id) {
		return "subjectKeyIdentifier is not derived from the public key"
	}
	return ""
}

// emptySequence is the subject of a certificate whose names are all in its subjectAltName.
var emptySequence = []byte{0x30, 0x00}

// The extensions of a certificate made here (RFC 5280, 4.2.1 and 4.2.2.1).
var (
	oidSubjectKeyID     = asn1.ObjectIdentifier{2, 5, 29, 14}
	oidKeyUsage         = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidSubjectAltName   = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidBasicConstraints = asn1.ObjectIdentifier{2, 5, 29, 19}
	oidCRLPoints        = asn1.ObjectIdentifier{2, 5, 29, 31}
	oidPolicies         = asn1.ObjectIdentifier{2, 5, 29, 32}
	oidAuthorityKeyID   = asn1.ObjectIdentifier{2, 5, 29, 35}
	oidExtKeyUsage      = asn1.ObjectIdentifier{2, 5, 29, 37}
	oidAuthorityInfo    = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 1}
)

// RFC 5280, 4.2: no extension twice, none that is not built here, each with its criticality.
func checkExtensions(c *candidate) string {
	if c.cert.Version != 3 {
		return "the version is not 3"
	}
	for n, ext := range c.cert.Extensions {
		critical := false
		switch {
		case ext.Id.Equal(oidKeyUsage), ext.Id.Equal(oidBasicConstraints): // 4.2.1.3, 4.2.1.9
			critical = true
		case ext.Id.Equal(oidSubjectAltName): // 4.2.1.6: critical exactly if the subject is empty
			critical = bytes.Equal(c.cert.RawSubject, emptySequence)
		case ext.Id.Equal(oidSubjectKeyID), ext.Id.Equal(oidAuthorityKeyID), ext.Id.Equal(oidExtKeyUsage),
			ext.Id.Equal(oidCRLPoints), ext.Id.Equal(oidAuthorityInfo), ext.Id.Equal(oidPolicies):
		default:
			return fmt.Sprintf("extension %s is not one that is built here", ext.Id)
		}
		if ext.Critical != critical {
			return fmt.Sprintf("extension %s has critical=%t", ext.Id, ext.Critical)
		}
		if slices.ContainsFunc(c.cert.Extensions[:n], func(e pkix.Extension) bool { return e.Id.Equal(ext.Id) }) {
			return fmt.Sprintf("extension %s is there twice", ext.Id)
		}
	}
	return ""
}

// checkNames compares the raw GeneralNames, because x509 passes over the kinds it does not know (RFC 5280, 4.2.1.6).
func checkNames(c *candidate) string {
	if len(c.decision.Names) == 0 {
		return "there is no name"
	}
	i := slices.IndexFunc(c.cert.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oidSubjectAltName) })
	if i < 0 {
		return "the extension is missing"
	}
	value := cryptobyte.String(c.cert.Extensions[i].Value)
	var names cryptobyte.String
	if !value.ReadASN1(&names, cbasn1.SEQUENCE) || !value.Empty() {
		return "the extension is not a sequence of names"
	}
	left := make(map[identifier.Identifier]bool, len(c.decision.Names))
	for _, id := range c.decision.Names {
		left[id] = true
	}
	for !names.Empty() {
		var content cryptobyte.String
		var tag cbasn1.Tag
		if !names.ReadAnyASN1(&content, &tag) {
			return "a name cannot be read"
		}
		id, ok := generalName(tag, content)
		if !ok || !left[id] {
			return fmt.Sprintf("a name with tag %#02x is not one of the decision's, or is there twice", uint8(tag))
		}
		delete(left, id)
	}
	if len(left) > 0 {
		return "a name of the decision is missing"
	}
	return ""
}

// generalName reads the two kinds of GeneralName that are issued.
func generalName(tag cbasn1.Tag, content []byte) (identifier.Identifier, bool) {
	switch tag {
	case cbasn1.Tag(2).ContextSpecific(): // dNSName
		id, err := identifier.ParseDNS(string(content))
		return id, err == nil && id.Value() == string(content) // as it stands, not as it would be normalised
	case cbasn1.Tag(7).ContextSpecific(): // iPAddress, 4 or 16 octets
		addr, ok := netip.AddrFromSlice(content)
		return identifier.FromAddr(addr), ok && !addr.Is4In6()
	}
	return identifier.Identifier{}, false
}

// RFC 5280, 4.2.1.3 and 4.2.1.12.
func checkUsages(c *candidate) string {
	if want := c.decision.Profile.KeyUsage(c.decision.PublicKey); c.cert.KeyUsage != want {
		return fmt.Sprintf("keyUsage is %s, the profile's %s", c.cert.KeyUsage, want)
	}
	if want := c.decision.Profile.ExtKeyUsage(); !slices.Equal(c.cert.ExtKeyUsage, want) || len(c.cert.UnknownExtKeyUsage) > 0 {
		return fmt.Sprintf("extKeyUsage is %v, the profile's %v", c.cert.ExtKeyUsage, want)
	}
	return ""
}

// RFC 5280, 4.2.1.9.
func checkBasicConstraints(c *candidate) string {
	if !c.cert.BasicConstraintsValid || c.cert.IsCA || c.cert.MaxPathLen != -1 {
		return "basicConstraints is not CA:FALSE without a path length"
	}
	return ""
}

// RFC 5280, 4.2.1.4.
func checkPolicies(c *candidate) string {
	var want []x509.OID
	if c.decision.Profile.Public() {
		want = []x509.OID{domainValidated}
	}
	if !slices.EqualFunc(c.cert.Policies, want, x509.OID.Equal) {
		return "certificatePolicies is not what the profile's mode asks for"
	}
	return ""
}

// RFC 5280, 4.2.1.13 and 4.2.2.1.
func checkLocations(c *candidate) string {
	switch {
	case !slices.Equal(c.cert.CRLDistributionPoints, locations(c.issuer.CRLURL)):
		return "the CRL distribution point is not the issuer's"
	case !slices.Equal(c.cert.IssuingCertificateURL, locations(c.issuer.IssuerURL)) || len(c.cert.OCSPServer) > 0:
		return "the authority information access is not the issuer's"
	}
	return ""
}
