package storage

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

var errNoPrincipal = problem.New(problem.NotFound, "there is no such principal")

// Principal implements auth.Store.
func (db *DB) Principal(ctx context.Context, id auth.PrincipalID) (*auth.Principal, error) {
	p, err := db.principal(ctx, id)
	if err == nil && p == nil {
		err = errNoPrincipal
	}
	return p, err
}

// principal reads one, nil if absent.
func (db *DB) principal(ctx context.Context, id auth.PrincipalID) (*auth.Principal, error) {
	items, err := db.read(ctx, keyPrincipal(id))
	if err != nil {
		return nil, err
	}
	return decodePrincipal(id, items[0])
}

// PrincipalByLogin implements auth.Store.
func (db *DB) PrincipalByLogin(ctx context.Context, customer auth.OrgID, login string) (auth.PrincipalID, error) {
	return db.principalAt(ctx, keyLogin(customer, login))
}

// PrincipalByLookup implements auth.Store.
func (db *DB) PrincipalByLookup(ctx context.Context, lookup string) (auth.PrincipalID, error) {
	return db.principalAt(ctx, keyCredential(lookup))
}

// principalAt reads a key that holds a principal's number.
func (db *DB) principalAt(ctx context.Context, key Key) (auth.PrincipalID, error) {
	items, err := db.read(ctx, key)
	switch {
	case err != nil:
		return 0, err
	case !items[0].Found:
		return 0, errNoPrincipal
	}
	n, err := strconv.ParseInt(string(items[0].Value), 10, 32)
	if err != nil || n <= 0 {
		return 0, damaged(key, errors.New("it holds no principal's number"))
	}
	return auth.PrincipalID(n), nil
}

// Principals implements auth.Store. The cursor is the last member seen.
func (db *DB) Principals(ctx context.Context, org auth.OrgID, cursor string, limit int) ([]*auth.Principal, string, error) {
	page := Page{Limit: limit, Reverse: true}
	if cursor != "" {
		page.After = []byte(cursor)
		if len(cursor) != 16 {
			return nil, "", problem.New(problem.NotFound, "no list has this cursor")
		}
	}
	index := indexPrincipals
	if org != 0 {
		index = indexOrgPrincipals(org)
	}
	members, err := db.engine.Scan(ctx, index, Range{}, page)
	if err != nil || len(members) == 0 {
		return nil, "", unavailable(err)
	}
	ids, keys := make([]auth.PrincipalID, len(members)), make([]Key, len(members))
	for i, m := range members {
		_, name, _ := memberParts(m)
		n, _, ok := memberParts([]byte(name))
		if !ok {
			return nil, "", damaged(Key(index), errors.New("a member that is no principal"))
		}
		ids[i] = auth.PrincipalID(n)
		keys[i] = keyPrincipal(ids[i])
	}
	items, err := db.read(ctx, keys...)
	if err != nil {
		return nil, "", err
	}
	list := make([]*auth.Principal, 0, len(items))
	for i, it := range items {
		p, err := decodePrincipal(ids[i], it)
		if err != nil {
			return nil, "", err
		}
		if p != nil {
			list = append(list, p)
		}
	}
	if len(members) < limit {
		return list, "", nil
	}
	return list, string(members[len(members)-1]), nil
}

// principalMember sorts by when a principal was made.
func principalMember(p *auth.Principal) []byte {
	return append(member(p.Created.Unix(), ""), member(int64(p.ID), "")...)
}

// CreatePrincipal implements auth.Store.
func (db *DB) CreatePrincipal(ctx context.Context, p *auth.Principal) (auth.Note, error) {
	login, number, entry := keyLogin(p.Customer, p.Login), []byte(strconv.Itoa(int(p.ID))), principalMember(p)
	return db.putPrincipal(ctx, &auth.Principal{}, p, &Batch{
		Conditions: []Condition{{Key: keyPrincipal(p.ID), Want: Absent}, {Key: login, Want: Absent}},
		Puts:       []Put{{Key: login, Value: number}},
		Adds:       []Entry{{Index: indexPrincipals, Member: entry}, {Index: indexOrgPrincipals(p.Org), Member: entry}},
	})
}

// UpdatePrincipal implements auth.Store.
func (db *DB) UpdatePrincipal(ctx context.Context, old, p *auth.Principal) (auth.Note, error) {
	return db.putPrincipal(ctx, old, p, &Batch{Conditions: []Condition{{Key: keyPrincipal(p.ID), Want: Equals, Version: old.Version}}})
}

// putPrincipal adds a principal, what its credentials are found by, and the note for the journal to a batch, and commits it.
func (db *DB) putPrincipal(ctx context.Context, old, p *auth.Principal, b *Batch) (auth.Note, error) {
	now, err := db.engine.Now(ctx)
	if err != nil {
		return auth.Note{}, unavailable(err)
	}
	value, err := encodePrincipal(p)
	if err != nil {
		return auth.Note{}, err
	}
	note := auth.Note{Principal: p.ID, At: now.UTC().Truncate(time.Millisecond)}
	b.Puts = append(b.Puts, Put{Key: keyPrincipal(p.ID), Value: value})
	had, has := old.Lookups(), p.Lookups()
	for _, l := range has {
		if !slices.Contains(had, l) {
			b.Conditions = append(b.Conditions, Condition{Key: keyCredential(l), Want: Absent})
			b.Puts = append(b.Puts, Put{Key: keyCredential(l), Value: []byte(strconv.Itoa(int(p.ID)))})
		}
	}
	for _, l := range had {
		if !slices.Contains(has, l) {
			b.Deletes = append(b.Deletes, keyCredential(l))
		}
	}
	b.Adds = append(b.Adds, noteEntry(note))
	if err := db.commit(ctx, b); err != nil {
		return auth.Note{}, err
	}
	p.Version = b.Version
	return note, nil
}

// keptUse is how long it is known when a credential was last used.
const keptUse = 400 * 24 * time.Hour

// CredentialUsed implements auth.Store.
func (db *DB) CredentialUsed(ctx context.Context, ids ...string) ([]time.Time, error) {
	keys := make([]Key, len(ids))
	for i, id := range ids {
		keys[i] = keyCredentialUsed(id)
	}
	items, err := db.read(ctx, keys...)
	if err != nil {
		return nil, err
	}
	used := make([]time.Time, len(ids))
	for i, it := range items {
		if used[i], err = decodeTime(keys[i], it); err != nil {
			return nil, err
		}
	}
	return used, nil
}

// CredentialUse implements auth.Store.
func (db *DB) CredentialUse(ctx context.Context, id string, at time.Time) error {
	return db.putTime(ctx, keyCredentialUsed(id), at, at.Add(keptUse))
}

// KnownAddress implements auth.Store.
func (db *DB) KnownAddress(ctx context.Context, id auth.PrincipalID, address string) (bool, error) {
	items, err := db.read(ctx, keyKnownAddress(id, address))
	if err != nil {
		return false, err
	}
	return items[0].Found, nil
}

// RememberAddress implements auth.Store.
func (db *DB) RememberAddress(ctx context.Context, id auth.PrincipalID, address string, until time.Time) error {
	return db.putTime(ctx, keyKnownAddress(id, address), until, until)
}

func (db *DB) putTime(ctx context.Context, key Key, at, expires time.Time) error {
	value, err := encode(timeRecord{At: toSeconds(at)})
	if err != nil {
		return err
	}
	return db.commit(ctx, &Batch{Puts: []Put{{Key: key, Value: value, Expires: expires}}})
}

// PutToken implements auth.Store.
func (db *DB) PutToken(ctx context.Context, hash [32]byte, t auth.AccessToken) error {
	value, err := encode(tokenRecord{Principal: int32(t.Principal), Credential: t.Credential, Secret: t.Secret[:], Expires: toMillis(t.Expires)})
	if err != nil {
		return err
	}
	return db.commit(ctx, &Batch{Puts: []Put{{Key: keyToken(hash), Value: value, Expires: t.Expires.Add(time.Second)}}})
}

// AccessToken implements auth.Store.
func (db *DB) AccessToken(ctx context.Context, hash [32]byte) (t auth.AccessToken, err error) {
	items, err := db.read(ctx, keyToken(hash))
	if err != nil {
		return t, err
	}
	if !items[0].Found {
		return t, problem.New(problem.NotFound, "there is no such access token")
	}
	var r tokenRecord
	if err := decode(items[0].Value, &r); err != nil {
		return t, damaged("token/"+Key(hex.EncodeToString(hash[:4])), err) // not the whole key: what is logged identifies nothing
	}
	t = auth.AccessToken{Principal: auth.PrincipalID(r.Principal), Credential: r.Credential, Expires: r.Expires.time()}
	copy(t.Secret[:], r.Secret)
	return t, nil
}

// Attempt implements auth.Store.
func (db *DB) Attempt(ctx context.Context, rates ...auth.AttemptRate) (time.Duration, error) {
	list := make([]Limit, len(rates))
	for i, r := range rates {
		list[i] = Limit{Key: keyAttempts(r), Interval: r.Interval, Burst: r.Burst, Cost: 1}
	}
	spent, err := db.engine.Spend(ctx, Token{}, list)
	if err != nil {
		return 0, unavailable(err)
	}
	if spent.Limited < 0 {
		return 0, nil
	}
	return max(spent.RetryAfter, time.Millisecond), nil
}
