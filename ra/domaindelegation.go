package ra

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// Delegate asks that an organisation below the owner may use the domain, for all that its proof covers. It has no effect before
// [Domains.Approve]. Whoever manages the domains of either may ask.
func (m *Domains) Delegate(ctx context.Context, caller auth.Caller, domain, slug string) (*Domain, error) {
	return m.DelegateFor(ctx, caller, domain, slug, nil)
}

// DelegateFor is Delegate for names of some kinds; without any for all.
func (m *Domains) DelegateFor(ctx context.Context, caller auth.Caller, domain, slug string, privileges []Privilege) (*Domain, error) {
	name, err := ParseDomain(domain)
	if err != nil {
		return nil, err
	}
	if privileges, err = parsePrivileges(privileges); err != nil {
		return nil, err
	}
	to, err := m.orgOf(caller, slug, auth.View)
	if err != nil {
		return nil, err
	}
	d, err := m.change(ctx, name, caller.Principal, "delegation to "+slug+" requested", func(d *Domain) (*Domain, error) {
		if _, err := m.delegating(caller, d, name, to); err != nil {
			return nil, err
		}
		if l := d.delegation(to.ID); to.ID != d.Org && l != nil && l.State != DelegationRejected {
			return nil, problem.New(problem.Conflict, "the delegation to %s is %s already", slug, l.State)
		}
		return m.request(d, to, privileges)
	})
	if err != nil {
		return nil, err
	}
	return m.seenBy(caller, d), nil
}

// delegating holds a caller to what it may do about a delegation of a domain, nil if there never was one, to an organisation that it
// may view. decides says that the caller manages the domains of the owner.
func (m *Domains) delegating(caller auth.Caller, d *Domain, name identifier.Identifier, to auth.Org) (decides bool, err error) {
	if d == nil || !d.Removed.IsZero() {
		return false, noDomain(name)
	}
	denied := m.may(caller, auth.ManageDomains, d.Org, name)
	if denied != nil && m.may(caller, auth.ManageDomains, to.ID, name) != nil {
		return false, denied
	}
	if to.ID != d.Org && !m.below(to.ID, d.Org) {
		if m.Directory.May(caller, auth.View, d.Org) != nil { // of another tree's it is not even told that it is there
			return false, noDomain(name)
		}
		return false, notBelow(to.Slug)
	}
	return denied == nil, nil
}

func notBelow(slug string) error {
	return problem.New(problem.Malformed, "to: %s is not below the domain's owner; a domain is delegated downwards only", slug)
}

// request is a domain with a delegation that waits for a decision, in place of one that there may be.
func (m *Domains) request(d *Domain, to auth.Org, privileges []Privilege) (*Domain, error) {
	if to.ID == d.Org {
		return nil, notBelow(to.Slug)
	}
	return d.with(Delegation{Org: to.ID, State: DelegationRequested, Requested: m.second(), Privileges: privileges})
}

// with is a copy of a domain with a delegation in place of the organisation's own, by organisation.
func (d *Domain) with(l Delegation) (*Domain, error) {
	next := d.clone()
	if have := next.delegation(l.Org); have != nil {
		*have = l
		return next, nil
	}
	if len(next.Delegations) >= MaxDelegations {
		next.forgetRejected()
	}
	if len(next.Delegations) >= MaxDelegations {
		return nil, problem.New(problem.Conflict, "the domain %s is delegated to %d organisations already, and no more are kept", d.Name.Value(), MaxDelegations)
	}
	next.Delegations = append(next.Delegations, l)
	slices.SortFunc(next.Delegations, func(a, b Delegation) int { return cmp.Compare(a.Org, b.Org) })
	return next, nil
}

// forgetRejected makes room for a delegation: that which was rejected, or taken back, longest ago goes.
func (d *Domain) forgetRejected() {
	oldest := -1
	for i, l := range d.Delegations {
		if l.State == DelegationRejected && (oldest < 0 || l.Decided.Before(d.Delegations[oldest].Decided)) {
			oldest = i
		}
	}
	if oldest >= 0 {
		d.Delegations = slices.Delete(d.Delegations, oldest, oldest+1)
	}
}

// Approve lets an organisation use the domain as it has asked to.
func (m *Domains) Approve(ctx context.Context, caller auth.Caller, domain, slug string) (*Domain, error) {
	return m.decide(ctx, caller, domain, slug, DelegationApproved)
}

// Reject refuses a delegation, or takes back one that was approved.
func (m *Domains) Reject(ctx context.Context, caller auth.Caller, domain, slug string) (*Domain, error) {
	return m.decide(ctx, caller, domain, slug, DelegationRejected)
}

// Refuse is Reject of what was asked for alone: a Conflict if the delegation was approved.
func (m *Domains) Refuse(ctx context.Context, caller auth.Caller, domain, slug string) (*Domain, error) {
	return m.decide(ctx, caller, domain, slug, DelegationRejected, DelegationApproved)
}

// decide changes the state of a delegation, unless it is in one of the states that stay.
func (m *Domains) decide(ctx context.Context, caller auth.Caller, domain, slug string, state DelegationState, stay ...DelegationState) (*Domain, error) {
	return m.edit(ctx, caller, domain, fmt.Sprintf("delegation to %s %s", slug, state), func(d *Domain) error {
		// Not BySlug: what an organisation was given can be taken back while it is disabled, or it has it again afterwards.
		i := slices.IndexFunc(d.Delegations, func(l Delegation) bool {
			to, ok := m.Directory.ByID(l.Org)
			return ok && to.Slug == slug
		})
		if i < 0 {
			return problem.New(problem.NotFound, "no delegation to %s was requested; gatehouse domain delegate %s --to %s requests it", slug, d.Name.Value(), slug)
		}
		l := &d.Delegations[i]
		if l.State == state || l.State == DelegationRejected || slices.Contains(stay, l.State) {
			return problem.New(problem.Conflict, "the delegation to %s is %s already", slug, l.State)
		}
		if state == DelegationApproved {
			if _, err := m.org(slug); err != nil {
				return err
			}
		}
		l.State, l.Decided = state, m.second()
		return nil
	})
}

// below reports whether an organisation is below another one.
func (m *Domains) below(org, above auth.OrgID) bool {
	for range auth.MaxDepth {
		o, ok := m.Directory.ByID(org)
		if !ok || o.Parent == 0 {
			return false
		}
		if o.Parent == above {
			return true
		}
		org = o.Parent
	}
	return false
}
