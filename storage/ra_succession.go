package storage

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

var errNoNumber = errors.New("it holds no enrollment number")

// ClaimedEnrollment implements ra.Store.
func (db *DB) ClaimedEnrollment(ctx context.Context, c ra.Claim) (*ra.Enrollment, error) {
	items, err := db.read(ctx, keyClaim(c))
	if err != nil {
		return nil, err
	}
	absent := problem.New(problem.NotFound, "no enrollment has the name %q", c.Name)
	if !items[0].Found {
		return nil, absent
	}
	id, ok := lastID(items[0].Value)
	if !ok {
		return nil, damaged(keyClaim(c), errNoNumber)
	}
	e, err := db.Enrollment(ctx, id)
	if problem.Is(err, problem.NotFound) {
		return nil, absent
	}
	return e, err
}

// Succession implements ra.Store. The record of what replaces a certificate is one for every door: an ACME order that is about to
// replace it stands in the way once it has proven its names, as it does for another order.
func (db *DB) Succession(ctx context.Context, e *ra.Enrollment, now time.Time) (s ra.Succession, err error) {
	if e.Serial == "" {
		return s, nil
	}
	if e.Imported {
		return db.importedSuccession(ctx, e)
	}
	p, err := db.Predecessor(ctx, acme.CertificateID{Issuer: e.Issuer, Serial: e.Serial})
	if err != nil {
		return s, err
	}
	s.Mark = p.Mark
	switch {
	case p.Order == nil:
	case p.Order.Enrollment == 0:
		switch p.Order.Status(now, p.Facts) {
		case acme.StatusPending, acme.StatusInvalid:
		default:
			s.Ordered = true
		}
	default:
		s.Next = succeeds(p.Facts.Enrollment, e)
	}
	return s, nil
}

// succeeds is the number of an enrollment that takes another's place, or is about to; zero if it came to nothing, or if in a store
// that went back it is something else.
func succeeds(next, e *ra.Enrollment) ra.ID {
	if next == nil || next.Replaces != e.ID || next.Phase == ra.Failed || next.Phase == ra.Declined {
		return 0
	}
	return next.ID
}

// importedSuccession is the same for what was imported, which no ACME order can replace.
func (db *DB) importedSuccession(ctx context.Context, e *ra.Enrollment) (s ra.Succession, err error) {
	key := keyReplacementOf(e)
	items, err := db.read(ctx, key)
	if err != nil || !items[0].Found {
		return s, err
	}
	mark, err := decodeReplacement(key, items[0])
	if err != nil {
		return s, err
	}
	s.Mark = items[0].Version
	next, err := db.enrollments(ctx, []ra.ID{ra.ID(mark.Enrollment)})
	if err == nil && len(next) == 1 {
		s.Next = succeeds(next[0], e)
	}
	return s, err
}

// putSuccessor adds to a batch that an enrollment takes the place of another.
func (b *Batch) putSuccessor(of *ra.Enrollment, next ra.ID, mark [16]byte) error {
	value, err := encode(replacementRecord{Enrollment: int64(next)})
	if err != nil {
		return err
	}
	key := keyReplacementOf(of)
	condition := Condition{Key: key, Want: Absent}
	if mark != [16]byte{} {
		condition = Condition{Key: key, Want: Equals, Version: mark}
	}
	b.Conditions = append(b.Conditions, condition)
	b.Puts = append(b.Puts, Put{Key: key, Value: value})
	return nil
}

// beginSuccessor adds to the first commit of an enrollment that it takes the place of another, which must be as it was read: of
// a renewal and a revocation at the same time the revocation stays, and the renewal is a conflict or came first.
func beginSuccessor(b *Batch, f *ra.Successor) error {
	if err := b.putSuccessor(f.Of, f.Next, f.Mark); err != nil {
		return err
	}
	if f.After != nil {
		return b.putEnrollment(f.After, f.Of)
	}
	b.Conditions = append(b.Conditions, Condition{Key: keyEnrollment(f.Of.ID), Want: Equals, Version: f.Of.Version})
	return nil
}

// link adds to the commit that moves an enrollment that another one, which is there, has taken its place.
func link(b *Batch, f *ra.Linked) error {
	if err := b.putSuccessor(f.Old, f.Next.ID, f.Mark); err != nil {
		return err
	}
	return b.putEnrollment(f.After, f.Next)
}

// UpkeepEnrollments implements ra.Store.
func (db *DB) UpkeepEnrollments(ctx context.Context, now time.Time, limit int) ([]*ra.Enrollment, error) {
	return db.listed(ctx, indexUpkeep, now, limit, (*ra.Enrollment).UpkeepDue)
}

// listed reads the enrollments of an index by time, up to a moment. An entry that is not its enrollment's would come back for
// ever, so it is removed.
func (db *DB) listed(ctx context.Context, index string, now time.Time, limit int, due func(*ra.Enrollment) time.Time) ([]*ra.Enrollment, error) {
	members, err := db.engine.Scan(ctx, index, until(now), Page{Limit: limit})
	if err != nil {
		return nil, unavailable(err)
	}
	var ids []ra.ID
	for _, m := range members {
		if id, ok := lastID(m); ok {
			ids = append(ids, id)
		}
	}
	found, err := db.enrollments(ctx, ids)
	if err != nil {
		return nil, err
	}
	byID := map[ra.ID]*ra.Enrollment{}
	for _, e := range found {
		byID[e.ID] = e
	}
	var list []*ra.Enrollment
	stale := &Batch{}
	for _, m := range members {
		id, _ := lastID(m)
		e := byID[id]
		if e == nil || !bytes.Equal(m, timeMember(due(e), string(idMember(id)))) {
			stale.Removes = append(stale.Removes, Entry{Index: index, Member: m})
			continue
		}
		list = append(list, e)
	}
	if len(stale.Removes) > 0 {
		return list, db.commit(ctx, stale)
	}
	return list, nil
}
