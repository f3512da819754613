package ra

import (
	"context"
	"errors"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/seal"
)

// RewrapKeys puts every private key under the key that seals now. It says how many it changed; after an error it can be called
// again. For an operator.
func (r *Registrar) RewrapKeys(ctx context.Context, caller auth.Caller) (changed int, err error) {
	if err := r.May(caller, auth.Operate, 0); err != nil {
		return 0, err
	}
	if err := r.keysKept(); err != nil {
		return 0, err
	}
	for after := ID(0); ; {
		list, err := r.Escrow.Store.PrivateKeys(ctx, after, sweepBatch)
		if err != nil {
			return changed, err
		}
		for _, k := range list {
			done, err := r.rewrapKey(ctx, caller, k)
			if err != nil {
				return changed, err
			}
			if done {
				changed++
			}
			after = k.Enrollment
		}
		if len(list) < sweepBatch {
			return changed, nil
		}
	}
}

func (r *Registrar) rewrapKey(ctx context.Context, caller auth.Caller, k *StoredKey) (bool, error) {
	for try := 1; ; try++ {
		sealed, anew, err := r.Escrow.Sealer.Rewrap(ctx, seal.PrivateKey, k.object(), k.Sealed)
		if _, told := errors.AsType[*problem.Error](err); err != nil && !told {
			return false, problem.Wrap(err, problem.Conflict, "the private key of enrollment %d: %v", k.Enrollment, err)
		}
		if err != nil || !anew {
			return false, err
		}
		e, err := r.Store.Enrollment(ctx, k.Enrollment)
		if err != nil {
			return false, err
		}
		if !e.KeyStored.Equal(k.At) { // destroyed meanwhile
			return false, nil
		}
		next, changed := *e, *k
		changed.Sealed, changed.Rewraps = sealed, k.Rewraps+1
		next.Key = &changed
		err = r.Store.MoveEnrollment(ctx, &next, e, nil)
		if problem.Is(err, problem.Conflict) && try < moveTries {
			if k, err = r.Escrow.Store.PrivateKey(ctx, k.Enrollment); err == nil {
				continue
			}
			if problem.Is(err, problem.NotFound) {
				return false, nil
			}
		}
		if err != nil {
			return false, err
		}
		return true, r.journalKey(ctx, &next, caller.Principal, "sealed under another key")
	}
}

// CountSealedKeys adds the private keys of a store to what is known of its secrets.
func CountSealedKeys(ctx context.Context, store KeyStore, use *auth.SealUse, sealer *seal.Sealer) error {
	for after := ID(0); ; {
		list, err := store.PrivateKeys(ctx, after, sweepBatch)
		if err != nil {
			return err
		}
		for _, k := range list {
			if err := use.Count(sealer, "the private key of an enrollment", k.Sealed); err != nil {
				return err
			}
			after = k.Enrollment
		}
		if len(list) < sweepBatch {
			return nil
		}
	}
}
