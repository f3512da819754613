package storage

import (
	"context"
	"slices"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// The requests of one organisation that wait are those of two of its phases, so that listing and counting them costs nothing
// for those of others. Of one requester there is an index of its own; what waits since before there was one is not in it.

// waitingPhases are those in which an enrollment waits for people.
var waitingPhases = [...]ra.Phase{ra.Waiting, ra.Approved}

// waits reports whether an enrollment waits for people.
func waits(e *ra.Enrollment) bool { return slices.Contains(waitingPhases[:], e.Phase) }

// WaitingEnrollments implements ra.Store.
func (db *DB) WaitingEnrollments(ctx context.Context, org auth.OrgID, after ra.ID, limit int) ([]*ra.Enrollment, error) {
	var ids []ra.ID
	scan := func(index string, place []byte) error {
		members, err := db.engine.Scan(ctx, index, Range{}, Page{After: place, Limit: limit})
		if err != nil {
			return unavailable(err)
		}
		for _, m := range members {
			if id, ok := lastID(m); ok {
				ids = append(ids, id)
			}
		}
		return nil
	}
	if org == 0 {
		if err := scan(indexWaiting, idMember(after)); err != nil {
			return nil, err
		}
		return db.enrollments(ctx, ids)
	}
	before := expiryMember((&ra.Enrollment{}).NotAfter, idMember(after)) // what waits has no end yet
	for _, phase := range waitingPhases {
		if err := scan(indexPhase(org, phase), before); err != nil {
			return nil, err
		}
	}
	slices.Sort(ids)
	ids = slices.Compact(ids) // one was approved between the two
	return db.enrollments(ctx, ids[:min(len(ids), limit)])
}

// WaitingUse implements ra.Store.
func (db *DB) WaitingUse(ctx context.Context, org auth.OrgID, requester string) (use ra.WaitingUse, err error) {
	if use.Requester, err = db.engine.Count(ctx, indexWaitingOf(org, requester), Range{}); err != nil {
		return use, unavailable(err)
	}
	for _, phase := range waitingPhases {
		n, err := db.engine.Count(ctx, indexPhase(org, phase), Range{})
		if err != nil {
			return use, unavailable(err)
		}
		use.Organisation += n
	}
	return use, nil
}

// AwaitEnrollment implements ra.Store.
func (db *DB) AwaitEnrollment(ctx context.Context, e *ra.Enrollment, standing [16]byte, fact any, bounds ra.WaitingBounds) error {
	build := func() (*Batch, error) {
		b := &Batch{}
		if err := b.putEnrollment(e, &ra.Enrollment{}); err != nil {
			return nil, err
		}
		if err := b.putStanding(e, standing); err != nil {
			return nil, err
		}
		return b, begin(b, fact)
	}
	b, err := build()
	switch {
	case err != nil:
	case bounds.IsZero():
		err = db.commit(ctx, b)
	default:
		b, err = db.commitCounted(ctx, keyWaiting(e.Org), e.Created, func() (*Batch, error) {
			use, err := db.WaitingUse(ctx, e.Org, e.Requester)
			if err != nil {
				return nil, err
			}
			if err := bounds.Check(use); err != nil {
				return nil, err
			}
			return build()
		})
	}
	switch {
	case problem.Is(err, problem.Conflict):
		return db.numberConflict(ctx, e.ID, err)
	case err != nil:
		return err
	}
	e.Version = b.Version
	return nil
}
