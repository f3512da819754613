package ca

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/smallstep/certificates/cas/apiv1"
	"github.com/smallstep/certificates/cas/softcas"
)

// CAS makes a [Backend] of any certificate authority service with smallstep's interface that signs the template it is
// given. It is safe for concurrent use if the service is.
type CAS struct {
	service   apiv1.CertificateAuthorityService
	public    crypto.PublicKey
	algorithm x509.SignatureAlgorithm
	signer    readier // nil if the signer cannot tell
}

// NewCAS adapts a service whose signing key is public.
func NewCAS(service apiv1.CertificateAuthorityService, public crypto.PublicKey) (*CAS, error) {
	if service == nil || public == nil {
		return nil, errors.New("ca: a certificate authority service needs a service and its public key")
	}
	return &CAS{service: service, public: public}, nil
}

// NewSoftCAS is smallstep's softcas over a signer in this process: a key from a file, or one whose operations a key
// management system performs. chain is the issuer's certificate first. A signer that is bound to one signature algorithm
// says so through apiv1.SignatureAlgorithmGetter.
func NewSoftCAS(chain []*x509.Certificate, signer crypto.Signer) (*CAS, error) {
	if len(chain) == 0 || signer == nil {
		return nil, errors.New("ca: softcas needs the issuer's certificate and a signer")
	}
	service, err := softcas.New(context.Background(), apiv1.Options{CertificateChain: chain, Signer: signer})
	if err != nil {
		return nil, fmt.Errorf("ca: softcas: %w", err)
	}
	c, err := NewCAS(service, signer.Public())
	if err != nil {
		return nil, err
	}
	if g, ok := signer.(apiv1.SignatureAlgorithmGetter); ok {
		c.algorithm = g.SignatureAlgorithm()
	}
	c.signer, _ = signer.(readier)
	return c, nil
}

// Ready says why the signer cannot sign now, if it knows.
func (c *CAS) Ready() error {
	if c.signer == nil {
		return nil
	}
	return c.signer.Ready()
}

// Public is the issuer's public key.
func (c *CAS) Public() crypto.PublicKey { return c.public }

// SignatureAlgorithm is the one algorithm the signer is bound to, or zero.
func (c *CAS) SignatureAlgorithm() x509.SignatureAlgorithm { return c.algorithm }

// Sign asks the service for a certificate. The service's interface has no context: an expired one is refused before the
// call, but nothing can end a call that has begun.
func (c *CAS) Sign(ctx context.Context, template *x509.Certificate, pub crypto.PublicKey) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// Services may write into the request (softcas sets the issuer and, if absent, times and algorithm), so they get a
	// copy of their own. The public key is a field of the template in this interface.
	own := *template
	own.PublicKey = pub
	res, err := c.service.CreateCertificate(&apiv1.CreateCertificateRequest{
		Template: &own,
		// Times in the template are final; services refuse a request without a lifetime, and those that sign from it
		// need the inclusive one (RFC 5280, 4.1.2.5).
		Lifetime: template.NotAfter.Sub(template.NotBefore) + time.Second,
	})
	if err != nil {
		return nil, err
	}
	if res == nil || res.Certificate == nil {
		return nil, errors.New("the certificate authority service returned no certificate")
	}
	return res.Certificate.Raw, nil
}

// SignCRL asks the service for a revocation list. Only services that sign with a local key can (of smallstep's: softcas).
func (c *CAS) SignCRL(ctx context.Context, list *x509.RevocationList) ([]byte, error) {
	generator, ok := c.service.(apiv1.CertificateAuthorityCRLGenerator)
	if !ok {
		return nil, fmt.Errorf("a %s certificate authority service cannot sign revocation lists", apiv1.TypeOf(c.service))
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	own := *list
	res, err := generator.CreateCRL(&apiv1.CreateCRLRequest{RevocationList: &own})
	if err != nil {
		return nil, err
	}
	if res == nil || len(res.CRL) == 0 {
		return nil, errors.New("the certificate authority service returned no revocation list")
	}
	return res.CRL, nil
}
