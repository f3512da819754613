package ca

import (
	"context"
	"crypto"
	"crypto/x509"
)

// Backend holds an issuer's private key, or the way to whoever holds it. The gate does not trust it: what it returns is
// compared with what was asked for before anything is recorded or released.
//
// A backend is called from many goroutines at once, never more than the issuer's MaxConcurrent. ctx carries the signing
// deadline; a backend that cannot heed it keeps its slot in the issuer's pool until it returns, and whatever it returns
// after the deadline is dropped. A template belongs to the backend for the length of the call.
type Backend interface {
	// Sign signs a certificate for pub after a template whose every field is final, and returns it as DER.
	Sign(ctx context.Context, template *x509.Certificate, pub crypto.PublicKey) (der []byte, err error)
	// SignCRL signs a certificate revocation list (RFC 5280, 5) and returns it as DER.
	SignCRL(ctx context.Context, list *x509.RevocationList) (der []byte, err error)
	// Public is the issuer's public key. It is asked once, at the start.
	Public() crypto.PublicKey
}

// algorithmChooser is what a backend implements in addition if its key is bound to one signature algorithm, for example
// RSASSA-PSS in a hardware module. Zero means none.
type algorithmChooser interface {
	SignatureAlgorithm() x509.SignatureAlgorithm
}

// readier is what a backend implements in addition if it can know beforehand that it cannot sign, such as one whose token
// was taken away: an issuance is then refused before anything is recorded for it. Ready must not block.
type readier interface {
	Ready() error
}
