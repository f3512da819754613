package storage

import (
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// span is a part of an index whose members end with an enrollment's number.
type span struct {
	index string
	r     Range
}

// part is what one filter selects: a span in each organisation of the query, and how many members they have together. None of
// its members is missed; of a filter that is not exact there may be more than it asks for.
type part struct {
	filter string // what it selects by, for a person
	spans  []span
	counts []int64 // of each span
	total  int64
}

// parts are what a query's filters select, one for each that an index knows; the whole list if there is none.
func parts(q ra.Query, now time.Time) []*part {
	orgs := q.Orgs
	if q.Org != 0 {
		orgs = []auth.OrgID{q.Org}
	}
	var out []*part
	add := func(filter string, in func(org auth.OrgID) []span) {
		p := &part{filter: filter}
		for _, org := range orgs {
			p.spans = append(p.spans, in(org)...)
		}
		out = append(out, p)
	}
	if q.Status != "" {
		add("status", func(org auth.OrgID) []span { return []span{statusSpan(org, q.Status, now)} })
	}
	if q.Profile != "" {
		add("profile", func(org auth.OrgID) []span { return []span{{indexProfile(org, q.Profile), Range{}}} })
	}
	if q.Requester != "" {
		add("requester", func(org auth.OrgID) []span { return []span{{indexRequester(org, q.Requester), Range{}}} })
	}
	if q.Name != "" {
		add("name", func(org auth.OrgID) []span { return []span{{indexName(org), Prefix(nameMember(q.Name, nil))}} })
	}
	if q.Suffix != "" {
		add("suffix", func(org auth.OrgID) []span { return []span{{indexName(org), Prefix(reversed(q.Suffix))}} })
	}
	if q.CommonName != "" {
		name := nameMember(strings.ToLower(q.CommonName), nil)
		add("common name", func(org auth.OrgID) []span {
			return []span{{indexName(org), Prefix(name)}, {indexCommonName(org), Prefix(name)}}
		})
	}
	if !q.NotAfterFrom.IsZero() || !q.NotAfterTo.IsZero() {
		add("notAfter", func(org auth.OrgID) []span { return []span{{indexExpiry(org), between(q.NotAfterFrom, q.NotAfterTo)}} })
	}
	switch {
	case len(out) > 0:
	case q.Org == 0 && q.Orgs == nil:
		out = []*part{{spans: []span{{indexAll, Range{}}}}}
	default:
		add("", func(org auth.OrgID) []span { return []span{{indexOrg(org), Range{}}} })
	}
	return out
}

// statusSpan turns a status into a phase and, for what differs by time alone, a range of notAfter.
func statusSpan(org auth.OrgID, status ra.Status, now time.Time) (s span) {
	switch status {
	case ra.StatusRequested:
		s.index = indexPhase(org, ra.Requested)
	case ra.StatusRevoked:
		s.index = indexPhase(org, ra.Revoked)
	case ra.StatusFailed:
		s.index = indexPhase(org, ra.Failed)
	case ra.StatusWaiting:
		s.index = indexPhase(org, ra.Waiting)
	case ra.StatusApproved:
		s.index = indexPhase(org, ra.Approved)
	case ra.StatusDeclined:
		s.index = indexPhase(org, ra.Declined)
	case ra.StatusValidating:
		s.index = indexPhase(org, ra.Validating)
	case ra.StatusExpired: // notAfter itself is still valid, and it is kept in whole seconds
		s.index, s.r = indexPhase(org, ra.Issued), Range{To: member(ceil(now), "")}
	default:
		s.index, s.r = indexPhase(org, ra.Issued), Range{From: member(ceil(now), "")}
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
