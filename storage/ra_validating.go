package storage

import (
	"bytes"
	"context"
	"encoding/binary"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// maxLooksScanned bounds how many requests whose look is due one turn passes over, of organisations that have their share.
const maxLooksScanned = 20_000

// lookMember is a request's place among the looks that are due: its organisation is in it, so that a turn can give each a share
// without reading records.
func lookMember(e *ra.Enrollment) []byte {
	org := member(int64(e.Org), "")
	return timeMember(e.Due, string(append(org, idMember(e.ID)...)))
}

// lookOrg is the organisation that a member of it names.
func lookOrg(m []byte) (auth.OrgID, bool) {
	if len(m) != 24 {
		return 0, false
	}
	return auth.OrgID(binary.BigEndian.Uint64(m[8:16])), true
}

// BeginValidation implements ra.Store.
func (db *DB) BeginValidation(ctx context.Context, e *ra.Enrollment, fact any, limit int64) error {
	build := func() (*Batch, error) {
		b := &Batch{}
		if err := b.putEnrollment(e, &ra.Enrollment{}); err != nil {
			return nil, err
		}
		return b, begin(b, fact)
	}
	var b *Batch
	var err error
	if limit <= 0 {
		if b, err = build(); err == nil {
			err = db.commit(ctx, b)
		}
	} else {
		b, err = db.commitCounted(ctx, keyValidating(e.Org), e.Created, func() (*Batch, error) {
			n, err := db.engine.Count(ctx, indexPhase(e.Org, ra.Validating), Range{})
			if err != nil {
				return nil, unavailable(err)
			}
			if n >= limit {
				return nil, problem.New(problem.RateLimited, "%d requests of this organisation wait for validation already, and no more than %d may at a time "+
					"(request_validation.per_organisation); see that some are validated, or take them back", n, limit)
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

// StandEnrollment implements ra.Store.
func (db *DB) StandEnrollment(ctx context.Context, next, e *ra.Enrollment, mark [16]byte, bounds ra.WaitingBounds) error {
	build := func() (*Batch, error) {
		b := &Batch{}
		if err := b.putEnrollment(next, e); err != nil {
			return nil, err
		}
		return b, b.putStanding(next, mark)
	}
	if bounds.IsZero() || !waits(next) {
		b, err := build()
		if err == nil {
			err = db.commit(ctx, b)
		}
		if err == nil {
			next.Version = b.Version
		}
		return err
	}
	b, err := db.commitCounted(ctx, keyWaiting(next.Org), e.Created, func() (*Batch, error) {
		use, err := db.WaitingUse(ctx, next.Org, next.Requester)
		if err != nil {
			return nil, err
		}
		if err := bounds.Check(use); err != nil {
			return nil, err
		}
		return build()
	})
	if err == nil {
		next.Version = b.Version
	}
	return err
}

// DueValidations implements ra.Store.
func (db *DB) DueValidations(ctx context.Context, now time.Time, perOrg, limit int) ([]*ra.Enrollment, error) {
	chosen, of := map[ra.ID][]byte{}, map[auth.OrgID]int{}
	var ids []ra.ID
	page := Page{Limit: 1000}
	for scanned := 0; scanned < maxLooksScanned && len(ids) < limit; scanned += page.Limit {
		members, err := db.engine.Scan(ctx, indexLooks, until(now), page)
		if err != nil {
			return nil, unavailable(err)
		}
		for _, m := range members {
			id, ok := lastID(m)
			org, whole := lookOrg(m)
			if !ok || !whole || len(ids) == limit || of[org] == perOrg {
				continue
			}
			of[org]++
			ids, chosen[id] = append(ids, id), m
		}
		if len(members) < page.Limit {
			break
		}
		page.After = bytes.Clone(members[len(members)-1])
	}
	found, err := db.enrollments(ctx, ids)
	if err != nil {
		return nil, err
	}
	var list []*ra.Enrollment
	for _, e := range found {
		if e.Phase == ra.Validating && bytes.Equal(chosen[e.ID], lookMember(e)) {
			list = append(list, e)
			delete(chosen, e.ID)
		}
	}
	return list, db.dropLooks(ctx, chosen)
}

// dropLooks removes members that are not their enrollment's: they would come back for ever. One that was moved between the two
// reads lost its member itself.
func (db *DB) dropLooks(ctx context.Context, stale map[ra.ID][]byte) error {
	if len(stale) == 0 {
		return nil
	}
	b := &Batch{}
	for _, m := range stale {
		b.Removes = append(b.Removes, Entry{Index: indexLooks, Member: m})
	}
	return db.commit(ctx, b)
}
