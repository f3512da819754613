package storage

import (
	"context"

	"github.com/gatehouse-ca/gatehouse/acme"
)

// An account and the external account key that bound it can be in different journals, and are replayed in any sequence.
// Whoever comes second finds the first: both write their own before they look for the other. So a key that serves one
// account is used again as soon as both are back.

// binding gives back that an account was made by an external account key. That it was is a fact, and the key is used up, even
// if the account itself does not come back because its own key has another one.
func (r *Replay) binding(ctx context.Context, a *acme.Account) (bool, error) {
	index, m := indexEABAccounts(a.Binding.KeyID), []byte(a.ID)
	found, err := r.db.engine.Scan(ctx, index, Range{From: m, To: append([]byte(a.ID), 0)}, Page{Limit: 1})
	if err != nil {
		return false, unavailable(err)
	}
	if len(found) == 0 {
		if err := r.db.commit(ctx, &Batch{Adds: []Entry{{Index: index, Member: m}}}); err != nil {
			return false, err
		}
	}
	used, err := r.useEABKey(ctx, a.Binding.KeyID)
	return used || len(found) == 0, err
}

// useEABKey gives a key that serves one account the account that was made by it, if it has none and there is one. It
// reports whether it did.
func (r *Replay) useEABKey(ctx context.Context, kid string) (bool, error) {
	k, err := r.db.eabKey(ctx, kid)
	if err != nil || k == nil || k.Reusable || k.Account != "" {
		return false, err
	}
	first, err := r.db.engine.Scan(ctx, indexEABAccounts(kid), Range{}, Page{Limit: 1})
	if err != nil || len(first) == 0 {
		return false, unavailable(err)
	}
	k.Account = string(first[0])
	value, err := encodeEABKey(k)
	if err != nil {
		return false, err
	}
	return true, r.db.commit(ctx, &Batch{
		Conditions: []Condition{{Key: keyEAB(kid), Want: Equals, Version: k.Version}},
		Puts:       []Put{{Key: keyEAB(kid), Value: value}},
	})
}
