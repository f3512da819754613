package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/storage"
)

const (
	clockEvery = 5 * time.Second
	// clockAlarm is how far the machine's clock may be from the store's without a warning, clockStop without an end of
	// issuance: certificates and lists would bear wrong times.
	clockAlarm = 2 * time.Second
	clockStop  = 30 * time.Second
	// clockBlur is the longest round trip whose answer still tells an offset.
	clockBlur = time.Second
)

// storeClock is the store's clock, read without asking: the machine's, moved by the offset that was measured last. All
// gateways on one store have it in common, so leases and nonces of one mean the same to the others. The embedded store has
// the machine's clock.
type storeClock struct {
	engine  storage.Engine
	shared  bool
	log     *slog.Logger
	offset  atomic.Int64 // nanoseconds that the store is ahead
	alarmed atomic.Bool
}

func newStoreClock(engine storage.Engine, shared bool, log *slog.Logger) *storeClock {
	return &storeClock{engine: engine, shared: shared, log: log}
}

// Now is the time by the store's clock.
func (c *storeClock) Now() time.Time { return time.Now().Add(time.Duration(c.offset.Load())) }

// measure asks the store for its time.
func (c *storeClock) measure(ctx context.Context) error {
	if !c.shared {
		return nil
	}
	offset, err := clockOffset(ctx, c.engine)
	if err != nil {
		return err
	}
	c.offset.Store(int64(offset))
	if far := offset.Abs() > clockAlarm; far && !c.alarmed.Swap(true) {
		c.log.Warn("the machine's clock and the store's are apart; set both by NTP", "store is ahead by", offset.Round(time.Millisecond))
	} else if !far && c.alarmed.Swap(false) {
		c.log.Info("the machine's clock and the store's agree again")
	}
	return nil
}

// clockOffset is how far the store's clock is ahead. A blurred answer is asked for again, a few times.
func clockOffset(ctx context.Context, engine storage.Engine) (time.Duration, error) {
	for range 3 {
		asked := time.Now()
		there, err := engine.Now(ctx)
		if err != nil {
			return 0, fmt.Errorf("asking the store for its time: %w", err)
		}
		trip := time.Since(asked)
		if trip <= clockBlur {
			return there.Sub(asked.Add(trip / 2)), nil
		}
	}
	return 0, fmt.Errorf("the store takes longer than %v to tell its time", clockBlur)
}

// healthy is an error while nothing may be issued because nobody knows what time it is.
func (c *storeClock) healthy() error {
	offset := time.Duration(c.offset.Load())
	if offset.Abs() <= clockStop {
		return nil
	}
	return problem.Wrap(fmt.Errorf("the store's clock is %v ahead of the machine's; set both by NTP", offset.Round(time.Millisecond)),
		problem.Unavailable, "the gateway's clock is wrong; nothing is issued until it is set").After(time.Minute)
}
