package ra

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net/netip"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/seal"
)

// makeKey makes the key and the CSR of a request that asks for it, and seals the key. What is cheap to refuse is refused first.
func (r *Registrar) makeKey(ctx context.Context, caller auth.Caller, profile *policy.Profile, req *Request) (*StoredKey, error) {
	switch {
	case len(req.CSR) > 0:
		return nil, problem.New(problem.Malformed, "there is a CSR, and a key is to be made; do one of the two")
	case len(req.Names) == 0:
		return nil, problem.New(problem.Malformed, "names are missing; a key is made for a certificate with names")
	}
	if err := profile.CheckServerKey(req.Key); err != nil {
		return nil, err
	}
	if err := profile.CheckNames(req.Names); err != nil {
		return nil, err
	}
	if err := r.keysKept(); err != nil {
		return nil, err
	}
	var key crypto.Signer
	err := r.keyWork.do(ctx, caller.Org, func() (err error) {
		if key, err = newKey(req.Key); err != nil {
			return err
		}
		req.CSR, err = certificationRequest(key, req.Names)
		return err
	})
	if err != nil {
		return nil, err
	}
	return r.sealKey(ctx, key, StoredKey{Origin: KeyMade, By: caller.Principal, Type: req.Key})
}

// sealKey makes a key one that can be kept.
func (r *Registrar) sealKey(ctx context.Context, key crypto.Signer, k StoredKey) (_ *StoredKey, err error) {
	if k.Public, err = publicHash(key.Public()); err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	defer clear(der)
	if k.Sealed, err = r.Escrow.Sealer.Seal(ctx, seal.PrivateKey, k.object(), der); err != nil {
		return nil, err
	}
	return &k, nil
}

// newKey makes a key of a type.
func newKey(t policy.KeyType) (crypto.Signer, error) {
	switch t {
	case policy.RSA2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case policy.RSA3072:
		return rsa.GenerateKey(rand.Reader, 3072)
	case policy.RSA4096:
		return rsa.GenerateKey(rand.Reader, 4096)
	case policy.ECDSAP256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case policy.ECDSAP384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case policy.ECDSAP521:
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case policy.Ed25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	default:
		return nil, problem.New(problem.Malformed, "key: keys of type %q are not made", t)
	}
}

// maxCommonName is the longest CN (RFC 5280, A.1: ub-common-name).
const maxCommonName = 64

// certificationRequest is a PKCS #10 request (RFC 2986) for the names, the first of which is the CN if it is not too long.
func certificationRequest(key crypto.Signer, names []identifier.Identifier) ([]byte, error) {
	template := &x509.CertificateRequest{}
	if first := names[0].Value(); len(first) <= maxCommonName {
		template.Subject = pkix.Name{CommonName: first}
	}
	for _, n := range names {
		if n.Type() != identifier.IP {
			template.DNSNames = append(template.DNSNames, n.Value())
			continue
		}
		addr, err := netip.ParseAddr(n.Value())
		if err != nil {
			return nil, fmt.Errorf("ra: the address %s: %w", n.Value(), err)
		}
		template.IPAddresses = append(template.IPAddresses, addr.AsSlice())
	}
	return x509.CreateCertificateRequest(rand.Reader, template, key)
}
