package publish

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// The pace of rebuilding. One build reads every entry, so its cost grows with the list; what bounds the load is the
// distance between the starts of two updates of one issuer, from the measured duration d of the last one:
//
//   - at least minGap, so that a storm of revocations makes a few lists a second and not hundreds;
//   - costFactor × d, so that no more than a tenth of the time is spent building;
//   - but at most promptGap while the list has no more than promptEntries, so that there a revocation is published
//     within a second even on a slow machine;
//   - and never more than the rebuild interval.
//
// A revocation after a quiet time is published at once; those that follow within the distance share the next list.
const (
	minGap        = 100 * time.Millisecond
	costFactor    = 10
	promptGap     = 500 * time.Millisecond
	promptEntries = 10_000
)

// After a failure the next try comes after a second, then two, up to half a minute.
const (
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
)

// Run keeps every issuer's list fresh until ctx ends: a first list at once if there is none or it is due, a new one
// within a second of a revocation (see the pace above for long lists) and at least every Interval. A failure is logged
// and tried again; the old list serves on. It returns when all its goroutines have ended. Call it once.
func (p *Publisher) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, is := range p.issuers {
		wg.Go(func() { p.keepFresh(ctx, is) })
	}
	wg.Go(func() { p.watch(ctx) })
	wg.Wait()
}

// keepFresh updates one issuer's list on hints, on its poll and when it is due.
func (p *Publisher) keepFresh(ctx context.Context, is *issuer) {
	var (
		next     = time.NewTimer(0)
		earliest time.Time // the next update starts no sooner
		retry    time.Duration
	)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-is.kicks:
			// Never later than already set: the timer's time is at or after earliest.
			next.Reset(max(0, time.Until(earliest)))
			continue
		case <-next.C:
		}
		started := time.Now()
		err := p.update(ctx, is, false)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			retry = min(max(firstRetry, 2*retry), lastRetry)
			p.log.LogAttrs(ctx, slog.LevelError, "CRL not updated", slog.String("issuer", is.Name),
				slog.Any("error", err), slog.Duration("retry", retry))
			earliest = time.Now().Add(retry)
			next.Reset(retry)
			continue
		}
		retry = 0
		gap := p.gap(is, time.Since(started))
		earliest = started.Add(gap)
		next.Reset(max(time.Until(earliest), p.nextLook(is)))
	}
}

// gap is the distance between the starts of two updates, after one that took d.
func (p *Publisher) gap(is *issuer, d time.Duration) time.Duration {
	gap := max(minGap, costFactor*d)
	if cur := is.current.Load(); cur == nil || len(cur.entries) <= promptEntries {
		gap = min(gap, promptGap)
	}
	return min(gap, p.interval)
}

// nextLook is how long to wait without a hint: until the next poll or until the list is due. A little of it is chance,
// so that many processes do not build the same list at the same moment.
func (p *Publisher) nextLook(is *issuer) time.Duration {
	wait := p.poll - rand.N(p.poll/8+1)
	if cur := is.current.Load(); cur != nil {
		wait = min(wait, max(0, p.due(cur).Sub(p.now())))
	}
	return wait
}

// watch turns the store's hints into kicks. A lost hint costs at most one poll.
func (p *Publisher) watch(ctx context.Context) {
	for ctx.Err() == nil {
		for name := range p.hints(ctx) {
			if is := p.byName[name]; is != nil {
				select {
				case is.kicks <- struct{}{}:
				default: // one is waiting already
				}
			}
		}
		// The store closed the channel early; polls serve meanwhile.
		select {
		case <-ctx.Done():
		case <-time.After(p.poll):
		}
	}
}

// hints yields what the store's watch delivers until ctx ends or the channel closes.
func (p *Publisher) hints(ctx context.Context) func(func(string) bool) {
	ch := p.store.WatchRevocations(ctx)
	return func(yield func(string) bool) {
		for {
			select {
			case <-ctx.Done():
				return
			case name, open := <-ch:
				if !open || !yield(name) {
					return
				}
			}
		}
	}
}
