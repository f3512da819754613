package acme

import (
	"context"
	"net/http"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/policy"
)

// wireDirectory is RFC 8555, 7.1.1. What is not built is not named.
type wireDirectory struct {
	NewNonce    string   `json:"newNonce"`
	NewAccount  string   `json:"newAccount"`
	NewAuthz    string   `json:"newAuthz"`
	NewOrder    string   `json:"newOrder"`
	RevokeCert  string   `json:"revokeCert"`
	RenewalInfo string   `json:"renewalInfo"` // RFC 9773, 3
	KeyChange   string   `json:"keyChange"`
	Meta        wireMeta `json:"meta"`
}

type wireMeta struct {
	TermsOfService          string            `json:"termsOfService,omitempty"`
	Website                 string            `json:"website,omitempty"`
	CAAIdentities           []string          `json:"caaIdentities,omitempty"`
	ExternalAccountRequired bool              `json:"externalAccountRequired"`
	Profiles                map[string]string `json:"profiles"` // draft-ietf-acme-profiles, 3
}

// directory answers a directory: the default one, an organisation's, or an organisation's with one profile.
func (s *Server) directory(_ context.Context, req *signed) (*reply, error) {
	in := req.target
	org, err := s.organisation(in)
	if err != nil {
		return nil, err
	}
	offered := s.offered(in, org, policy.Restriction{})
	if len(offered) == 0 { // also where the URL names a profile that the organisation may not use
		return nil, errAbsent
	}
	return &reply{value: &wireDirectory{
		NewNonce:    s.links.to(target{resource: resNewNonce}),
		NewAccount:  s.links.to(target{resource: resNewAccount, org: in.org}),
		NewAuthz:    s.links.to(target{resource: resNewAuthz, org: in.org, profile: in.profile}),
		NewOrder:    s.links.to(target{resource: resNewOrder, org: in.org, profile: in.profile}),
		RevokeCert:  s.links.to(target{resource: resRevoke}),
		KeyChange:   s.links.to(target{resource: resKeyChange}),
		RenewalInfo: s.links.to(target{resource: resRenewalInfo}),
		Meta: wireMeta{
			TermsOfService: s.TermsURL, Website: s.Website, CAAIdentities: s.CAAIdentities, Profiles: offered,
			ExternalAccountRequired: s.bindingMode(in, org) == auth.EABRequired,
		},
	}}, nil
}

// organisation is the one that a directory or new-account URL belongs to. To that of /acme/directory belong the accounts that
// are made there without a binding; those of all organisations work there.
func (s *Server) organisation(t target) (auth.Org, error) {
	if t.org == "" {
		return s.Organisations.Default(), nil
	}
	org, ok := s.Organisations.BySlug(t.org)
	if !ok {
		return auth.Org{}, errAbsent
	}
	return org, nil
}

// index is the directory that a URL belongs to (RFC 8555, 7.1). URLs of objects belong to the default one: an object's
// organisation is not for everybody who knows its URL.
func (s *Server) index(t target) string {
	return s.links.to(target{resource: resDirectory, org: t.org, profile: t.profile})
}

// newNonce answers HEAD with 200 and GET with 204 (RFC 8555, 7.2); POST-as-GET is as GET (6.3). The nonce is in every
// answer's header.
func (s *Server) newNonce(_ context.Context, req *signed) (*reply, error) {
	if req.method == http.MethodHead {
		return &reply{}, nil
	}
	return &reply{status: http.StatusNoContent}, nil
}
