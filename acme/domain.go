package acme

import (
	"context"
	"time"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
)

// domainProofs finds for each name the proof of a domain of the account's organisation that serves a new order, or nil. It is
// asked anew for each order, so that a domain that was taken away serves none. Under a profile that takes nothing else the error is
// the refusal of names that have none: their authorizations could never become valid.
func (s *Server) domainProofs(ctx context.Context, account *Account, profile *policy.Profile, names []identifier.Identifier) ([]*policy.Proven, error) {
	if s.Domains == nil || !profile.DelegatedDomains() {
		return nil, profile.CheckDomains(names, nil)
	}
	found, err := s.Domains.Proofs(ctx, profile, account.requester(), names, s.now().Add(reuseMargin))
	if err != nil {
		return nil, err
	}
	return found, profile.CheckDomains(names, found)
}

// given is what an authorization can be born valid by: the proof of a domain, or the record that the profile requires no
// validation. Nil: the name must be validated.
func given(account *Account, profile *policy.Profile, name identifier.Identifier, domain *policy.Proven, now time.Time) *policy.Proven {
	if records := profile.Unvalidated(account.requester(), []identifier.Identifier{name}, now); len(records) == 1 {
		return &records[0]
	}
	return domain
}

// bornValid is an authorization that needs no challenge, because a domain's proof covers its name or none is required. It lives no
// longer than a pending one would, nor than the proof.
func bornValid(account *Account, profile *policy.Profile, name identifier.Identifier, proof policy.Proven, now, expires time.Time) *Authorization {
	if until := profile.DomainProofUntil(proof.Method, proof.At, now); proof.Owner != 0 && until.Before(expires) {
		expires = until
	}
	return &Authorization{
		ID: AuthzID(newID()), Account: account.ID, Org: account.Org, Profile: profile.Name(),
		Identifier: name.Base(), Wildcard: name.IsWildcard(), Created: now, Expires: expires, Given: &proof,
	}
}
