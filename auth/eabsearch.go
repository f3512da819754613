package auth

import (
	"context"
	"strconv"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// EABQuery asks for keys of one organisation.
type EABQuery struct {
	Org OrgID
	// Keep says which keys are wanted; nil: all. It is asked of every key of the organisation.
	Keep          func(EABState) bool
	Bound         bool // count the accounts of each key of the page
	KeepBound     bool // count those of every key before Keep is asked, which looks at them
	Offset, Limit int  // Limit is 1 to [MaxEABPage]
}

// EABFound is a page of keys, oldest first, and how many there are on all pages.
type EABFound struct {
	Keys  []EABState
	Total int64
}

// Search lists the keys of an organisation that were not removed, for whoever may view it. Keys that were made before there were
// numbers get theirs on the way. Of each key no more than its first account is named.
func (x *ExternalAccounts) Search(ctx context.Context, caller Caller, q EABQuery) (EABFound, error) {
	if err := x.Directory.May(caller, View, q.Org); err != nil {
		return EABFound{}, err
	}
	if q.Limit < 1 || q.Limit > MaxEABPage || q.Offset < 0 {
		return EABFound{}, problem.New(problem.Malformed, "limit is %d, offset %d; give a limit of 1 to %d", q.Limit, q.Offset, MaxEABPage)
	}
	if q.Keep != nil {
		return x.filtered(ctx, q)
	}
	keys, total, err := x.Store.EABKeysOf(ctx, q.Org, q.Offset, q.Limit)
	if err != nil {
		return EABFound{}, err
	}
	found := EABFound{Total: total}
	for _, k := range keys {
		s, err := x.shown(ctx, k, q.Bound)
		if err != nil {
			return EABFound{}, err
		}
		found.Keys = append(found.Keys, s)
	}
	return found, nil
}

// filtered goes through all keys of an organisation, of which there are a bounded number.
func (x *ExternalAccounts) filtered(ctx context.Context, q EABQuery) (found EABFound, err error) {
	for offset := 0; ; offset += MaxEABPage {
		keys, total, err := x.Store.EABKeysOf(ctx, q.Org, offset, MaxEABPage)
		if err != nil {
			return EABFound{}, err
		}
		for _, k := range keys {
			s, err := x.shown(ctx, k, q.KeepBound)
			if err != nil {
				return EABFound{}, err
			}
			if !q.Keep(s) {
				continue
			}
			if found.Total++; found.Total <= int64(q.Offset) || len(found.Keys) == q.Limit {
				continue
			}
			if q.Bound && !q.KeepBound {
				if s.Accounts, s.Bound, err = x.accounts(ctx, k, 1); err != nil {
					return EABFound{}, err
				}
			}
			found.Keys = append(found.Keys, s)
		}
		if int64(offset)+MaxEABPage >= total {
			return found, nil
		}
	}
}

// shown is a key as lists show it, with its number.
func (x *ExternalAccounts) shown(ctx context.Context, k *EABKey, bound bool) (EABState, error) {
	k, err := x.number(ctx, k)
	if err != nil {
		return EABState{}, err
	}
	s := EABState{EABKey: k}
	if o, ok := x.Directory.ByID(k.Org); ok {
		s.OrgSlug = o.Slug
	}
	if bound {
		s.Accounts, s.Bound, err = x.accounts(ctx, k, 1)
	}
	return s, err
}

// Clients lists the accounts that a key has bound, limit of them behind the first offset, and counts them all, for whoever may view
// its organisation. limit is 1 to [MaxEABPage].
func (x *ExternalAccounts) Clients(ctx context.Context, caller Caller, number int32, offset, limit int) ([]EABClient, int64, error) {
	k, err := x.numbered(ctx, caller, View, number)
	if err != nil {
		return nil, 0, err
	}
	if limit < 1 || limit > MaxEABPage || offset < 0 {
		return nil, 0, problem.New(problem.Malformed, "limit is %d, offset %d; give a limit of 1 to %d", limit, offset, MaxEABPage)
	}
	return x.Store.EABClients(ctx, k.ID, offset, limit)
}

// maxClientsRead is how many accounts of a key one is looked for among by its number.
const maxClientsRead = 10_000

// Client finds the key with a number and the id of an account that it has bound, for whoever may manage the keys of the
// organisation. A reference that is a number is that of [EABClient.Number]: NotFound, with the key, if no account of it has that,
// Conflict if two do. Any other is an id, which is given back as it is: the door that keeps accounts knows which key has bound them.
func (x *ExternalAccounts) Client(ctx context.Context, caller Caller, number int32, reference string) (k *EABKey, id string, err error) {
	if k, err = x.numbered(ctx, caller, ManageKeys, number); err != nil {
		return nil, "", err
	}
	wanted, err := strconv.ParseInt(reference, 10, 32)
	if err != nil {
		return k, reference, nil
	}
	for offset := 0; offset < maxClientsRead; offset += MaxEABPage {
		clients, total, err := x.Store.EABClients(ctx, k.ID, offset, MaxEABPage)
		if err != nil {
			return nil, "", err
		}
		for _, c := range clients {
			switch {
			case int64(c.Number()) != wanted:
			case id != "":
				return nil, "", problem.New(problem.Conflict, "two ACME accounts of this key have the number %d; name one by its id", wanted)
			default:
				id = c.ID
			}
		}
		if int64(offset)+MaxEABPage >= total {
			break
		}
	}
	if id == "" {
		return k, "", problem.New(problem.NotFound, "no ACME account of this key has the number %d", wanted)
	}
	return k, id, nil
}
