package storage

import (
	"context"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// NextEABNumber implements auth.Store.
func (db *DB) NextEABNumber(ctx context.Context) (int32, error) {
	return db.nextByClock(ctx, seqEABKey, "a key for external account binding")
}

// EABKeyOfNumber implements auth.Store.
func (db *DB) EABKeyOfNumber(ctx context.Context, n int32) (*auth.EABKey, error) {
	items, err := db.read(ctx, keyEABNumber(n))
	if err != nil {
		return nil, err
	}
	if items[0].Found {
		k, err := db.eabKey(ctx, string(items[0].Value))
		if err != nil || k != nil {
			return k, err
		}
	}
	return nil, problem.New(problem.NotFound, "no external account binding key has the number %d", n)
}

// EABKeysOf implements auth.Store.
func (db *DB) EABKeysOf(ctx context.Context, org auth.OrgID, offset, limit int) ([]*auth.EABKey, int64, error) {
	index := indexOrgEABKeys(org)
	count, err := db.engine.Count(ctx, index, Range{})
	if err != nil || count <= int64(offset) {
		return nil, count, unavailable(err)
	}
	members, err := db.engine.Scan(ctx, index, Range{}, Page{Offset: offset, Limit: limit})
	if err != nil || len(members) == 0 {
		return nil, count, unavailable(err)
	}
	ids, items, err := db.eabItems(ctx, members)
	if err != nil {
		return nil, 0, err
	}
	list, err := decodeEABKeys(ids, items)
	return list, count, err
}

// eabItems reads the records of keys from members of their lists.
func (db *DB) eabItems(ctx context.Context, members [][]byte) ([]string, []Item, error) {
	ids, keys := make([]string, len(members)), make([]Key, len(members))
	for i, m := range members {
		_, ids[i], _ = memberParts(m)
		keys[i] = keyEAB(ids[i])
	}
	items, err := db.read(ctx, keys...)
	return ids, items, err
}

// decodeEABKeys are those that there are.
func decodeEABKeys(ids []string, items []Item) ([]*auth.EABKey, error) {
	list := make([]*auth.EABKey, 0, len(items))
	for i, it := range items {
		k, err := decodeEABKey(ids[i], it)
		if err != nil {
			return nil, err
		}
		if k != nil {
			list = append(list, k)
		}
	}
	return list, nil
}

// EABClients implements auth.Store. An account that a replay has not brought back is left out.
func (db *DB) EABClients(ctx context.Context, kid string, offset, limit int) ([]auth.EABClient, int64, error) {
	index := indexEABAccounts(kid)
	count, err := db.engine.Count(ctx, index, Range{})
	if err != nil || count <= int64(offset) {
		return nil, count, unavailable(err)
	}
	members, err := db.engine.Scan(ctx, index, Range{}, Page{Offset: offset, Limit: limit})
	if err != nil || len(members) == 0 {
		return nil, count, unavailable(err)
	}
	keys := make([]Key, len(members))
	for i, m := range members {
		keys[i] = keyAccount(acme.AccountID(m))
	}
	items, err := db.read(ctx, keys...)
	if err != nil {
		return nil, 0, err
	}
	list := make([]auth.EABClient, 0, len(items))
	for i, it := range items {
		a, err := decodeAccount(acme.AccountID(members[i]), it)
		if err != nil {
			return nil, 0, err
		}
		if a != nil {
			list = append(list, auth.EABClient{ID: string(a.ID), Contacts: a.Contacts, Created: a.Created, Deactivated: a.Deactivated})
		}
	}
	return list, count, nil
}
