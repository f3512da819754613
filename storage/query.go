package storage

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// span is a part of an index whose members end with an enrollment's number.
type span struct {
	index  string
	r      Range
	filter string // what it selects by, for a person
}

// spans are the parts of indexes that a query's filters select, one for each; the whole list if there is none.
func spans(q ra.Query, now time.Time) []span {
	var out []span
	if q.Status != "" {
		out = append(out, statusSpan(q, now))
	}
	if q.Profile != "" {
		out = append(out, span{indexProfile(q.Org, q.Profile), Range{}, "profile"})
	}
	if q.Requester != "" {
		out = append(out, span{indexRequester(q.Org, q.Requester), Range{}, "requester"})
	}
	if q.Name != "" {
		out = append(out, span{indexName(q.Org), Prefix(append(reversed(q.Name), 0)), "name"})
	}
	if q.Suffix != "" {
		out = append(out, span{indexName(q.Org), Prefix(reversed(q.Suffix)), "suffix"})
	}
	if !q.NotAfterFrom.IsZero() || !q.NotAfterTo.IsZero() {
		out = append(out, span{indexExpiry(q.Org), between(q.NotAfterFrom, q.NotAfterTo), "notAfter"})
	}
	switch {
	case len(out) > 0:
		return out
	case q.Org == 0:
		return []span{{indexAll, Range{}, ""}}
	default:
		return []span{{indexOrg(q.Org), Range{}, ""}}
	}
}

// statusSpan turns a status into a phase and, for what differs by time alone, a range of notAfter.
func statusSpan(q ra.Query, now time.Time) span {
	s := span{filter: "status"}
	switch q.Status {
	case ra.StatusRequested:
		s.index = indexPhase(q.Org, ra.Requested)
	case ra.StatusRevoked:
		s.index = indexPhase(q.Org, ra.Revoked)
	case ra.StatusFailed:
		s.index = indexPhase(q.Org, ra.Failed)
	case ra.StatusWaiting:
		s.index = indexPhase(q.Org, ra.Waiting)
	case ra.StatusApproved:
		s.index = indexPhase(q.Org, ra.Approved)
	case ra.StatusDeclined:
		s.index = indexPhase(q.Org, ra.Declined)
	case ra.StatusValidating:
		s.index = indexPhase(q.Org, ra.Validating)
	case ra.StatusExpired: // notAfter itself is still valid, and it is kept in whole seconds
		s.index, s.r = indexPhase(q.Org, ra.Issued), Range{To: member(ceil(now), "")}
	default:
		s.index, s.r = indexPhase(q.Org, ra.Issued), Range{From: member(ceil(now), "")}
	}
	return s
}

// ceil is the first whole second not before t.
func ceil(t time.Time) int64 {
	if t.Nanosecond() > 0 {
		return t.Unix() + 1
	}
	return t.Unix()
}

func between(from, to time.Time) Range {
	var r Range
	if !from.IsZero() {
		r.From = member(ceil(from), "")
	}
	if !to.IsZero() {
		r.To = member(ceil(to), "")
	}
	return r
}

// Search implements ra.Store. One filter is one range of one index; of several, the index with the fewest members gives
// the candidates, and the others are read off the records.
func (db *DB) Search(ctx context.Context, q ra.Query, now time.Time) (ra.Found, error) {
	parts := spans(q, now)
	counts := make([]int64, len(parts))
	best := 0
	for i, s := range parts {
		n, err := db.engine.Count(ctx, s.index, s.r)
		if err != nil {
			return ra.Found{}, unavailable(err)
		}
		if counts[i] = n; n < counts[best] {
			best = i
		}
	}
	// A certificate can have several names with one end, so that members are not enrollments. Up to the bound that is set
	// right by looking at all of them; beyond it the names are listed.
	if q.Simple() && (q.Suffix == "" || counts[0] > ra.MaxCandidates) {
		return db.searchOne(ctx, q, parts[0], counts[0])
	}
	if q.Simple() {
		return db.searchNames(ctx, q, parts[0])
	}
	if counts[best] > ra.MaxCandidates {
		return ra.Found{}, problem.New(problem.Malformed, "even the filter %s leaves %d enrollments, and at most %d are compared with the others; add a narrower filter: %s",
			parts[best].filter, counts[best], ra.MaxCandidates, unused(parts))
	}
	return db.searchMany(ctx, q, parts[best], now)
}

// unused names the filters that a query could still add.
func unused(parts []span) string {
	left := slices.DeleteFunc([]string{"status", "profile", "requester", "name", "suffix", "notAfter"}, func(f string) bool {
		return slices.ContainsFunc(parts, func(s span) bool { return s.filter == f })
	})
	if len(left) == 0 {
		return "a shorter range of notAfter"
	}
	return strings.Join(left, ", ")
}

func (db *DB) searchOne(ctx context.Context, q ra.Query, s span, total int64) (ra.Found, error) {
	page := Page{Limit: q.Limit, Offset: q.Offset, Reverse: q.Newest}
	if q.After != 0 {
		page.After = idMember(q.After)
	}
	members, err := db.engine.Scan(ctx, s.index, s.r, page)
	if err != nil {
		return ra.Found{}, unavailable(err)
	}
	ids := make([]ra.ID, 0, len(members))
	for _, m := range members {
		if id, ok := lastID(m); ok && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	list, err := db.enrollments(ctx, ids)
	return ra.Found{Enrollments: list, Total: total}, err
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
func (db *DB) searchNames(ctx context.Context, q ra.Query, s span) (ra.Found, error) {
	ids, err := db.candidates(ctx, s)
	if err != nil {
		return ra.Found{}, err
	}
	if q.Newest {
		slices.Reverse(ids)
	}
	begin := min(q.Offset, len(ids))
	list, err := db.enrollments(ctx, ids[begin:min(begin+q.Limit, len(ids))])
	return ra.Found{Enrollments: list, Total: int64(len(ids))}, err
}

// searchMany reads every candidate, in pages, and keeps those for which all filters hold.
func (db *DB) searchMany(ctx context.Context, q ra.Query, s span, now time.Time) (ra.Found, error) {
	ids, err := db.candidates(ctx, s)
	if err != nil {
		return ra.Found{}, err
	}
	if q.Newest {
		slices.Reverse(ids)
	}
	var f ra.Found
	for part := range slices.Chunk(ids, 500) {
		list, err := db.enrollments(ctx, part)
		if err != nil {
			return ra.Found{}, err
		}
		for _, e := range list {
			if !q.Matches(e, now) {
				continue
			}
			if f.Total >= int64(q.Offset) && len(f.Enrollments) < q.Limit {
				f.Enrollments = append(f.Enrollments, e)
			}
			f.Total++
		}
	}
	return f, nil
}

// candidates are the numbers in a span, ascending, each once. Members added while it reads may exceed the bound that was
// counted; they are left out.
func (db *DB) candidates(ctx context.Context, s span) ([]ra.ID, error) {
	var ids []ra.ID
	page := Page{Limit: 1000}
	for len(ids) < 2*ra.MaxCandidates {
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
	slices.Sort(ids)
	return slices.Compact(ids), nil
}
