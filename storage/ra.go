package storage

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/policy"
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

// putEnrollment adds an enrollment's record, in place of what was read, and moves its index entries with it.
func (b *Batch) putEnrollment(after, before *ra.Enrollment) error {
	value, err := encodeEnrollment(after)
	if err != nil {
		return err
	}
	key := keyEnrollment(after.ID)
	b.Puts = append(b.Puts, Put{Key: key, Value: value})
	if err := b.putPrivateKey(after, before); err != nil {
		return err
	}
	if before.Version == [16]byte{} {
		b.Conditions = append(b.Conditions, Condition{Key: key, Want: Absent})
		for _, c := range after.Claims {
			b.Conditions = append(b.Conditions, Condition{Key: keyClaim(c), Want: Absent})
			b.Puts = append(b.Puts, Put{Key: keyClaim(c), Value: idMember(after.ID)})
		}
		b.Adds = append(b.Adds, entriesOf(after)...)
		b.aside.events = append(b.aside.events, ra.EnrollmentEvents(after, nil)...)
		return nil
	}
	b.aside.events = append(b.aside.events, ra.EnrollmentEvents(after, before)...)
	b.Conditions = append(b.Conditions, Condition{Key: key, Want: Equals, Version: before.Version})
	old, now := entriesOf(before), entriesOf(after)
	b.Removes = append(b.Removes, without(old, now)...)
	b.Adds = append(b.Adds, without(now, old)...)
	return nil
}

// entriesOf are all index entries of an enrollment as it stands.
func entriesOf(e *ra.Enrollment) []Entry {
	entries := listEntries(e)
	if e.Imported {
		entries = append(entries, importedEntry(e))
	}
	if due := e.UpkeepDue(); !due.IsZero() {
		entries = append(entries, Entry{Index: indexUpkeep, Member: timeMember(due, string(idMember(e.ID)))})
	}
	return entries
}

// listEntries are those that lists and sweeps of every enrollment are made of.
func listEntries(e *ra.Enrollment) []Entry {
	if !e.Removed.IsZero() {
		return removedEntries(e)
	}
	id := idMember(e.ID)
	entries := []Entry{
		{Index: indexAll, Member: id},
		{Index: indexOrg(e.Org), Member: id},
		{Index: indexPhase(e.Org, e.Phase), Member: expiryMember(e.NotAfter, id)},
		{Index: indexProfile(e.Org, e.Profile), Member: id},
		{Index: indexRequester(e.Org, e.Requester), Member: id},
	}
	for _, n := range e.Names {
		entries = append(entries, Entry{Index: indexName(e.Org), Member: nameMember(n.Value(), id)})
	}
	entries = append(entries, commonNameEntries(e)...)
	if waits(e) {
		entries = append(entries, Entry{Index: indexWaiting, Member: id}, Entry{Index: indexWaitingOf(e.Org, e.Requester), Member: id})
	}
	if (e.Phase == ra.Requested || waits(e)) && !e.Due.IsZero() {
		entries = append(entries, Entry{Index: indexDue, Member: timeMember(e.Due, string(id))})
	}
	if !e.KeyStored.IsZero() {
		entries = append(entries, Entry{Index: indexPrivateKeys, Member: id})
		if !e.NotAfter.IsZero() {
			entries = append(entries, Entry{Index: indexKeyEnds, Member: expiryMember(e.NotAfter, id)})
		}
	}
	if e.Phase == ra.Validating && !e.Due.IsZero() {
		entries = append(entries, Entry{Index: indexLooks, Member: lookMember(e)})
	}
	if held(e) {
		entries = append(entries, Entry{Index: indexHeld(e.Org, e.Profile), Member: expiryMember(e.NotAfter, id)})
	}
	if e.Imported {
		entries = append(entries, importedSerial(e))
	}
	if !e.NotAfter.IsZero() {
		entries = append(entries, Entry{Index: indexExpiry(e.Org), Member: expiryMember(e.NotAfter, id)})
	}
	return entries
}

// without is what of a is not in b.
func without(a, b []Entry) []Entry {
	return slices.DeleteFunc(slices.Clone(a), func(x Entry) bool {
		return slices.ContainsFunc(b, func(y Entry) bool { return x.Index == y.Index && bytes.Equal(x.Member, y.Member) })
	})
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

// EnrollmentsBySerial implements ra.Store: the certificate's key is its issuer and serial, and the issuers are few. What was
// imported has an index.
func (db *DB) EnrollmentsBySerial(ctx context.Context, serial ca.Serial) ([]*ra.Enrollment, error) {
	if serial == "" || len(serial) > 40 { // RFC 5280, 4.1.2.2: at most 20 octets
		return nil, nil
	}
	ids, err := db.importedBySerial(ctx, serial)
	if err != nil {
		return nil, err
	}
	issuers, err := db.engine.Scan(ctx, indexIssuers, Range{}, Page{Limit: 1000})
	if err != nil {
		return nil, unavailable(err)
	}
	if len(issuers) == 0 {
		return db.enrollments(ctx, ids)
	}
	keys := make([]Key, len(issuers))
	for i, issuer := range issuers {
		keys[i] = keyCertificate(string(issuer), serial)
	}
	items, err := db.read(ctx, keys...)
	if err != nil {
		return nil, err
	}
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
		if id, ok := lastID(m); ok {
			ids = append(ids, id)
		}
	}
	found, err := db.enrollments(ctx, ids)
	if err != nil {
		return nil, err
	}
	due := map[ra.ID]*ra.Enrollment{}
	for _, e := range found {
		due[e.ID] = e
	}
	var list []*ra.Enrollment
	stale := &Batch{}
	for _, m := range members {
		id, _ := lastID(m)
		e := due[id]
		if e == nil || !bytes.Equal(m, timeMember(e.Due, string(idMember(id)))) {
			// An entry that is not its enrollment's would come back for ever.
			stale.Removes = append(stale.Removes, Entry{Index: indexDue, Member: m})
			continue
		}
		list = append(list, e)
	}
	if len(stale.Removes) > 0 {
		return list, db.commit(ctx, stale)
	}
	return list, nil
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
	next.Phase, next.Failure, next.CSR, next.Restriction, next.Due = ra.Failed, &f, nil, policy.Restriction{}, time.Time{}
	if !next.KeyStored.IsZero() {
		next.DestroyKey(f.At)
	}
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
