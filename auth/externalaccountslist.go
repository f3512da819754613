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
	if !k.Reusable {
		if k.Account != "" {
			s.Accounts, s.Bound = []string{k.Account}, 1
		}
		return s, nil
	}
	var err error
	s.Accounts, s.Bound, err = x.Store.EABAccounts(ctx, k.ID, maxEABShown)
	return s, err
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
