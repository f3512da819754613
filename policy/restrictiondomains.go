package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// shownDomains is how many domains a refusal names.
const shownDomains = 10

// checkDomains refuses names that no domain covers.
func (r Restriction) checkDomains(names []identifier.Identifier) error {
	if !r.ByDomains {
		return nil
	}
	var parts []problem.Part
	for _, id := range names {
		if r.domainOf(id) == "" {
			parts = append(parts, problem.Part{Identifier: id, Kind: problem.RejectedIdentifier, Detail: fmt.Sprintf(
				"%s is in none of the domains that this account may ask for by its external account binding: %s", id.Value(), r.domainList())})
		}
	}
	return boundRefusal(parts, len(names))
}

// domainOf is the first domain that covers a name; "" if none does.
func (r Restriction) domainOf(id identifier.Identifier) string {
	if id.Type() != identifier.DNS {
		return ""
	}
	for _, domain := range r.Domains {
		if reaches(domain, id) {
			return domain
		}
	}
	return ""
}

// reaches reports whether a domain covers a DNS name. What a wildcard covers is below its base.
func reaches(domain string, id identifier.Identifier) bool {
	base := id.Base().Value()
	apex, below := strings.CutPrefix(domain, "*.")
	switch {
	case apex == "":
		return false
	case base == apex:
		return !below || id.IsWildcard()
	default:
		return strings.HasSuffix(base, "."+apex)
	}
}

// domainList is what there is, for whoever is refused.
func (r Restriction) domainList() string {
	switch {
	case len(r.Domains) == 0:
		return "it has none; an administrator adds them"
	case len(r.Domains) > shownDomains:
		return strings.Join(r.Domains[:shownDomains], ", ") + fmt.Sprintf(" and %d more", len(r.Domains)-shownDomains)
	default:
		return strings.Join(r.Domains, ", ")
	}
}

// For is the same restriction for some names, without the domains that none of them needs.
func (r Restriction) For(names []identifier.Identifier) Restriction {
	if !r.ByDomains {
		return r
	}
	var domains []string
	for _, id := range names {
		if domain := r.domainOf(id); domain != "" && !slices.Contains(domains, domain) {
			domains = append(domains, domain)
		}
	}
	r.Domains = domains
	return r
}
