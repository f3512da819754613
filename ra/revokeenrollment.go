package ra

import (
	"context"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// RevokeEnrollment revokes the certificate of an enrollment, by its number. Errors are those of [Registrar.Revoke], and Conflict
// if it has no certificate. A removed one is for the operator to revoke.
func (r *Registrar) RevokeEnrollment(ctx context.Context, caller auth.Caller, id ID, reason ca.Reason, comment string) (*Enrollment, error) {
	e, err := r.Get(ctx, caller, id)
	if err != nil {
		return nil, err
	}
	if e.Imported || e.Issued.IsZero() {
		if err := r.may(caller, auth.Revoke, e.Org, absent(id)); err != nil {
			return nil, err
		}
		if e.Imported {
			return nil, problem.New(problem.Conflict, "the certificate of enrollment %d was imported; whoever issued it can revoke it, and here that can be marked", id)
		}
		return nil, problem.New(problem.Conflict, "enrollment %d is %s and has no certificate to revoke", id, e.Status(r.Now()))
	}
	if err := r.Revoke(ctx, caller, Revocation{Issuer: e.Issuer, Serial: e.Serial, Reason: reason, Comment: comment}); err != nil {
		return nil, err
	}
	return r.Store.Enrollment(ctx, id)
}

// MarkRevoked records that the certificate of an imported enrollment was revoked by whoever issued it: no list and no responder
// of ours says so. The zero time is now. A second time only the reason can be raised to keyCompromise. Durable in store and
// journal on return.
//
// Errors: NotFound, Unauthorized as of [Registrar.Revoke]; Malformed; Conflict for what was issued here; AlreadyRevoked.
func (r *Registrar) MarkRevoked(ctx context.Context, caller auth.Caller, id ID, at time.Time, reason ca.Reason, comment string) (*Enrollment, error) {
	if err := checkLine("the comment on a revocation", comment, MaxRevocationComment); err != nil {
		return nil, err
	}
	if err := ca.CheckReason(reason); err != nil {
		return nil, err
	}
	now := r.Now().UTC().Truncate(time.Second)
	if at = at.UTC().Truncate(time.Second); at.IsZero() {
		at = now
	}
	if at.After(now) {
		return nil, problem.New(problem.Malformed, "the time of the revocation is %s, which is still to come", at.Format(time.RFC3339))
	}
	return r.editAs(ctx, caller, auth.Revoke, id, "marked as revoked", func(e *Enrollment) (any, error) {
		next := ca.Revocation{At: at, Reason: reason, Actor: caller.Principal, Comment: comment}
		switch {
		case !e.Imported:
			return nil, problem.New(problem.Conflict, "the certificate of enrollment %d was issued here; revoke it", id)
		case at.Before(e.NotBefore):
			return nil, problem.New(problem.Malformed, "the time of the revocation is %s, before the certificate began", at.Format(time.RFC3339))
		case e.Revocation != nil && *e.Revocation == next: // said again
			return nil, nil
		case e.Revocation != nil && (reason != ca.KeyCompromise || e.Revocation.Reason == ca.KeyCompromise):
			return nil, problem.New(problem.AlreadyRevoked, "the certificate is marked as revoked at %s for %s", e.Revocation.At.Format(time.RFC3339), e.Revocation.Reason)
		case e.Revocation != nil:
			next.At = e.Revocation.At
		}
		*e = *e.Revoke(next)
		return nil, nil
	})
}
