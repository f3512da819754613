package ra

import (
	"context"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// Current reads the enrollment that stands for another one now: what [Registrar.Replace] put in its place, and in the place of
// that, also while it is not issued yet; the enrollment itself if there is nothing of the kind, or if it came to nothing. It is
// for doors whose clients know a certificate and whatever replaces it by one number. A renewal is another certificate to
// them, and is not followed. Errors are those of [Registrar.Get].
func (r *Registrar) Current(ctx context.Context, caller auth.Caller, id ID) (*Enrollment, error) {
	e, err := r.Get(ctx, caller, id)
	if err != nil {
		return nil, err
	}
	return r.reissued(ctx, caller, e)
}

// reissued is Current of an enrollment that the caller has read. A successor's number is the higher one, in a store that went
// back as well, so that this ends.
func (r *Registrar) reissued(ctx context.Context, caller auth.Caller, e *Enrollment) (*Enrollment, error) {
	for {
		s, err := r.Store.Succession(ctx, e, r.Now())
		if err != nil {
			return nil, err
		}
		if s.Next <= e.ID {
			return e, nil
		}
		next, err := r.Get(ctx, caller, s.Next)
		switch {
		case problem.Is(err, problem.NotFound): // removed, or not this caller's to know
			return e, nil
		case err != nil:
			return nil, err
		case !next.Reissue:
			return e, nil
		}
		e = next
	}
}
