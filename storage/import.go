package storage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// An imported certificate stands under its enrollment's number, away from those that issuers of ours have signed, so that
// nothing which answers for our own can come upon it. What keeps it from being imported twice stands under the organisation and
// the fingerprint. Issuers' certificates, which many have in common, are stored once, under their hashes.

// importRecord is what an enrollment was imported with.
type importRecord struct {
	DER     []byte   `cbor:"1,keyasint"`
	Issuers [][]byte `cbor:"2,keyasint,omitempty"` // hashes
}

// importedSerial is the entry by which an imported certificate is found by its serial, whose issuer nobody knows.
func importedSerial(e *ra.Enrollment) Entry {
	return Entry{Index: indexImportedSerials, Member: append(serialPrefix(e.Serial), idMember(e.ID)...)}
}

// importedEntry counts an import, until it is forgotten.
func importedEntry(e *ra.Enrollment) Entry {
	return Entry{Index: indexOrgImports(e.Org), Member: idMember(e.ID)}
}

func serialPrefix(serial ca.Serial) []byte { return append([]byte(serial), 0) }

// Imports implements ra.ImportStore: every issuer that was ever used may have signed one of the certificates.
func (db *DB) Imports(ctx context.Context, keys []ra.ImportKey) ([]ra.ImportFound, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	issuers, err := db.engine.Scan(ctx, indexIssuers, Range{}, Page{Limit: 1000})
	if err != nil {
		return nil, unavailable(err)
	}
	var names []Key
	for _, k := range keys {
		names = append(names, keyImport(k.Org, k.Fingerprint))
		for _, issuer := range issuers {
			names = append(names, keyCertificate(string(issuer), k.Serial))
		}
	}
	items, err := db.read(ctx, names...)
	if err != nil {
		return nil, err
	}
	found := make([]ra.ImportFound, len(keys))
	var ids []ra.ID // of those that are found, two for each key, zero for none
	for i, k := range keys {
		own := items[i*(1+len(issuers)):][:1+len(issuers)]
		imported, err := importedID(k, own[0])
		if err != nil {
			return nil, err
		}
		found[i].Claim = own[0].Version
		recorded := ra.ID(0)
		for n, issuer := range issuers {
			c, err := decodeCertificate(string(issuer), k.Serial, own[1+n])
			if err != nil {
				return nil, err
			}
			if c != nil && c.State == ca.Issued && c.TBSHash == k.TBSHash {
				recorded = ra.ID(c.Enrollment)
			}
		}
		ids = append(ids, imported, recorded)
	}
	return found, db.fillImports(ctx, found, ids)
}

// fillImports reads the enrollments that were found.
func (db *DB) fillImports(ctx context.Context, found []ra.ImportFound, ids []ra.ID) error {
	list, err := db.enrollments(ctx, nonZero(ids))
	if err != nil {
		return err
	}
	byID := make(map[ra.ID]*ra.Enrollment, len(list))
	for _, e := range list {
		byID[e.ID] = e
	}
	for i := range found {
		found[i].Imported, found[i].Recorded = byID[ids[2*i]], byID[ids[2*i+1]]
	}
	return nil
}

func nonZero(ids []ra.ID) (out []ra.ID) {
	for _, id := range ids {
		if id != 0 {
			out = append(out, id)
		}
	}
	return out
}

// importedID is the enrollment that a certificate was last imported as, zero if it was not.
func importedID(k ra.ImportKey, it Item) (ra.ID, error) {
	if !it.Found {
		return 0, nil
	}
	if len(it.Value) != 8 {
		return 0, damaged(keyImport(k.Org, k.Fingerprint), errors.New("it is no enrollment number"))
	}
	return ra.ID(binary.BigEndian.Uint64(it.Value)), nil
}

// RecordImports implements ra.ImportStore.
func (db *DB) RecordImports(ctx context.Context, list []*ra.Import, noted time.Time, bounds ra.ImportBounds) error {
	if len(list) == 0 {
		return nil
	}
	org := list[0].Enrollment.Org
	build := func() (*Batch, error) {
		b := &Batch{}
		issuers := map[Key]bool{}
		for _, i := range list {
			if err := b.putImport(i, issuers); err != nil {
				return nil, err
			}
			b.Adds = append(b.Adds, importNoteEntry(ra.ImportNote{ID: i.Enrollment.ID, At: noted}))
		}
		return b, nil
	}
	b, err := build()
	switch {
	case err != nil:
	case bounds.IsZero():
		err = db.commit(ctx, b)
	default:
		b, err = db.commitCounted(ctx, keyImports(org), noted, func() (*Batch, error) {
			use, err := db.ImportUse(ctx, org, list)
			if err != nil {
				return nil, err
			}
			if err := errors.Join(bounds.Check(use, list)...); err != nil {
				return nil, err
			}
			return build()
		})
	}
	switch {
	case problem.Is(err, problem.Conflict):
		return db.importConflict(ctx, list, err)
	case err != nil:
		return err
	}
	for _, i := range list {
		i.Enrollment.Version = b.Version
	}
	return nil
}

// ImportUse implements ra.ImportStore. Which issuers' certificates are known is asked for those alone that come.
func (db *DB) ImportUse(ctx context.Context, org auth.OrgID, list []*ra.Import) (use ra.ImportUse, err error) {
	if use.Certificates, err = db.engine.Count(ctx, indexOrgImports(org), Range{}); err != nil {
		return use, unavailable(err)
	}
	if use.Issuers, err = db.engine.Count(ctx, indexOrgImportIssuers(org), Range{}); err != nil {
		return use, unavailable(err)
	}
	use.Known = map[[sha256.Size]byte]bool{}
	for _, i := range list {
		for _, der := range i.Issuers {
			hash := sha256.Sum256(der)
			if _, asked := use.Known[hash]; asked {
				continue
			}
			members, err := db.engine.Scan(ctx, indexOrgImportIssuers(org), Prefix(hash[:]), Page{Limit: 1})
			if err != nil {
				return use, unavailable(err)
			}
			use.Known[hash] = len(members) > 0
		}
	}
	return use, nil
}

// putImport adds to a batch an enrollment that is new, with what it was imported with. issuers are those that the batch puts.
func (b *Batch) putImport(i *ra.Import, issuers map[Key]bool) error {
	e := i.Enrollment
	record := importRecord{DER: i.Certificate}
	for _, der := range i.Issuers {
		key, hash := keyImportedIssuer(der)
		record.Issuers = append(record.Issuers, hash)
		if !issuers[key] {
			issuers[key] = true
			b.Puts = append(b.Puts, Put{Key: key, Value: der})
			b.Adds = append(b.Adds, Entry{Index: indexOrgImportIssuers(e.Org), Member: hash})
		}
	}
	value, err := encode(record)
	if err != nil {
		return err
	}
	b.Puts = append(b.Puts, Put{Key: keyImported(e.ID), Value: value})
	if err := b.putEnrollment(e, &ra.Enrollment{}); err != nil {
		return err
	}
	b.claimImport(i)
	return nil
}

// claimImport makes the enrollment the one that its certificate was imported as.
func (b *Batch) claimImport(i *ra.Import) {
	key := keyImport(i.Enrollment.Org, i.Enrollment.Fingerprint)
	c := Condition{Key: key, Want: Absent}
	if i.Claim != (Version{}) {
		c = Condition{Key: key, Want: Equals, Version: i.Claim}
	}
	b.Conditions = append(b.Conditions, c)
	b.Puts = append(b.Puts, Put{Key: key, Value: idMember(i.Enrollment.ID)})
}

// importConflict tells a conflict over a certificate from one over a number, which happens if the sequence went back: then it
// is lifted.
func (db *DB) importConflict(ctx context.Context, list []*ra.Import, conflict error) error {
	keys := make([]Key, len(list))
	for n, i := range list {
		keys[n] = keyEnrollment(i.Enrollment.ID)
	}
	items, err := db.read(ctx, keys...)
	if err != nil {
		return err
	}
	for _, it := range items {
		if it.Found {
			if err := db.renumber(ctx, 0); err != nil {
				return err
			}
			break
		}
	}
	return conflict
}

// ImportedCertificate implements ra.ImportStore.
func (db *DB) ImportedCertificate(ctx context.Context, id ra.ID) (certificate []byte, issuers [][]byte, err error) {
	items, err := db.read(ctx, keyImported(id))
	if err != nil {
		return nil, nil, err
	}
	if !items[0].Found {
		return nil, nil, problem.New(problem.NotFound, "enrollment %d was not imported", id)
	}
	var r importRecord
	if err := decode(items[0].Value, &r); err != nil {
		return nil, nil, damaged(keyImported(id), err)
	}
	if len(r.Issuers) == 0 {
		return r.DER, nil, nil
	}
	keys := make([]Key, len(r.Issuers))
	for n, hash := range r.Issuers {
		keys[n] = keyImportedIssuerHash(hash)
	}
	if items, err = db.read(ctx, keys...); err != nil {
		return nil, nil, err
	}
	for n, it := range items {
		if key, _ := keyImportedIssuer(it.Value); !it.Found || key != keys[n] {
			return nil, nil, damaged(keys[n], errors.New("an issuer's certificate is not there"))
		}
		issuers = append(issuers, it.Value)
	}
	return r.DER, issuers, nil
}

func importNoteEntry(n ra.ImportNote) Entry {
	return Entry{Index: indexImportNotes, Member: timeMember(n.At, string(idMember(n.ID)))}
}

// UnjournaledImports implements ra.ImportStore.
func (db *DB) UnjournaledImports(ctx context.Context, before time.Time, limit int) ([]ra.ImportNote, error) {
	r := Range{}
	if !before.IsZero() {
		r = until(before)
	}
	members, err := db.engine.Scan(ctx, indexImportNotes, r, Page{Limit: limit})
	if err != nil {
		return nil, unavailable(err)
	}
	notes := make([]ra.ImportNote, 0, len(members))
	for _, m := range members {
		at, _, ok := memberParts(m)
		id, idOK := lastID(m)
		if !ok || !idOK || len(m) != 16 {
			return nil, damaged(Key(indexImportNotes), errors.New("a member is no note"))
		}
		notes = append(notes, ra.ImportNote{ID: id, At: millis(at).time()})
	}
	return notes, nil
}

// ImportsJournaled implements ra.ImportStore.
func (db *DB) ImportsJournaled(ctx context.Context, notes []ra.ImportNote) error {
	if len(notes) == 0 {
		return nil
	}
	b := &Batch{}
	for _, n := range notes {
		b.Removes = append(b.Removes, importNoteEntry(n))
	}
	return db.commit(ctx, b)
}

// importedBySerial finds the imported enrollments whose certificates have a serial.
func (db *DB) importedBySerial(ctx context.Context, serial ca.Serial) (ids []ra.ID, err error) {
	for page := (Page{Limit: 1000}); ; {
		members, err := db.engine.Scan(ctx, indexImportedSerials, Prefix(serialPrefix(serial)), page)
		if err != nil {
			return nil, unavailable(err)
		}
		for _, m := range members {
			if id, ok := lastID(m); ok {
				ids = append(ids, id)
			}
		}
		if len(members) < page.Limit {
			return ids, nil
		}
		page.After = bytes.Clone(members[len(members)-1])
	}
}
