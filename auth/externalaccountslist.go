package auth

import (
	"context"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// EABState is a key and who has used it.
type EABState struct {
	*EABKey
	OrgSlug  string
	Accounts []string // of a reusable key at most a hundred
	Bound    int64    // how many there are
}

// Get gives one key; NotFound if there is none.
func (x *ExternalAccounts) Get(ctx context.Context, caller Caller, id string) (EABState, error) {
	if err := onlyOperator(caller); err != nil {
		return EABState{}, err
	}
	if !validEABID(id) {
		return EABState{}, noEABKey(id)
	}
	k, err := x.Store.EABKey(ctx, id)
	if err != nil {
		return EABState{}, err
	}
	return x.state(ctx, k)
}

func (x *ExternalAccounts) state(ctx context.Context, k *EABKey) (EABState, error) {
	s := EABState{EABKey: k}
	if o, ok := x.Directory.ByID(k.Org); ok {
		s.OrgSlug = o.Slug
	}
	var err error
	s.Accounts, s.Bound, err = x.accounts(ctx, k, maxEABShown)
	return s, err
}

// accounts are those that a key has bound, at most limit, and how many there are.
func (x *ExternalAccounts) accounts(ctx context.Context, k *EABKey, limit int) ([]string, int64, error) {
	switch {
	case k.Reusable:
		return x.Store.EABAccounts(ctx, k.ID, limit)
	case k.Account != "":
		return []string{k.Account}, 1, nil
	default:
		return nil, 0, nil
	}
}

// List gives a page of keys, newest first: of one organisation by its slug, or ("") of all, behind a cursor. The second
// result is the next page's cursor, "" at the end. limit is 1 to [MaxEABPage].
func (x *ExternalAccounts) List(ctx context.Context, caller Caller, slug, cursor string, limit int) ([]EABState, string, error) {
	if err := onlyOperator(caller); err != nil {
		return nil, "", err
	}
	if limit < 1 || limit > MaxEABPage {
		return nil, "", problem.New(problem.Malformed, "limit is %d; give 1 to %d", limit, MaxEABPage)
	}
	var org OrgID
	if slug != "" {
		o := x.Directory.current.Load().bySlug[slug]
		if o == nil {
			return nil, "", noOrg(slug)
		}
		org = o.ID
	}
	keys, next, err := x.Store.EABKeys(ctx, org, cursor, limit)
	if err != nil {
		return nil, "", err
	}
	list := make([]EABState, len(keys))
	for i, k := range keys {
		list[i].EABKey = k
		if o, ok := x.Directory.ByID(k.Org); ok {
			list[i].OrgSlug = o.Slug
		}
	}
	return list, next, nil
}
