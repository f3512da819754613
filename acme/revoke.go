package acme

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"slices"

	"github.com/gatehouse-ca/gatehouse/acme/jws"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// errNotRevocable is the one answer for a certificate that is not ours and for one that is none of the caller's
// business.
var errNotRevocable = problem.New(problem.Unauthorized,
	"this certificate was not issued here, or to another account; the account it was issued to and its own key can revoke it")

// revoke revokes a certificate for the account that asked for it, or for whoever holds its private key (RFC 8555, 7.6).
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
	if !ok {
		return nil, errNotRevocable
	}
	rev := ra.Revocation{Issuer: name, Serial: serialOf(leaf), Reason: ca.Reason(in.Reason)}
	if req.account != nil {
		err = s.Registrar.Revoke(ctx, req.account.Caller(), rev)
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
