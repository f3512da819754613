package policy

import (
	"encoding/asn1"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/gatehouse-ca/gatehouse/identifier"
)

// request is what is read from a CSR's own bytes, because crypto/x509 passes over it in silence: alternative names of
// other kinds, repeated attributes, the wish to be a CA.
type request struct {
	names []identifier.Identifier // of the SAN extension, in its order
}

var (
	oidExtensionRequest = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 14} // RFC 2985, 5.4.2
	oidSubjectAltName   = asn1.ObjectIdentifier{2, 5, 29, 17}                // RFC 5280, 4.2.1.6
	oidBasicConstraints = asn1.ObjectIdentifier{2, 5, 29, 19}                // RFC 5280, 4.2.1.9
)

var errStructure = errors.New("the CSR is not the DER of a PKCS #10 request (RFC 2986)")

// readRequest walks a CertificationRequest (RFC 2986, section 4). Its errors may be shown.
func readRequest(der []byte) (*request, error) {
	var csr, info, attributes cryptobyte.String
	input := cryptobyte.String(der)
	if !input.ReadASN1(&csr, cbasn1.SEQUENCE) {
		return nil, errStructure
	}
	if !input.Empty() {
		return nil, errors.New("there are bytes behind the end of the CSR; send nothing else")
	}
	attributesTag := cbasn1.Tag(0).Constructed().ContextSpecific()
	var version int
	if !csr.ReadASN1(&info, cbasn1.SEQUENCE) ||
		!csr.SkipASN1(cbasn1.SEQUENCE) || // signatureAlgorithm
		!csr.SkipASN1(cbasn1.BIT_STRING) || !csr.Empty() ||
		!info.ReadASN1Integer(&version) || version != 0 ||
		!info.SkipASN1(cbasn1.SEQUENCE) || // subject
		!info.SkipASN1(cbasn1.SEQUENCE) || // subjectPKInfo
		!info.ReadASN1(&attributes, attributesTag) || !info.Empty() {
		return nil, errStructure
	}
	return readAttributes(attributes)
}

// readAttributes walks the attributes (RFC 2986, 4.1), of which extensionRequest alone is looked into.
func readAttributes(attributes cryptobyte.String) (*request, error) {
	r := &request{}
	seen := map[string]bool{}
	for !attributes.Empty() {
		var attribute, values, extensions cryptobyte.String
		var oid asn1.ObjectIdentifier
		if !attributes.ReadASN1(&attribute, cbasn1.SEQUENCE) ||
			!attribute.ReadASN1ObjectIdentifier(&oid) ||
			!attribute.ReadASN1(&values, cbasn1.SET) || !attribute.Empty() {
			return nil, errStructure
		}
		if seen[oid.String()] {
			return nil, fmt.Errorf("the CSR has the attribute %v twice", oid)
		}
		seen[oid.String()] = true
		if !oid.Equal(oidExtensionRequest) {
			continue
		}
		if !values.ReadASN1(&extensions, cbasn1.SEQUENCE) {
			return nil, errStructure
		}
		// RFC 2985, 5.4.2: a single value.
		if !values.Empty() {
			return nil, errors.New("the extensionRequest of the CSR has more than one value (RFC 2985, 5.4.2)")
		}
		if err := r.readExtensions(extensions); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// readExtensions walks the requested extensions. Those that are not looked into are ignored, critical or not: nothing of
// them reaches the certificate.
func (r *request) readExtensions(extensions cryptobyte.String) error {
	seen := map[string]bool{}
	for !extensions.Empty() {
		var extension, value cryptobyte.String
		var oid asn1.ObjectIdentifier
		var critical bool
		if !extensions.ReadASN1(&extension, cbasn1.SEQUENCE) ||
			!extension.ReadASN1ObjectIdentifier(&oid) ||
			!readDefaultFalse(&extension, &critical) ||
			!extension.ReadASN1(&value, cbasn1.OCTET_STRING) || !extension.Empty() {
			return errStructure
		}
		// RFC 5280, 4.2: not more than one instance of an extension.
		if seen[oid.String()] {
			return fmt.Errorf("the CSR asks for the extension %v twice (RFC 5280, 4.2)", oid)
		}
		seen[oid.String()] = true
		var err error
		switch {
		case oid.Equal(oidSubjectAltName):
			err = r.readAltNames(value)
		case oid.Equal(oidBasicConstraints):
			err = readBasicConstraints(value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readBasicConstraints refuses the wish to be a CA, rather than to pass over it: who asks for that is in the wrong place.
func readBasicConstraints(value cryptobyte.String) error {
	var constraints cryptobyte.String
	var isCA bool
	if !value.ReadASN1(&constraints, cbasn1.SEQUENCE) || !value.Empty() ||
		!readDefaultFalse(&constraints, &isCA) {
		return errors.New("the basicConstraints of the CSR cannot be parsed (RFC 5280, 4.2.1.9)")
	}
	if isCA {
		return errors.New("the CSR asks for a CA certificate; ask for one without basicConstraints CA:TRUE")
	}
	return nil
}

// readDefaultFalse reads a BOOLEAN DEFAULT FALSE.
func readDefaultFalse(s *cryptobyte.String, out *bool) bool {
	*out = false
	return !s.PeekASN1Tag(cbasn1.BOOLEAN) || s.ReadASN1Boolean(out)
}

// generalNames are the kinds of GeneralName by their context tag (RFC 5280, 4.2.1.6).
var generalNames = [...]string{"otherName", "rfc822Name", "dNSName", "x400Address", "directoryName", "ediPartyName",
	"uniformResourceIdentifier", "iPAddress", "registeredID"}

// readAltNames reads a SubjectAltName of which every member must be one we would certify.
func (r *request) readAltNames(value cryptobyte.String) error {
	var names cryptobyte.String
	if !value.ReadASN1(&names, cbasn1.SEQUENCE) || !value.Empty() {
		return errors.New("the subjectAltName of the CSR cannot be parsed (RFC 5280, 4.2.1.6)")
	}
	// RFC 5280, 4.2.1.6: a sequence of at least one name.
	if names.Empty() {
		return errors.New("the subjectAltName of the CSR is empty (RFC 5280, 4.2.1.6)")
	}
	dnsName, ipAddress := cbasn1.Tag(2).ContextSpecific(), cbasn1.Tag(7).ContextSpecific()
	for !names.Empty() {
		var name cryptobyte.String
		var tag cbasn1.Tag
		if !names.ReadAnyASN1(&name, &tag) {
			return errors.New("the subjectAltName of the CSR cannot be parsed (RFC 5280, 4.2.1.6)")
		}
		if len(r.names) == MaxNames {
			return fmt.Errorf("the CSR holds more than %d names", MaxNames)
		}
		var id identifier.Identifier
		var err error
		switch tag {
		case dnsName:
			id, err = identifier.ParseDNS(string(name))
		case ipAddress:
			id, err = readAddress(name)
		default:
			err = fmt.Errorf("a name of the kind %s is not certified; primitive dNSName and iPAddress are", kindOf(tag))
		}
		if err != nil {
			return fmt.Errorf("the subjectAltName of the CSR: %w", err)
		}
		r.names = append(r.names, id)
	}
	return nil
}

// kindOf names a GeneralName that is refused.
func kindOf(tag cbasn1.Tag) string {
	const class, context, number = 0xc0, 0x80, 0x1f
	if i := int(tag & number); tag&class == context && i < len(generalNames) {
		return generalNames[i]
	}
	return fmt.Sprintf("with tag %#x", uint8(tag))
}

// readAddress reads an iPAddress: four octets or sixteen (RFC 5280, 4.2.1.6), IPv4 only as four.
func readAddress(octets []byte) (identifier.Identifier, error) {
	addr, ok := netip.AddrFromSlice(octets)
	switch {
	case !ok:
		return identifier.Identifier{}, fmt.Errorf("an iPAddress has %d octets; it must have 4 or 16", len(octets))
	case addr.Is4In6():
		return identifier.Identifier{}, fmt.Errorf("the iPAddress %v is an IPv4 address in IPv6 form; send 4 octets", addr)
	}
	return identifier.FromAddr(addr), nil
}
