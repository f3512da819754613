package storage

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// Search implements ra.Store. One filter is one range of one index in each organisation, joined in their order; of several,
// the filter with the fewest members gives the candidates, and the others are read off the records. Certificates are read for
// what all else leaves.
func (db *DB) Search(ctx context.Context, q ra.Query, now time.Time) (ra.Found, error) {
	filters := parts(q, now)
	if err := db.countAll(ctx, filters); err != nil {
		return ra.Found{}, err
	}
	best := slices.MinFunc(filters, func(a, b *part) int { return cmp.Compare(a.total, b.total) })
	// A certificate can have several names with one end, so that members are not enrollments. Up to the bound that is set
	// right by looking at all of them; beyond it the names are listed.
	switch {
	case q.Simple() && q.Suffix != "" && best.total <= ra.MaxCandidates:
		return db.searchNames(ctx, q, best)
	case q.Simple():
		return db.searchOne(ctx, q, best)
	case best.total > ra.MaxCandidates:
		return ra.Found{}, tooMany(best, filters)
	}
	return db.searchMany(ctx, q, best, now)
}

// tooMany refuses a query over too many candidates.
func tooMany(best *part, filters []*part) error {
	cause := &ra.TooManyError{Candidates: best.total}
	if best.filter == "" {
		return problem.Wrap(cause, problem.Malformed, "no index answers this, and of %d enrollments at most %d are looked at one by one; add a filter: %s",
			best.total, ra.MaxCandidates, unused(filters))
	}
	return problem.Wrap(cause, problem.Malformed, "even the filter %s leaves %d enrollments, and at most %d are compared with the others; add a narrower filter: %s",
		best.filter, best.total, ra.MaxCandidates, unused(filters))
}

// unused names the filters that a query could still add.
func unused(filters []*part) string {
	left := slices.DeleteFunc([]string{"status", "profile", "requester", "name", "suffix", "notAfter"}, func(f string) bool {
		return slices.ContainsFunc(filters, func(p *part) bool { return p.filter == f })
	})
	if len(left) == 0 {
		return "a shorter range of notAfter"
	}
	return strings.Join(left, ", ")
}

// countAll counts the members of all spans.
func (db *DB) countAll(ctx context.Context, filters []*part) error {
	type place struct {
		p *part
		n int
	}
	var places []place
	for _, p := range filters {
		p.counts = make([]int64, len(p.spans))
		for n := range p.spans {
			places = append(places, place{p, n})
		}
	}
	err := each(len(places), func(i int) (err error) {
		at := places[i]
		s := at.p.spans[at.n]
		at.p.counts[at.n], err = db.engine.Count(ctx, s.index, s.r)
		return err
	})
	for _, p := range filters {
		for _, n := range p.counts {
			p.total += n
		}
	}
	return unavailable(err)
}

func (db *DB) searchOne(ctx context.Context, q ra.Query, p *part) (ra.Found, error) {
	var members [][]byte
	var err error
	if len(p.spans) == 1 {
		page := Page{Limit: q.Limit, Offset: q.Offset, Reverse: q.Newest}
		if q.After != 0 {
			page.After = idMember(q.After)
		}
		members, err = db.engine.Scan(ctx, p.spans[0].index, p.spans[0].r, page)
	} else {
		members, err = db.joined(ctx, p, int64(q.Offset), q.Limit, q.Newest)
	}
	if err != nil {
		return ra.Found{}, unavailable(err)
	}
	ids := make([]ra.ID, 0, len(members))
	for _, m := range members {
		if id, ok := lastID(m); ok && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	list, err := db.covered(ctx, q, ids)
	return ra.Found{Enrollments: list, Total: p.total}, err
}

// covered reads those enrollments that a query is about. The indexes say as much; that nothing is shown of another organisation, or that
// was removed, does not rest on them alone.
func (db *DB) covered(ctx context.Context, q ra.Query, ids []ra.ID) ([]*ra.Enrollment, error) {
	list, err := db.enrollments(ctx, ids)
	return slices.DeleteFunc(list, func(e *ra.Enrollment) bool { return !q.Covers(e.Org) || !e.Removed.IsZero() }), err
}

// lastID is the enrollment's number that a member ends with.
func lastID(m []byte) (ra.ID, bool) {
	if len(m) < 8 {
		return 0, false
	}
	return ra.ID(binary.BigEndian.Uint64(m[len(m)-8:])), true
}

// searchNames lists the enrollments with a name in a span. The members alone say which they are, so that only the page's own
// records are read.
func (db *DB) searchNames(ctx context.Context, q ra.Query, p *part) (ra.Found, error) {
	ids, err := db.candidates(ctx, p)
	if err != nil {
		return ra.Found{}, err
	}
	if q.Newest {
		slices.Reverse(ids)
	}
	begin := min(q.Offset, len(ids))
	list, err := db.covered(ctx, q, ids[begin:min(begin+q.Limit, len(ids))])
	return ra.Found{Enrollments: list, Total: int64(len(ids))}, err
}

// searchMany reads every candidate, in pages, and keeps those for which all filters hold.
func (db *DB) searchMany(ctx context.Context, q ra.Query, p *part, now time.Time) (ra.Found, error) {
	ids, err := db.candidates(ctx, p)
	if err != nil {
		return ra.Found{}, err
	}
	if q.Newest {
		slices.Reverse(ids)
	}
	var f ra.Found
	for some := range slices.Chunk(ids, 500) {
		list, err := db.enrollments(ctx, some)
		if err != nil {
			return ra.Found{}, err
		}
		if list, err = db.matching(ctx, q, list, now); err != nil {
			return ra.Found{}, err
		}
		for _, e := range list {
			if f.Total >= int64(q.Offset) && len(f.Enrollments) < q.Limit {
				f.Enrollments = append(f.Enrollments, e)
			}
			f.Total++
		}
	}
	return f, nil
}

// matching keeps those for which all filters hold. The certificates of some are read together, and only if one is looked at.
func (db *DB) matching(ctx context.Context, q ra.Query, list []*ra.Enrollment, now time.Time) (kept []*ra.Enrollment, err error) {
	for _, e := range list {
		if !e.Removed.IsZero() || !q.Matches(e, now) {
			continue
		}
		if ok, err := q.Holds(e, false, nil); err != nil {
			return nil, err
		} else if ok {
			kept = append(kept, e)
		}
	}
	if !q.Looks() {
		return kept, nil
	}
	ders, err := db.certificatesOf(ctx, kept)
	if err != nil {
		return nil, err
	}
	var looked []*ra.Enrollment
	for n, e := range kept {
		if ok, err := q.Holds(e, true, ders[n]); err != nil {
			return nil, err
		} else if ok {
			looked = append(looked, e)
		}
	}
	return looked, nil
}

// candidates are the numbers in the spans of a filter, ascending, each once. Members added while it reads may exceed the bound
// that was counted; they are left out.
func (db *DB) candidates(ctx context.Context, p *part) ([]ra.ID, error) {
	var ids []ra.ID
	for n, s := range p.spans {
		for page := (Page{Limit: 1000}); p.counts[n] > 0 && len(ids) < 2*ra.MaxCandidates; {
			members, err := db.engine.Scan(ctx, s.index, s.r, page)
			if err != nil {
				return nil, unavailable(err)
			}
			for _, m := range members {
				if id, ok := lastID(m); ok {
					ids = append(ids, id)
				}
			}
			if len(members) < page.Limit {
				break
			}
			page.After = bytes.Clone(members[len(members)-1])
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}
