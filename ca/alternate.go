package ca

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// encodeChains checks an issuer's alternate chains and returns what follows a leaf in a download, for the main chain and
// then for each of them. The main chain has passed its own check.
func encodeChains(i Issuer, now time.Time) ([][]byte, error) {
	out := [][]byte{encodeChain(i.Chain)}
	for n, chain := range i.Alternates {
		if err := checkAlternate(i.Chain[0], chain, now); err != nil {
			return nil, fmt.Errorf("alternate chain %d: %w", n+1, err)
		}
		pem := encodeChain(chain)
		if slices.ContainsFunc(out, func(other []byte) bool { return bytes.Equal(other, pem) }) {
			return nil, fmt.Errorf("alternate chain %d: another chain is the same but for the root, which no download holds; remove it", n+1)
		}
		out = append(out, pem)
	}
	return out, nil
}

// checkAlternate holds a chain to what the main chain was held to, and to certifying the same authority: whatever was
// issued must verify with it. RFC 5280, 6.1.3 (a)(1) and (4) look at key and name; the key identifier guides relying parties
// (4.2.1.1), and some refuse a certificate whose issuer has another one.
func checkAlternate(main *x509.Certificate, chain []*x509.Certificate, now time.Time) error {
	if err := checkChain(chain, now); err != nil {
		return err
	}
	cert := chain[0]
	key, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	switch {
	case !ok || !key.Equal(main.PublicKey):
		return fmt.Errorf("it begins with a certificate for another key than the issuer's (%q); put the issuer's own certificate first", cert.Subject)
	case !bytes.Equal(cert.RawSubject, main.RawSubject):
		return fmt.Errorf("it begins with a certificate for %q, the issuer is %q", cert.Subject, main.Subject)
	case !bytes.Equal(cert.SubjectKeyId, main.SubjectKeyId):
		return fmt.Errorf("the subjectKeyIdentifier of its first certificate is %x, the issuer's is %x; have it certified with the issuer's",
			cert.SubjectKeyId, main.SubjectKeyId)
	}
	return nil
}

// firstEnd is when the first certificate of a chain expires.
func firstEnd(chain []*x509.Certificate) time.Time {
	return slices.MinFunc(chain, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) }).NotAfter
}
