package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// How often one update starts again because another process replaced the list meanwhile, and how much of what expired
// one update removes.
const (
	maxAttempts = 4
	dropLimit   = 1000
	dropTurns   = 10
)

// beginning is before every certificate's notAfter: the store is asked for all it has, so that an entry that expired can
// be told from one that was lost.
var beginning = time.Unix(0, 0).UTC()

// errMoved says that another process replaced the list, or took the lease, between reading and writing.
var errMoved = errors.New("other processes made lists at the same time")

// update brings an issuer's list up to date: it adopts a newer one from the store, and builds one if that is needed. If
// another process holds the lease it builds nothing, and another look is needed after wait at the latest. One update per
// issuer runs at a time in a process.
func (p *Publisher) update(ctx context.Context, is *issuer) (wait time.Duration, err error) {
	select {
	case <-is.building:
		defer func() { is.building <- struct{}{} }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	for range maxAttempts {
		if wait, err = p.attempt(ctx, is); !errors.Is(err, errMoved) {
			break
		}
	}
	if err != nil {
		err = fmt.Errorf("CRL of issuer %s: %w", is.Name, err)
		p.giveBack(ctx, is) // whoever cannot build must not keep others from it
	}
	is.note(err, p.now())
	return wait, err
}

// attempt is one turn of update.
func (p *Publisher) attempt(ctx context.Context, is *issuer) (wait time.Duration, err error) {
	stored, err := p.reload(ctx, is)
	if err != nil {
		return 0, err
	}
	lease, err := p.readLease(ctx, is)
	if err != nil {
		return 0, fmt.Errorf("read the lease: %w", err)
	}
	if lease.Holder != "" && lease.Holder != p.holder {
		return lease.Left, nil
	}
	started := time.Now()
	prev := is.current.Load()
	if wait := p.unknowing(prev, stored); wait > 0 {
		return wait, nil
	}
	// The clock is read before the entries, so that whatever is committed after thisUpdate and unseen here expires after it.
	now := p.now()
	revoked, err := p.store.Revoked(ctx, is.Name, beginning)
	if err != nil {
		return 0, fmt.Errorf("read the revoked serials: %w", err)
	}
	floor := int64(0)
	if stored != nil {
		floor = stored.Number
	}
	next, cutoff, err := plan(is.Name, prev, floor, revoked, now, p.lifetime)
	if err != nil {
		return 0, p.unlessMoved(ctx, is, stored, err)
	}
	if !p.needed(prev, stored, next, now) {
		return 0, nil
	}
	if lease, err = p.hold(ctx, is, lease, stored); err != nil {
		return 0, fmt.Errorf("take the lease: %w", err)
	}
	made, err := p.signed(ctx, is, prev, next)
	if err != nil {
		return 0, err
	}
	is.took = time.Since(started)
	if err := p.save(ctx, is, made, stored, lease); err != nil {
		return 0, err
	}
	p.log.LogAttrs(ctx, slog.LevelInfo, "CRL published", slog.String("issuer", is.Name),
		slog.Int64("number", made.number), slog.Int("entries", len(made.entries)),
		slog.Int("dropped", len(revoked)-len(next.Entries)), slog.Duration("took", time.Since(started)))
	if len(revoked) > len(next.Entries) {
		p.dropExpired(ctx, is, lease, cutoff)
	}
	return 0, nil
}

// needed reports whether next must be made: there is no list, the store has lost the one that relying parties have seen,
// the list is due, or something was revoked.
func (p *Publisher) needed(prev *parsedList, stored *CRL, next List, now time.Time) bool {
	return prev == nil || stored == nil || !bytes.Equal(stored.DER, prev.der) || !now.Before(p.due(prev)) || !same(prev, next)
}

// save makes a list the one that is stored and served.
func (p *Publisher) save(ctx context.Context, is *issuer, made *parsedList, stored *CRL, lease Lease) error {
	err := p.store.SaveCRL(ctx, made.record(is.Name), stored, lease)
	if problem.Is(err, problem.Conflict) {
		is.held = Lease{} // the store says whether it is still this process's
		p.log.LogAttrs(ctx, slog.LevelWarn, "a CRL was not saved: its lease ended while it was made, or another list came first",
			slog.String("issuer", is.Name), slog.Int64("number", made.number), slog.Duration("took", is.took))
		return errMoved
	}
	if err != nil {
		// It may have been saved all the same. The next attempt reads the store and finds out.
		return fmt.Errorf("save the list: %w", err)
	}
	p.serve(is, made)
	return nil
}

// signed has a list signed and checks what came back.
func (p *Publisher) signed(ctx context.Context, is *issuer, prev *parsedList, next List) (*parsedList, error) {
	der, err := p.sign(ctx, is.Name, next)
	if err != nil {
		return nil, fmt.Errorf("sign the list: %w", err)
	}
	made, err := parse(der, is.Certificate)
	if err != nil {
		return nil, refuse(is.Name, next.Number, "%v", err)
	}
	if err := check(is.Name, prev, next, made); err != nil {
		return nil, err
	}
	return made, nil
}

// due is when a list must be replaced although nothing changed.
func (p *Publisher) due(list *parsedList) time.Time {
	due := list.thisUpdate.Add(p.interval)
	// A list made under a shorter lifetime must not run out first.
	if half := list.thisUpdate.Add(list.nextUpdate.Sub(list.thisUpdate) / 2); half.Before(due) {
		return half
	}
	return due
}

// reload reads the stored list, serves it if it is newer than what is served, and returns it as the precondition of the
// next save; nil if there is none.
func (p *Publisher) reload(ctx context.Context, is *issuer) (*CRL, error) {
	stored, err := p.store.CRL(ctx, is.Name, completeShard)
	if problem.Is(err, problem.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the stored list: %w", err)
	}
	cur := is.current.Load()
	if cur != nil && bytes.Equal(cur.der, stored.DER) {
		return stored, nil
	}
	list, err := parse(stored.DER, is.Certificate)
	if err != nil {
		return nil, fmt.Errorf("the stored list %d is unusable: %w", stored.Number, err)
	}
	if cur != nil && list.number <= cur.number {
		// The store went back. What relying parties have seen stays the reference, or numbers would repeat.
		p.log.LogAttrs(ctx, slog.LevelError, "the store holds an older CRL than was published",
			slog.String("issuer", is.Name), slog.Int64("stored", list.number), slog.Int64("published", cur.number))
		return stored, nil
	}
	if err := p.nothingLeft(ctx, is, cur, list); err != nil {
		// Made by a process that does not know what relying parties have seen here. What was seen stays until it is whole.
		p.log.LogAttrs(ctx, slog.LevelError, "the stored CRL is not served", slog.String("issuer", is.Name), slog.Any("error", err))
		return stored, nil
	}
	p.serve(is, list)
	return stored, nil
}

// nothingLeft refuses a list by another process that lacks an entry of cur (nil: of nothing), unless that entry's certificate
// has expired by then (RFC 5280, 3.3).
func (p *Publisher) nothingLeft(ctx context.Context, is *issuer, cur, list *parsedList) error {
	if cur == nil {
		return nil
	}
	var missing []ca.Serial
	i := 0
	for _, old := range cur.entries {
		for i < len(list.entries) && list.entries[i].serial < old.serial {
			i++
		}
		if i == len(list.entries) || list.entries[i].serial != old.serial {
			missing = append(missing, old.serial)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	ends, err := p.store.Expiries(ctx, is.Name, missing)
	if err != nil {
		return fmt.Errorf("read when certificates that list %d lacks expire: %w", list.number, err)
	}
	for _, serial := range missing {
		if end, ok := ends[serial]; !ok || !end.Before(list.thisUpdate) {
			return lost(is.Name, list.number, serial)
		}
	}
	return nil
}

// firstWait is how long a process that knows no list waits for one that does, where the store was begun anew.
const firstWait = time.Minute

// unknowing is how long to wait before the first list of all is made here. On a store that was begun anew, the processes that
// were there before know the list before, and they alone see what is missing from the store.
func (p *Publisher) unknowing(prev *parsedList, stored *CRL) time.Duration {
	if !p.restored || prev != nil || stored != nil {
		return 0
	}
	return time.Until(p.begun.Add(firstWait))
}

// unlessMoved looks whether a loss has a harmless cause: another process published a list without an expired entry and
// removed the entry from the store, after this one had read the list before.
func (p *Publisher) unlessMoved(ctx context.Context, is *issuer, read *CRL, refusal error) error {
	if r, ok := errors.AsType[*RefusedError](refusal); !ok || !r.lost {
		return refusal
	}
	again, err := p.store.CRL(ctx, is.Name, completeShard)
	if err != nil || again == nil || read == nil || bytes.Equal(again.DER, read.DER) {
		return refusal
	}
	return errMoved
}

// dropExpired removes from the store what the list just saved no longer holds, nor any list after it. What is not
// removed now is removed after a later list.
func (p *Publisher) dropExpired(ctx context.Context, is *issuer, lease Lease, cutoff time.Time) {
	for range dropTurns {
		n, err := p.store.DropExpired(ctx, lease, cutoff, dropLimit)
		if err != nil {
			p.log.LogAttrs(ctx, slog.LevelWarn, "expired CRL entries not removed",
				slog.String("issuer", is.Name), slog.Any("error", err))
			return
		}
		if n < dropLimit {
			return
		}
	}
}

// record is the list as the store keeps it.
func (l *parsedList) record(issuer string) CRL {
	return CRL{
		Issuer: issuer, Shard: completeShard, Number: l.number,
		ThisUpdate: l.thisUpdate, NextUpdate: l.nextUpdate, DER: l.der,
	}
}
