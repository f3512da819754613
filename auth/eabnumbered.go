package auth

import (
	"context"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/seal"
)

// Key reads a key as it is now, for a door that has bound an account by it; NotFound if there is none. It says nothing of whether
// the key may bind further ones.
func (x *ExternalAccounts) Key(ctx context.Context, kid string) (*EABKey, error) {
	if !validEABID(kid) {
		return nil, noEABKey(kid)
	}
	return x.Store.EABKey(ctx, kid)
}

// ByNumber gives the key with a number, for whoever may view its organisation. One of another organisation, one that was removed
// and none are the same NotFound.
func (x *ExternalAccounts) ByNumber(ctx context.Context, caller Caller, number int32) (EABState, error) {
	k, err := x.numbered(ctx, caller, View, number)
	if err != nil {
		return EABState{}, err
	}
	return x.state(ctx, k)
}

// numbered finds the key with a number for a caller who may do something to the keys of its organisation.
func (x *ExternalAccounts) numbered(ctx context.Context, caller Caller, action Action, number int32) (*EABKey, error) {
	k, err := x.known(ctx, caller, action, number)
	if err == nil && !k.Removed.IsZero() {
		err = noEABNumber(number)
	}
	if err != nil {
		return nil, err
	}
	return k, nil
}

// known is numbered, also of a key that was removed.
func (x *ExternalAccounts) known(ctx context.Context, caller Caller, action Action, number int32) (*EABKey, error) {
	if number <= 0 {
		return nil, noEABNumber(number)
	}
	k, err := x.Store.EABKeyOfNumber(ctx, number)
	if err == nil {
		err = x.Directory.May(caller, action, k.Org)
	}
	if problem.Is(err, problem.NotFound) {
		return nil, noEABNumber(number)
	}
	return k, err
}

func noEABNumber(number int32) error {
	return problem.New(problem.NotFound, "there is no external account binding key with the number %d", number)
}

// MACKey unseals the MAC key of a key, for whoever may manage the keys of its organisation; the caller wipes it (clear). It is
// shown as long as an account can be bound by it, and of keys by domains alone: whoever makes another one was told that it is not
// shown again. Otherwise it is nil. Errors are NotFound, Unauthorized and Unavailable.
func (x *ExternalAccounts) MACKey(ctx context.Context, caller Caller, k *EABKey) ([]byte, error) {
	if err := x.Directory.May(caller, ManageKeys, k.Org); err != nil {
		return nil, err
	}
	if !k.ByDomains || k.Usable(x.Now()) != nil {
		return nil, nil
	}
	mac, err := x.Sealer.Open(ctx, seal.EABKey, k.ID, k.Sealed)
	if err != nil {
		return nil, x.sealed(err)
	}
	return mac, nil
}

// Rename gives a key another label.
func (x *ExternalAccounts) Rename(ctx context.Context, caller Caller, number int32, label string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeTime)
	defer cancel()
	k, err := x.numbered(ctx, caller, ManageKeys, number)
	if err != nil {
		return err
	}
	if err := checkLine("the name (label)", label, maxEABLabel); err != nil {
		return problem.New(problem.Malformed, "%v", err)
	}
	return x.changeOrTell(ctx, caller, k, func(k *EABKey) (bool, error) {
		changed := k.Label != label
		k.Label = label
		return changed, nil
	})
}

// Remove takes a key away from its organisation: no account is bound by it any more, and those that were may ask for no
// certificate. What they have stays valid, and they may revoke it. A key that was removed is NotFound.
func (x *ExternalAccounts) Remove(ctx context.Context, caller Caller, number int32) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeTime)
	defer cancel()
	k, err := x.known(ctx, caller, ManageKeys, number)
	if err != nil {
		return err
	}
	before := false
	if err := x.changeOrTell(ctx, caller, k, func(k *EABKey) (bool, error) {
		if before = !k.Removed.IsZero(); before {
			return false, nil
		}
		k.Removed = x.Now().UTC().Truncate(time.Second)
		if k.Revoked.IsZero() {
			k.Revoked = k.Removed
		}
		return true, nil
	}); err != nil {
		return err
	}
	if before {
		return noEABNumber(number)
	}
	return nil
}

// changeOrTell changes a key. If there was nothing to be changed, then perhaps by a call whose entry the journal did not take, and
// one more says the same.
func (x *ExternalAccounts) changeOrTell(ctx context.Context, caller Caller, k *EABKey, change func(*EABKey) (bool, error)) error {
	same := false
	now, err := x.change(ctx, caller, k.ID, func(k *EABKey) (bool, error) {
		changed, err := change(k)
		same = !changed
		return changed, err
	})
	if err == nil && same {
		err = x.tell(ctx, caller, now)
	}
	return err
}

// number gives a key that was made before there were numbers its own, in a commit that fails if another has changed the key or has
// the number meanwhile.
func (x *ExternalAccounts) number(ctx context.Context, k *EABKey) (*EABKey, error) {
	for attempt := 1; k.Number == 0; attempt++ {
		next := *k
		var err error
		if next.Number, err = x.Store.NextEABNumber(ctx); err != nil {
			return nil, err
		}
		next.Edits++
		err = x.put(ctx, Caller{Principal: "system"}, audit.EABKeyEdited, &next, x.Store.NumberEABKey)
		switch {
		case err == nil:
			return &next, nil
		case !problem.Is(err, problem.Conflict) || attempt == maxChanges:
			return nil, err
		}
		if k, err = x.Store.EABKey(ctx, k.ID); err != nil {
			return nil, err
		}
	}
	return k, nil
}
