package ca

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// SweepAge is how old an open intent of a local issuer may grow. No issuance takes that long: its process has died, or
// its store did not answer.
const SweepAge = 10 * time.Minute

// sweepBatch is how many intents one listing asks for.
const sweepBatch = 100

// SweepIntents closes the intents of this authority's issuers that were opened more than olderThan ago (normally
// [SweepAge]) and are still open; it returns how many it closed. A signature that comes back later for one of them is
// refused, and its serial is on the CRL until its notAfter. Intents of other issuers are left alone. An intent that
// cannot be closed does not keep the others open; the errors are joined. Any number of processes may sweep at once.
func (a *Authority) SweepIntents(ctx context.Context, olderThan time.Duration) (closed int, err error) {
	before := a.now().Add(-olderThan)
	left := map[string]bool{} // what this sweep does not look at again
	var failed []error
	for {
		// What stays open comes back at the head of every listing, so the limit grows by as many.
		open, err := a.store.OpenIntents(ctx, before, sweepBatch+len(left))
		if err != nil {
			return closed, errors.Join(append(failed, err)...)
		}
		progress := false
		for _, in := range open {
			key := in.Issuer + "/" + string(in.Serial)
			if left[key] {
				continue
			}
			progress = true
			switch err := a.sweepOne(ctx, in); {
			case err == nil:
				closed++
			case problem.Is(err, problem.Conflict), errors.Is(err, errForeign):
				left[key] = true // another sweep or the issuance itself was first; or it is not ours
			default:
				left[key] = true
				failed = append(failed, fmt.Errorf("intent %s: %w", key, err))
			}
		}
		if !progress || ctx.Err() != nil {
			return closed, errors.Join(failed...)
		}
	}
}

// errForeign marks an intent of an issuer that is not configured here.
var errForeign = errors.New("not an issuer of this authority")

func (a *Authority) sweepOne(ctx context.Context, in Intent) error {
	if _, ok := a.issuers[in.Issuer]; !ok {
		return errForeign
	}
	ctx, cancel := a.recording(ctx)
	defer cancel()
	if err := a.abandon(ctx, in); err != nil {
		return err
	}
	a.log.Warn("an open intent was abandoned; its serial is on the CRL until it would have expired", "issuer", in.Issuer,
		"serial", in.Serial, "enrollment", in.Enrollment, "opened", in.Opened, "notAfter", in.NotAfter)
	return nil
}
