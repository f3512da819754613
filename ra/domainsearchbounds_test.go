package ra_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// listed has the names of lists alone, and makes a domain of the organisation 1 of each.
type listed struct {
	ra.DomainStore
	lists map[auth.OrgID][]identifier.Identifier
}

func (l listed) DomainNames(_ context.Context, org auth.OrgID, after string, offset, limit int) ([]identifier.Identifier, error) {
	list := l.lists[org]
	if after != "" {
		at, _ := slices.BinarySearchFunc(list, after, func(n identifier.Identifier, after string) int { return strings.Compare(n.Value(), after) })
		list = list[at+1:]
	}
	list = list[min(offset, len(list)):]
	return list[:min(limit, len(list))], nil
}

func (l listed) Domains(_ context.Context, names []identifier.Identifier) (list []*ra.Domain, err error) {
	for _, n := range names {
		list = append(list, &ra.Domain{Name: n, Number: 1, Org: 1})
	}
	return list, nil
}

func domainNames(t *testing.T, zone string, count int) (list []identifier.Identifier) {
	t.Helper()
	for i := range count {
		list = append(list, ids(t, fmt.Sprintf("d%05d.%s", i, zone))...)
	}
	return list
}

// TestSearchOfManyOrganisations is neither held to what others have, nor to how often one domain is delegated.
func TestSearchOfManyOrganisations(t *testing.T) {
	t.Parallel()
	orgs := []auth.Org{{ID: 1, Slug: "main"}}
	for i := range 60 {
		orgs = append(orgs, auth.Org{ID: auth.OrgID(i + 2), Slug: "below-" + strconv.Itoa(i+2), Parent: 1})
	}
	dir, err := auth.NewDirectory(append(orgs, auth.Org{ID: 100, Slug: "other"}))
	must(t, err)
	store := listed{lists: map[auth.OrgID][]identifier.Identifier{0: domainNames(t, "example.org", ra.MaxDomainCandidates+1)}}
	m, owner := ra.NewDomains(ra.DomainsConfig{Store: store, Directory: dir}), person("user:1", 1, auth.Administrator)
	search := func(what string, total int64) {
		t.Helper()
		found, err := m.Search(t.Context(), owner, ra.DomainQuery{Limit: 1})
		if err != nil || found.Total != total {
			t.Errorf("%s: %+v, %v", what, found, err)
		}
	}
	search("others have many", 0)
	some := domainNames(t, "example.com", 300)
	for _, o := range orgs {
		store.lists[o.ID] = some
	}
	search("each of 300 is delegated sixty times", 300)
	many := domainNames(t, "example.com", ra.MaxDomainCandidates)
	store.lists[1] = many
	search("as many as can be looked at", ra.MaxDomainCandidates)
	store.lists[2] = domainNames(t, "example.net", 1)
	_, err = m.Search(t.Context(), owner, ra.DomainQuery{Limit: 1})
	wantKind(t, err, problem.Malformed)
	clear(store.lists)
	for _, o := range orgs {
		store.lists[o.ID] = many
	}
	_, err = m.Search(t.Context(), owner, ra.DomainQuery{Limit: 1})
	wantKind(t, err, problem.Malformed)
}
