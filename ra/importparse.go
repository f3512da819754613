package ra

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

const (
	// maxImportedNames is how many names of one certificate are listed. Others have a few hundred at most.
	maxImportedNames = 1000
	// maxImportedRSA is the most bits of an RSA key: what a signature costs to verify grows with the square of them, and what is
	// imported has to be encoded again (package bundle).
	maxImportedRSA = 16384
	// MaxAuthority is how many characters of an issuer's distinguished name are kept of an imported certificate.
	MaxAuthority = 300
	// maxImportedCN is the same of a common name. RFC 5280, A.1 allows 64.
	maxImportedCN = 64
)

// imported is a certificate that was read and what becomes of it.
type imported struct {
	item        ImportItem
	org         auth.OrgID
	cert        *x509.Certificate
	issuers     [][]byte
	names       []identifier.Identifier
	ignored     int // names that are left out
	fingerprint [32]byte
	octets      int // that the journal's entry takes, at most

	claim  [16]byte
	known  *Enrollment
	result *ImportResult
}

func (i *imported) key() ImportKey {
	return ImportKey{Org: i.org, Serial: ca.SerialOf(i.cert.SerialNumber), Fingerprint: i.fingerprint, TBSHash: sha256.Sum256(i.cert.RawTBSCertificate)}
}

// parseImport reads a certificate as a stranger sent it. Nobody vouches for what it says; its signature is not verified.
func parseImport(der []byte) (*imported, error) {
	cert, err := parseForeign("certificate", der)
	if err != nil {
		return nil, err
	}
	i := &imported{cert: cert, fingerprint: sha256.Sum256(cert.Raw)}
	i.takeNames()
	_, err = ca.ParseSerial(string(ca.SerialOf(cert.SerialNumber)))
	switch {
	case err != nil: // no list could have it, and nobody could ask for it
		return nil, problem.New(problem.Malformed, "certificate: its serial number is zero or has more than 20 octets, which nobody may give one (RFC 5280, 4.1.2.2)")
	case cert.IsCA && len(i.names) == 0:
		return nil, problem.New(problem.Malformed, "certificate: it is an authority's and names no host; import the certificates of servers, and authorities' as what they come with")
	case cert.NotAfter.Unix() <= 0 || cert.NotAfter.Year() > 9999 || cert.NotBefore.Year() < 1900:
		return nil, problem.New(problem.Malformed, "certificate: its validity ends before 1970 or begins in no plausible year")
	}
	return i, nil
}

// parseForeign parses DER of somebody else's making; where is the field it came in.
func parseForeign(where string, der []byte) (*x509.Certificate, error) {
	switch {
	case len(der) == 0:
		return nil, problem.New(problem.Malformed, "%s: it is empty; send an X.509 certificate in DER", where)
	case len(der) > MaxImported:
		return nil, problem.New(problem.TooLarge, "%s: it has %d bytes; at most %d are taken", where, len(der), MaxImported)
	}
	cert, err := x509.ParseCertificate(bytes.Clone(der))
	if err != nil {
		return nil, problem.Wrap(err, problem.Malformed, "%s: it cannot be parsed: %s; send one X.509 certificate in DER", where, printable(err.Error(), 200))
	}
	if key, ok := cert.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() > maxImportedRSA {
		return nil, problem.New(problem.TooLarge, "%s: it has an RSA key of %d bits; at most %d are taken", where, key.N.BitLen(), maxImportedRSA)
	}
	return cert, nil
}

// takeNames finds the host names and addresses: those of the subjectAltName extension, or of a certificate without any there
// the CN, as programs used to read it (RFC 6125, 6.4.4).
func (i *imported) takeNames() {
	var names []identifier.Identifier
	for _, name := range i.cert.DNSNames {
		if id, err := identifier.ParseDNS(name); err == nil {
			names = append(names, id)
		}
	}
	for _, ip := range i.cert.IPAddresses {
		if addr, ok := netip.AddrFromSlice(ip); ok {
			names = append(names, identifier.FromAddr(addr))
		}
	}
	i.ignored = max(0, countGeneralNames(i.cert)-len(names))
	if len(names) == 0 {
		if id, err := identifier.ParseIP(i.cert.Subject.CommonName); err == nil {
			names = append(names, id)
		} else if id, err := identifier.ParseDNS(i.cert.Subject.CommonName); err == nil {
			names = append(names, id)
		}
	}
	i.names = identifier.SortUnique(names)
	if len(i.names) > maxImportedNames {
		i.ignored += len(i.names) - maxImportedNames
		i.names = i.names[:maxImportedNames]
	}
}

var oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}

// countGeneralNames counts all names of the subjectAltName extension. x509 passes over the kinds that it has no field for.
func countGeneralNames(cert *x509.Certificate) int {
	for _, ext := range cert.Extensions {
		var names []asn1.RawValue
		if !ext.Id.Equal(oidSubjectAltName) {
			continue
		}
		if _, err := asn1.Unmarshal(ext.Value, &names); err == nil {
			return len(names)
		}
	}
	return 0
}

// chain picks of issuers' certificates those that lead upwards, each of which has certified the one before: signatures are
// verified, so that what is kept is a chain. Those that lead nowhere are left out.
func (i *imported) chain(given [][]byte) ([][]byte, error) {
	if len(given) > MaxImportedIssuers {
		return nil, problem.New(problem.TooLarge, "issuers: %d are too many; at most %d are taken", len(given), MaxImportedIssuers)
	}
	var left []*x509.Certificate
	for _, der := range given {
		cert, err := parseForeign("issuers", der)
		if err != nil {
			return nil, err
		}
		if !cert.Equal(i.cert) {
			left = append(left, cert)
		}
	}
	var chain [][]byte
	for at := i.cert; ; {
		next := -1
		for n, candidate := range left {
			if candidate == nil || !bytes.Equal(at.RawIssuer, candidate.RawSubject) {
				continue
			}
			left[n] = nil // each is tried once, which bounds what the verifications cost
			if at.CheckSignatureFrom(candidate) == nil {
				next, at = n, candidate
				chain = append(chain, candidate.Raw)
				break
			}
		}
		if next < 0 {
			return chain, nil
		}
	}
}

// enrollment is the certificate as the inventory has it.
func (i *imported) enrollment(id ID, org auth.OrgID, at time.Time) *Enrollment {
	return &Enrollment{
		ID: id, Org: org, Names: i.names, CommonName: printable(i.cert.Subject.CommonName, maxImportedCN), Created: at, Phase: Issued,
		Imported: true, Authority: printable(DistinguishedName(i.cert.Issuer), MaxAuthority), Serial: ca.SerialOf(i.cert.SerialNumber),
		NotBefore: i.cert.NotBefore.UTC(), NotAfter: i.cert.NotAfter.UTC(), Issued: at, Fingerprint: i.fingerprint,
	}
}

// printable is text of a stranger as it can be shown on a line, cut to so many characters.
func printable(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if utf8.RuneCountInString(text) > most {
		return string([]rune(text)[:most-1]) + "…"
	}
	return text
}
