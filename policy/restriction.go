package policy

import (
	"fmt"
	"slices"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// Restriction is what one requester may ask for at most, whatever the profiles let pass: those that were bound by a key for
// external account binding have that of the key (RFC 8555, 7.3.4). The zero Restriction restricts nothing. It is a value
// and not to be changed once in use.
type Restriction struct {
	Profiles []string // by name; empty: any
	// Names are as in [Config].AllowNames: names, patterns, addresses and ranges; empty: any.
	Names []string
	// ByDomains says that nothing may be asked for but what Domains cover; where they are empty, nothing at all. Without it they
	// mean nothing.
	ByDomains bool
	// Domains are DNS names. Each covers itself and what is below it, wildcards included; "*.example.com" covers what is below
	// example.com, and not example.com. They cover no address.
	Domains []string
}

// IsZero reports whether nothing is restricted.
func (r Restriction) IsZero() bool {
	return len(r.Profiles) == 0 && len(r.Names) == 0 && !r.ByDomains && len(r.Domains) == 0
}

// Equal reports whether both say the same, in the same sequence.
func (r Restriction) Equal(other Restriction) bool {
	return slices.Equal(r.Profiles, other.Profiles) && slices.Equal(r.Names, other.Names) &&
		r.ByDomains == other.ByDomains && slices.Equal(r.Domains, other.Domains)
}

// Check refuses entries that cannot be read. The error is for whoever wrote them.
func (r Restriction) Check() error {
	for _, name := range r.Profiles {
		if !isProfileName(name) {
			return fmt.Errorf("profiles: %q is no name of a profile", name)
		}
	}
	c := &checker{}
	parsePatterns(c, "names", r.Names)
	if len(c.faults) > 0 {
		f := c.faults[0].(*ConfigError)
		return fmt.Errorf("%s: %s", f.Field, f.Reason)
	}
	return nil
}

// AllowsProfile reports whether the requester may use a profile.
func (r Restriction) AllowsProfile(name string) bool {
	return len(r.Profiles) == 0 || slices.Contains(r.Profiles, name)
}

// CheckNames refuses names that neither Names nor Domains let pass: RejectedIdentifier, with one part for each of them in the
// request's order (RFC 8555, 6.7.1). To Names a wildcard is allowed by itself alone: an entry for some of what it covers is none
// for it. If an entry cannot be read, nothing is allowed, and the error is Internal.
func (r Restriction) CheckNames(names []identifier.Identifier) error {
	if err := r.checkDomains(names); err != nil {
		return err
	}
	if len(r.Names) == 0 {
		return nil
	}
	c := &checker{}
	list := parsePatterns(c, "names", r.Names)
	rules, err := allowing(list)
	if err == nil {
		err = c.err()
	}
	if err != nil {
		return problem.Wrap(fmt.Errorf("policy: a requester's restriction: %w", err), problem.Internal, "")
	}
	var parts []problem.Part
	for _, id := range names {
		if err := ask(rules, id); err != nil {
			parts = append(parts, problem.Part{Identifier: id, Kind: problem.RejectedIdentifier, Detail: fmt.Sprintf(
				"%s is not among the names that this account may ask for by its external account binding: %v", id.Value(), list)})
		}
	}
	return boundRefusal(parts, len(names))
}

// boundRefusal joins what is wrong with some of several names.
func boundRefusal(parts []problem.Part, of int) error {
	switch len(parts) {
	case 0:
		return nil
	case 1:
		return problem.New(problem.RejectedIdentifier, "%s", parts[0].Detail).WithParts(parts)
	default:
		return problem.New(problem.RejectedIdentifier, "the account's external account binding refuses %d of the %d names; each has its reason",
			len(parts), of).WithParts(parts)
	}
}

// checkRestriction holds a request to what its requester may ask for, by the profile that is to issue and all names.
func (p *Profile) checkRestriction(r Request, _ *Decision) error {
	if !r.Restriction.AllowsProfile(p.name) {
		return problem.New(problem.Unauthorized, "the account's external account binding does not allow the profile %q; it allows %s",
			p.name, list(r.Restriction.Profiles))
	}
	return r.Restriction.CheckNames(r.Names)
}
