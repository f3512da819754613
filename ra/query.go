package ra

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/problem"
)

const (
	// MaxCandidates bounds how many enrollments a query looks at that more than one index must answer.
	MaxCandidates = 10_000
	// MaxOrgs bounds the organisations whose lists a query joins.
	MaxOrgs = 200
)

// Query selects enrollments. Filters that are set must all hold; text is compared whole, and exactly but for names.
type Query struct {
	// Org is whose enrollments are listed. Zero: of an operator every organisation's, and then with no filter but Newest; of
	// anybody else those of all organisations that the caller may view.
	Org auth.OrgID
	// Orgs are several organisations instead, whose lists are joined in their order, at most MaxOrgs. To a Store nil is every
	// organisation, and an empty list none.
	Orgs      []auth.OrgID
	Status    Status
	Profile   string
	Requester string // principal
	Name      string // one of the certificate's names, in any case
	Suffix    string // one of the names ends so, in any case: "example.com" finds www.example.com
	// CommonName is what [Enrollment.Called] says, in any case.
	CommonName string
	// Serial is the certificate's; [Registrar.Search] alone knows it, no Store.
	Serial ca.Serial
	// NotAfterFrom and NotAfterTo bound the end of validity, the latter exclusively; zero is open.
	NotAfterFrom, NotAfterTo time.Time
	// Where are conditions that no index answers.
	Where []Condition

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
		q.Status != "", q.Profile != "", q.Requester != "", q.Name != "", q.Suffix != "", q.CommonName != "", q.Serial != "",
		!q.NotAfterFrom.IsZero() || !q.NotAfterTo.IsZero(),
	} {
		if set {
			n++
		}
	}
	return n + len(q.Where)
}

// Simple reports whether at most one filter is set and an index answers that.
func (q *Query) Simple() bool { return q.filters() <= 1 && q.CommonName == "" && len(q.Where) == 0 }

// Unfiltered reports whether none is.
func (q *Query) Unfiltered() bool { return q.filters() == 0 }

// Covers reports whether a query is about an organisation's enrollments.
func (q *Query) Covers(org auth.OrgID) bool {
	if q.Org != 0 || q.Orgs == nil {
		return q.Org == 0 || q.Org == org
	}
	return slices.Contains(q.Orgs, org)
}

// Matches reports whether every filter but those of Where holds for an enrollment at a moment.
func (q *Query) Matches(e *Enrollment, now time.Time) bool {
	named := q.Name == "" && q.Suffix == ""
	for _, n := range e.Names {
		named = named || (q.Name == "" || n.Value() == q.Name) && (q.Suffix == "" || strings.HasSuffix(n.Value(), q.Suffix))
	}
	return named && q.Covers(e.Org) &&
		(q.CommonName == "" || strings.EqualFold(e.Called(), q.CommonName)) &&
		(q.Serial == "" || e.Serial == q.Serial) &&
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
	case q.Org != 0 && q.Orgs != nil:
		return problem.New(problem.Malformed, "name one organisation or several, not both")
	case q.After > 0 && len(q.Orgs) > 1:
		return problem.New(problem.Malformed, "after goes with one organisation, or all")
	case q.Org == 0 && q.Orgs == nil && !q.Unfiltered():
		return problem.New(problem.Malformed, "a filter needs an organisation; name one with org")
	}
	return nil
}

// Search lists enrollments that the caller may view: those of one organisation, or of all that the caller may view; an operator
// may list everything. The joined list of several organisations has the order that each of them has, by number or by notAfter.
// What a query costs is bounded, wherever the page begins: a query with several filters of which none leaves fewer than 10,000
// candidates is Malformed with a [*TooManyError] in its chain, and so is one over more organisations than MaxOrgs, with
// [ErrTooManyOrgs].
func (r *Registrar) Search(ctx context.Context, caller auth.Caller, q Query) (Found, error) {
	if !caller.Operator {
		if err := r.cover(caller, &q); err != nil {
			return Found{}, err
		}
	}
	q.Name, q.Suffix = strings.ToLower(q.Name), strings.ToLower(q.Suffix)
	if err := q.check(); err != nil {
		return Found{}, err
	}
	if q.Serial != "" {
		return r.searchSerial(ctx, caller, q)
	}
	if len(q.Orgs) > MaxOrgs {
		return Found{}, problem.Wrap(ErrTooManyOrgs, problem.Malformed, "the lists of %d organisations are too many to be joined, at most %d are; name one", len(q.Orgs), MaxOrgs)
	}
	return r.Store.Search(ctx, q, r.Now())
}

// cover sets the organisations that a caller who is no operator is shown. One that is named must be the caller's to view; of
// those that are not named the others are left out.
func (r *Registrar) cover(caller auth.Caller, q *Query) error {
	denied := problem.New(problem.Unauthorized, "this organisation's enrollments are not the caller's to list")
	named := q.Orgs
	if q.Org != 0 {
		named = append(slices.Clone(named), q.Org)
	}
	for _, org := range named {
		if err := r.may(caller, auth.View, org, denied); err != nil {
			return err
		}
	}
	if len(named) == 0 {
		for _, org := range r.Below(caller.Org) {
			switch err := r.May(caller, auth.View, org); {
			case err == nil:
				named = append(named, org)
			case !problem.Is(err, problem.NotFound) && !problem.Is(err, problem.Unauthorized):
				return err
			}
		}
	}
	slices.Sort(named)
	q.Org, q.Orgs = 0, slices.Compact(named)
	switch len(q.Orgs) {
	case 0:
		return denied
	case 1:
		q.Org, q.Orgs = q.Orgs[0], nil
	}
	return nil
}
