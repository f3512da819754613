package storage

import (
	"context"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// EABKey implements auth.Store.
func (db *DB) EABKey(ctx context.Context, id string) (*auth.EABKey, error) {
	k, err := db.eabKey(ctx, id)
	if err == nil && k == nil {
		err = problem.New(problem.NotFound, "there is no external account binding key %q", id)
	}
	return k, err
}

// eabKey reads one, nil if absent.
func (db *DB) eabKey(ctx context.Context, id string) (*auth.EABKey, error) {
	items, err := db.read(ctx, keyEAB(id))
	if err != nil {
		return nil, err
	}
	return decodeEABKey(id, items[0])
}

// maxEABMember is more than a member of the lists of keys can have.
const maxEABMember = 100

// EABKeys implements auth.Store. The cursor is the last member seen.
func (db *DB) EABKeys(ctx context.Context, org auth.OrgID, cursor string, limit int) ([]*auth.EABKey, string, error) {
	page := Page{Limit: limit, Reverse: true}
	if cursor != "" {
		page.After = []byte(cursor)
		if _, id, ok := memberParts(page.After); !ok || id == "" || len(cursor) > maxEABMember {
			return nil, "", problem.New(problem.NotFound, "no list has this cursor")
		}
	}
	index := indexEABKeys
	if org != 0 {
		index = indexOrgEABKeys(org)
	}
	members, err := db.engine.Scan(ctx, index, Range{}, page)
	if err != nil || len(members) == 0 {
		return nil, "", unavailable(err)
	}
	ids, items, err := db.eabItems(ctx, members)
	if err != nil {
		return nil, "", err
	}
	list, err := decodeEABKeys(ids, items)
	if err != nil {
		return nil, "", err
	}
	if len(members) < limit {
		return list, "", nil
	}
	return list, string(members[len(members)-1]), nil
}

// EABAccounts implements auth.Store.
func (db *DB) EABAccounts(ctx context.Context, id string, limit int) ([]string, int64, error) {
	count, err := db.engine.Count(ctx, indexEABAccounts(id), Range{})
	if err != nil || count == 0 {
		return nil, 0, unavailable(err)
	}
	members, err := db.engine.Scan(ctx, indexEABAccounts(id), Range{}, Page{Limit: limit})
	if err != nil {
		return nil, 0, unavailable(err)
	}
	list := make([]string, len(members))
	for i, m := range members {
		list[i] = string(m)
	}
	return list, count, nil
}

// CreateEABKey implements auth.Store.
func (db *DB) CreateEABKey(ctx context.Context, k *auth.EABKey) (auth.Note, error) {
	b := &Batch{
		Conditions: []Condition{{Key: keyEAB(k.ID), Want: Absent}},
		Adds:       []Entry{{Index: indexEABKeys, Member: eabMember(k)}},
	}
	if k.Removed.IsZero() { // otherwise a replay brings back what is gone
		b.Adds = append(b.Adds, Entry{Index: indexOrgEABKeys(k.Org), Member: eabMember(k)})
	}
	b.number(k)
	return db.putEABKey(ctx, k, b)
}

// UpdateEABKey implements auth.Store.
func (db *DB) UpdateEABKey(ctx context.Context, k *auth.EABKey) (auth.Note, error) {
	return db.putEABKey(ctx, k, &Batch{Conditions: []Condition{{Key: keyEAB(k.ID), Want: Equals, Version: k.Version}}})
}

// NumberEABKey implements auth.Store.
func (db *DB) NumberEABKey(ctx context.Context, k *auth.EABKey) (auth.Note, error) {
	b := &Batch{Conditions: []Condition{{Key: keyEAB(k.ID), Want: Equals, Version: k.Version}}}
	b.number(k)
	return db.putEABKey(ctx, k, b)
}

// number claims the number of a key, if it has one.
func (b *Batch) number(k *auth.EABKey) {
	if k.Number > 0 {
		b.Conditions = append(b.Conditions, Condition{Key: keyEABNumber(k.Number), Want: Absent})
		b.Puts = append(b.Puts, Put{Key: keyEABNumber(k.Number), Value: []byte(k.ID)})
	}
}

// eabMember is a key in the lists of keys.
func eabMember(k *auth.EABKey) []byte { return member(k.Created.Unix(), k.ID) }

func (db *DB) putEABKey(ctx context.Context, k *auth.EABKey, b *Batch) (auth.Note, error) {
	now, err := db.engine.Now(ctx)
	if err != nil {
		return auth.Note{}, unavailable(err)
	}
	value, err := encodeEABKey(k)
	if err != nil {
		return auth.Note{}, err
	}
	note := auth.Note{EABKey: k.ID, At: now.UTC().Truncate(time.Millisecond)}
	if !k.Removed.IsZero() {
		b.Removes = append(b.Removes, Entry{Index: indexOrgEABKeys(k.Org), Member: eabMember(k)})
	}
	b.Puts = append(b.Puts, Put{Key: keyEAB(k.ID), Value: value})
	b.Adds = append(b.Adds, noteEntry(note))
	if err := db.commit(ctx, b); err != nil {
		return auth.Note{}, err
	}
	k.Version = b.Version
	return note, nil
}
