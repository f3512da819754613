package storage

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/ra"
)

var _ ra.DomainStore = (*DB)(nil)

// Domains implements ra.DomainStore.
func (db *DB) Domains(ctx context.Context, names []identifier.Identifier) ([]*ra.Domain, error) {
	if len(names) == 0 {
		return nil, nil
	}
	keys := make([]Key, len(names))
	for i, n := range names {
		keys[i] = keyDomain(n)
	}
	items, err := db.read(ctx, keys...)
	if err != nil {
		return nil, err
	}
	list := make([]*ra.Domain, len(items))
	for i, it := range items {
		if list[i], err = decodeDomain(names[i], it); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// domainsNamed reads the domains whose names a function finds in members of an index. What is absent is left out.
func (db *DB) domainsNamed(ctx context.Context, index string, members [][]byte, name func([]byte) string) ([]*ra.Domain, error) {
	names := make([]identifier.Identifier, len(members))
	for i, m := range members {
		var err error
		if names[i], err = identifier.ParseDNS(name(m)); err != nil {
			return nil, damaged(Key(index), err)
		}
	}
	found, err := db.Domains(ctx, names)
	var list []*ra.Domain
	for _, d := range found {
		if d != nil {
			list = append(list, d)
		}
	}
	return list, err
}

// ListDomains implements ra.DomainStore.
func (db *DB) ListDomains(ctx context.Context, org auth.OrgID, after string, limit int) ([]*ra.Domain, error) {
	index, page := domainList(org), Page{Limit: limit}
	if after != "" {
		page.After = []byte(after)
	}
	members, err := db.engine.Scan(ctx, index, Range{}, page)
	if err != nil {
		return nil, unavailable(err)
	}
	return db.domainsNamed(ctx, index, members, func(m []byte) string { return string(m) })
}

// PutDomain implements ra.DomainStore.
func (db *DB) PutDomain(ctx context.Context, next, before *ra.Domain, noted time.Time, mails ...*ra.Mail) error {
	if before != nil && before.Number != 0 {
		next.Number = before.Number
	}
	value, err := encodeDomain(next)
	if err != nil {
		return err
	}
	key := keyDomain(next.Name)
	b := &Batch{Conditions: []Condition{{Key: key, Want: Absent}}, Puts: []Put{{Key: key, Value: value}}}
	var old []Entry
	if before != nil {
		b.Conditions = []Condition{{Key: key, Want: Equals, Version: before.Version}}
		old = entriesOfDomain(before)
	}
	b.aside.events = ra.DomainEvents(next, before)
	now := entriesOfDomain(next)
	b.Removes, b.Adds = without(old, now), without(now, old)
	if !noted.IsZero() {
		b.Adds = append(b.Adds, domainNoteEntry(ra.DomainNote{Name: next.Name, At: noted}))
	}
	b.numberDomain(next, before)
	if err := errors.Join(b.moveEmailLinks(next, before), b.putMails(mails...)); err != nil {
		return err
	}
	if err := db.commit(ctx, b); err != nil {
		return db.domainConflict(ctx, next, err)
	}
	next.Version = b.Version
	return nil
}

// entriesOfDomain are the list entries of a domain as it stands.
func entriesOfDomain(d *ra.Domain) []Entry {
	if !d.Removed.IsZero() {
		return nil
	}
	name := []byte(d.Name.Value())
	entries := []Entry{{Index: indexDomains, Member: name}}
	for _, org := range d.Lists() {
		entries = append(entries, Entry{Index: indexOrgDomains(org), Member: name})
	}
	if v := d.Validation; v != nil && !v.Due.IsZero() {
		entries = append(entries, Entry{Index: indexDomainLooks, Member: timeMember(v.Due, d.Name.Value())})
	}
	return entries
}

// DueDomains implements ra.DomainStore.
func (db *DB) DueDomains(ctx context.Context, now time.Time, limit int) ([]*ra.Domain, error) {
	members, err := db.engine.Scan(ctx, indexDomainLooks, until(now), Page{Limit: limit})
	if err != nil {
		return nil, unavailable(err)
	}
	return db.domainsNamed(ctx, indexDomainLooks, members, func(m []byte) string {
		_, name, _ := memberParts(m)
		return name
	})
}

func domainNoteEntry(n ra.DomainNote) Entry {
	return Entry{Index: indexDomainNotes, Member: timeMember(n.At, n.Name.Value())}
}

// UnjournaledDomains implements ra.DomainStore.
func (db *DB) UnjournaledDomains(ctx context.Context, before time.Time, limit int) ([]ra.DomainNote, error) {
	members, err := db.engine.Scan(ctx, indexDomainNotes, until(before), Page{Limit: limit})
	if err != nil {
		return nil, unavailable(err)
	}
	notes := make([]ra.DomainNote, 0, len(members))
	for _, m := range members {
		at, text, ok := memberParts(m)
		name, err := identifier.ParseDNS(text)
		if !ok || err != nil {
			return nil, damaged(Key(indexDomainNotes), errors.New("a member that is no note"))
		}
		notes = append(notes, ra.DomainNote{Name: name, At: millis(at).time()})
	}
	return notes, nil
}

// DomainJournaled implements ra.DomainStore.
func (db *DB) DomainJournaled(ctx context.Context, note ra.DomainNote) error {
	return db.commit(ctx, &Batch{Removes: []Entry{domainNoteEntry(note)}})
}
