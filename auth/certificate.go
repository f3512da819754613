package auth

import (
	"context"
	"crypto/x509"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// Certificate authenticates by a client certificate whose key TLS has proved. The chain needs no verification: the very
// certificate, or its key, is bound to the principal, and nothing that is written in it says who it is. It must be valid now, be
// for clients if it says what it is for, and not be revoked ([AuthenticatorConfig].Revoked). login, and then customer, may be
// empty; what is given must be the principal's. A nil leaf is refused as others are.
func (a *Authenticator) Certificate(ctx context.Context, leaf *x509.Certificate, login, customer string, from netip.Addr) (Caller, error) {
	now := a.x.Now()
	if leaf == nil || now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return Caller{}, a.failed(ctx, nil, from, "there is no certificate, or it is not valid now")
	}
	p, c, err := a.bound(ctx, leaf, now)
	switch {
	case err != nil:
		return Caller{}, err
	case p == nil:
		return Caller{}, a.failed(ctx, nil, from, "the certificate is nobody's")
	case !a.named(p, login, customer):
		return Caller{}, a.failed(ctx, p, from, "the certificate is another principal's than the one that is named")
	}
	if err := forClients(leaf); err != nil {
		return Caller{}, a.failed(ctx, p, from, err.Error())
	}
	if a.Revoked != nil {
		switch revoked, err := a.Revoked(ctx, leaf, a.x.Directory.upwards(p.Org)...); {
		case err != nil:
			return Caller{}, err
		case revoked:
			return Caller{}, a.failed(ctx, p, from, "the certificate is revoked")
		}
	}
	if err := a.works(p); err != nil {
		return Caller{}, a.failed(ctx, p, from, err.Error())
	}
	a.uses(ctx, c.ID, now)
	return p.caller(c.ID), nil
}

// bound finds the credential of a certificate, or of its key, that counts now, and whose it is; nil for none.
func (a *Authenticator) bound(ctx context.Context, leaf *x509.Certificate, now time.Time) (*Principal, Credential, error) {
	for _, kind := range []CredentialKind{ClientCertificate, ClientKey} {
		hash := certificateHash(kind, leaf)
		p, err := a.byLookup(ctx, hashLookup(kind, hash))
		if err != nil {
			return nil, Credential{}, err
		}
		if p == nil {
			continue
		}
		for _, c := range p.Credentials {
			if c.Kind == kind && c.matches(hash, now) && c.works(now) == nil {
				return p, c, nil
			}
		}
	}
	return nil, Credential{}, nil
}

// forClients is nil for a certificate that TLS clients may use: one without extended key usages, or with clientAuth or any
// (RFC 5280, 4.2.1.12).
func forClients(c *x509.Certificate) error {
	if len(c.ExtKeyUsage) == 0 && len(c.UnknownExtKeyUsage) == 0 {
		return nil
	}
	if slices.ContainsFunc(c.ExtKeyUsage, func(u x509.ExtKeyUsage) bool {
		return u == x509.ExtKeyUsageClientAuth || u == x509.ExtKeyUsageAny
	}) {
		return nil
	}
	return errors.New("the certificate is not for clients: its extended key usages lack clientAuth")
}

// named reports whether a login and a customer, where they are given, are a principal's.
func (a *Authenticator) named(p *Principal, login, customer string) bool {
	if login != "" {
		if folded, ok := foldLogin(login); !ok || folded != p.Login {
			return false
		}
	}
	if customer == "" {
		return true
	}
	id, ok := a.x.Directory.customerBySlug(customer)
	return ok && id == p.Customer
}

// checkClientCertificate refuses to bind a certificate that would not count.
func (x *Principals) checkClientCertificate(kind CredentialKind, c *x509.Certificate) error {
	switch {
	case c == nil:
		return problem.New(problem.Malformed, "a credential of kind %s needs a certificate", kind)
	case c.IsCA:
		return problem.New(problem.Malformed, "the certificate is that of an issuer; give the client's own")
	case x.Now().After(c.NotAfter):
		return problem.New(problem.Malformed, "the certificate expired at %s", c.NotAfter.UTC().Format(time.RFC3339))
	}
	if err := forClients(c); err != nil {
		return problem.New(problem.Malformed, "%v; give one that has it, or none at all", err)
	}
	return nil
}
