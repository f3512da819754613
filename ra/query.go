package ra

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// MaxCandidates bounds how many enrollments a query with more than one filter looks at.
const MaxCandidates = 10_000

// Query selects enrollments. Filters that are set must all hold; text is compared exactly.
type Query struct {
	Org       auth.OrgID // zero: every organisation's, for an operator, and then with no filter but Newest
	Status    Status
	Profile   string
	Requester string
	Name      string // one of the certificate's names
	Suffix    string // one of the names ends so: "example.com" finds www.example.com
	// NotAfterFrom and NotAfterTo bound the end of validity, the latter exclusively; zero is open.
	NotAfterFrom, NotAfterTo time.Time

	// Offset skips so many; After continues behind an enrollment and needs a query without filters. Not both.
	Offset int
	After  ID
	Limit  int // 1 to 1000
	// Newest reverses the order: by number, or by notAfter where Status or a bound of notAfter is the only filter.
	Newest bool
}

// Found is a page of a query's answer.
type Found struct {
	Enrollments []*Enrollment
	// Total is how many the whole answer holds. It is exact, except that more than MaxCandidates names with a Suffix, asked
	// for by that alone, are counted and listed as names.
	Total int64
}

// filters counts the filters that are set.
func (q *Query) filters() int {
	n := 0
	for _, set := range []bool{
		q.Status != "", q.Profile != "", q.Requester != "", q.Name != "", q.Suffix != "",
		!q.NotAfterFrom.IsZero() || !q.NotAfterTo.IsZero(),
	} {
		if set {
			n++
		}
	}
	return n
}

// Simple reports whether at most one filter is set, so that one index answers.
func (q *Query) Simple() bool { return q.filters() <= 1 }

// Unfiltered reports whether none is.
func (q *Query) Unfiltered() bool { return q.filters() == 0 }

// Matches reports whether every filter holds for an enrollment at a moment.
func (q *Query) Matches(e *Enrollment, now time.Time) bool {
	named := q.Name == "" && q.Suffix == ""
	for _, n := range e.Names {
		named = named || (q.Name == "" || n.Value() == q.Name) && (q.Suffix == "" || strings.HasSuffix(n.Value(), q.Suffix))
	}
	return named && (q.Org == 0 || e.Org == q.Org) &&
		(q.Status == "" || e.Status(now) == q.Status) &&
		(q.Profile == "" || e.Profile == q.Profile) &&
		(q.Requester == "" || e.Requester == q.Requester) &&
		(q.NotAfterFrom.IsZero() || !e.NotAfter.Before(q.NotAfterFrom)) &&
		(q.NotAfterTo.IsZero() || e.NotAfter.Before(q.NotAfterTo))
}

func (q *Query) check() error {
	switch q.Status {
	case "", StatusRequested, StatusIssued, StatusExpired, StatusRevoked, StatusFailed, StatusWaiting, StatusApproved, StatusDeclined, StatusValidating:
	default:
		return problem.New(problem.Malformed, "status %q is not known; give requested, issued, expired, revoked, failed, awaiting approval, approved, declined or pending validation", q.Status)
	}
	switch {
	case q.Limit < 1 || q.Limit > 1000:
		return problem.New(problem.Malformed, "limit is %d; give 1 to 1000", q.Limit)
	case q.Offset < 0 || q.After < 0:
		return problem.New(problem.Malformed, "a page begins at no negative place")
	case q.After > 0 && (q.Offset > 0 || !q.Unfiltered()):
		return problem.New(problem.Malformed, "after goes with no filter and no offset; page a filtered list by offset")
	case q.Org == 0 && !q.Unfiltered():
		return problem.New(problem.Malformed, "a filter needs an organisation; name one with org")
	}
	return nil
}

// Search lists enrollments of an organisation that the caller may view, by default its own; an operator may list all. A query with several filters of which
// none leaves fewer than 10,000 candidates is Malformed and names what to add.
func (r *Registrar) Search(ctx context.Context, caller auth.Caller, q Query) (Found, error) {
	if !caller.Operator {
		q.Org = cmp.Or(q.Org, caller.Org)
		denied := problem.New(problem.Unauthorized, "this organisation's enrollments are not the caller's to list")
		if err := r.may(caller, auth.View, q.Org, denied); err != nil {
			return Found{}, err
		}
	}
	q.Name, q.Suffix = strings.ToLower(q.Name), strings.ToLower(q.Suffix)
	if err := q.check(); err != nil {
		return Found{}, err
	}
	return r.Store.Search(ctx, q, r.Now())
}
