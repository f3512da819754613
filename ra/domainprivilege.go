package ra

import (
	"errors"
	"fmt"
	"slices"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// Privilege is a kind of names that an organisation may have by a domain that is delegated to it.
type Privilege string

// The privileges. Each name that a domain covers is of exactly one of these kinds.
const (
	PrivilegeDomain        Privilege = "domain"              // the domain's own name
	PrivilegeSubdomains    Privilege = "subdomains"          // names below it
	PrivilegeWildcard      Privilege = "wildcard"            // the wildcard of the domain's own name: *.example.com
	PrivilegeSubdomainWild Privilege = "subdomain-wildcards" // wildcards of names below it: *.shop.example.com, *.a.b.example.com
)

// Privileges are all there are, in their order.
func Privileges() []Privilege {
	return []Privilege{PrivilegeDomain, PrivilegeSubdomains, PrivilegeWildcard, PrivilegeSubdomainWild}
}

// CheckPrivileges refuses a list with an unknown one, or one that is there twice.
func CheckPrivileges(list []Privilege) error {
	for i, p := range list {
		if !slices.Contains(Privileges(), p) {
			return fmt.Errorf("an unknown privilege: %q", p)
		}
		if slices.Contains(list[:i], p) {
			return errors.New("a privilege that is there twice")
		}
	}
	return nil
}

// parsePrivileges brings what a caller asks for into order; nil stands for all of them, as none do.
func parsePrivileges(asked []Privilege) ([]Privilege, error) {
	if err := CheckPrivileges(asked); err != nil {
		return nil, problem.New(problem.Malformed, "privileges: %v; give each of domain, subdomains, wildcard and subdomain-wildcards once at most", err)
	}
	return inOrder(asked), nil
}

// inOrder is a list in the order of Privileges; nil if it has all of them, or none.
func inOrder(list []Privilege) []Privilege {
	if len(list) == 0 || len(list) == len(Privileges()) {
		return nil
	}
	return slices.DeleteFunc(Privileges(), func(p Privilege) bool { return !slices.Contains(list, p) })
}

// Allowed are the privileges of a delegation, all of them written out.
func (l Delegation) Allowed() []Privilege {
	if len(l.Privileges) == 0 {
		return Privileges()
	}
	return slices.Clone(l.Privileges)
}

// uses are the privileges of a list as policy has them.
func uses(list []Privilege) (u policy.Uses) {
	for _, p := range list {
		switch p {
		case PrivilegeDomain:
			u |= policy.UseDomain
		case PrivilegeSubdomains:
			u |= policy.UseSubdomains
		case PrivilegeWildcard:
			u |= policy.UseWildcard
		case PrivilegeSubdomainWild:
			u |= policy.UseSubdomainWildcards
		}
	}
	return u
}

// privilegesOf are what an organisation that the domain serves may use it for.
func (d *Domain) privilegesOf(org auth.OrgID) []Privilege {
	if d.Org == org {
		return d.Own
	}
	return d.delegation(org).Privileges
}
