package ra

import (
	"context"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// RemovedRetention is how long a removed enrollment is kept beyond its certificate's end; of one without a certificate, and of what was
// imported, whose end may be in the year 9999 and which is nobody's to answer for here, beyond its removal.
const RemovedRetention = 30 * 24 * time.Hour

// Remove takes an enrollment out of every list, count and search, and destroys the private key that is kept of it. What waits or
// is being issued ends with it, as declined, and its approvals with that. The certificate stays valid; until 30 days after its
// end it stays on record with serial number and proofs, and can be revoked. A removal cannot be undone, and is durable in store
// and journal on return. Saying so again says it to the journal again.
//
// Errors: NotFound for an enrollment that the caller may not know of, or that somebody else removed; Unauthorized for one who
// neither asked for it nor looks after others' ([auth.ManageEnrollments]); Unavailable if store or journal cannot serve.
func (r *Registrar) Remove(ctx context.Context, caller auth.Caller, id ID) error {
	if r.Journal == nil || caller.Principal == "" {
		return problem.New(problem.Unauthorized, "nobody can remove anything here")
	}
	for try := 1; ; try++ {
		e, err := r.Store.Enrollment(ctx, id)
		if err != nil {
			return err
		}
		if !e.Removed.IsZero() && (caller.Operator || e.Remover == caller.Principal) && r.May(caller, auth.Request, e.Org) == nil {
			return r.journalRemoval(ctx, e)
		}
		if err := r.mayEdit(caller, e, absent(id)); err != nil {
			return err
		}
		if err := r.mayManage(caller, e); err != nil {
			return err
		}
		now := r.Now().UTC().Truncate(time.Second)
		if e.Phase == Requested {
			// Its intent is closed first. If the certificate was recorded meanwhile, that is removed.
			err = r.fail(ctx, e, Failure{Kind: problem.Unauthorized, Detail: "the enrollment was removed", At: now})
			if err != nil && !problem.Is(err, problem.Conflict) || try >= removeTries {
				return stillMoving(err, "enrollment %d is being changed again and again; try again later", id)
			}
			continue
		}
		next := e.Remove(caller.Principal, now)
		if err = r.Store.MoveEnrollment(ctx, next, e, nil); problem.Is(err, problem.Conflict) && try < removeTries {
			continue
		} else if err != nil {
			return err
		}
		return r.journalRemoval(ctx, next)
	}
}

// removeTries bounds how often a removal begins anew. What is being issued moves several times.
const removeTries = 20

// stillMoving is err, or why a removal gave up without one.
func stillMoving(err error, format string, args ...any) error {
	if err != nil {
		return err
	}
	return problem.New(problem.Unavailable, format, args...).After(firstDelay)
}

// Remove is the enrollment as it stands once somebody removed it.
func (e *Enrollment) Remove(by string, at time.Time) *Enrollment {
	n := *e
	switch e.Phase {
	case Issued, Revoked, Failed, Declined:
	default:
		n = *e.Decline(by, "the enrollment was removed", at)
	}
	n.Removed, n.Remover = at, by
	n.KeptCSR, n.AutoRenew, n.Trial = nil, AutoRenew{}, RenewalTrial{}
	if !n.KeyStored.IsZero() {
		n.DestroyKey(at)
	}
	n.Edits++
	return &n
}

// RemovedUntil is when a removed enrollment is forgotten; zero for one that is not removed.
func (e *Enrollment) RemovedUntil() time.Time {
	switch {
	case e.Removed.IsZero():
		return time.Time{}
	case (e.Phase == Issued || e.Phase == Revoked) && !e.Imported:
		return e.NotAfter.Add(RemovedRetention)
	default:
		return e.Removed.Add(RemovedRetention)
	}
}

// journalRemoval tells the journal of a removal, and of the end of the request that was removed, if it was one.
func (r *Registrar) journalRemoval(ctx context.Context, e *Enrollment) error {
	void := e.Phase == Declined && e.Decliner == e.Remover && e.Failure != nil && e.Failure.At.Equal(e.Removed) && e.Content != ""
	if e.Phase == Failed && e.Content != "" && len(e.Approvals) > 0 {
		s, err := r.Store.Standing(ctx, e.Content)
		if err != nil {
			return err
		}
		// Otherwise a later request has its approvals, and is not what was removed.
		void = s.Enrollment == nil || s.Enrollment.ID == e.ID || s.Enrollment.Created.After(e.Removed)
	}
	if void {
		if err := r.journal(ctx, audit.Declined, e, e.Remover, "the enrollment was removed", e.Removed); err != nil {
			return err
		}
	}
	return r.journalDetails(ctx, audit.EnrollmentRemoved, e, e.Remover, "removed", e.Removed)
}

// ForgetRemoved deletes removed enrollments whose time is over, at most 50 a turn: with the certificate, unless that was revoked,
// because the lists of the revoked are made and checked by it. It is safe to run in several processes at once.
func (r *Registrar) ForgetRemoved(ctx context.Context) error {
	_, err := r.Store.ForgetRemoved(ctx, r.Now(), sweepBatch)
	return err
}
