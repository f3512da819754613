package ra

import (
	"context"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// A request can bring, or take over from what it follows, things that go with its enrollment and are not in its certificate. The
// signing gate's entries say nothing of them, so that the journal is told of them here: when the request is taken, and again
// with a certificate that comes later.

// hasDetails reports whether something goes with an enrollment.
func (e *Enrollment) hasDetails() bool { return e.Term != 0 || !sameDetails(e, &Enrollment{}) }

// keepDetails has the journal told of a request that was taken. The caller of one that it cannot be told of has no answer to rely
// on: what is in the store stays there.
func (r *Registrar) keepDetails(ctx context.Context, caller auth.Caller, e *Enrollment) error {
	if r.Journal == nil || !e.hasDetails() {
		return nil
	}
	if err := r.journalDetails(ctx, audit.EnrollmentEdited, e, caller.Principal, "requested", r.Now()); err != nil {
		return problem.Wrap(err, problem.Unavailable, "enrollment %d is recorded, but the journal could not be told what goes with it; look for it before you ask again", e.ID)
	}
	return nil
}

// retellDetails has the journal told again, with the certificate, of an enrollment that has got it now.
func (r *Registrar) retellDetails(ctx context.Context, e *Enrollment) {
	if r.Journal == nil || !e.hasDetails() {
		return
	}
	if err := r.journalDetails(ctx, audit.EnrollmentEdited, e, "system", "its certificate is issued", r.Now()); err != nil {
		r.Log.Warn("telling the journal what goes with an enrollment failed; a store that is lost comes back without it", "enrollment", e.ID, "error", err)
	}
}
