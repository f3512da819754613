package ra

import (
	"context"
	"slices"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// MaxLineage is how many enrollments a lineage is followed through, in each direction.
const MaxLineage = 100

// Lineage are the enrollments that took one another's place, oldest first, with the one that was asked for: those before it and
// behind it, at most 100 each. A successor is among them also while it has no certificate yet. What the caller may not view, or
// was removed, ends the lineage. Errors: NotFound for an enrollment that the caller may not know of.
func (r *Registrar) Lineage(ctx context.Context, caller auth.Caller, id ID) ([]*Enrollment, error) {
	e, err := r.Get(ctx, caller, id)
	if err != nil {
		return nil, err
	}
	list := []*Enrollment{e}
	for at := e; at.Replaces != 0 && len(list) <= MaxLineage; {
		before, err := r.relative(ctx, caller, at.Replaces, list)
		if err != nil {
			return nil, err
		}
		if before == nil {
			break
		}
		list = append(list, before)
		at = before
	}
	slices.Reverse(list)
	for at, n := e, len(list); at.Serial != "" && len(list) < n+MaxLineage; {
		s, err := r.Store.Succession(ctx, at, r.Now())
		if err != nil {
			return nil, err
		}
		if s.Next == 0 {
			break
		}
		next, err := r.relative(ctx, caller, s.Next, list)
		if err != nil {
			return nil, err
		}
		if next == nil || next.Replaces != at.ID {
			break
		}
		list = append(list, next)
		at = next
	}
	return list, nil
}

// relative reads one more of a lineage; nil if it is not the caller's to see, or was met before.
func (r *Registrar) relative(ctx context.Context, caller auth.Caller, id ID, met []*Enrollment) (*Enrollment, error) {
	if slices.ContainsFunc(met, func(e *Enrollment) bool { return e.ID == id }) {
		return nil, nil // records that went back can name one another
	}
	e, err := r.Get(ctx, caller, id)
	if problem.Is(err, problem.NotFound) {
		return nil, nil
	}
	return e, err
}
