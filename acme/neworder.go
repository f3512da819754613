package acme

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme/jws"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
)

const (
	// maxIdentifiers is what one order may name, before duplicates are folded; a profile may allow fewer names.
	maxIdentifiers = 100
	// reuseMargin is the least life an authorization must have left to serve a new order, so that a client is not given
	// one that lapses while it works.
	reuseMargin = time.Hour
)

// orderRequest is RFC 8555, 7.4.
type orderRequest struct {
	Identifiers []wireIdentifier `json:"identifiers"`
	NotBefore   *string          `json:"notBefore"`
	NotAfter    *string          `json:"notAfter"`
	Replaces    *string          `json:"replaces"` // RFC 9773, 5
	Profile     *string          `json:"profile"`  // draft-ietf-acme-profiles, 4
}

// asksAuthority is for a request for an order or an authorization: the organisation behind the URL, if the account may ask
// there. At the default directory that is the account's own.
func (s *Server) asksAuthority(ctx context.Context, req *signed) (auth.Org, error) {
	org, err := s.organisation(req.target)
	if req.target.org == "" {
		org, _ = s.Organisations.ByID(req.account.Org)
	}
	switch {
	case err != nil:
		return org, err
	case len(s.offered(req.target, org, policy.Restriction{})) == 0: // a profile that the organisation may not use looks absent
		return org, errAbsent
	case req.account.Org != org.ID: // an account exists in one organisation; at another's directory it does not
		return org, errNoAccount
	}
	if err := s.agreed(req.account); err != nil {
		return org, err
	}
	return org, s.restrict(ctx, req)
}

// newOrder makes an order under the profile that it asks for, else that of the directory it was asked at.
func (s *Server) newOrder(ctx context.Context, req *signed) (*reply, error) {
	org, err := s.asksAuthority(ctx, req)
	if err != nil {
		return nil, err
	}
	var in orderRequest
	if err := jws.DecodeStrict(req.payload, &in); err != nil {
		return nil, err
	}
	profile, err := s.selected(req.target, org, req.only, in.Profile)
	if err != nil {
		return nil, err
	}
	names, err := in.names(profile)
	if err == nil {
		err = s.checkNames(req.account, req.only, names)
	}
	if err != nil {
		return nil, err
	}
	asked, err := in.validity(profile, s.Now())
	if err != nil {
		return nil, err
	}
	replaces, renewed, err := s.predecessor(ctx, in.Replaces, req.account, names)
	if err != nil {
		return nil, err
	}
	usable, err := s.usable(ctx, req.account, names, s.orderClaims(req.account, names, renewed))
	if err != nil {
		return nil, err
	}
	domains, err := s.domainProofs(ctx, req.account, profile, names)
	if err != nil {
		return nil, err
	}
	order, all, fresh := s.plan(req.account, profile, names, usable, domains)
	order.Replaces = replaces
	order.asksFor(asked)
	if err := s.Store.CreateOrder(ctx, order, fresh); err != nil {
		if replaces != nil && problem.Is(err, problem.Conflict) { // between two orders, the first
			return nil, errAlreadyReplaced
		}
		return nil, err
	}
	rep := s.renderOrder(order, Facts{Authorizations: all})
	rep.status = http.StatusCreated
	return rep, nil
}

// names are the order's identifiers, sorted and each once, if the profile would issue for them.
func (in *orderRequest) names(profile *policy.Profile) ([]identifier.Identifier, error) {
	switch {
	case len(in.Identifiers) == 0:
		return nil, problem.New(problem.Malformed, `"identifiers" must have at least one DNS name or address`)
	case len(in.Identifiers) > maxIdentifiers:
		return nil, problem.New(problem.Malformed, `"identifiers" has %d entries; at most %d are taken`, len(in.Identifiers), maxIdentifiers)
	}
	names := make([]identifier.Identifier, 0, len(in.Identifiers))
	var parts []problem.Part
	for _, given := range in.Identifiers {
		name, err := identifier.Parse(given.Type, given.Value)
		if part, refused := refuse(name, err, profile); refused {
			if err == nil && in.Profile != nil { // draft-ietf-acme-profiles, 4: the profile that was asked for cannot prove it
				part.Kind = problem.InvalidProfile
			}
			parts = append(parts, part)
			continue
		}
		names = append(names, name)
	}
	if len(parts) > 0 {
		return nil, refusal(parts, len(in.Identifiers))
	}
	names = identifier.SortUnique(names)
	return names, profile.CheckNames(names)
}

// refuse says why an identifier cannot be part of any order.
func refuse(name identifier.Identifier, err error, profile *policy.Profile) (problem.Part, bool) {
	if parse, ok := errors.AsType[*identifier.ParseError](err); ok {
		kind := problem.Malformed
		if parse.UnknownType { // RFC 8555, 7.4
			kind = problem.UnsupportedIdentifier
		}
		return problem.Part{Kind: kind, Detail: parse.Error()}, true
	}
	switch {
	case err != nil:
		return problem.Part{Kind: problem.Malformed, Detail: "this is no identifier"}, true
	case len(profile.ChallengesFor(name)) > 0 || profile.Requirement() != policy.PerRequest && profile.Provable(name):
		return problem.Part{}, false
	case name.Type() == identifier.IP: // RFC 8738, 7: dns-01 proves none
		return problem.Part{Identifier: name, Kind: problem.UnsupportedIdentifier, Detail: "no validation method of this profile can prove control of an address"}, true
	default: // RFC 8555, 8.3: http-01 proves no wildcard, for example
		return problem.Part{Identifier: name, Kind: problem.RejectedIdentifier, Detail: "no validation method of this profile can prove control of this name"}, true
	}
}

// refusal joins what is wrong with several identifiers (RFC 8555, 6.7.1).
func refusal(parts []problem.Part, of int) error {
	if len(parts) == 1 {
		return problem.New(parts[0].Kind, "%s", parts[0].Detail).WithParts(parts)
	}
	return problem.New(parts[0].Kind, "%d of %d identifiers are refused", len(parts), of).WithParts(parts)
}

// plan is the order and all its authorizations, in the sequence of names, of which fresh are new.
func (s *Server) plan(account *Account, profile *policy.Profile, names []identifier.Identifier, usable []*Authorization, domains []*policy.Proven) (o *Order, all, fresh []*Authorization) {
	now := s.now()
	o = &Order{
		ID: OrderID(newID()), Account: account.ID, Org: account.Org,
		Profile: profile.Name(), ProfileHash: profile.Hash(),
		Names: names, Authzs: make([]AuthzID, len(names)), Created: now, Expires: now.Add(s.OrderLifetime),
	}
	all = make([]*Authorization, len(names))
	for i, name := range names {
		var a *Authorization
		if i < len(usable) {
			a = usable[i]
		}
		var domain *policy.Proven
		if i < len(domains) {
			domain = domains[i]
		}
		proof := given(account, profile, name, domain, now)
		switch {
		case proof != nil:
			a = bornValid(account, profile, name, *proof, now, now.Add(s.AuthorizationLifetime))
			fresh = append(fresh, a)
		case !a.serves(name, account, profile, now):
			a = newAuthorization(account, profile, name, now, now.Add(s.AuthorizationLifetime))
			fresh = append(fresh, a)
		}
		all[i], o.Authzs[i] = a, a.ID
		// An order cannot be finalized once one of its authorizations lapsed, and says so.
		if a.Expires.Before(o.Expires) {
			o.Expires = a.Expires
		}
	}
	return o, all, fresh
}
