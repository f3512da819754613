package ra

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// MaxGrants is how many domains one GrantAll delegates.
const MaxGrants = 1000

// grantsAtOnce is how many of them are changed side by side: each waits for a disk.
const grantsAtOnce = 8

// ErrOrgStopped is in the chain of refusals to give a domain to an organisation that does not work.
var ErrOrgStopped = errors.New("ra: the organisation does not work")

// grantee is an organisation that a caller may view, and that works.
func (m *Domains) grantee(caller auth.Caller, org auth.OrgID) (auth.Org, error) {
	o, ok := m.Directory.ByID(org)
	if !ok || m.Directory.May(caller, auth.View, org) != nil {
		return auth.Org{}, problem.New(problem.NotFound, "there is no organisation %d", org)
	}
	if err := m.Directory.Works(org); err != nil {
		return auth.Org{}, problem.Wrap(ErrOrgStopped, problem.Malformed, "organisation %d cannot be given a domain: %v", org, err)
	}
	return o, nil
}

// Grant delegates a domain to an organisation below its owner, for names of some kinds or, without any, for all that its proof covers:
// at once if the caller manages the domains of the owner, who may also change what a delegation is for, else as [Domains.Delegate]
// does. Of the owner itself it says what that has the domain for. What is as it is asked for stays so.
func (m *Domains) Grant(ctx context.Context, caller auth.Caller, domain string, org auth.OrgID, privileges ...Privilege) (*Domain, error) {
	name, err := ParseDomain(domain)
	if err != nil {
		return nil, err
	}
	if privileges, err = parsePrivileges(privileges); err != nil {
		return nil, err
	}
	to, err := m.grantee(caller, org)
	if err != nil {
		return nil, err
	}
	d, err := m.change(ctx, name, caller.Principal, "delegated to "+to.Slug, func(d *Domain) (*Domain, error) {
		decides, err := m.delegating(caller, d, name, to)
		if err != nil {
			return nil, err
		}
		return m.granted(d, to, decides, privileges)
	})
	if err != nil {
		return nil, err
	}
	return m.seenBy(caller, d), nil
}

// granted is a domain as Grant makes it. decides says that whoever asks manages the domains of the owner.
func (m *Domains) granted(d *Domain, to auth.Org, decides bool, privileges []Privilege) (*Domain, error) {
	l := d.delegation(to.ID)
	switch {
	case to.ID == d.Org && slices.Equal(d.Own, privileges):
		return d, errUnchanged
	case to.ID == d.Org:
		next := d.clone()
		next.Own = privileges
		return next, nil
	case l != nil && slices.Equal(l.Privileges, privileges) && (l.State == DelegationApproved || l.State == DelegationRequested && !decides):
		return d, errUnchanged
	case decides:
		next := Delegation{Org: to.ID, State: DelegationApproved, Requested: m.second(), Decided: m.second(), Privileges: privileges}
		if l != nil && l.State != DelegationRejected {
			next.Requested = l.Requested
		}
		return d.with(next)
	case l != nil && l.State == DelegationApproved:
		return nil, problem.New(problem.Unauthorized, "who manages the owner's domains changes what a delegation is for")
	default:
		return m.request(d, to, privileges)
	}
}

// GrantAll is [Domains.Grant] of 1 to MaxGrants domains by their numbers, each of which must be there once. Nothing is changed if one of
// them is not to be had or could not be delegated; if one fails later others may be delegated, and doing it again finds them so.
func (m *Domains) GrantAll(ctx context.Context, caller auth.Caller, numbers []DomainNumber, org auth.OrgID, privileges ...Privilege) error {
	if len(numbers) == 0 || len(numbers) > MaxGrants {
		return problem.New(problem.Malformed, "%d domains are named; name 1 to %d", len(numbers), MaxGrants)
	}
	sorted := slices.Sorted(slices.Values(numbers))
	if len(slices.Compact(sorted)) != len(numbers) {
		return problem.New(problem.Malformed, "a domain is named twice")
	}
	privileges, err := parsePrivileges(privileges)
	if err != nil {
		return err
	}
	to, err := m.grantee(caller, org)
	if err != nil {
		return err
	}
	found, err := m.Store.NumberedDomains(ctx, numbers)
	if err != nil {
		return err
	}
	for i, d := range found {
		if d == nil || !m.sees(caller, d) {
			return noNumbered(numbers[i])
		}
		decides, err := m.delegating(caller, d, d.Name, to)
		if err == nil {
			_, err = m.granted(d, to, decides, privileges)
		}
		if err != nil && !errors.Is(err, errUnchanged) {
			return problem.Wrap(err, problem.From(err).Kind, "domain %d: %s", numbers[i], problem.From(err).Detail)
		}
	}
	errs := make([]error, len(found))
	places := make(chan struct{}, grantsAtOnce)
	var changes sync.WaitGroup
	var failed atomic.Bool
	for i, d := range found {
		places <- struct{}{}
		if failed.Load() { // what one waited for in vain, a thousand would
			break
		}
		changes.Go(func() {
			defer func() { <-places }()
			if _, errs[i] = m.Grant(ctx, caller, d.Name.Value(), org, privileges...); errs[i] != nil {
				failed.Store(true)
			}
		})
	}
	changes.Wait()
	for i, err := range errs {
		if err != nil {
			return problem.Wrap(err, problem.From(err).Kind, "domain %d: %s", numbers[i], problem.From(err).Detail)
		}
	}
	return nil
}

// Ungrant takes privileges of a delegation back or, without any, all of it, approved or asked for. Whoever manages the domains of the
// owner may, and who manages those of the organisation, which can do without.
func (m *Domains) Ungrant(ctx context.Context, caller auth.Caller, domain string, org auth.OrgID, privileges ...Privilege) (*Domain, error) {
	name, err := ParseDomain(domain)
	if err != nil {
		return nil, err
	}
	if _, err = parsePrivileges(privileges); err != nil {
		return nil, err
	}
	to, ok := m.Directory.ByID(org)
	if !ok || m.Directory.May(caller, auth.View, org) != nil {
		return nil, problem.New(problem.NotFound, "there is no organisation %d", org)
	}
	d, err := m.change(ctx, name, caller.Principal, "delegation to "+to.Slug+" taken back", func(d *Domain) (*Domain, error) {
		if _, err := m.delegating(caller, d, name, to); err != nil {
			return nil, err
		}
		return m.ungranted(d, to, privileges)
	})
	if err != nil {
		return nil, err
	}
	return m.seenBy(caller, d), nil
}

// ungranted is a domain as Ungrant makes it.
func (m *Domains) ungranted(d *Domain, to auth.Org, privileges []Privilege) (*Domain, error) {
	own, l := to.ID == d.Org, d.delegation(to.ID)
	if own {
		l = &Delegation{Org: d.Org, State: DelegationApproved, Privileges: d.Own}
	}
	if l == nil || l.State == DelegationRejected {
		return nil, problem.New(problem.NotFound, "the domain %s is not delegated to %s", d.Name.Value(), to.Slug)
	}
	left := slices.DeleteFunc(l.Allowed(), func(p Privilege) bool { return slices.Contains(privileges, p) })
	gone := len(privileges) == 0 || len(left) == 0
	switch next := *l; {
	case own && gone:
		return nil, problem.New(problem.Malformed, "%s owns the domain; remove the domain itself", to.Slug)
	case !gone && len(left) == len(l.Allowed()):
		return d, errUnchanged
	case own:
		owner := d.clone()
		owner.Own = left
		return owner, nil
	case gone:
		next.State, next.Decided = DelegationRejected, m.second()
		return d.with(next)
	default:
		next.Privileges = left
		return d.with(next)
	}
}
