package storage

import (
	"context"
	"time"

	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// removedEntries are the index entries of a removed enrollment: it is in no list, and found by its number and serial alone. It
// counts towards quotas as long as its certificate is good, which a removal does not change.
func removedEntries(e *ra.Enrollment) []Entry {
	id := idMember(e.ID)
	entries := []Entry{
		{Index: indexRemoved, Member: id},
		{Index: indexRemovedEnds, Member: timeMember(e.RemovedUntil(), string(id))},
	}
	if held(e) {
		entries = append(entries, Entry{Index: indexHeld(e.Org, e.Profile), Member: expiryMember(e.NotAfter, id)})
		for _, n := range e.Names {
			entries = append(entries, Entry{Index: indexRemovedName(e.Org), Member: nameMember(n.Value(), id)})
		}
	}
	return entries
}

// ForgetRemoved implements ra.Store. The certificate goes with the enrollment unless it is revoked: lists of the revoked are
// checked by its record, also against what a gateway that was away for long has of them.
func (db *DB) ForgetRemoved(ctx context.Context, now time.Time, limit int) (int, error) {
	list, err := db.listed(ctx, indexRemovedEnds, now, limit, (*ra.Enrollment).RemovedUntil)
	if err != nil {
		return 0, err
	}
	for n, e := range list {
		if err := db.forget(ctx, e); err != nil && !problem.Is(err, problem.Conflict) {
			return n, err
		}
	}
	return len(list), nil
}

func (db *DB) forget(ctx context.Context, e *ra.Enrollment) error {
	b := &Batch{
		Conditions: []Condition{{Key: keyEnrollment(e.ID), Want: Equals, Version: e.Version}},
		Deletes:    []Key{keyEnrollment(e.ID)},
		Removes:    entriesOf(e),
	}
	for _, c := range e.Claims {
		b.Deletes = append(b.Deletes, keyClaim(c))
	}
	switch {
	case e.Imported:
		if err := db.forgetImport(ctx, b, e); err != nil {
			return err
		}
	case !e.Issued.IsZero():
		b.Deletes = append(b.Deletes, keyReplacementOf(e))
		c, err := db.Certificate(ctx, e.Issuer, e.Serial)
		switch {
		case problem.Is(err, problem.NotFound):
		case err != nil:
			return err
		case c.State == ca.Issued && c.Revocation == nil && c.Enrollment == int64(e.ID):
			b.Conditions = append(b.Conditions, Condition{Key: keyCertificate(e.Issuer, e.Serial), Want: Equals, Version: c.Version})
			b.Deletes = append(b.Deletes, keyCertificate(e.Issuer, e.Serial))
		}
	}
	return db.commit(ctx, b)
}

// forgetImport adds to a batch that the certificate which an enrollment was imported with is not there any more. The issuers'
// stay: others have come with them.
func (db *DB) forgetImport(ctx context.Context, b *Batch, e *ra.Enrollment) error {
	b.Deletes = append(b.Deletes, keyReplacementOf(e), keyImported(e.ID))
	k := ra.ImportKey{Org: e.Org, Serial: e.Serial, Fingerprint: e.Fingerprint}
	claim := keyImport(k.Org, k.Fingerprint)
	items, err := db.read(ctx, claim)
	if err != nil {
		return err
	}
	id, err := importedID(k, items[0])
	if err != nil {
		return err
	}
	if id == e.ID { // and not what it was imported as since
		b.Conditions = append(b.Conditions, Condition{Key: claim, Want: Equals, Version: items[0].Version})
		b.Deletes = append(b.Deletes, claim)
	}
	return nil
}
