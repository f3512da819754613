package ca

import (
	"context"
	"fmt"
	"sync"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// unsettled are the intents of this process that the journal has announced and could not be told the end of, because the
// store or the journal did not answer. The store's sweep does not find all of them: the store may have none of it, or have
// the certificate. Until they are settled the journal must not be marked as being in the store beyond them, or no replay
// would look at them again.
type unsettled struct {
	mu   sync.Mutex
	list map[string]unsettledIntent // by issuer/serial
}

type unsettledIntent struct {
	Intent
	signing bool // the back end had been asked for a signature
}

func (u *unsettled) add(in Intent, signing bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.list == nil {
		u.list = make(map[string]unsettledIntent)
	}
	u.list[in.Issuer+"/"+string(in.Serial)] = unsettledIntent{in, signing}
}

// Unsettled is how many issuances of this process failed so that neither store nor journal could be told what became of
// them. Settle works them off.
func (a *Authority) Unsettled() int {
	a.unsettled.mu.Lock()
	defer a.unsettled.mu.Unlock()
	return len(a.unsettled.list)
}

// Settle gives every such issuance its end: what the store has as issued is journaled as signed, everything else is abandoned
// in both. It stops at the first that still cannot be settled, and returns why. Call it again and again, one call at a time.
func (a *Authority) Settle(ctx context.Context) error {
	a.unsettled.mu.Lock()
	var all []unsettledIntent
	for _, in := range a.unsettled.list {
		all = append(all, in)
	}
	a.unsettled.mu.Unlock()
	for _, in := range all {
		if err := a.conclude(ctx, in.Intent, in.signing); err != nil {
			return fmt.Errorf("intent %s/%s has no end yet: %w", in.Issuer, in.Serial, err)
		}
		a.unsettled.mu.Lock()
		delete(a.unsettled.list, in.Issuer+"/"+string(in.Serial))
		a.unsettled.mu.Unlock()
	}
	return nil
}

// conclude looks at what the store has of an intent whose issuance is over, and brings store and journal to its end.
func (a *Authority) conclude(ctx context.Context, in Intent, signing bool) error {
	ctx, cancel := a.recording(ctx)
	defer cancel()
	c, err := a.store.Certificate(ctx, in.Issuer, in.Serial)
	switch {
	case problem.Is(err, problem.NotFound):
		return a.closeUnrecorded(ctx, in, signing)
	case err != nil:
		return err
	case c.State == Open:
		return a.abandon(ctx, in)
	case c.State == Abandoned:
		return a.journalAbandoned(ctx, in)
	}
	e := eventFor(audit.Signed, c.Intent)
	e.DER = c.DER
	return a.append(ctx, e)
}
