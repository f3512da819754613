package ra_test

import (
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

func to(orgs ...auth.OrgID) (list []ra.NewGrant) {
	for _, org := range orgs {
		list = append(list, ra.NewGrant{Org: org})
	}
	return list
}

// TestCreate finds the owner: the highest organisation above all that are to use the domain whose domains the caller manages.
func TestCreate(t *testing.T) {
	t.Parallel()
	w, ctx := newDomainWorld(t), t.Context()
	owner, below := person("user:1", 1, auth.Administrator), person("user:3", 3, auth.Administrator)
	for name, tt := range map[string]struct {
		caller auth.Caller
		orgs   []auth.OrgID
		owner  auth.OrgID
		others int
	}{
		"a.example.com": {owner, []auth.OrgID{1}, 1, 0}, "b.example.com": {owner, []auth.OrgID{4}, 1, 1}, "c.example.com": {owner, []auth.OrgID{4, 1, 3}, 1, 2},
		"d.example.com": {below, []auth.OrgID{4}, 3, 1}, "e.example.com": {operator, []auth.OrgID{2}, 2, 0},
	} {
		d, err := w.Create(ctx, tt.caller, ra.NewDomain{Name: name, Description: "for us", Grants: to(tt.orgs...)})
		if err != nil || d.Org != tt.owner || len(d.Delegations) != tt.others || d.Number == 0 || d.Description != "for us" || !d.Suspended.IsZero() {
			t.Errorf("%s: %+v, %v", name, d, err)
			continue
		}
		for _, l := range d.Delegations {
			if l.State != ra.DelegationApproved {
				t.Errorf("%s: %+v", name, l)
			}
		}
	}
	d, err := w.Create(ctx, owner, ra.NewDomain{Name: "f.example.com", Suspended: true, Grants: []ra.NewGrant{{1, []ra.Privilege{ra.PrivilegeDomain}}, {3, []ra.Privilege{ra.PrivilegeSubdomains}}}})
	if err != nil || d.Suspended.IsZero() || len(d.Own) != 1 || len(d.Delegations) != 1 || len(d.Delegations[0].Privileges) != 1 {
		t.Errorf("%+v, %v", d, err)
	}
	entries := len(w.journal.events)
	for what, tt := range map[string]struct {
		caller auth.Caller
		in     ra.NewDomain
		kind   problem.Kind
	}{
		"one that there is":         {owner, ra.NewDomain{Name: "a.example.com", Grants: to(1)}, problem.Conflict},
		"another tenant's":          {owner, ra.NewDomain{Name: "e.example.com", Grants: to(1)}, problem.Conflict},
		"for nobody":                {owner, ra.NewDomain{Name: "x.example.com"}, problem.Malformed},
		"twice":                     {owner, ra.NewDomain{Name: "x.example.com", Grants: to(3, 3)}, problem.Malformed},
		"for a foreign one":         {owner, ra.NewDomain{Name: "x.example.com", Grants: to(1, 2)}, problem.NotFound},
		"nothing above them":        {operator, ra.NewDomain{Name: "x.example.com", Grants: to(1, 2)}, problem.Malformed},
		"no name":                   {owner, ra.NewDomain{Name: "com", Grants: to(1)}, problem.Malformed},
		"a long description":        {owner, ra.NewDomain{Name: "x.example.com", Description: strings.Repeat("x", 256), Grants: to(1)}, problem.Malformed},
		"lines":                     {owner, ra.NewDomain{Name: "x.example.com", Description: "a\nb", Grants: to(1)}, problem.Malformed},
		"an unknown privilege":      {owner, ra.NewDomain{Name: "x.example.com", Grants: []ra.NewGrant{{1, []ra.Privilege{"all"}}}}, problem.Malformed},
		"by a requester":            {person("user:2", 1, auth.Requester), ra.NewDomain{Name: "x.example.com", Grants: to(1)}, problem.Unauthorized},
		"another's, by a requester": {person("user:2", 1, auth.Requester), ra.NewDomain{Name: "e.example.com", Grants: to(1)}, problem.Unauthorized},
		"one above, by a requester": {person("user:5", 3, auth.Requester), ra.NewDomain{Name: "a.example.com", Grants: to(3, 4)}, problem.Unauthorized},
		"suspended, though it is":   {below, ra.NewDomain{Name: "a.example.com", Suspended: true, Grants: to(3)}, problem.Conflict},
	} {
		if d, err := w.Create(ctx, tt.caller, tt.in); !problem.Is(err, tt.kind) {
			t.Errorf("%s: %+v, %v", what, d, err)
		}
	}
	if len(w.journal.events) != entries {
		t.Error("what was refused changed something")
	}
	// What is an organisation's above, and not seen, is asked for.
	d, err = w.Create(ctx, below, ra.NewDomain{Name: "a.example.com", Grants: to(3)})
	if err != nil || d.Org != 1 || len(d.Delegations) != 1 || d.Delegations[0].State != ra.DelegationRequested {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err = w.Create(ctx, below, ra.NewDomain{Name: "a.example.com", Grants: to(3)}); !problem.Is(err, problem.Conflict) {
		t.Error(err)
	}
}

// TestSearchDomains of one organisation and of all that the caller may view, with filters, by pages.
func TestSearchDomains(t *testing.T) {
	t.Parallel()
	w, ctx := newDomainWorld(t), t.Context()
	owner, below, far := person("user:1", 1, auth.Administrator), person("user:3", 3, auth.Administrator), person("user:4", 4, auth.Requester)
	for _, tt := range []struct {
		caller auth.Caller
		name   string
		orgs   []auth.OrgID
	}{{owner, "a.example.com", []auth.OrgID{1}}, {owner, "b.example.com", []auth.OrgID{3}}, {below, "c.example.com", []auth.OrgID{4}}, {operator, "d.example.com", []auth.OrgID{2}}, {owner, "e.example.org", []auth.OrgID{1}}} {
		_, err := w.Create(ctx, tt.caller, ra.NewDomain{Name: tt.name, Grants: to(tt.orgs...)})
		must(t, err)
	}
	_, err := w.Create(ctx, below, ra.NewDomain{Name: "a.example.com", Grants: to(3)})
	must(t, err)
	_, err = w.Suspend(ctx, operator, "e.example.org")
	must(t, err)
	yes, no := true, false
	for what, tt := range map[string]struct {
		caller auth.Caller
		q      ra.DomainQuery
		want   string
		total  int64
	}{
		"all of the owner's":     {owner, ra.DomainQuery{Limit: 10}, "a b c e", 4},
		"all":                    {operator, ra.DomainQuery{Limit: 2, Offset: 3}, "d e", 5},
		"below":                  {below, ra.DomainQuery{Limit: 10}, "a b c", 3},
		"far below":              {far, ra.DomainQuery{Limit: 10}, "c", 1},
		"one list":               {owner, ra.DomainQuery{Org: 1, Limit: 2, Offset: 1}, "b e", 3},
		"behind the end":         {owner, ra.DomainQuery{Org: 1, Limit: 2, Offset: 3}, "", 3},
		"by a part":              {owner, ra.DomainQuery{Part: "E.COM", Limit: 10}, "a b c", 3},
		"by a part, one":         {owner, ra.DomainQuery{Org: 1, Part: "b.", Limit: 1}, "b", 1},
		"active":                 {owner, ra.DomainQuery{Active: &yes, Limit: 2, Offset: 1}, "b c", 3},
		"suspended":              {owner, ra.DomainQuery{Active: &no, Limit: 10}, "e", 1},
		"that wait":              {owner, ra.DomainQuery{State: ra.DelegationRequested, Limit: 10}, "a", 1},
		"that wait, below":       {below, ra.DomainQuery{State: ra.DelegationRequested, Limit: 10}, "a", 1},
		"approved, below":        {below, ra.DomainQuery{State: ra.DelegationApproved, Limit: 10}, "b c", 2},
		"approved, to one":       {owner, ra.DomainQuery{Org: 3, State: ra.DelegationApproved, Limit: 10}, "b c", 2},
		"approved, to the owner": {owner, ra.DomainQuery{Org: 1, State: ra.DelegationApproved, Limit: 10}, "a b e", 3},
	} {
		found, err := w.Search(ctx, tt.caller, tt.q)
		var names []string
		for _, d := range found.Domains {
			names = append(names, d.Name.Value()[:1])
			if d.Number == 0 {
				t.Errorf("%s: %s has no number", what, d.Name.Value())
			}
		}
		if got := strings.Join(names, " "); err != nil || got != tt.want || found.Total != tt.total {
			t.Errorf("%s: %q of %d, %v; want %q of %d", what, got, found.Total, err, tt.want, tt.total)
		}
	}
	for what, q := range map[string]ra.DomainQuery{"no size": {}, "a size": {Limit: 501}, "a place": {Limit: 1, Offset: -1}, "a part": {Limit: 1, Part: strings.Repeat("x", 257)}, "a state": {Limit: 1, State: "rejected"}} {
		if _, err := w.Search(ctx, owner, q); !problem.Is(err, problem.Malformed) {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err = w.Search(ctx, owner, ra.DomainQuery{Org: 2, Limit: 1})
	wantKind(t, err, problem.NotFound)
	_, err = w.Search(ctx, auth.Caller{}, ra.DomainQuery{Limit: 1})
	wantKind(t, err, problem.Unauthorized)
}
