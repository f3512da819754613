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
	ids, keys := make([]string, len(members)), make([]Key, len(members))
	for i, m := range members {
		_, ids[i], _ = memberParts(m)
		keys[i] = keyEAB(ids[i])
	}
	items, err := db.read(ctx, keys...)
	if err != nil {
		return nil, "", err
	}
	list := make([]*auth.EABKey, 0, len(items))
	for i, it := range items {
		k, err := decodeEABKey(ids[i], it)
		if err != nil {
			return nil, "", err
		}
		if k != nil {
			list = append(list, k)
		}
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
	entry := member(k.Created.Unix(), k.ID)
	return db.putEABKey(ctx, k, &Batch{
		Conditions: []Condition{{Key: keyEAB(k.ID), Want: Absent}},
		Adds:       []Entry{{Index: indexEABKeys, Member: entry}, {Index: indexOrgEABKeys(k.Org), Member: entry}},
	})
}

// UpdateEABKey implements auth.Store.
func (db *DB) UpdateEABKey(ctx context.Context, k *auth.EABKey) (auth.Note, error) {
	return db.putEABKey(ctx, k, &Batch{Conditions: []Condition{{Key: keyEAB(k.ID), Want: Equals, Version: k.Version}}})
}

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
	b.Puts = append(b.Puts, Put{Key: keyEAB(k.ID), Value: value})
	b.Adds = append(b.Adds, noteEntry(note))
	if err := db.commit(ctx, b); err != nil {
		return auth.Note{}, err
	}
	k.Version = b.Version
	return note, nil
}
