package policy

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// MaxCSR is the longest CSR that is read, in bytes of DER.
const MaxCSR = 64 << 10

// CSR is a certification request (RFC 2986) that was taken apart and whose self-signature was verified. Only
// [ParseCSR] makes one; it is not to be changed.
type CSR struct {
	Raw        []byte                  // DER, a copy
	Names      []identifier.Identifier // from SAN and CN, sorted, without duplicates; at least one, at most [MaxNames]
	CommonName string                  // one of Names in its canonical text; empty if the CSR has no CN
	Subject    Subject                 // the other attributes, unchecked; the profile says which of them count
	PublicKey  any                     // *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey of a known [KeyType]
	SPKIHash   [32]byte                // SHA-256 of SubjectPublicKeyInfo
	Signature  x509.SignatureAlgorithm // of its self-signature

	unusable []SubjectField // attributes the CSR holds twice or in an unreadable encoding
}

// ParseCSR reads a CSR from DER, as a stranger sent it. It refuses with BadCSR: more than [MaxCSR] bytes or [MaxNames]
// names, anything behind the end, repeated attributes or extensions, names other than dNSName and iPAddress, a CN that is
// no name or not the only one, a request to become a CA, keys of no [KeyType], and a self-signature that does not verify.
// Other requested extensions are ignored: what is issued is the profile's. The checks go from cheap to dear; no signature
// is verified with a key whose size is not known to be harmless.
func ParseCSR(der []byte) (*CSR, error) {
	switch {
	case len(der) == 0:
		return nil, problem.New(problem.BadCSR, "the CSR is empty")
	case len(der) > MaxCSR:
		return nil, problem.New(problem.BadCSR, "the CSR has %d bytes; at most %d are read", len(der), MaxCSR)
	}
	der = bytes.Clone(der)
	requested, err := readRequest(der)
	if err != nil {
		return nil, problem.Wrap(err, problem.BadCSR, "%v", err)
	}
	parsed, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, problem.Wrap(err, problem.BadCSR, "the CSR cannot be parsed; send a PKCS #10 request (RFC 2986) in DER with a key of a known algorithm")
	}
	csr := &CSR{Raw: der, PublicKey: parsed.PublicKey, SPKIHash: sha256.Sum256(parsed.RawSubjectPublicKeyInfo), Signature: parsed.SignatureAlgorithm}
	if err := csr.takeNames(requested, parsed); err != nil {
		return nil, err
	}
	if err := verify(parsed); err != nil {
		return nil, err
	}
	return csr, nil
}

// takeNames joins the names of the SAN extension and the CN (RFC 8555, 7.4: a name stands in either, or in both).
func (csr *CSR) takeNames(requested *request, parsed *x509.CertificateRequest) error {
	names := requested.names
	subject, commonNames, unusable := readSubject(parsed.Subject.Names)
	csr.Subject, csr.unusable = subject, unusable
	if len(commonNames) > 1 {
		return problem.New(problem.BadCSR, "the subject of the CSR has %d CNs; send one or none", len(commonNames))
	}
	if len(commonNames) == 1 && commonNames[0] != "" {
		cn, err := parseCommonName(commonNames[0])
		if err != nil {
			return err
		}
		csr.CommonName = cn.Value()
		names = append(names, cn)
	}
	csr.Names = identifier.SortUnique(names)
	switch {
	case len(csr.Names) == 0:
		return problem.New(problem.BadCSR, "the CSR holds no names; put them into a subjectAltName extension (RFC 8555, 7.4)")
	case len(csr.Names) > MaxNames:
		return problem.New(problem.BadCSR, "the CSR holds more than %d names", MaxNames)
	}
	return nil
}

// parseCommonName reads a CN, which must be a name that a certificate can carry.
func parseCommonName(value any) (identifier.Identifier, error) {
	text, ok := value.(string)
	if !ok {
		return identifier.Identifier{}, problem.New(problem.BadCSR, "the CN of the CSR is in an encoding that cannot be read; send UTF8String")
	}
	if id, err := identifier.ParseIP(text); err == nil {
		return id, nil
	}
	id, err := identifier.ParseDNS(text)
	if err != nil {
		return identifier.Identifier{}, problem.Wrap(err, problem.BadCSR,
			"the CN of the CSR is no name to be certified: %v; send one of the requested names or no CN", err)
	}
	return id, nil
}

// signatureAlgorithms are what a CSR may be signed with: nothing older than SHA-2.
var signatureAlgorithms = map[x509.SignatureAlgorithm]bool{
	x509.SHA256WithRSA: true, x509.SHA384WithRSA: true, x509.SHA512WithRSA: true,
	x509.SHA256WithRSAPSS: true, x509.SHA384WithRSAPSS: true, x509.SHA512WithRSAPSS: true,
	x509.ECDSAWithSHA256: true, x509.ECDSAWithSHA384: true, x509.ECDSAWithSHA512: true,
	x509.PureEd25519: true,
}

// verify checks the key's shape, then the self-signature (RFC 2986, 4.2).
func verify(parsed *x509.CertificateRequest) error {
	if _, err := keyTypeOf(parsed.PublicKey); err != nil {
		return problem.New(problem.BadCSR, "%v", err)
	}
	// One encoding for each key, so that a hash of it means the key.
	spki, err := x509.MarshalPKIXPublicKey(parsed.PublicKey)
	if err != nil || !bytes.Equal(spki, parsed.RawSubjectPublicKeyInfo) {
		return problem.Wrap(err, problem.BadCSR, "the public key of the CSR is not in its DER encoding")
	}
	if !signatureAlgorithms[parsed.SignatureAlgorithm] {
		return problem.New(problem.BadCSR, "the CSR is signed with an algorithm that is not accepted; sign it with SHA-256, SHA-384, SHA-512 or Ed25519")
	}
	if err := parsed.CheckSignature(); err != nil {
		return problem.Wrap(err, problem.BadCSR, "the signature of the CSR does not verify with its own key (RFC 2986, 4.2)")
	}
	return nil
}
