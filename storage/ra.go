package storage

import (
	"context"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// putCertificate adds a certificate's record to a batch.
func (b *Batch) putCertificate(c *ca.Certificate) error {
	value, err := encodeCertificate(c)
	if err != nil {
		return err
	}
	b.Puts = append(b.Puts, Put{Key: keyCertificate(c.Issuer, c.Serial), Value: value})
	return nil
}

// putEnrollment adds an enrollment's record, in place of what was read, and moves its index entries with its phase.
func (b *Batch) putEnrollment(after, before *ra.Enrollment) error {
	value, err := encodeEnrollment(after)
	if err != nil {
		return err
	}
	key := keyEnrollment(after.ID)
	b.Puts = append(b.Puts, Put{Key: key, Value: value})
	if before.Version == [16]byte{} {
		b.Conditions = append(b.Conditions, Condition{Key: key, Want: Absent})
		b.Adds = append(b.Adds,
			Entry{Index: indexOrg(after.Org), Member: idMember(after.ID)},
			Entry{Index: indexAll, Member: idMember(after.ID)})
		for _, c := range after.Claims {
			b.Conditions = append(b.Conditions, Condition{Key: keyClaim(c), Want: Absent})
			b.Puts = append(b.Puts, Put{Key: keyClaim(c), Value: idMember(after.ID)})
		}
	} else {
		b.Conditions = append(b.Conditions, Condition{Key: key, Want: Equals, Version: before.Version})
		b.Removes = append(b.Removes, dueEntries(before)...)
	}
	b.Adds = append(b.Adds, dueEntries(after)...)
	return nil
}

// dueEntries are an enrollment's entries in the index of work that is due: one while it is requested.
func dueEntries(e *ra.Enrollment) []Entry {
	if e.Phase != ra.Requested || e.Due.IsZero() {
		return nil
	}
	return []Entry{{Index: indexDue, Member: timeMember(e.Due, string(idMember(e.ID)))}}
}

// NextEnrollment implements ra.Store.
func (db *DB) NextEnrollment(ctx context.Context) (ra.ID, error) {
	db.numbers.Lock()
	defer db.numbers.Unlock()
	if db.numbers.next == db.numbers.end {
		first, err := db.engine.NextID(ctx, seqEnrollment, numberBlock)
		if err != nil {
			return 0, unavailable(err)
		}
		db.numbers.next, db.numbers.end = first, first+numberBlock
	}
	id := ra.ID(db.numbers.next)
	if id > ra.MaxID {
		return 0, problem.New(problem.Unavailable, "all enrollment numbers below 2^31 are used")
	}
	db.numbers.next++
	return id, nil
}

// Enrollment implements ra.Store.
func (db *DB) Enrollment(ctx context.Context, id ra.ID) (*ra.Enrollment, error) {
	items, err := db.read(ctx, keyEnrollment(id))
	if err != nil {
		return nil, err
	}
	e, err := decodeEnrollment(id, items[0])
	if err == nil && e == nil {
		return nil, problem.New(problem.NotFound, "there is no enrollment %d", id)
	}
	return e, err
}

// Enrollments implements ra.Store.
func (db *DB) Enrollments(ctx context.Context, org auth.OrgID, p ra.Page) ([]*ra.Enrollment, error) {
	index := indexAll
	if org != 0 {
		index = indexOrg(org)
	}
	page := Page{Limit: p.Limit, Reverse: p.Reverse}
	if p.After != 0 {
		page.After = idMember(p.After)
	}
	members, err := db.engine.Scan(ctx, index, Range{}, page)
	if err != nil {
		return nil, unavailable(err)
	}
	ids := make([]ra.ID, 0, len(members))
	for _, m := range members {
		n, _, _ := memberParts(m)
		ids = append(ids, ra.ID(n))
	}
	return db.enrollments(ctx, ids)
}

// enrollments reads those that exist.
func (db *DB) enrollments(ctx context.Context, ids []ra.ID) ([]*ra.Enrollment, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	keys := make([]Key, len(ids))
	for i, id := range ids {
		keys[i] = keyEnrollment(id)
	}
	items, err := db.read(ctx, keys...)
	if err != nil {
		return nil, err
	}
	list := make([]*ra.Enrollment, 0, len(ids))
	for i, it := range items {
		e, err := decodeEnrollment(ids[i], it)
		if err != nil {
			return nil, err
		}
		if e != nil {
			list = append(list, e)
		}
	}
	return list, nil
}

// EnrollmentsBySerial implements ra.Store: the certificate's key is its issuer and serial, and the issuers are few.
func (db *DB) EnrollmentsBySerial(ctx context.Context, serial ca.Serial) ([]*ra.Enrollment, error) {
	if serial == "" || len(serial) > 40 { // RFC 5280, 4.1.2.2: at most 20 octets
		return nil, nil
	}
	issuers, err := db.engine.Scan(ctx, indexIssuers, Range{}, Page{Limit: 1000})
	if err != nil {
		return nil, unavailable(err)
	}
	if len(issuers) == 0 {
		return nil, nil
	}
	keys := make([]Key, len(issuers))
	for i, issuer := range issuers {
		keys[i] = keyCertificate(string(issuer), serial)
	}
	items, err := db.read(ctx, keys...)
	if err != nil {
		return nil, err
	}
	var ids []ra.ID
	for i, it := range items {
		c, err := decodeCertificate(string(issuers[i]), serial, it)
		if err != nil {
			return nil, err
		}
		if c != nil && c.State == ca.Issued {
			ids = append(ids, ra.ID(c.Enrollment))
		}
	}
	return db.enrollments(ctx, ids)
}

// DueEnrollments implements ra.Store.
func (db *DB) DueEnrollments(ctx context.Context, now time.Time, limit int) ([]*ra.Enrollment, error) {
	members, err := db.engine.Scan(ctx, indexDue, until(now), Page{Limit: limit})
	if err != nil {
		return nil, unavailable(err)
	}
	var ids []ra.ID
	for _, m := range members {
		if _, id, ok := memberParts(m); ok {
			if n, _, ok := memberParts([]byte(id)); ok {
				ids = append(ids, ra.ID(n))
			}
		}
	}
	return db.enrollments(ctx, ids)
}

// TakeEnrollment implements ra.Store. The index entry of the due time that was read is removed, so e.Due must be as read.
func (db *DB) TakeEnrollment(ctx context.Context, e *ra.Enrollment, due time.Time) error {
	if e.Phase != ra.Requested {
		return problem.New(problem.Conflict, "enrollment %d is finished", e.ID)
	}
	next := *e
	next.Due = due
	return db.putOver(ctx, &next, e)
}

// FailEnrollment implements ra.Store.
func (db *DB) FailEnrollment(ctx context.Context, e *ra.Enrollment, f ra.Failure) error {
	if e.Phase != ra.Requested {
		return problem.New(problem.Conflict, "enrollment %d is finished", e.ID)
	}
	next := *e
	next.Phase, next.Failure, next.CSR, next.Due = ra.Failed, &f, nil, time.Time{}
	return db.putOver(ctx, &next, e)
}

// putOver commits next in place of e, as it was read, and makes e what is now recorded.
func (db *DB) putOver(ctx context.Context, next, e *ra.Enrollment) error {
	b := &Batch{}
	if err := b.putEnrollment(next, e); err != nil {
		return err
	}
	if err := db.commit(ctx, b); err != nil {
		return err
	}
	next.Version = b.Version
	*e = *next
	return nil
}
