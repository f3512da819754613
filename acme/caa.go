package acme

import (
	"strings"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
)

// AccountURLs are all the URLs of the account that a requester is: one below each public URL. A CAA record's accounturi
// may hold any of them (RFC 8657, section 3). Nil if the requester is no ACME account.
func AccountURLs(publicURLs []string, r policy.Requester) []string {
	id, ok := strings.CutPrefix(r.Principal, (&Account{}).Principal())
	if !ok || !isID(id) {
		return nil
	}
	return links{bases: publicURLs}.accountURLs(AccountID(id))
}

func (l links) accountURLs(id AccountID) []string {
	var all []string
	for _, base := range l.bases {
		all = append(all, base+target{resource: resAccount, account: id}.path())
	}
	return all
}

// caaFor is what a validation of a asks CAA; nil if its profile does not ask, or about an address, which has none.
func (s *Server) caaFor(a *Authorization, profile *policy.Profile) *dcv.CAAFor {
	if !profile.ChecksCAA() || a.Identifier.Type() != identifier.DNS {
		return nil
	}
	name := a.Identifier
	if a.Wildcard {
		wildcard, err := identifier.ParseDNS("*." + a.Identifier.Base().Value())
		if err != nil {
			// A name that is too long for its own wildcard was never ordered. It stays without a permission of its own,
			// which signing then asks for.
			return &dcv.CAAFor{Identifier: name, Accounts: s.links.accountURLs(a.Account)}
		}
		name = wildcard
	}
	return &dcv.CAAFor{Identifier: name, Accounts: s.links.accountURLs(a.Account)}
}
