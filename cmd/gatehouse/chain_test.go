package main

import (
	"crypto/x509"
	"testing"
)

// verifyChain checks that a chain leads from a certificate for the names to the gateway's root.
func (i *instance) verifyChain(chain []*x509.Certificate, names ...string) {
	i.t.Helper()
	intermediates := x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	for _, name := range names {
		if _, err := chain[0].Verify(x509.VerifyOptions{DNSName: name, Roots: i.roots(), Intermediates: intermediates}); err != nil {
			i.t.Error(err)
		}
	}
	if len(chain[0].DNSNames)+len(chain[0].IPAddresses) != len(names) {
		i.t.Errorf("the certificate is for %v and %v, not for %v", chain[0].DNSNames, chain[0].IPAddresses, names)
	}
}

// crlOf fetches the CRL that a certificate names and verifies it with the issuer's certificate that it names.
func crlOf(t testing.TB, leaf *x509.Certificate) *x509.RevocationList {
	t.Helper()
	if len(leaf.CRLDistributionPoints) != 1 || len(leaf.IssuingCertificateURL) != 1 {
		t.Fatalf("CRL at %v, issuer at %v; want one of each", leaf.CRLDistributionPoints, leaf.IssuingCertificateURL)
	}
	der, err := fetch(t.Context(), leaf.IssuingCertificateURL[0])
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if der, err = fetch(t.Context(), leaf.CRLDistributionPoints[0]); err != nil {
		t.Fatal(err)
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		t.Fatal(err)
	}
	if err := list.CheckSignatureFrom(issuer); err != nil {
		t.Fatal(err)
	}
	return list
}

// revokedOn is a certificate's entry on a CRL, nil if it has none.
func revokedOn(list *x509.RevocationList, leaf *x509.Certificate) *x509.RevocationListEntry {
	for i, e := range list.RevokedCertificateEntries {
		if e.SerialNumber.Cmp(leaf.SerialNumber) == 0 {
			return &list.RevokedCertificateEntries[i]
		}
	}
	return nil
}

// awaitRevoked reads the CRL until it lists a certificate, and checks the reason (RFC 5280, 5.3.1).
func awaitRevoked(t testing.TB, leaf *x509.Certificate, reason int) {
	t.Helper()
	for {
		if e := revokedOn(crlOf(t, leaf), leaf); e != nil {
			if e.ReasonCode != reason {
				t.Errorf("the CRL gives reason %d, want %d", e.ReasonCode, reason)
			}
			return
		}
		if !pause(t.Context()) {
			t.Fatal("the CRL never listed the certificate")
		}
	}
}
