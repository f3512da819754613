package storage

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// commonNameEntries is the entry by which an enrollment is found whose CN is none of its names; there is none of any other.
func commonNameEntries(e *ra.Enrollment) []Entry {
	cn := strings.ToLower(e.CommonName)
	if cn == "" || slices.ContainsFunc(e.Names, func(n identifier.Identifier) bool { return n.Value() == cn }) {
		return nil
	}
	return []Entry{{Index: indexCommonName(e.Org), Member: nameMember(cn, idMember(e.ID))}}
}

// keyCommonNames says that what was imported before there was an index of CNs is in it.
const keyCommonNames Key = "listed/common-names"

// listCommonNames puts what was imported before there was an index of CNs into it, once in the life of a store. It reads the
// records of imported enrollments alone, of which alone the CN can be none of the names, and of a store without any it reads
// nothing. It can be cut short at any moment, and done by several gateways at once.
func (db *DB) listCommonNames(ctx context.Context) error {
	items, err := db.engine.Get(ctx, keyCommonNames)
	if err != nil || items[0].Found || db.marker == (Version{}) { // a newer process's store is not written
		return err
	}
	for page := (Page{Limit: 500}); ; {
		members, err := db.engine.Scan(ctx, indexImportedSerials, Range{}, page)
		if err != nil {
			return err
		}
		if err := db.listCommonNamesOf(ctx, members); err != nil {
			return err
		}
		if len(members) < page.Limit {
			break
		}
		page.After = bytes.Clone(members[len(members)-1])
	}
	value, err := encode(countRecord{})
	if err != nil {
		return err
	}
	return db.commit(ctx, &Batch{Puts: []Put{{Key: keyCommonNames, Value: value}}})
}

// listCommonNamesOf does so for entries of the index of imported serials.
func (db *DB) listCommonNamesOf(ctx context.Context, members [][]byte) error {
	var ids []ra.ID
	for _, m := range members {
		if id, ok := lastID(m); ok {
			ids = append(ids, id)
		}
	}
	list, err := db.readable(ctx, ids)
	if err != nil {
		return err
	}
	for _, e := range list {
		if err := db.listCommonName(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// readable reads enrollments, but for those whose records are damaged, which are logged: whoever asks for one of those is told so, and
// the store is not kept shut for it.
func (db *DB) readable(ctx context.Context, ids []ra.ID) ([]*ra.Enrollment, error) {
	list, err := db.enrollments(ctx, ids)
	if !problem.Is(err, problem.Internal) {
		return list, err
	}
	list = nil
	for _, id := range ids {
		some, err := db.enrollments(ctx, []ra.ID{id})
		switch {
		case problem.Is(err, problem.Internal):
			db.log.ErrorContext(ctx, "an imported certificate is not listed by its CN", "enrollment", id, "error", err)
		case err != nil:
			return nil, err
		}
		list = append(list, some...)
	}
	return list, nil
}

// listCommonName does so for one, unless it is removed or becomes so: nothing would take the entry away then.
func (db *DB) listCommonName(ctx context.Context, e *ra.Enrollment) error {
	for {
		entries := commonNameEntries(e)
		if len(entries) == 0 || !e.Removed.IsZero() {
			return nil
		}
		err := db.commit(ctx, &Batch{Conditions: []Condition{{Key: keyEnrollment(e.ID), Want: Equals, Version: e.Version}}, Adds: entries})
		if !problem.Is(err, problem.Conflict) {
			return err
		}
		again, readErr := db.enrollments(ctx, []ra.ID{e.ID})
		switch {
		case readErr != nil || len(again) == 0:
			return readErr
		case again[0].Version == e.Version: // it is the store that is another's now
			return err
		}
		e = again[0]
	}
}
