package ra

import (
	"context"
	"errors"
	"slices"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// MaxDomainDescription is how many characters a description has at most.
const MaxDomainDescription = 255

// NewDomain is what Create makes.
type NewDomain struct {
	Name        string
	Description string // one line of at most MaxDomainDescription characters
	Suspended   bool
	Grants      []NewGrant // of organisations that are to use it; at least one
}

// NewGrant is an organisation that is to use a domain, for names of some kinds or, without any, for all that its proof covers.
type NewGrant struct {
	Org        auth.OrgID
	Privileges []Privilege
}

// Create enters a domain for organisations. It belongs to the highest organisation, of those that all of them are at or below, whose
// domains the caller manages, and is delegated to the others at once. If the domain is there, of an organisation above all of
// them that the caller does not see, it is asked for as [Domains.Delegate] does; any other is a Conflict.
func (m *Domains) Create(ctx context.Context, caller auth.Caller, in NewDomain) (*Domain, error) {
	name, err := ParseDomain(in.Name)
	if err != nil {
		return nil, err
	}
	if err := checkLine("description", in.Description, MaxDomainDescription); err != nil {
		return nil, err
	}
	orgs, grants, err := m.grantees(caller, in.Grants)
	if err != nil {
		return nil, err
	}
	owner, denied := m.highest(caller, orgs)
	for _, to := range orgs { // whoever may neither enter it nor ask for it is not told whether there is one
		if err := m.Directory.May(caller, auth.ManageDomains, to.ID); err != nil {
			return nil, err
		}
	}
	d, err := m.change(ctx, name, caller.Principal, "added", func(d *Domain) (*Domain, error) {
		if d != nil && d.Removed.IsZero() {
			return m.wanted(caller, d, orgs, grants, in.Suspended)
		}
		if denied != nil {
			return nil, denied
		}
		next := &Domain{Name: name, Org: owner, Description: in.Description, Created: m.second()}
		if in.Suspended {
			next.Suspended = m.second()
		}
		for i, to := range orgs {
			given, err := m.granted(next, to, true, grants[i])
			if err != nil && !errors.Is(err, errUnchanged) {
				return nil, err
			}
			next = given
		}
		return next, nil
	})
	if err != nil {
		return nil, err
	}
	return m.seenBy(caller, d), nil
}

// grantees reads the organisations that a domain is to be delegated to, and what for.
func (m *Domains) grantees(caller auth.Caller, list []NewGrant) ([]auth.Org, [][]Privilege, error) {
	if len(list) == 0 || len(list) > MaxDelegations {
		return nil, nil, problem.New(problem.Malformed, "delegations: there are %d; give 1 to %d", len(list), MaxDelegations)
	}
	var orgs []auth.Org
	var grants [][]Privilege
	for _, g := range list {
		to, err := m.grantee(caller, g.Org)
		if err != nil {
			return nil, nil, err
		}
		if slices.ContainsFunc(orgs, func(o auth.Org) bool { return o.ID == to.ID }) {
			return nil, nil, problem.New(problem.Malformed, "delegations: organisation %d is there twice", g.Org)
		}
		privileges, err := parsePrivileges(g.Privileges)
		if err != nil {
			return nil, nil, err
		}
		orgs, grants = append(orgs, to), append(grants, privileges)
	}
	return orgs, grants, nil
}

// highest finds the owner of a new domain that organisations are to use.
func (m *Domains) highest(caller auth.Caller, orgs []auth.Org) (owner auth.OrgID, err error) {
	err = problem.New(problem.Malformed, "delegations: there is no organisation that all of them belong to")
	for at, depth := orgs[0], 0; depth < auth.MaxDepth; depth++ {
		if !slices.ContainsFunc(orgs, func(o auth.Org) bool { return o.ID != at.ID && !m.below(o.ID, at.ID) }) {
			switch denied := m.Directory.May(caller, auth.ManageDomains, at.ID); {
			case denied == nil:
				owner = at.ID
			case owner == 0 && !problem.Is(denied, problem.NotFound): // who does not see an organisation is told nothing of it
				err = denied
			}
		}
		next, ok := m.Directory.ByID(at.Parent)
		if at.Parent == 0 || !ok {
			break
		}
		at = next
	}
	if owner != 0 {
		err = nil
	}
	return owner, err
}

// wanted is a domain that there is with requests for delegations.
func (m *Domains) wanted(caller auth.Caller, d *Domain, orgs []auth.Org, grants [][]Privilege, suspended bool) (*Domain, error) {
	exists := problem.New(problem.Conflict, "the domain %s has an owner already; it must be removed there first", d.Name.Value())
	if suspended || m.sees(caller, d) {
		return nil, exists
	}
	for i, to := range orgs {
		if !m.below(to.ID, d.Org) {
			return nil, exists
		}
		next, err := m.request(d, to, grants[i])
		if err != nil {
			return nil, err
		}
		d = next
	}
	return d, nil
}
