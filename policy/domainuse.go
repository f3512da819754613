package policy

import (
	"github.com/gatehouse-ca/gatehouse/identifier"
)

// Uses are kinds of names that an organisation may have by the proof of a domain, of those that the proof covers. Zero are all.
type Uses uint8

// The kinds. Every name at or below a domain is of exactly one.
const (
	UseDomain             Uses = 1 << iota // the domain's own name
	UseSubdomains                          // names below it
	UseWildcard                            // the wildcard of the domain's own name
	UseSubdomainWildcards                  // wildcards of names below it
)

// Allow reports whether a name at or below a domain is of one of the kinds.
func (u Uses) Allow(domain, id identifier.Identifier) bool {
	return u == 0 || u&useOf(domain, id) != 0
}

func useOf(domain, id identifier.Identifier) Uses {
	own := id.Base() == domain
	switch {
	case own && id.IsWildcard():
		return UseWildcard
	case own:
		return UseDomain
	case id.IsWildcard():
		return UseSubdomainWildcards
	default:
		return UseSubdomains
	}
}
