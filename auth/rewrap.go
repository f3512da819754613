package auth

import (
	"context"
	"errors"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/seal"
)

// sealPage is how many keys are read at once when all are gone through.
const sealPage = 200

// SealUse says how many of the store's secrets are sealed under which key.
type SealUse struct {
	Keys    []seal.KeyID // configured, the one that seals first
	Under   map[seal.KeyID]int
	Unknown []seal.KeyID // in Under, and not configured
}

// SealUse counts the sealed secrets.
func (x *ExternalAccounts) SealUse(ctx context.Context) (SealUse, error) {
	return CountSealed(ctx, x.Store, x.Sealer)
}

// CountSealed goes through the store and says under which keys its secrets are sealed. One that is no sealed value is an
// error.
func CountSealed(ctx context.Context, store Store, sealer *seal.Sealer) (SealUse, error) {
	use := SealUse{Keys: sealer.Keys(), Under: map[seal.KeyID]int{}}
	err := eachEABKey(ctx, store, func(k *EABKey) error {
		return use.Count(sealer, "the external account binding key "+k.ID, k.Sealed)
	})
	if err != nil {
		return use, err
	}
	return use, eachPassword(ctx, store, func(p *Principal) error {
		return use.Count(sealer, "the password of "+p.ID.String(), p.Password.Sealed)
	})
}

// Count adds one secret, which what names for people. One that is no sealed value is an error.
func (use *SealUse) Count(sealer *seal.Sealer, what string, sealed []byte) error {
	id, err := seal.KeyOf(sealed)
	if err != nil {
		return problem.Wrap(err, problem.Conflict, "%s: %v", what, err)
	}
	if _, known := sealer.Opens(sealed).(*seal.UnknownKeyError); (known || sealer == nil) && use.Under[id] == 0 {
		use.Unknown = append(use.Unknown, id)
	}
	use.Under[id]++
	return nil
}

// Rewrap puts the hash of every password under the key that seals, as [ExternalAccounts.Rewrap] does with MAC keys.
func (x *Principals) Rewrap(ctx context.Context, caller Caller) (changed int, err error) {
	if err := onlyOperator(caller); err != nil {
		return 0, err
	}
	if x.Sealer == nil {
		return 0, seal.ErrNoKey
	}
	err = eachPassword(ctx, x.Store, func(p *Principal) error {
		done := false
		_, err := x.change(ctx, caller, Ref{ID: p.ID}, func(p *Principal) (string, error) {
			if done = false; p.Password.Sealed == nil {
				return "", nil
			}
			next, anew, err := x.Sealer.Rewrap(ctx, seal.PasswordHash, p.ID.String(), p.Password.Sealed)
			if err != nil || !anew {
				return "", err
			}
			p.Password.Sealed, done = next, true
			return "has its password sealed under another key", nil
		})
		if done && err == nil {
			changed++
		}
		if _, ok := errors.AsType[*problem.Error](err); err != nil && !ok {
			return problem.Wrap(err, problem.Conflict, "the password of %s: %v", p.ID, err)
		}
		return err
	})
	return changed, err
}

// eachPassword goes through all principals that have a password.
func eachPassword(ctx context.Context, store Store, do func(*Principal) error) error {
	for cursor := ""; ; {
		list, next, err := store.Principals(ctx, 0, cursor, sealPage)
		if err != nil {
			return err
		}
		for _, p := range list {
			if p.Password.Sealed == nil {
				continue
			}
			if err := do(p); err != nil {
				return err
			}
		}
		if next == "" {
			return nil
		}
		cursor = next
	}
}

// Rewrap puts every secret of the store under the key that seals, so that the old keys can be taken out of the configuration.
// Every gateway must know the new key before. It says how many it changed; after an error it can be called again.
func (x *ExternalAccounts) Rewrap(ctx context.Context, caller Caller) (changed int, err error) {
	if err := onlyOperator(caller); err != nil {
		return 0, err
	}
	if x.Sealer == nil {
		return 0, seal.ErrNoKey
	}
	err = eachEABKey(ctx, x.Store, func(k *EABKey) error {
		_, err := x.edit(ctx, caller, k.ID, func(k *EABKey) (bool, error) {
			next, anew, err := x.Sealer.Rewrap(ctx, seal.EABKey, k.ID, k.Sealed)
			if anew {
				k.Sealed = next
				changed++
			}
			return anew, err
		})
		if _, ok := errors.AsType[*problem.Error](err); err != nil && !ok {
			return problem.Wrap(err, problem.Conflict, "the external account binding key %s: %v", k.ID, err)
		}
		return err
	})
	return changed, err
}

// eachEABKey goes through all keys.
func eachEABKey(ctx context.Context, store Store, do func(*EABKey) error) error {
	for cursor := ""; ; {
		keys, next, err := store.EABKeys(ctx, 0, cursor, sealPage)
		if err != nil {
			return err
		}
		for _, k := range keys {
			if err := do(k); err != nil {
				return err
			}
		}
		if next == "" {
			return nil
		}
		cursor = next
	}
}
