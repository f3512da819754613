package testca

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"net"
	"net/netip"
)

// CSR makes a certificate request (RFC 2986) for names, DNS names or IP addresses, with an empty subject, as DER.
func CSR(key crypto.Signer, names ...string) ([]byte, error) {
	dnsNames, addrs := splitNames(names)
	return CSRFrom(key, &x509.CertificateRequest{DNSNames: dnsNames, IPAddresses: addrs})
}

// CSRWithCommonName is [CSR] with the first name as the subject's common name as well, as older clients send it.
func CSRWithCommonName(key crypto.Signer, names ...string) ([]byte, error) {
	dnsNames, addrs := splitNames(names)
	tmpl := &x509.CertificateRequest{DNSNames: dnsNames, IPAddresses: addrs}
	if len(names) > 0 {
		tmpl.Subject = pkix.Name{CommonName: names[0]}
	}
	return CSRFrom(key, tmpl)
}

// CSRFrom signs a request that a test filled in itself, with whatever it should not contain.
func CSRFrom(key crypto.Signer, tmpl *x509.CertificateRequest) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, tmpl, key)
	if err != nil {
		return nil, fmt.Errorf("testca: CSR: %w", err)
	}
	return der, nil
}

// CSRPEM encodes a request as clients paste it.
func CSRPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

func splitNames(names []string) (dnsNames []string, addrs []net.IP) {
	for _, name := range names {
		if addr, err := netip.ParseAddr(name); err == nil {
			addrs = append(addrs, addr.AsSlice())
		} else {
			dnsNames = append(dnsNames, name)
		}
	}
	return dnsNames, addrs
}
