package storage

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// A request that waits is in the store alone: a client whose request is lost asks again. What people decided about it is in the
// journals, by its content, and serves the request that is then made.
//
//	one journal says   the store has of the content        it then has
//	approved           nothing, or approvals given back    the approval, for the next request
//	approved           a request that waits                the same with the approval
//	approved           the same request, with the          the same
//	                   approval or at its end
//	approved           a decline that is no older          the same
//	declined           approvals given back, or nothing    the decline alone
//	declined           a request that waits, and was made  the same, declined
//	                   before that
//	signed             nothing, approvals, what has ended  the certificate, which used up the approvals
//
// Anything else changes nothing. Of an approval and a certificate in different journals the certificate may come second; until
// then the approval could be used again. In one journal that cannot be: approvals are given back at its end.

// hold keeps an approval until the end of the journal, which may say that it was used, or taken back by a decline.
func (r *Replay) hold(e audit.Event) error {
	if e.Content == "" {
		return fmt.Errorf("a journal entry of kind %q names no content", e.Kind)
	}
	if e.At.After(r.spent[e.Content]) { // an approval can be said again, and journaled, after its end
		r.given[e.Content] = append(r.given[e.Content], e)
	}
	return nil
}

// use drops the approvals that made a certificate, unless nobody was given that.
func (r *Replay) use(e audit.Event) {
	if len(e.Approvers) > 0 && !r.void[e.Issuer+"/"+e.Serial] {
		r.spend(e)
	}
}

// withdraw drops the approvals of what was declined.
func (r *Replay) withdraw(e audit.Event) { r.spend(e) }

// spend drops the approvals of a content that are no younger than the event. A decline can be said again, and journaled, when a
// later request of the content has approvals.
func (r *Replay) spend(end audit.Event) {
	if end.At.After(r.spent[end.Content]) {
		r.spent[end.Content] = end.At
	}
	r.given[end.Content] = slices.DeleteFunc(r.given[end.Content], func(e audit.Event) bool { return !e.At.After(end.At) })
}

// approve gives back the approvals that are left.
func (r *Replay) approve(ctx context.Context) error {
	for _, list := range r.given {
		for _, e := range list {
			if err := r.give(ctx, e, r.approved); err != nil {
				return fmt.Errorf("the approval of %s: %w", e.Content, err)
			}
		}
	}
	return nil
}

// approved gives an approval back.
func (r *Replay) approved(ctx context.Context, e audit.Event) (bool, error) {
	given := policy.Approval{Content: e.Content, Approver: e.Actor, At: e.At.UTC().Truncate(time.Second), Message: e.Detail}
	record, version, err := r.db.standing(ctx, e.Content)
	if err != nil {
		return false, err
	}
	s, err := r.db.Standing(ctx, e.Content)
	if err != nil || s.Mark != version {
		return false, err
	}
	if known, err := r.knows(ctx, e, given); err != nil || known {
		return false, err
	}
	if waiting := s.Enrollment; waiting != nil {
		if waiting.Phase != ra.Waiting || waiting.Agent == given.Approver || has(waiting.Approvals, given) {
			return false, nil
		}
		next := *waiting
		next.Approvals = append(slices.Clone(waiting.Approvals), given)
		return true, r.db.MoveEnrollment(ctx, &next, waiting, nil)
	}
	if has(s.Approvals, given) || !record.Declined.time().Before(given.At) {
		return false, nil
	}
	record.Enrollment, record.Approvals = 0, append(record.Approvals, toApprovals([]policy.Approval{given})...)
	return true, r.db.putReplayedStanding(ctx, e.Content, record, version, given.At)
}

// knows reports whether the store has the very request that an approval was given to, and what came of the approval there: it
// was recorded, or the request has a certificate or was declined. Then nothing was lost, and what waits now is a later request.
func (r *Replay) knows(ctx context.Context, e audit.Event, given policy.Approval) (bool, error) {
	to, err := r.db.Enrollment(ctx, ra.ID(e.Enrollment))
	switch {
	case problem.Is(err, problem.NotFound):
		return false, nil
	case err != nil:
		return false, err
	case to.Content != e.Content: // in a store that went back its number can be another's
		return false, nil
	}
	return has(to.Approvals, given) || to.Phase == ra.Issued || to.Phase == ra.Revoked || to.Phase == ra.Declined, nil
}

func has(list []policy.Approval, a policy.Approval) bool {
	return slices.ContainsFunc(list, func(b policy.Approval) bool { return b.Approver == a.Approver && !b.At.Before(a.At) })
}

// declined gives a decline back.
func (r *Replay) declined(ctx context.Context, e audit.Event) (bool, error) {
	if e.Content == "" {
		return false, fmt.Errorf("a journal entry of kind %q names no content", e.Kind)
	}
	at := e.At.UTC().Truncate(time.Second)
	record, version, err := r.db.standing(ctx, e.Content)
	if err != nil {
		return false, err
	}
	s, err := r.db.Standing(ctx, e.Content)
	if err != nil || s.Mark != version {
		return false, err
	}
	if waiting := s.Enrollment; waiting != nil {
		if !waits(waiting) || waiting.Created.After(at) {
			return false, nil
		}
		if over, err := r.over(ctx, e); err != nil || over {
			return false, err
		}
		return true, r.db.MoveEnrollment(ctx, waiting.Decline(e.Actor, e.Detail, at), waiting, nil)
	}
	if !record.Declined.time().Before(at) {
		return false, nil
	}
	record.Enrollment, record.Declined = 0, toSeconds(at)
	record.Approvals = slices.DeleteFunc(record.Approvals, func(a approvalRecord) bool { return !a.At.time().After(at) })
	return true, r.db.putReplayedStanding(ctx, e.Content, record, version, at)
}

// over reports whether the store has the very request that was declined, and its end. What waits then is a later one: the former had
// lapsed before somebody declined or removed it.
func (r *Replay) over(ctx context.Context, e audit.Event) (bool, error) {
	to, err := r.db.Enrollment(ctx, ra.ID(e.Enrollment))
	if problem.Is(err, problem.NotFound) {
		return false, nil
	}
	return err == nil && to.Content == e.Content && (to.Phase == ra.Declined || to.Phase == ra.Failed), err
}

func (db *DB) putReplayedStanding(ctx context.Context, content string, r standingRecord, version Version, at time.Time) error {
	value, err := encode(r)
	if err != nil {
		return err
	}
	want := Condition{Key: keyStanding(content), Want: Absent}
	if version != (Version{}) {
		want.Want, want.Version = Equals, version
	}
	return db.commit(ctx, &Batch{
		Conditions: []Condition{want},
		Puts:       []Put{{Key: keyStanding(content), Value: value, Expires: at.Add(standingRetention)}},
	})
}

// useApprovals adds to a batch that a certificate which is given back is the newest of what it was approved by, unless the
// store has something that goes on.
func (r *Replay) useApprovals(ctx context.Context, b *Batch, e *ra.Enrollment) error {
	if e.Content == "" {
		return nil
	}
	s, err := r.db.Standing(ctx, e.Content)
	if err != nil {
		return err
	}
	if there := s.Enrollment; there != nil && there.ID != e.ID && there.Phase != ra.Failed && there.Phase != ra.Declined {
		return nil
	}
	return b.putStanding(e, s.Mark)
}

// usedApprovals are what an entry about a signature says of the approvals.
func usedApprovals(e audit.Event, at time.Time) (list []policy.Approval) {
	for _, approver := range e.Approvers {
		list = append(list, policy.Approval{Content: e.Content, Approver: approver, At: at})
	}
	return list
}
