package storage

import (
	"context"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// account reads one, nil if absent.
func (db *DB) account(ctx context.Context, id acme.AccountID) (*acme.Account, error) {
	items, err := db.read(ctx, keyAccount(id))
	if err != nil {
		return nil, err
	}
	return decodeAccount(id, items[0])
}

// accountWith reads the account that a key's claim names, nil if the key has been changed since the claim was read.
func (db *DB) accountWith(ctx context.Context, id acme.AccountID, thumbprint string) (*acme.Account, error) {
	a, err := db.account(ctx, id)
	if err != nil || a == nil || a.Thumbprint != thumbprint {
		return nil, err
	}
	return a, nil
}

// AccountByKey implements acme.Store.
func (db *DB) AccountByKey(ctx context.Context, thumbprint string) (*acme.Account, error) {
	items, err := db.read(ctx, keyThumbprint(thumbprint))
	if err != nil {
		return nil, err
	}
	if items[0].Found {
		a, err := db.accountWith(ctx, acme.AccountID(items[0].Value), thumbprint)
		if a != nil || err != nil {
			return a, err
		}
	}
	return nil, problem.New(problem.NotFound, "no account has this key")
}

// CreateAccount implements acme.Store: the account, the claim on its key and what becomes of the external account key in one
// commit.
func (db *DB) CreateAccount(ctx context.Context, a *acme.Account, by *auth.EABKey) error {
	value, err := encodeAccount(a)
	if err != nil {
		return err
	}
	b := &Batch{
		Conditions: []Condition{{Key: keyAccount(a.ID), Want: Absent}, {Key: keyThumbprint(a.Thumbprint), Want: Absent}},
		Puts:       []Put{{Key: keyAccount(a.ID), Value: value}, {Key: keyThumbprint(a.Thumbprint), Value: []byte(a.ID)}},
	}
	if err := b.putBound(a, by); err != nil {
		return err
	}
	if err := db.commit(ctx, b); err != nil {
		return err
	}
	a.Version = b.Version
	return nil
}

// UpdateAccount implements acme.Store.
func (db *DB) UpdateAccount(ctx context.Context, a *acme.Account) error {
	value, err := encodeAccount(a)
	if err != nil {
		return err
	}
	b := &Batch{
		Conditions: []Condition{{Key: keyAccount(a.ID), Want: Equals, Version: a.Version}},
		Puts:       []Put{{Key: keyAccount(a.ID), Value: value}},
	}
	if err := db.commit(ctx, b); err != nil {
		return err
	}
	a.Version = b.Version
	return nil
}
