package storage

import (
	"context"
	"crypto/rand"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// NonceKeys implements acme.Store.
func (db *DB) NonceKeys(ctx context.Context) (acme.NonceKeys, error) {
	for range 3 {
		items, err := db.read(ctx, keyNonceKeys)
		if err != nil {
			return acme.NonceKeys{}, err
		}
		if items[0].Found {
			var r nonceKeysRecord
			if err := decode(items[0].Value, &r); err != nil {
				return acme.NonceKeys{}, damaged(keyNonceKeys, err)
			}
			k := acme.NonceKeys{Made: r.Made.time(), Version: items[0].Version}
			if copy(k.Current[:], r.Current) != 32 || copy(k.Previous[:], r.Previous) != 32 {
				return acme.NonceKeys{}, damaged(keyNonceKeys, errShortKey)
			}
			return k, nil
		}
		now, err := db.engine.Now(ctx)
		if err != nil {
			return acme.NonceKeys{}, unavailable(err)
		}
		first := acme.NonceKeys{Made: now}
		rand.Read(first.Current[:])
		rand.Read(first.Previous[:])
		if err := db.putNonceKeys(ctx, first, Condition{Key: keyNonceKeys, Want: Absent}); err != nil && !problem.Is(err, problem.Conflict) {
			return acme.NonceKeys{}, err
		}
	}
	return acme.NonceKeys{}, problem.New(problem.Unavailable, "the nonce keys cannot be made; try again").After(retryAfter)
}

// RotateNonceKeys implements acme.Store.
func (db *DB) RotateNonceKeys(ctx context.Context, next acme.NonceKeys) error {
	return db.putNonceKeys(ctx, next, Condition{Key: keyNonceKeys, Want: Equals, Version: next.Version})
}

func (db *DB) putNonceKeys(ctx context.Context, k acme.NonceKeys, c Condition) error {
	value, err := encode(nonceKeysRecord{Current: k.Current[:], Previous: k.Previous[:], Made: toSeconds(k.Made)})
	if err != nil {
		return err
	}
	return db.commit(ctx, &Batch{Conditions: []Condition{c}, Puts: []Put{{Key: keyNonceKeys, Value: value}}})
}
