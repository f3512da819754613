package storage

import (
	"context"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// RollKey implements acme.Store: the account under its version, its old key's claim away, and the new key's claim, which
// nobody may have, in one commit.
func (db *DB) RollKey(ctx context.Context, a *acme.Account, old string) error {
	return db.rollKey(ctx, a, old, true)
}

// rollKey gives an account another key. Without claim the account has the key but is not found by it: somebody else is.
func (db *DB) rollKey(ctx context.Context, a *acme.Account, old string, claim bool) error {
	value, err := encodeAccount(a)
	if err != nil {
		return err
	}
	b := &Batch{
		Conditions: []Condition{{Key: keyAccount(a.ID), Want: Equals, Version: a.Version}},
		Puts:       []Put{{Key: keyAccount(a.ID), Value: value}},
	}
	items, err := db.read(ctx, keyThumbprint(old))
	if err != nil {
		return err
	}
	if before := items[0]; before.Found && acme.AccountID(before.Value) == a.ID {
		b.Conditions = append(b.Conditions, Condition{Key: keyThumbprint(old), Want: Equals, Version: before.Version})
		b.Deletes = append(b.Deletes, keyThumbprint(old))
	}
	if claim {
		b.Conditions = append(b.Conditions, Condition{Key: keyThumbprint(a.Thumbprint), Want: Absent})
		b.Puts = append(b.Puts, Put{Key: keyThumbprint(a.Thumbprint), Value: []byte(a.ID)})
	}
	if err := db.commit(ctx, b); err != nil {
		return err
	}
	a.Version = b.Version
	return nil
}

// replayKey gives an account the key that a journal says it has. The one it had was given up, perhaps because somebody
// else has it, so it goes even if a client has made an account with the new key meanwhile. Then both accounts have the key,
// and newAccount finds the younger one.
func (db *DB) replayKey(ctx context.Context, next *acme.Account, old string) error {
	err := db.rollKey(ctx, next, old, true)
	if !problem.Is(err, problem.Conflict) {
		return err
	}
	other, found := db.AccountByKey(ctx, next.Thumbprint)
	switch {
	case problem.Is(found, problem.NotFound): // the account itself was changed at the same time
		return err
	case found != nil:
		return found
	case other.ID == next.ID:
		return err
	}
	return db.rollKey(ctx, next, old, false)
}
