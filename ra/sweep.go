package ra

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// sweepBatch bounds how many enrollments one turn of the sweep takes over.
const sweepBatch = 50

// Sweep goes on with enrollments whose worker died or whose back-off is over: at most 50 a turn. It is safe to run in
// several processes at once; one alone wins each enrollment. It also tells the journal of imports that a process did not
// live to tell its own.
func (r *Registrar) Sweep(ctx context.Context) error {
	_, err := r.sweep(ctx, r.Now())
	if r.Journal != nil {
		err = errors.Join(err, r.settleImports(ctx, r.Now().Add(-settleAge)))
	}
	return err
}

// Recover is a Sweep that does not wait for leases to run out, and goes on until nothing is left that was due within a
// lease of its start. It is for the start of a process that has the store to itself: whatever is leased in it, the
// worker is dead.
func (r *Registrar) Recover(ctx context.Context) error {
	until := r.Now().Add(lease)
	for {
		// What is taken is due behind until, whatever becomes of it, so each is met once.
		n, err := r.sweep(ctx, until)
		if err != nil || n < sweepBatch {
			return err
		}
	}
}

// sweep takes one batch of what is due until a time, and reports how many it took. What waits for people has no worker that
// could be dead: it lapses in its own time.
func (r *Registrar) sweep(ctx context.Context, until time.Time) (int, error) {
	due, err := r.Store.DueEnrollments(ctx, until, sweepBatch)
	if err != nil {
		return 0, err
	}
	taken := 0
	for _, e := range due {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if (e.Phase == Waiting || e.Phase == Approved) && r.Now().Before(e.Due) {
			continue
		}
		taken++
		if err := r.resume(ctx, e, until); err != nil {
			r.Log.Warn("resuming an enrollment failed", "enrollment", e.ID, "attempt", e.Attempts, "error", err)
		}
	}
	return taken, nil
}

// resume makes one more attempt. The intent of the attempt before is closed first, under the precondition that it is
// still open: if its signature was recorded meanwhile the enrollment is finished, and if it comes later it is refused.
// The next attempt is due after a time at the earliest.
func (r *Registrar) resume(ctx context.Context, e *Enrollment, after time.Time) error {
	if e.Phase == Waiting || e.Phase == Approved {
		return r.lapse(ctx, e)
	}
	e.Attempts++
	if err := r.Store.TakeEnrollment(ctx, e, r.dueIn(lease, after)); err != nil {
		if problem.Is(err, problem.Conflict) {
			return nil // another worker has it, or it is finished
		}
		return err
	}
	if e.Serial != "" {
		if err := r.Authority.Abandon(ctx, e.Issuer, e.Serial); err != nil && !problem.Is(err, problem.Conflict) {
			return err
		}
	}
	return r.attempt(ctx, e, after)
}

// attempt is one attempt at an enrollment that this worker has taken.
func (r *Registrar) attempt(ctx context.Context, e *Enrollment, after time.Time) error {
	err := r.reissue(ctx, e)
	if err == nil && !e.KeyStored.IsZero() {
		if err := r.journalKey(ctx, e, "system", "its certificate is issued"); err != nil { // the note stays
			r.Log.Warn("telling the journal of a private key failed; the sweep will", "enrollment", e.ID, "error", err)
		}
	}
	if err == nil {
		r.retellDetails(ctx, e)
	}
	if err == nil || problem.Is(err, problem.Conflict) {
		return err
	}
	if final(err) || e.Attempts >= maxAttempts {
		p := problem.From(err)
		return r.fail(ctx, e, Failure{Kind: p.Kind, Detail: p.Detail, At: r.Now().UTC().Truncate(time.Second)})
	}
	r.postpone(ctx, e, after)
	return err
}

// final reports whether trying again cannot help: policy has refused, for example because a proof ran out or the profile
// has changed since.
func final(err error) bool {
	p := problem.From(err)
	if p.RetryAfter > 0 { // such as CAA records that could not be had
		return false
	}
	switch p.Kind {
	case problem.Internal, problem.Unavailable, problem.Conflict, problem.RateLimited:
		return false
	default:
		return true
	}
}

func (r *Registrar) reissue(ctx context.Context, e *Enrollment) error {
	profile, ok := r.Profiles[e.Profile]
	if !ok || !r.Allowed(e.Org, e.Profile) {
		return problem.New(problem.Unauthorized, "the profile %q is no longer available to this organisation", e.Profile)
	}
	csr, err := policy.ParseCSR(e.CSR)
	if err != nil {
		return err
	}
	if e.Proofs, err = r.proofs(ctx, profile, e.by(), e.Names, e.Proofs); err != nil {
		return err
	}
	issuance := &Issuance{Enrollment: e, Quota: profile.Quota()}
	_, err = r.Authority.Issue(ctx, ca.Request{
		Profile: profile,
		Policy:  r.asked(e, csr),
		Begin: func(ctx context.Context, _ *policy.Decision) (int64, ca.Owner, error) {
			return int64(e.ID), issuance, r.checkReplaced(ctx, e.Replaces, e.CSR)
		},
	})
	*e = *issuance.Enrollment
	return err
}

// by is whose the enrollment is, for policy.
func (e *Enrollment) by() policy.Requester {
	return policy.Requester{Org: int32(e.Org), Door: string(e.Door), Principal: e.Requester}
}

// asked is what an enrollment asks of policy, now.
func (r *Registrar) asked(e *Enrollment, csr *policy.CSR) policy.Request {
	return policy.Request{
		Requester:   e.by(),
		Restriction: e.Restriction, ProfileHash: e.ProfileHash, Names: e.Names, CSR: csr, Proofs: e.Proofs, Now: r.Now(),
		Requested: e.Requested, Term: e.Term, CustomFields: e.CustomFields, Accepted: true, NameRules: r.NameRules(e.Org), Approvals: e.Approvals, Renews: e.renewed(),
	}
}

// fail ends an enrollment, unless its certificate was recorded after all or another worker has taken it over.
func (r *Registrar) fail(ctx context.Context, e *Enrollment, f Failure) error {
	current, err := r.Store.Enrollment(ctx, e.ID)
	if err != nil {
		return err
	}
	if current.Phase != Requested || current.Version != e.Version {
		return nil
	}
	if current.Serial != "" {
		if err := r.Authority.Abandon(ctx, current.Issuer, current.Serial); err != nil && !problem.Is(err, problem.Conflict) {
			return err
		}
	}
	return r.Store.FailEnrollment(ctx, current, f)
}

// Operator is the caller behind the admin socket.
func Operator(principal string) auth.Caller { return auth.Caller{Principal: principal, Operator: true} }
