package storage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// RecordIntent implements ca.Store. The owner is an *ra.Issuance: its enrollment is put under the batch's version, which
// is therefore also the intent's (RecordCertificate counts on it), together with the enrollment's list entries and claims
// and the door's own beginning.
func (db *DB) RecordIntent(ctx context.Context, in ca.Intent, owner ca.Owner) error {
	issuance, ok := owner.(*ra.Issuance)
	if !ok {
		return errOwner(owner)
	}
	before, after := issuance.Enrollment, issuance.Intended(in)
	b, err := db.commitIntent(ctx, in, issuance, after)
	if err != nil {
		if before.Version == [16]byte{} && problem.Is(err, problem.Conflict) {
			return db.numberConflict(ctx, before.ID, err)
		}
		return err
	}
	after.Version = b.Version
	issuance.Enrollment, issuance.Begin, issuance.Mark = after, nil, nil
	return nil
}

// commitIntent commits an intent with its enrollment: under the profile's quota, if that holds nothing yet.
func (db *DB) commitIntent(ctx context.Context, in ca.Intent, issuance *ra.Issuance, after *ra.Enrollment) (*Batch, error) {
	if issuance.Quota.IsZero() || held(issuance.Enrollment) {
		b, err := intentBatch(in, issuance, after)
		if err != nil {
			return nil, err
		}
		return b, db.commit(ctx, b)
	}
	return db.commitWithinQuota(ctx, in, issuance, after)
}

// intentBatch is the commit of an intent.
func intentBatch(in ca.Intent, issuance *ra.Issuance, after *ra.Enrollment) (*Batch, error) {
	b := &Batch{
		Conditions: []Condition{{Key: keyCertificate(in.Issuer, in.Serial), Want: Absent}},
		Adds: []Entry{
			{Index: indexIntents, Member: intentMember(in)},
			{Index: indexIssuers, Member: []byte(in.Issuer)},
		},
	}
	if err := b.putCertificate(&ca.Certificate{Intent: in, State: ca.Open}); err != nil {
		return nil, err
	}
	if err := b.putEnrollment(after, issuance.Enrollment); err != nil {
		return nil, err
	}
	if issuance.Mark != nil {
		if err := b.putStanding(after, *issuance.Mark); err != nil {
			return nil, err
		}
	}
	return b, begin(b, issuance.Begin)
}

// begin adds a door's own beginning to the commit.
func begin(b *Batch, fact any) error {
	switch fact := fact.(type) {
	case nil:
		return nil
	case *acme.OrderBegun:
		return beginOrder(b, fact)
	case *ra.Successor:
		return beginSuccessor(b, fact)
	case *ra.Linked:
		return link(b, fact)
	default:
		return errOwner(fact)
	}
}

func errOwner(owner any) error {
	return problem.Wrap(fmt.Errorf("storage: no record is known for an owner of type %T", owner), problem.Internal, "")
}

// numberConflict tells a conflict over the door's object from one over the enrollment's number, which happens if the
// sequence went back: then it is lifted, and the request can be made again.
func (db *DB) numberConflict(ctx context.Context, id ra.ID, conflict error) error {
	items, err := db.read(ctx, keyEnrollment(id))
	if err != nil {
		return err
	}
	if !items[0].Found {
		return conflict
	}
	if err := db.renumber(ctx, 0); err != nil {
		return err
	}
	return problem.Wrap(conflict, problem.Unavailable, "the numbers of enrollments are being corrected; try again").After(time.Second)
}

// renumber makes the next enrollment's number one behind every enrollment there is, and behind last. What this process
// still has of a block is dropped: another process may have been given the same numbers.
func (db *DB) renumber(ctx context.Context, last ra.ID) error {
	db.numbers.Lock()
	db.numbers.next = db.numbers.end
	db.numbers.Unlock()
	if last > 0 {
		if err := db.engine.LiftID(ctx, seqEnrollment, int64(last)); err != nil {
			return unavailable(err)
		}
	}
	return unavailable(db.liftNumbers(ctx))
}

// RecordCertificate implements ca.Store. The intent was put in one commit with the enrollment, so it is still open exactly
// if its version is still the enrollment's; a worker that took the enrollment over has moved that too.
func (db *DB) RecordCertificate(ctx context.Context, c ca.Certificate, owner ca.Owner) error {
	issuance, ok := owner.(*ra.Issuance)
	if !ok {
		return errOwner(owner)
	}
	before, after := issuance.Enrollment, issuance.Completed(c)
	b := &Batch{
		Conditions: []Condition{{Key: keyCertificate(c.Issuer, c.Serial), Want: Equals, Version: before.Version}},
		Removes:    []Entry{{Index: indexIntents, Member: intentMember(c.Intent)}},
	}
	c.State = ca.Issued
	if err := b.putCertificate(&c); err != nil {
		return err
	}
	if err := b.putEnrollment(after, before); err != nil {
		return err
	}
	if after.Content != "" {
		if err := b.holdStanding(after); err != nil {
			return err
		}
	}
	if err := db.commit(ctx, b); err != nil {
		return err
	}
	after.Version = b.Version
	issuance.Enrollment = after
	return nil
}

// AbandonIntent implements ca.Store.
func (db *DB) AbandonIntent(ctx context.Context, issuer string, serial ca.Serial, at time.Time) error {
	c, err := db.Certificate(ctx, issuer, serial)
	if err != nil {
		return err
	}
	if c.State != ca.Open {
		return problem.New(problem.Conflict, "the intent %s is no longer open", serial)
	}
	b := &Batch{
		Conditions: []Condition{{Key: keyCertificate(issuer, serial), Want: Equals, Version: c.Version}},
		Removes:    []Entry{{Index: indexIntents, Member: intentMember(c.Intent)}},
	}
	c.State = ca.Abandoned
	c.Revocation = &ca.Revocation{At: at.UTC().Truncate(time.Second), Actor: "system"}
	b.Adds = []Entry{revokedEntry(c)}
	if err := b.putCertificate(c); err != nil {
		return err
	}
	if err := db.commit(ctx, b); err != nil {
		return err
	}
	db.engine.Wake(ctx, topicRevoked(issuer))
	return nil
}

// RecordAbandoned implements ca.Store.
func (db *DB) RecordAbandoned(ctx context.Context, in ca.Intent, at time.Time) error {
	c := &ca.Certificate{Intent: in, State: ca.Abandoned, Revocation: &ca.Revocation{At: at.UTC().Truncate(time.Second), Actor: "system"}}
	b := &Batch{
		Conditions: []Condition{{Key: keyCertificate(in.Issuer, in.Serial), Want: Absent}},
		Adds:       []Entry{revokedEntry(c), {Index: indexIssuers, Member: []byte(in.Issuer)}},
	}
	if err := b.putCertificate(c); err != nil {
		return err
	}
	if err := db.commit(ctx, b); err != nil {
		return err
	}
	db.engine.Wake(ctx, topicRevoked(in.Issuer))
	return nil
}

// OpenIntents implements ca.Store.
func (db *DB) OpenIntents(ctx context.Context, before time.Time, limit int) ([]ca.Intent, error) {
	members, err := db.engine.Scan(ctx, indexIntents, Range{To: member(before.UnixMilli(), "")}, Page{Limit: limit})
	if err != nil {
		return nil, unavailable(err)
	}
	var open []ca.Intent
	stale := &Batch{}
	for _, m := range members {
		_, rest, _ := memberParts(m)
		issuer, serial, ok := strings.Cut(rest, "/")
		if !ok {
			return nil, damaged(Key(indexIntents), errors.New("a member names no serial"))
		}
		c, err := db.Certificate(ctx, issuer, ca.Serial(serial))
		switch {
		case problem.Is(err, problem.NotFound), err == nil && c.State != ca.Open:
			// The entry of a record that is not there, or not open, would come back for ever.
			stale.Removes = append(stale.Removes, Entry{Index: indexIntents, Member: m})
		case err != nil:
			return nil, err
		default:
			open = append(open, c.Intent)
		}
	}
	if len(stale.Removes) > 0 {
		return open, db.commit(ctx, stale)
	}
	return open, nil
}

// Certificate implements ca.Store.
func (db *DB) Certificate(ctx context.Context, issuer string, serial ca.Serial) (*ca.Certificate, error) {
	items, err := db.read(ctx, keyCertificate(issuer, serial))
	if err != nil {
		return nil, err
	}
	c, err := decodeCertificate(issuer, serial, items[0])
	if err == nil && c == nil {
		return nil, problem.New(problem.NotFound, "no certificate has serial %s", serial)
	}
	return c, err
}

// RecordRevocation implements ca.Store. The enrollment is read here; if it alone changed meanwhile the commit is made
// again, and only a changed certificate is the caller's Conflict.
func (db *DB) RecordRevocation(ctx context.Context, c ca.Certificate, r ca.Revocation) error {
	for attempt := 1; ; attempt++ {
		err := db.tryRevocation(ctx, c, r)
		if err == nil {
			db.engine.Wake(ctx, topicRevoked(c.Issuer))
			return nil
		}
		if !problem.Is(err, problem.Conflict) || attempt == 3 {
			return err
		}
		now, readErr := db.Certificate(ctx, c.Issuer, c.Serial)
		if readErr != nil {
			return readErr
		}
		if now.Version != c.Version {
			return err
		}
	}
}

// RecordRenewal implements ca.Store.
func (db *DB) RecordRenewal(ctx context.Context, c ca.Certificate, r ca.Renewal) error {
	b := &Batch{Conditions: []Condition{{Key: keyCertificate(c.Issuer, c.Serial), Want: Equals, Version: c.Version}}}
	c.Renewal = &r
	if err := b.putCertificate(&c); err != nil {
		return err
	}
	return db.commit(ctx, b)
}

func (db *DB) tryRevocation(ctx context.Context, c ca.Certificate, r ca.Revocation) error {
	e, err := db.Enrollment(ctx, ra.ID(c.Enrollment))
	switch {
	case problem.Is(err, problem.NotFound):
		e = &ra.Enrollment{} // it was removed long ago; the certificate's record outlives it
	case err != nil:
		return err
	}
	b := &Batch{Conditions: []Condition{{Key: keyCertificate(c.Issuer, c.Serial), Want: Equals, Version: c.Version}}}
	if c.Revocation != nil {
		b.Removes = []Entry{revokedEntry(&c)}
	}
	c.Revocation = &r
	b.Adds = []Entry{revokedEntry(&c)}
	if err := b.putCertificate(&c); err != nil {
		return err
	}
	// A replay can have put a second certificate of one enrollment on record; the enrollment follows its own alone.
	if e.Issuer == c.Issuer && e.Serial == c.Serial {
		if err := b.putEnrollment(e.Revoke(r), e); err != nil {
			return err
		}
	}
	return db.commit(ctx, b)
}

func intentMember(in ca.Intent) []byte {
	return timeMember(in.Opened, in.Issuer+"/"+string(in.Serial))
}
