package ra

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// SweepValidations looks at requests whose look is due, and ends those that waited for too long: as many a turn as may be looked at
// at once. It is safe to run in several processes; one alone takes each.
func (r *Registrar) SweepValidations(ctx context.Context) error {
	due, err := r.Store.DueValidations(ctx, r.Now(), r.checks.share, r.checks.limit)
	if err != nil {
		return err
	}
	errs := make([]error, len(due))
	var looks sync.WaitGroup // side by side: a slow name must not let the turn's time run out for others
	for i, e := range due {
		done, ok := r.checks.take(e.Org)
		if !ok {
			continue
		}
		looks.Go(func() {
			defer done()
			errs[i] = r.sweepValidation(ctx, e)
		})
	}
	looks.Wait()
	return errors.Join(errs...)
}

func (r *Registrar) sweepValidation(ctx context.Context, e *Enrollment) error {
	var err error
	if r.Now().Before(e.ValidateBy) && r.Validation.Validator != nil {
		next := *e
		_, err = r.check(ctx, &next, e)
	} else {
		_, err = r.refuse(ctx, e, problem.New(problem.Unauthorized, "control of its names was not proved in time; ask again"))
	}
	if problem.Is(err, problem.Conflict) { // somebody else has it
		return nil
	}
	return err
}

// refuse ends a request for what can never be issued, and gives back how it ended. What may pass is the error, and the request is
// looked at again.
func (r *Registrar) refuse(ctx context.Context, e *Enrollment, cause error) (*Enrollment, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), domainChange)
	defer cancel()
	if !final(cause) {
		next := *e
		next.Checking, next.Due = time.Time{}, r.nextLook(e, r.Now().UTC())
		if err := r.Store.MoveEnrollment(ctx, &next, e, nil); err != nil && !problem.Is(err, problem.Conflict) {
			r.Log.Warn("postponing a validation failed", "enrollment", e.ID, "error", err)
		}
		return nil, cause
	}
	p := problem.From(cause)
	next := e.ended(Failed, Failure{Kind: p.Kind, Detail: p.Detail, At: r.Now().UTC().Truncate(time.Second)})
	if err := r.Store.MoveEnrollment(ctx, next, e, nil); err != nil {
		return r.overtaken(ctx, e, err)
	}
	return next, nil
}

// withoutRecords are challenges as they are kept for good.
func withoutRecords(list []Challenge) []Challenge {
	list = slices.Clone(list)
	for i := range list {
		if f := list[i].Failed; f != nil {
			short := *f
			short.Record = nil
			list[i].Failed = &short
		}
	}
	return list
}

// Cancel takes a request back that waits for validation or for people, or that was approved and has no certificate yet. Saying so
// again changes nothing. Durable in store and journal on return.
//
// Errors: NotFound for what the caller may not know of; Unauthorized for one who is neither the requester nor manages the
// organisation's domains; Conflict for what does not wait (any more).
func (r *Registrar) Cancel(ctx context.Context, caller auth.Caller, id ID) (*Enrollment, error) {
	if r.Journal == nil || caller.Principal == "" {
		return nil, problem.New(problem.Unauthorized, "nobody can take a request back here")
	}
	for try := 1; ; try++ {
		e, err := r.own(ctx, caller, id)
		if err != nil {
			return nil, err
		}
		now := r.Now().UTC().Truncate(time.Second)
		switch e.Phase {
		case Validating, Waiting, Approved:
		case Failed:
			if e.Canceller != "" {
				return e, r.journalCancel(ctx, e)
			}
			fallthrough
		default:
			return nil, problem.New(problem.Conflict, "request %d cannot be taken back: it is %s", id, e.Status(now))
		}
		next := e.Cancel(caller.Principal, now)
		if err = r.Store.MoveEnrollment(ctx, next, e, nil); problem.Is(err, problem.Conflict) && try < moveTries {
			continue
		} else if err != nil {
			return nil, err
		}
		return next, r.journalCancel(ctx, next)
	}
}

// Cancel is the enrollment as it stands once somebody took it back. What only an unfinished one needs is gone.
func (e *Enrollment) Cancel(by string, at time.Time) *Enrollment {
	n := e.ended(Failed, Failure{Kind: problem.Unauthorized, Detail: "it was taken back by " + by, At: at})
	n.Canceller = by
	return n
}

func (r *Registrar) journalCancel(ctx context.Context, e *Enrollment) error {
	return r.journal(ctx, audit.Cancelled, e, e.Canceller, "", e.Failure.At)
}

// csrHash is what publications of a request are derived from by methods that take its CSR.
func csrHash(csr []byte, suffix string) (dcv.CSRHash, error) {
	if suffix == "" {
		return dcv.CSRHash{}, nil // no name to end with: such methods are refused
	}
	h, err := dcv.NewCSRHash(csr, suffix)
	if err != nil {
		return dcv.CSRHash{}, problem.Wrap(err, problem.Malformed, "suffix: %v", err)
	}
	return h, nil
}

// policyWaits reports whether a request lacks nothing but approvals.
func policyWaits(err error) bool { return errors.Is(err, policy.ErrNotApproved) }
