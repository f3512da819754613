package ra

import (
	"context"
	"slices"
	"strings"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

const (
	// MaxDomainCandidates bounds how many domains a search looks at that one list cannot answer.
	MaxDomainCandidates = 10_000
	// maxDomainEntries bounds how many entries of lists it looks at: a domain stands in the list of each organisation that has it.
	maxDomainEntries = 10 * MaxDomainCandidates
	// maxDomainLists is in how many organisations' lists a search looks, rather than through all domains, others' too.
	maxDomainLists = 1000
	// domainBatch is how many names or records are read at once.
	domainBatch = 500
)

// DomainQuery selects domains. Filters that are set must all hold.
type DomainQuery struct {
	Org    auth.OrgID // in whose list they stand; zero: of any organisation that the caller may view
	Part   string     // of the name, in any letter case; empty: any name
	Active *bool      // whether they are active, rather than suspended; nil: both
	// State selects those with a delegation in this state that the caller sees, or with Org, to that organisation; an owner's use
	// of its own domain counts as approved. Empty: all.
	State DelegationState
	DomainValidity
	Offset int
	Limit  int // 1 to 500
}

// FoundDomains is a page of a search.
type FoundDomains struct {
	Domains []*Domain // by name, as the caller sees them
	Total   int64     // how many the whole answer holds
}

// Search lists domains by name. A search for more than one organisation's, or with a filter, that has to look at more than
// MaxDomainCandidates is Malformed.
func (m *Domains) Search(ctx context.Context, caller auth.Caller, q DomainQuery) (FoundDomains, error) {
	switch {
	case q.Limit < 1 || q.Limit > domainBatch || q.Offset < 0:
		return FoundDomains{}, problem.New(problem.Malformed, "a page has 1 to %d domains, and begins at no negative place", domainBatch)
	case len(q.Part) > 256:
		return FoundDomains{}, problem.New(problem.Malformed, "name: it is longer than a name can be")
	case q.State != "" && q.State != DelegationRequested && q.State != DelegationApproved:
		return FoundDomains{}, problem.New(problem.Malformed, "status: give requested or approved")
	}
	view, err := m.view(caller, q.Org)
	if err != nil {
		return FoundDomains{}, err
	}
	if len(view.lists) == 1 && view.all && q.Part == "" && q.Active == nil && q.State == "" && q.DomainValidity == (DomainValidity{}) {
		return m.page(ctx, caller, view.lists[0], q)
	}
	names, err := m.named(ctx, view.lists, strings.ToLower(q.Part))
	if err != nil {
		return FoundDomains{}, err
	}
	if view.all && q.Active == nil && q.State == "" && q.DomainValidity == (DomainValidity{}) {
		found := FoundDomains{Total: int64(len(names))}
		at := min(q.Offset, len(names))
		read, err := m.read(ctx, names[at:min(at+q.Limit, len(names))])
		if err == nil {
			found.Domains, err = m.showAll(ctx, caller, read)
		}
		return found, err
	}
	return m.filtered(ctx, caller, q, view, names)
}

// domainView is where a search looks.
type domainView struct {
	lists []auth.OrgID // zero is the list of all
	orgs  []auth.OrgID // whose domains are meant; nil: all
	all   bool         // every domain of the lists is meant
}

func (m *Domains) view(caller auth.Caller, org auth.OrgID) (domainView, error) {
	if org != 0 {
		err := m.Directory.May(caller, auth.View, org)
		if problem.Is(err, problem.NotFound) {
			err = problem.New(problem.NotFound, "there is no organisation %d", org)
		}
		return domainView{[]auth.OrgID{org}, []auth.OrgID{org}, true}, err
	}
	if caller.Operator {
		return domainView{[]auth.OrgID{0}, nil, true}, nil
	}
	orgs := m.visible(caller)
	switch {
	case len(orgs) == 0:
		return domainView{}, problem.New(problem.Unauthorized, "the caller has no role that lets it list domains; ask an administrator")
	case len(orgs) > maxDomainLists:
		return domainView{[]auth.OrgID{0}, orgs, false}, nil
	default:
		return domainView{orgs, orgs, true}, nil
	}
}

// visible are the organisations that a caller other than the operator may view, in ascending order.
func (m *Domains) visible(caller auth.Caller) (orgs []auth.OrgID) {
	for _, o := range m.Directory.Where(caller, auth.View) {
		orgs = append(orgs, o.ID)
	}
	return orgs
}

// page is a part of one list, all of which is meant.
func (m *Domains) page(ctx context.Context, caller auth.Caller, list auth.OrgID, q DomainQuery) (FoundDomains, error) {
	total, err := m.Store.CountDomains(ctx, list)
	if err != nil {
		return FoundDomains{}, err
	}
	found := FoundDomains{Total: total}
	if int64(q.Offset) >= total {
		return found, nil
	}
	names, err := m.Store.DomainNames(ctx, list, "", q.Offset, q.Limit)
	if err != nil {
		return FoundDomains{}, err
	}
	read, err := m.read(ctx, names)
	if err == nil {
		found.Domains, err = m.showAll(ctx, caller, read)
	}
	return found, err
}

// named are the names of lists that have a part, in order, each once.
func (m *Domains) named(ctx context.Context, lists []auth.OrgID, part string) ([]identifier.Identifier, error) {
	entries, seen := 0, map[identifier.Identifier]bool{}
	var names []identifier.Identifier
	for _, list := range lists {
		for after := ""; ; {
			found, err := m.Store.DomainNames(ctx, list, after, 0, domainBatch)
			if err != nil {
				return nil, err
			}
			for _, n := range found {
				if !seen[n] && strings.Contains(n.Value(), part) {
					names = append(names, n)
				}
				seen[n] = true
			}
			if entries += len(found); entries > maxDomainEntries || len(seen) > MaxDomainCandidates {
				return nil, problem.New(problem.Malformed, "orgId: more than %d domains would have to be looked at; name an organisation, and leave filters out", MaxDomainCandidates)
			}
			if len(found) < domainBatch {
				break
			}
			after = found[len(found)-1].Value()
		}
	}
	slices.SortFunc(names, func(a, b identifier.Identifier) int { return strings.Compare(a.Value(), b.Value()) })
	return names, nil
}

// read reads the domains that are there.
func (m *Domains) read(ctx context.Context, names []identifier.Identifier) ([]*Domain, error) {
	found, err := m.Store.Domains(ctx, names)
	return slices.DeleteFunc(found, func(d *Domain) bool { return d == nil || !d.Removed.IsZero() }), err
}

// filtered reads the records of names, and counts and pages those that are as asked for.
func (m *Domains) filtered(ctx context.Context, caller auth.Caller, q DomainQuery, view domainView, names []identifier.Identifier) (FoundDomains, error) {
	var found FoundDomains
	var page []*Domain
	for batch := range slices.Chunk(names, domainBatch) {
		read, err := m.read(ctx, batch)
		if err != nil {
			return FoundDomains{}, err
		}
		for _, d := range read {
			if !q.matches(d, view.orgs) || !m.valid(caller, d, q.DomainValidity) {
				continue
			}
			if found.Total++; found.Total > int64(q.Offset) && len(page) < q.Limit {
				page = append(page, d)
			}
		}
	}
	var err error
	found.Domains, err = m.showAll(ctx, caller, page)
	return found, err
}

// matches reports whether a domain is as asked for, to organisations; nil: any.
func (q *DomainQuery) matches(d *Domain, orgs []auth.OrgID) bool {
	if q.Active != nil && *q.Active != d.Suspended.IsZero() {
		return false
	}
	among := func(org auth.OrgID) bool { return orgs == nil || slices.Contains(orgs, org) }
	if q.State == "" {
		return slices.ContainsFunc(d.Lists(), among)
	}
	if q.State == DelegationApproved && among(d.Org) {
		return true
	}
	return slices.ContainsFunc(d.Delegations, func(l Delegation) bool { return l.State == q.State && among(l.Org) })
}
