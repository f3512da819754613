package acme

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"slices"

	"github.com/gatehouse-ca/gatehouse/acme/jws"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// errNotRevocable is the one answer for a certificate that is not ours and for one that is none of the caller's
// business.
var errNotRevocable = problem.New(problem.Unauthorized,
	"this certificate was not issued here, or to another account; the account it was issued to, one that has valid authorizations for all its names, and its own key can revoke it")

// revoke revokes a certificate for the account that asked for it, for one that controls all its names, or for whoever holds
// its private key (RFC 8555, 7.6).
func (s *Server) revoke(ctx context.Context, req *signed) (*reply, error) {
	var in struct {
		Certificate string `json:"certificate"`
		Reason      int    `json:"reason"` // absent: unspecified
	}
	if err := jws.DecodeStrict(req.payload, &in); err != nil {
		return nil, err
	}
	der, err := decode64(in.Certificate)
	if err != nil || len(der) == 0 || len(der) > policy.MaxCSR {
		return nil, problem.New(problem.Malformed, `"certificate" must be the DER of a certificate in base64url without padding`)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, problem.Wrap(err, problem.Malformed, `"certificate" cannot be read`)
	}
	name, ok := s.issuerOf(leaf)
	if !ok || len(leaf.SerialNumber.Bytes()) > maxSerial { // not issued here, and what it says goes into a store's key
		return nil, errNotRevocable
	}
	rev := ra.Revocation{Issuer: name, Serial: serialOf(leaf), Reason: ca.Reason(in.Reason)}
	if req.account != nil {
		err = s.revokeByAccount(ctx, req.account, rev)
	} else {
		err = s.revokeByKey(ctx, req.key, leaf, rev)
	}
	switch {
	case problem.Is(err, problem.NotFound), problem.Is(err, problem.Unauthorized):
		return nil, errNotRevocable
	case err != nil:
		return nil, err
	}
	return &reply{}, nil // RFC 8555, 7.6: 200 with an empty body
}

// revokeByAccount is for the account that the certificate was issued to. Any other of its organisation must have a valid
// authorization for each name; those of another organisation prove nothing about it.
func (s *Server) revokeByAccount(ctx context.Context, a *Account, rev ra.Revocation) error {
	err := s.Registrar.Revoke(ctx, a.Caller(), rev)
	if !problem.Is(err, problem.Unauthorized) {
		return err
	}
	return s.Registrar.RevokeByControl(ctx, a.Caller(), rev, func(ctx context.Context, c *ca.Certificate) error {
		return s.controls(ctx, a, c)
	})
}

// controls is nil if an account has an authorization, valid now, for each name of a certificate, by the rules of the
// certificate's profile as they are today.
func (s *Server) controls(ctx context.Context, a *Account, c *ca.Certificate) error {
	profile, ok := s.Profiles[c.Profile]
	if !ok {
		return errNotRevocable
	}
	names, err := certified(c)
	if err != nil {
		return err
	}
	usable, err := s.Store.UsableAuthorizations(ctx, a.ID, names)
	if err != nil {
		return err
	}
	for i, name := range names {
		if !usable[i].validFor(name, a, profile, s.Now()) {
			return errNotRevocable
		}
	}
	return nil
}

// certified are the identifiers that a recorded certificate certifies, all of them, or an error.
func certified(c *ca.Certificate) ([]identifier.Identifier, error) {
	leaf, err := x509.ParseCertificate(c.DER)
	if err != nil {
		return nil, err
	}
	if len(leaf.EmailAddresses) > 0 || len(leaf.URIs) > 0 { // nothing here authorizes those
		return nil, errNotRevocable
	}
	var names []identifier.Identifier
	add := func(kind identifier.Type, value string) error {
		name, err := identifier.Parse(string(kind), value)
		names = append(names, name)
		return err
	}
	for _, name := range leaf.DNSNames {
		err = errors.Join(err, add(identifier.DNS, name))
	}
	for _, address := range leaf.IPAddresses {
		err = errors.Join(err, add(identifier.IP, address.String()))
	}
	if err == nil && len(names) == 0 {
		return nil, errNotRevocable
	}
	return names, err
}

// revokeByKey is for a request whose jwk must be the certificate's key. The registrar compares it once more, with the
// certificate that was recorded: what the client sent could be anything with that serial.
func (s *Server) revokeByKey(ctx context.Context, key *jws.PublicKey, leaf *x509.Certificate, rev ra.Revocation) error {
	if !key.Matches(leaf.PublicKey) {
		return errNotRevocable
	}
	return s.Registrar.RevokeByKey(ctx, rev, key.CryptoKey())
}

// issuerOf finds which of our issuers a certificate claims to come from. Whether that is true, the record tells.
func (s *Server) issuerOf(leaf *x509.Certificate) (string, bool) {
	for _, i := range s.issuers {
		if bytes.Equal(i.certificate.RawSubject, leaf.RawIssuer) &&
			(len(leaf.AuthorityKeyId) == 0 || bytes.Equal(i.certificate.SubjectKeyId, leaf.AuthorityKeyId)) {
			return i.name, true
		}
	}
	return "", false
}

// hasIssuer reports whether a name is one of our issuers', before it becomes part of a store's key.
func (s *Server) hasIssuer(name string) bool {
	return slices.ContainsFunc(s.issuers, func(i issuer) bool { return i.name == name })
}

// serialOf writes a serial as records have it: lower-case hex of whole octets.
func serialOf(leaf *x509.Certificate) ca.Serial {
	return ca.Serial(hex.EncodeToString(leaf.SerialNumber.Bytes()))
}
