package acme

import (
	"context"
	"time"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
)

// domainProofs finds for each name the proof of a domain of the account's organisation that serves a new order, or nil. It is
// asked anew for each order, so that a domain that was taken away serves none.
func (s *Server) domainProofs(ctx context.Context, account *Account, profile *policy.Profile, names []identifier.Identifier) ([]*policy.Proven, error) {
	if s.Domains == nil || !profile.DelegatedDomains() {
		return nil, nil
	}
	return s.Domains.Proofs(ctx, profile, account.requester(), names, s.now().Add(reuseMargin))
}

// bornValid is an authorization that needs no challenge, because a domain's proof covers its name. It lives no longer than a
// pending one would, nor than the proof.
func bornValid(account *Account, profile *policy.Profile, name identifier.Identifier, proof policy.Proven, now, expires time.Time) *Authorization {
	if until := profile.DomainProofUntil(proof.At, now); until.Before(expires) {
		expires = until
	}
	return &Authorization{
		ID: AuthzID(newID()), Account: account.ID, Org: account.Org, Profile: profile.Name(),
		Identifier: name.Base(), Wildcard: name.IsWildcard(), Created: now, Expires: expires, Domain: &proof,
	}
}
