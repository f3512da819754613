package ra

import (
	"cmp"
	"context"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// WaitingBounds are how many requests may wait for people at a time, in phase Waiting or Approved. Zero is no bound. They keep
// a client that asks for something else each time from filling the list that people have to read.
type WaitingBounds struct {
	PerRequester    int // of one requester in one organisation
	PerOrganisation int // of all its requesters, whichever organisation they belong to
}

// DefaultWaitingBounds are those of a gateway whose configuration names none.
func DefaultWaitingBounds() WaitingBounds {
	return WaitingBounds{PerRequester: 100, PerOrganisation: 1000}
}

// IsZero reports whether nothing is bounded.
func (b WaitingBounds) IsZero() bool { return b == WaitingBounds{} }

// WaitingUse is how many requests wait.
type WaitingUse struct {
	Requester    int64
	Organisation int64
}

// Check refuses (RateLimited) one more request than the bounds allow.
func (b WaitingBounds) Check(use WaitingUse) error {
	switch {
	case b.PerRequester > 0 && use.Requester >= int64(b.PerRequester):
		return problem.New(problem.RateLimited, "%d requests of this requester wait for approval already, and no more than %d may at a time "+
			"(waiting_requests.per_requester); have some of them decided first, or let them lapse", use.Requester, b.PerRequester)
	case b.PerOrganisation > 0 && use.Organisation >= int64(b.PerOrganisation):
		return problem.New(problem.RateLimited, "%d requests of this organisation wait for approval already, and no more than %d may at a time "+
			"(waiting_requests.per_organisation); have some of them decided first, or let them lapse", use.Organisation, b.PerOrganisation)
	default:
		return nil
	}
}

// checkWaiting refuses one more waiting request that is too many already, before a number is taken. It is the commit
// ([Store.AwaitEnrollment]) that decides among those who come at the same time.
func (r *Registrar) checkWaiting(ctx context.Context, org auth.OrgID, requester string) (WaitingBounds, error) {
	bounds := r.WaitingBounds(org)
	if bounds.IsZero() {
		return bounds, nil
	}
	use, err := r.Store.WaitingUse(ctx, org, requester)
	if err != nil {
		return bounds, err
	}
	return bounds, bounds.Check(use)
}

// Waiting lists the requests that wait for approvals, or for their clients to come back for what was approved, and that the
// caller may decide: by number, behind one, at most limit (1 to 1000); of one organisation, or with zero of the caller's own,
// for an operator of all. More is false at the end of the list. Errors: NotFound for an organisation that the caller may not
// know of.
func (r *Registrar) Waiting(ctx context.Context, caller auth.Caller, org auth.OrgID, after ID, limit int) (list []*Enrollment, more bool, err error) {
	if limit < 1 || limit > 1000 || after < 0 {
		return nil, false, problem.New(problem.Malformed, "limit is %d and after is %d; give a limit of 1 to 1000 and the number of a request", limit, after)
	}
	if !caller.Operator {
		org = cmp.Or(org, caller.Org)
		if err := r.may(caller, auth.View, org, problem.New(problem.NotFound, "there is no such organisation")); err != nil {
			return nil, false, err
		}
	}
	for len(list) < limit {
		page, err := r.Store.WaitingEnrollments(ctx, org, after, limit)
		if err != nil {
			return nil, false, err
		}
		for i, e := range page {
			after = e.ID
			if r.mayDecide(caller, e) != nil {
				continue
			}
			if list = append(list, e); len(list) == limit {
				return list, i < len(page)-1 || len(page) == limit, nil
			}
		}
		if len(page) < limit {
			return list, false, nil
		}
	}
	return list, true, nil
}
