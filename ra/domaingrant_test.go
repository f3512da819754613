package ra_test

import (
	"context"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// TestPrivileges are what a domain can be used for, whoever uses it.
func TestPrivileges(t *testing.T) {
	t.Parallel()
	w, ctx := newDomainWorld(t), t.Context()
	w.validated("example.com", "main", dcv.DNSTXT)
	names := map[ra.Privilege]string{
		ra.PrivilegeDomain: "example.com", ra.PrivilegeSubdomains: "a.b.example.com", ra.PrivilegeWildcard: "*.example.com", ra.PrivilegeSubdomainWild: "*.b.example.com",
	}
	for org, caller := range map[auth.OrgID]auth.Caller{1: alice, 3: child} {
		for _, p := range ra.Privileges() {
			d, err := w.Grant(ctx, operator, "example.com", org, p)
			must(t, err)
			if org == 3 && !slices.Equal(d.Delegations[0].Privileges, []ra.Privilege{p}) || org == 1 && !slices.Equal(d.Own, []ra.Privilege{p}) {
				t.Errorf("%+v", d)
			}
			for q, name := range names {
				if p == q {
					w.issues(caller, name)
				} else {
					w.refuses(caller, name)
				}
			}
			w.refuses(caller, names[p], names[ra.Privileges()[(slices.Index(ra.Privileges(), p)+1)%4]])
		}
		d, err := w.Grant(ctx, operator, "example.com", org, ra.Privileges()...)
		if err != nil || d.Own != nil && org == 1 || org == 3 && d.Delegations[0].Privileges != nil {
			t.Errorf("%+v, %v", d, err)
		}
		for _, name := range names {
			w.issues(caller, name)
		}
	}
	for _, bad := range [][]ra.Privilege{{"all"}, {""}, {ra.PrivilegeDomain, ra.PrivilegeDomain}} {
		_, err := w.Grant(ctx, operator, "example.com", 3, bad...)
		wantKind(t, err, problem.Malformed)
		_, err = w.DelegateFor(ctx, operator, "example.com", "far", bad)
		wantKind(t, err, problem.Malformed)
		_, err = w.Ungrant(ctx, operator, "example.com", 3, bad...)
		wantKind(t, err, problem.Malformed)
	}
	// Part of it taken back, then the rest.
	_, err := w.Ungrant(ctx, operator, "example.com", 3, ra.PrivilegeWildcard, ra.PrivilegeSubdomainWild)
	must(t, err)
	w.issues(child, "www.example.com")
	w.refuses(child, "*.example.com")
	_, err = w.Ungrant(ctx, operator, "example.com", 3, ra.PrivilegeWildcard) // it has not
	must(t, err)
	_, err = w.Ungrant(ctx, operator, "example.com", 3, ra.PrivilegeDomain, ra.PrivilegeSubdomains)
	must(t, err)
	w.refuses(child, "www.example.com")
	_, err = w.Ungrant(ctx, operator, "example.com", 3)
	wantKind(t, err, problem.NotFound)
	for _, list := range [][]ra.Privilege{nil, ra.Privileges()} {
		_, err = w.Ungrant(ctx, operator, "example.com", 1, list...)
		wantKind(t, err, problem.Malformed)
	}
	w.issues(alice, "*.example.com")
}

// TestWhoGrants: who manages the owner's domains at once, who manages the other's alone has to wait, and asks for no more than that.
func TestWhoGrants(t *testing.T) {
	t.Parallel()
	w, ctx := newDomainWorld(t), t.Context()
	w.validated("example.com", "main", dcv.DNSTXT)
	owner, below := person("user:1", 1, auth.Administrator), person("user:3", 3, auth.Administrator)
	state := func() ra.DelegationState {
		d, err := w.Get(ctx, operator, "example.com")
		must(t, err)
		if len(d.Delegations) == 0 {
			return ""
		}
		return d.Delegations[0].State
	}
	d, err := w.Grant(ctx, below, "example.com", 3, ra.PrivilegeDomain)
	if err != nil || state() != ra.DelegationRequested || len(d.Delegations) != 1 {
		t.Fatalf("%+v, %v", d, err)
	}
	w.refuses(child, "example.com")
	_, err = w.Grant(ctx, below, "example.com", 3, ra.PrivilegeDomain, ra.PrivilegeSubdomains) // as long as nobody has decided
	must(t, err)
	_, err = w.Refuse(ctx, owner, "example.com", "below")
	must(t, err)
	_, err = w.Grant(ctx, below, "example.com", 3, ra.PrivilegeDomain)
	must(t, err)
	_, err = w.Approve(ctx, owner, "example.com", "below")
	must(t, err)
	w.issues(child, "example.com")
	_, err = w.Refuse(ctx, owner, "example.com", "below")
	wantKind(t, err, problem.Conflict)
	_, err = w.Grant(ctx, below, "example.com", 3, ra.PrivilegeDomain) // as it is
	must(t, err)
	_, err = w.Grant(ctx, below, "example.com", 3)
	wantKind(t, err, problem.Unauthorized)
	w.refuses(child, "www.example.com")
	_, err = w.Grant(ctx, owner, "example.com", 3)
	must(t, err)
	w.issues(child, "www.example.com")
	_, err = w.Ungrant(ctx, below, "example.com", 3) // it can do without
	must(t, err)
	w.refuses(child, "www.example.com")
	_, err = w.Grant(ctx, owner, "example.com", 2)
	wantKind(t, err, problem.NotFound) // it is another tenant's organisation
	_, err = w.Grant(ctx, operator, "example.com", 2)
	wantKind(t, err, problem.Malformed)
}

// TestGrantAll is all or nothing for what can be known before.
func TestGrantAll(t *testing.T) {
	t.Parallel()
	w, ctx := newDomainWorld(t), t.Context()
	var numbers []ra.DomainNumber
	for _, name := range []string{"a.example.com", "b.example.com", "c.example.com", "d.example.com", "e.example.com", "f.example.com", "g.example.com", "h.example.com", "i.example.com"} {
		d, err := w.Add(ctx, operator, name, "main")
		must(t, err)
		numbers = append(numbers, d.Number)
	}
	foreign, err := w.Add(ctx, operator, "example.org", "other")
	must(t, err)
	owner := person("user:1", 1, auth.Administrator)
	entries := len(w.journal.events)
	for what, tt := range map[string]struct {
		numbers []ra.DomainNumber
		org     auth.OrgID
		kind    problem.Kind
	}{
		"none": {nil, 3, problem.Malformed}, "one twice": {append(slices.Clone(numbers), numbers[0]), 3, problem.Malformed},
		"an absent one": {append(slices.Clone(numbers), 9999), 3, problem.NotFound}, "a foreign one": {append(slices.Clone(numbers), foreign.Number), 3, problem.NotFound},
		"too many": {make([]ra.DomainNumber, ra.MaxGrants+1), 3, problem.Malformed}, "to a foreign one": {numbers, 2, problem.NotFound},
	} {
		if err := w.GrantAll(ctx, owner, tt.numbers, tt.org); !problem.Is(err, tt.kind) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := w.GrantAll(ctx, person("user:2", 1, auth.Requester), numbers, 3); !problem.Is(err, problem.Unauthorized) {
		t.Error(err)
	}
	if len(w.journal.events) != entries {
		t.Error("what was refused changed something")
	}
	for range 2 {
		must(t, w.GrantAll(ctx, owner, numbers, 3, ra.PrivilegeSubdomains))
	}
	found, err := w.Search(ctx, owner, ra.DomainQuery{Org: 3, State: ra.DelegationApproved, Limit: 5, Offset: 6})
	if err != nil || found.Total != int64(len(numbers)) || len(found.Domains) != 3 || len(w.journal.events) != entries+len(numbers) {
		t.Errorf("%+v, %v, %d entries", found, err, len(w.journal.events)-entries)
	}
}

// TestRejectedDelegationsLeaveRoom: what was rejected or taken back makes place for what an organisation is to have.
func TestRejectedDelegationsLeaveRoom(t *testing.T) {
	t.Parallel()
	orgs := []auth.Org{{ID: 1, Slug: "main"}}
	for i := range ra.MaxDelegations + 2 {
		orgs = append(orgs, auth.Org{ID: auth.OrgID(i + 2), Slug: "below-" + strconv.Itoa(i+2), Parent: 1})
	}
	dir, err := auth.NewDirectory(orgs)
	must(t, err)
	w, ctx := newWorld(t), t.Context()
	m := ra.NewDomains(ra.DomainsConfig{Store: w.db, Directory: dir, Journal: w.journal, Now: w.clock.now})
	var grants []ra.NewGrant
	for _, o := range orgs[1 : ra.MaxDelegations+1] {
		grants = append(grants, ra.NewGrant{Org: o.ID})
	}
	_, err = m.Create(ctx, operator, ra.NewDomain{Name: "example.com", Grants: grants})
	must(t, err)
	last := orgs[len(orgs)-1].ID
	_, err = m.Grant(ctx, operator, "example.com", last)
	wantKind(t, err, problem.Conflict)
	for _, org := range []auth.OrgID{7, 5} {
		_, err = m.Ungrant(ctx, operator, "example.com", org)
		must(t, err)
		w.clock.add(time.Second)
	}
	d, err := m.Grant(ctx, operator, "example.com", last)
	must(t, err)
	states := map[auth.OrgID]ra.DelegationState{}
	for _, l := range d.Delegations {
		states[l.Org] = l.State
	}
	if len(states) != ra.MaxDelegations || states[7] != "" || states[5] != ra.DelegationRejected || states[last] != ra.DelegationApproved {
		t.Errorf("%d: %v, %v, %v", len(states), states[7], states[5], states[last])
	}
	_, err = m.Grant(ctx, operator, "example.com", last-1)
	must(t, err)
	_, err = m.Grant(ctx, operator, "example.com", 7)
	wantKind(t, err, problem.Conflict)
}

// unwritable is a store that takes no domains any more.
type unwritable struct {
	ra.DomainStore
	tries atomic.Int32
}

func (u *unwritable) PutDomain(context.Context, *ra.Domain, *ra.Domain, time.Time, ...*ra.Mail) error {
	u.tries.Add(1)
	return problem.New(problem.Unavailable, "the disk is full")
}

// TestGrantAllGivesUp where the store does not take the first: a thousand that wait for it one after the other would take for ever.
func TestGrantAllGivesUp(t *testing.T) {
	t.Parallel()
	w, ctx := newDomainWorld(t), t.Context()
	var numbers []ra.DomainNumber
	for i := range 20 {
		d, err := w.Add(ctx, operator, "d"+strconv.Itoa(i)+".example.com", "main")
		must(t, err)
		numbers = append(numbers, d.Number)
	}
	store := &unwritable{DomainStore: w.Store}
	w.Store = store
	wantKind(t, w.GrantAll(ctx, operator, numbers, 3), problem.Unavailable)
	if n := store.tries.Load(); n < 1 || n > 8 {
		t.Errorf("it was tried %d times", n)
	}
}
