package acme

import (
	"context"
	"net/http"

	"github.com/gatehouse-ca/gatehouse/acme/jws"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// newAuthz makes an authorization ahead of any order (RFC 8555, 7.4.1), under the profile of the directory it was asked at.
// Where the account has a valid one that would serve a new order, that is the answer.
func (s *Server) newAuthz(ctx context.Context, req *signed) (*reply, error) {
	org, err := s.asksAuthority(ctx, req)
	if err != nil {
		return nil, err
	}
	profile, err := s.selected(req.target, org, req.only, nil)
	if err != nil {
		return nil, err
	}
	var in struct {
		Identifier *wireIdentifier `json:"identifier"`
	}
	if err := jws.DecodeStrict(req.payload, &in); err != nil {
		return nil, err
	}
	if in.Identifier == nil {
		return nil, problem.New(problem.Malformed, `"identifier" is missing; it has a "type" and a "value"`)
	}
	name, err := identifier.Parse(in.Identifier.Type, in.Identifier.Value)
	if err == nil && name.IsWildcard() { // RFC 8555, 7.4.1: only newOrder authorizes wildcards
		const detail = "wildcards cannot be authorized ahead of an order; make an order for it"
		return nil, refusal([]problem.Part{{Identifier: name, Kind: problem.RejectedIdentifier, Detail: detail}}, 1)
	}
	one := orderRequest{Identifiers: []wireIdentifier{*in.Identifier}}
	names, err := one.names(profile)
	if err == nil {
		err = s.checkNames(req.account, req.only, names)
	}
	if err != nil {
		return nil, err
	}
	usable, err := s.usable(ctx, req.account, names, append(s.authorityClaims(req.account), s.triesLeft(req.account, names)...))
	if err != nil {
		return nil, err
	}
	domains, err := s.domainProofs(ctx, req.account, profile, names)
	if err != nil {
		return nil, err
	}
	_, all, fresh := s.plan(req.account, profile, names, usable, domains)
	a := all[0]
	if len(fresh) > 0 {
		if err := s.Store.CreateAuthorization(ctx, a); err != nil {
			return nil, err
		}
	}
	rep := s.renderAuthorization(a)
	rep.status, rep.location = http.StatusCreated, s.links.authz(a.ID)
	return rep, nil
}
