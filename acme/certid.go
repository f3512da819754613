package acme

import (
	"bytes"
	"encoding/hex"
	"strings"

	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/problem"
)

const (
	// maxAKI is the longest authority key identifier that is looked at; SHA-512 makes 64 octets.
	maxAKI = 64
	// maxSerial is the most octets a serial number has (RFC 5280, 4.1.2.2).
	maxSerial = 20
	// maxCertID bounds a certificate identifier before it is decoded.
	maxCertID = 128
)

// certID is a certificate as RFC 9773, 4.1 names it: by its authority key identifier and its serial number.
type certID struct {
	aki    []byte
	serial ca.Serial
}

// parseCertID reads a certificate identifier in its one spelling: both parts in base64url without padding, the serial as
// DER has it, so that no two texts name one certificate.
func parseCertID(text string) (certID, error) {
	first, second, ok := strings.Cut(text, ".")
	if !ok || len(text) > maxCertID {
		return certID{}, errCertID("it has the form <authority key identifier>.<serial number>")
	}
	aki, err := decode64(first)
	if err != nil || len(aki) == 0 || len(aki) > maxAKI {
		return certID{}, errCertID("what is before the dot must be the authority key identifier in base64url without padding")
	}
	serial, err := decode64(second)
	if err != nil || len(serial) == 0 {
		return certID{}, errCertID("what is behind the dot must be the serial number in base64url without padding")
	}
	octets, ok := positive(serial)
	if !ok {
		return certID{}, errCertID("the serial number must be the content octets of a positive DER INTEGER of at most 20 octets")
	}
	return certID{aki: aki, serial: ca.Serial(hex.EncodeToString(octets))}, nil
}

func errCertID(why string) error {
	return problem.New(problem.Malformed, "the certificate identifier cannot be read (RFC 9773, 4.1): %s", why)
}

// positive takes the content octets of a DER INTEGER above zero and gives its magnitude: X.690, 8.3.2 demands the fewest
// octets, so a leading zero stands only before an octet with its high bit set.
func positive(der []byte) (magnitude []byte, ok bool) {
	switch {
	case len(der) > maxSerial, der[0]&0x80 != 0:
		return nil, false
	case der[0] != 0:
		return der, true
	case len(der) == 1, der[1]&0x80 == 0:
		return nil, false
	}
	return der[1:], true
}

// issuersOf are the configured issuers whose certificates carry that authority key identifier: one, unless a key has two
// names.
func (s *Server) issuersOf(aki []byte) (names []string) {
	for _, i := range s.issuers {
		if bytes.Equal(i.certificate.SubjectKeyId, aki) {
			names = append(names, i.name)
		}
	}
	return names
}
