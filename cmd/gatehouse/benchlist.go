package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// benchListCmd measures lists in a store that "bench load" filled.
type benchListCmd struct {
	benchStoreFlags
	Pages int  `help:"Pages for each figure." default:"200" placeholder:"N"`
	JSON  bool `help:"Print JSON."`
}

const (
	maxPages  = 100_000
	pageSize  = 100
	pageWarms = 5 // pages before each figure that are not measured
)

func checkPages(n int) error {
	if n < 1 || n > maxPages {
		return fmt.Errorf("--pages %d is out of range; give 1 to %d", n, maxPages)
	}
	return nil
}

func (c *benchListCmd) Run(ctx context.Context, s streams) (err error) {
	if err := checkPages(c.Pages); err != nil {
		return err
	}
	store, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.close()) }()
	report, err := measureLists(ctx, store, c.Pages, newBenchProgress(s.err))
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, report)
	}
	return report.write(s.out)
}

// listCase is a list that is measured. A query is made anew for each page, so that pages are not all the same one.
type listCase struct {
	by    string // the index that answers
	query func(n int) ra.Query
}

// listCases are lists by each index, in the organisation that has most.
func listCases(now time.Time, last ra.ID) []listCase {
	org, stock := stockOrgs[0].id, &benchStock{now: now}
	with := func(q ra.Query) func(int) ra.Query { return func(int) ra.Query { return q } }
	return []listCase{
		{"all organisations", with(ra.Query{})},
		{"organisation", with(ra.Query{Org: org})},
		{"status issued", with(ra.Query{Org: org, Status: ra.StatusIssued})},
		{"status revoked", with(ra.Query{Org: org, Status: ra.StatusRevoked})},
		{"status expired", with(ra.Query{Org: org, Status: ra.StatusExpired})},
		{"profile", with(ra.Query{Org: org, Profile: stockProfiles[0].name})},
		{"requester", func(n int) ra.Query {
			return ra.Query{Org: org, Requester: "acme:" + stockAccount(org, n%stockRequesters)}
		}},
		{"name", func(int) ra.Query {
			f := stock.facts(1 + ra.ID(rand.Int64N(int64(last))))
			return ra.Query{Org: f.org, Name: f.names[0]}
		}},
		{"end of all names", with(ra.Query{Org: org, Suffix: "example.com"})},
		{"end of a unit's names", func(n int) ra.Query { return ra.Query{Org: org, Suffix: stockUnit(n % stockUnits)} }},
		{"end of a unit's names, small", func(n int) ra.Query {
			return ra.Query{Org: stockOrgs[len(stockOrgs)-1].id, Suffix: stockUnit(n % stockUnits)}
		}},
		{"end of validity, a month", func(n int) ra.Query {
			from := now.Add(time.Duration(n%20) * 24 * time.Hour)
			return ra.Query{Org: org, NotAfterFrom: from, NotAfterTo: from.AddDate(0, 1, 0)}
		}},
	}
}

// lister asks for lists as every door does.
type lister struct {
	registrar *ra.Registrar
	caller    auth.Caller
	last      ra.ID // the greatest number there is
	pages     int
	done      atomic.Int64
}

// measureLists measures the first page of each list, pages deep inside, and its total.
func measureLists(ctx context.Context, store *benchStore, pages int, progress *benchProgress) (*benchListReport, error) {
	now := time.Now()
	l := &lister{
		registrar: ra.New(ra.Config{Store: store.db, Now: func() time.Time { return now }}), caller: ra.Operator("bench"), pages: pages,
	}
	newest, err := l.registrar.Search(ctx, l.caller, ra.Query{Limit: 1, Newest: true})
	if err != nil {
		return nil, err
	}
	if len(newest.Enrollments) == 0 {
		return nil, errors.New("the store is empty; fill it with gatehouse bench load")
	}
	l.last = newest.Enrollments[0].ID
	report := &benchListReport{Store: store.kind, Enrollments: newest.Total, PageSize: pageSize, Samples: pages}
	for _, c := range listCases(now, l.last) {
		l.done.Store(0)
		stop := progress.track("list by "+c.by, 0, &l.done)
		list, err := l.measure(ctx, c)
		stop()
		if err != nil {
			return nil, fmt.Errorf("list by %s: %w", c.by, err)
		}
		report.Lists = append(report.Lists, list)
	}
	return report, nil
}

func (l *lister) measure(ctx context.Context, c listCase) (list benchList, err error) {
	list.By = c.by
	first := func(n int) ra.Query {
		q := c.query(n)
		q.Limit, q.Newest = pageSize, true
		return q
	}
	found, err := l.registrar.Search(ctx, l.caller, first(0))
	if err != nil {
		return list, err
	}
	list.Members = found.Total
	if list.First, err = l.time(ctx, first); err != nil {
		return list, err
	}
	if list.Offset, err = l.time(ctx, func(n int) ra.Query {
		q := first(n)
		q.Offset = int(rand.Int64N(max(found.Total-pageSize, 0) + 1))
		return q
	}); err != nil {
		return list, err
	}
	if q := first(0); q.Unfiltered() {
		after, err := l.time(ctx, func(n int) ra.Query {
			q := first(n)
			q.After = 1 + ra.ID(rand.Int64N(int64(l.last)))
			return q
		})
		if err != nil {
			return list, err
		}
		list.After = &after
	}
	// A total comes with a page. A page of one is as close as a caller can come to the total alone.
	list.Count, err = l.time(ctx, func(n int) ra.Query {
		q := first(n)
		q.Limit = 1
		return q
	})
	return list, err
}

// time runs queries and returns their quantiles.
func (l *lister) time(ctx context.Context, query func(n int) ra.Query) (benchQuantiles, error) {
	took := make([]time.Duration, 0, l.pages)
	for n := range pageWarms + l.pages {
		q := query(n)
		begun := time.Now()
		if _, err := l.registrar.Search(ctx, l.caller, q); err != nil {
			return benchQuantiles{}, err
		}
		if n >= pageWarms {
			took = append(took, time.Since(begun))
			l.done.Add(1)
		}
	}
	return quantiles(took), nil
}
