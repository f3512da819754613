package ca

import (
	"context"
	"fmt"
	"maps"
	"sync"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// unsettled is what this process has announced in the journal and could not bring to its end, because the store or the
// journal did not answer: intents, and revocations that the store did not take. The store's sweep does not find them: it
// may have nothing of an intent, or have the certificate. Until they are settled the journal must not be marked as being in
// the store beyond them, or no replay would look at them again.
type unsettled struct {
	mu      sync.Mutex
	list    map[string]unsettledIntent // by issuer/serial
	revoked map[string]RevokeRequest   // by issuer/serial
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

// addRevocation remembers a revocation that the journal has. Of two of one serial the stronger reason is kept.
func (u *unsettled) addRevocation(req RevokeRequest) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.revoked == nil {
		u.revoked = make(map[string]RevokeRequest)
	}
	key := req.Issuer + "/" + string(req.Serial)
	if before, ok := u.revoked[key]; !ok || before.Reason != KeyCompromise {
		u.revoked[key] = req
	}
}

// Unsettled is how many issuances and revocations of this process failed so that store and journal differ about them.
// Settle works them off.
func (a *Authority) Unsettled() int {
	a.unsettled.mu.Lock()
	defer a.unsettled.mu.Unlock()
	return len(a.unsettled.list) + len(a.unsettled.revoked)
}

// Settle brings them to their end: a certificate that the store has is journaled as signed, every other issuance is abandoned
// in both, and a revocation is given to the store. It stops at the first that still cannot be settled, and returns why. Call
// it again and again, one call at a time.
func (a *Authority) Settle(ctx context.Context) error {
	if err := a.settleRevocations(ctx); err != nil {
		return err
	}
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

func (a *Authority) settleRevocations(ctx context.Context) error {
	a.unsettled.mu.Lock()
	all := maps.Clone(a.unsettled.revoked)
	a.unsettled.mu.Unlock()
	for key, req := range all {
		switch _, err := a.revoke(ctx, req, true); {
		case err == nil, problem.Is(err, problem.AlreadyRevoked):
		case problem.Is(err, problem.NotFound), problem.Is(err, problem.Conflict):
			// The store went back behind the certificate, and a replay of this journal brings both; or it has expired.
		default:
			return fmt.Errorf("the revocation of %s is not in the store yet: %w", key, err)
		}
		a.unsettled.mu.Lock()
		if a.unsettled.revoked[key] == req { // not a stronger one meanwhile
			delete(a.unsettled.revoked, key)
		}
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
	c.Intent.Content, c.Intent.Approvers = in.Content, in.Approvers
	e := eventFor(audit.Signed, c.Intent)
	e.DER = c.DER
	return a.append(ctx, e)
}
