package publish

import (
	"context"
	"log/slog"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// Of any number of processes on one store one makes an issuer's list: the one that holds the list's lease. It is taken
// when a list must be made and at no other time, so that idle processes write nothing, and stays with its holder for a
// while, so that a run of revocations takes it once. It guards nothing by itself; what does is that the commits which save a
// list or remove entries hold only under the very lease with which the work began. A process that was stopped, or was too
// slow, therefore changes nothing, whatever its clock says.
//
// The others wait for the holder's list. They look again when they hear that it is there, when the lease was given back,
// when it runs out, and at every poll. So whatever becomes of a holder, another succeeds it within the length of a lease
// and a poll:
//
//   - one that ends, or whose signer fails, gives the lease back, and the others hear of it;
//   - one that dies, hangs or is stopped does not extend it, because only the start of another build does that;
//   - one that missed the hint of a revocation finds it at its own poll, or another process does after the lease ran out.
const (
	// costMargin × the duration of the last build is how long a lease lasts at least, so that a list that takes
	// longer than the configured time can be made at all.
	costMargin = 3
	// returnTimeout bounds the giving back, so that a store that is away does not hold up the end of the process.
	returnTimeout = 2 * time.Second
)

// Lease is the right of one process to make an issuer's list. The zero Holder says that it is free.
type Lease struct {
	Issuer  string
	Shard   int
	Holder  string        // a random name of the publisher that has it
	Left    time.Duration // until it runs out, by the store's clock at the time it was read or taken
	Version [16]byte      // the fence: another one each time it is taken or extended
}

// readLease is the lease as far as this process knows: its own from memory, otherwise what the store says.
func (p *Publisher) readLease(ctx context.Context, is *issuer) (Lease, error) {
	if own := is.held; own.Holder != "" {
		if own.Left = time.Until(is.heldUntil); own.Left > 0 {
			return own, nil
		}
		is.held = Lease{}
	}
	return p.store.CRLLease(ctx, is.Name, completeShard)
}

// hold returns a lease that is likely to last for one build: the one that was read, if it was taken here and half of it is
// left, otherwise a new one. The store's word that the lease is this holder's is no reason not to take it: it may have been
// taken in an earlier life. errMoved says that another process was faster, or replaced the list that was read.
func (p *Publisher) hold(ctx context.Context, is *issuer, read Lease, stored *CRL) (Lease, error) {
	term := max(p.lease, min(costMargin*is.took, p.timeout))
	own := is.held.Holder != ""
	if own && read.Left >= term/2 {
		return read, nil
	}
	// The time is measured from before the question, so that what is left is never overestimated, and on this machine
	// alone: no two clocks are compared.
	asked := time.Now()
	lease, err := p.store.TakeCRLLease(ctx, read, p.holder, term)
	if problem.Is(err, problem.Conflict) {
		is.held = Lease{}
		return Lease{}, errMoved
	}
	if err != nil {
		return Lease{}, err
	}
	is.held, is.heldUntil = lease, asked.Add(term)
	if own {
		return lease, nil
	}
	// The holder before may have saved a list after it was read here. Its successor must not sign one for nothing.
	now, err := p.store.CRL(ctx, is.Name, completeShard)
	switch {
	case problem.Is(err, problem.NotFound) && stored == nil:
		return lease, nil
	case problem.Is(err, problem.NotFound):
		return Lease{}, errMoved
	case err != nil:
		return Lease{}, err
	case stored == nil || now.Version != stored.Version:
		return Lease{}, errMoved
	}
	return lease, nil
}

// giveBack ends this process's lease, if it has one, so that no other has to wait until it runs out. The caller has the
// issuer's token.
func (p *Publisher) giveBack(ctx context.Context, is *issuer) {
	lease := is.held
	is.held = Lease{}
	if lease.Holder == "" || time.Until(is.heldUntil) <= 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), returnTimeout)
	defer cancel()
	if err := p.store.ReturnCRLLease(ctx, lease); err != nil && !problem.Is(err, problem.Conflict) {
		p.log.LogAttrs(ctx, slog.LevelWarn, "the lease of a CRL was not given back; it runs out by itself",
			slog.String("issuer", is.Name), slog.Any("error", err))
	}
}
