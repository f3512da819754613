package web

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
)

const (
	// maxClientChain is the most octets of what a client may show of itself: a connection holds it for as long as it lives, and
	// whoever connects can send it.
	maxClientChain = 32 << 10
	// maxClientCertificates is the most certificates that are in it.
	maxClientCertificates = 10
)

// AskClients is a listener's TLS that asks each client for a certificate and lets it in without one, or with any: TLS proves
// that the client has the certificate's key, and nothing more. Who it is, is for handlers to find out; no chain is verified and no
// issuer named. What is larger than anybody needs ends the handshake.
//
// Sessions that are resumed have the certificate of the handshake that began them.
func AskClients(c *tls.Config) *tls.Config {
	asking := c.Clone()
	asking.ClientAuth = tls.RequestClientCert
	asking.VerifyPeerCertificate = checkClientChain
	return asking
}

// checkClientChain is tls.Config.VerifyPeerCertificate.
func checkClientChain(raw [][]byte, _ [][]*x509.Certificate) error {
	size := 0
	for _, der := range raw {
		size += len(der)
	}
	if size > maxClientChain || len(raw) > maxClientCertificates {
		return fmt.Errorf("the client shows %d certificates with %d octets; at most %d with %d are taken", len(raw), size, maxClientCertificates, maxClientChain)
	}
	return nil
}
