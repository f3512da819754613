package ca

import (
	"bytes"
	"crypto/x509"
)

// SignedBy names the configured issuer whose key signed a certificate; "" if none did. A certificate that has an issuer's
// name and another's signature is none of ours: the name is anybody's to write. It says nothing of whether the certificate is
// on record, nor of issuers that were configured once.
func (a *Authority) SignedBy(cert *x509.Certificate) (issuer string) {
	for _, name := range a.names {
		is := a.issuers[name]
		if bytes.Equal(cert.RawIssuer, is.cert.RawSubject) && is.cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) == nil {
			return name
		}
	}
	return ""
}
