package ra

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// ErrDomainSuspended is in the chain of refusals of names whose domain is suspended.
var ErrDomainSuspended = errors.New("ra: the domain is suspended")

// Suspend has nothing be issued for a domain until [Domains.Activate]: neither by its proof nor by any other is a name at or
// below it certified to its owner or to an organisation below the owner, unless an active domain nearer to the name says otherwise,
// of the owner or of an organisation above. It stays in its lists, its proof and delegations stay, and it can be validated. A domain that is suspended stays as it is.
func (m *Domains) Suspend(ctx context.Context, caller auth.Caller, domain string) (*Domain, error) {
	return m.edit(ctx, caller, domain, "suspended", func(d *Domain) error {
		if !d.Suspended.IsZero() {
			return errUnchanged
		}
		d.Suspended = m.second()
		return nil
	})
}

// Activate ends a suspension. A domain that is active stays as it is.
func (m *Domains) Activate(ctx context.Context, caller auth.Caller, domain string) (*Domain, error) {
	return m.edit(ctx, caller, domain, "activated", func(d *Domain) error {
		if d.Suspended.IsZero() {
			return errUnchanged
		}
		d.Suspended = time.Time{}
		return nil
	})
}

// checkSuspended refuses (RejectedIdentifier, one part for each) names whose domain is suspended: of those at or above a name that
// belong to the organisation or to one above it, the nearest. An active one does not speak for those that belong further up in the
// tree: what an organisation enters for itself ends no suspension that one above it has ordered. Another tenant's domain binds
// nobody else, because a name is entered before anybody has proved anything.
func (m *Domains) checkSuspended(org auth.OrgID, names []identifier.Identifier, c *candidates) error {
	var parts []problem.Part
	for _, name := range names {
		var active []auth.OrgID // owners of those nearer to the name
		for _, d := range c.over(name) {
			if !d.Removed.IsZero() || d.Org != org && !m.below(org, d.Org) {
				continue
			}
			if d.Suspended.IsZero() {
				active = append(active, d.Org)
				continue
			}
			if slices.ContainsFunc(active, func(at auth.OrgID) bool { return at == d.Org || m.below(d.Org, at) }) {
				continue
			}
			parts = append(parts, problem.Part{
				Identifier: name, Kind: problem.RejectedIdentifier, Detail: fmt.Sprintf("the domain %s is suspended, and nothing is issued for it", d.Name.Value()),
			})
			break
		}
	}
	switch len(parts) {
	case 0:
		return nil
	case 1:
		return problem.Wrap(ErrDomainSuspended, problem.RejectedIdentifier, "%s: %s", parts[0].Identifier.Value(), parts[0].Detail).WithParts(parts)
	default:
		return problem.Wrap(ErrDomainSuspended, problem.RejectedIdentifier, "%d of the %d names are of suspended domains; each has its reason", len(parts), len(names)).WithParts(parts)
	}
}
