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
// within a second of a revocation (see the pace above for long lists) and at least every Interval, made here or by another
// process on the store. A failure is logged and tried again, here or there; the old list serves on. It returns when all its
// goroutines have ended and leases are given back, so the store must stay open until then. Call it once.
func (p *Publisher) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, is := range p.issuers {
		wg.Go(func() { p.keepFresh(ctx, is) })
	}
	wg.Go(func() { p.watch(ctx, p.store.WatchRevocations, func(is *issuer) chan<- struct{} { return is.kicks }) })
	wg.Go(func() { p.watch(ctx, p.store.WatchCRLs, func(is *issuer) chan<- struct{} { return is.news }) })
	wg.Wait()
}

// keepFresh updates one issuer's list on hints, on its poll and when it is due, and gives the lease back at the end.
func (p *Publisher) keepFresh(ctx context.Context, is *issuer) {
	var (
		next     = time.NewTimer(0)
		earliest time.Time // the next update starts no sooner
		retry    time.Duration
	)
	defer next.Stop()
	defer func() {
		<-is.building
		p.giveBack(ctx, is)
		is.building <- struct{}{}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-is.news:
			// What another process made is served at once, whatever the pace or the back-off.
			if p.learn(ctx, is) {
				next.Reset(max(0, time.Until(earliest)))
			}
			continue
		case <-is.kicks:
			// Never later than already set: the timer's time is at or after earliest.
			next.Reset(max(0, time.Until(earliest)))
			continue
		case <-next.C:
		}
		started := time.Now()
		wait, err := p.update(ctx, is)
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
		next.Reset(max(time.Until(earliest), p.nextLook(is, wait)))
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

// learn reads the stored list after a hint, and reports whether a look is needed as well. A holder hears of its own
// lists; it alone can save one, so there is nothing to look for.
func (p *Publisher) learn(ctx context.Context, is *issuer) bool {
	select {
	case <-is.building:
		defer func() { is.building <- struct{}{} }()
	case <-ctx.Done():
		return false
	}
	before := is.current.Load()
	if _, err := p.reload(ctx, is); err != nil {
		return true // the look reports it
	}
	if is.current.Load() != before {
		is.held = Lease{} // another process saved it, so the lease is no longer held here
		return true
	}
	return is.held.Holder == ""
}

// nextLook is how long to wait without a hint: until the next poll or until the list is due, or, while another process has
// the lease for held, until that runs out. A little of it is chance, so that many processes do not read everything at the
// same moment.
func (p *Publisher) nextLook(is *issuer, held time.Duration) time.Duration {
	wait := p.poll - rand.N(p.poll/8+1)
	switch cur := is.current.Load(); {
	case held > 0 && cur == nil:
		wait = min(wait, held, firstRetry) // nothing can be served yet, and the hint may come before it can be heard
	case held > 0:
		wait = min(wait, held)
	case cur != nil:
		wait = min(wait, max(0, p.due(cur).Sub(p.now())))
	}
	return wait
}

// watch turns one kind of the store's hints into kicks. A lost hint costs at most one poll.
func (p *Publisher) watch(ctx context.Context, hints func(context.Context) <-chan string, kicks func(*issuer) chan<- struct{}) {
	for ctx.Err() == nil {
		for name := range heard(ctx, hints(ctx)) {
			if is := p.byName[name]; is != nil {
				select {
				case kicks(is) <- struct{}{}:
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

// heard yields what a watch delivers until ctx ends or the channel closes.
func heard(ctx context.Context, ch <-chan string) func(func(string) bool) {
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
