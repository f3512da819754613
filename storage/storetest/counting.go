package storetest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/gatehouse-ca/gatehouse/storage"
)

// Method names a call of [storage.Engine] that costs a round trip.
type Method string

// The methods that are counted. Watch and Close are not: they are no part of a request.
const (
	Get    Method = "Get"
	Spend  Method = "Spend"
	Commit Method = "Commit"
	Scan   Method = "Scan"
	Count  Method = "Count"
	NextID Method = "NextID"
	LiftID Method = "LiftID"
	Wake   Method = "Wake"
	Health Method = "Health"
	Now    Method = "Now"
)

// Trips says what was asked of an engine.
type Trips struct {
	By      map[Method]int
	Total   int // all methods but Wake and Now: the former waits for nothing, the latter need not ask the database
	Durable int // Commit, NextID and LiftID: what waits for a disk
}

// Fault disturbs calls of one method. Its zero fields disturb nothing.
type Fault struct {
	Method Method
	// Match chooses commits by what they hold; nil matches all. It is asked for Commit only.
	Match func(storage.Batch) bool
	Skip  int // so many matching calls pass first
	Times int // so many are disturbed then; zero disturbs all that follow

	// Delay holds the call until it is closed or the call's context ends, before anything else happens. Reached, if not
	// nil, receives once for each call that gets there; it must have room or a reader.
	Delay   <-chan struct{}
	Reached chan<- struct{}
	// Before is returned instead of calling the engine; storage.ErrUnavailable is the honest choice.
	Before error
	// After is returned although the engine was called and succeeded; storage.ErrUnknown is a lost reply.
	After error
}

// Counting wraps an engine, counts its round trips and injects faults. It is safe for concurrent use.
type Counting struct {
	storage.Engine

	mu     sync.Mutex
	by     map[Method]int
	faults []*Fault
}

var _ storage.Engine = (*Counting)(nil)

// NewCounting wraps e. Closing the wrapper closes e.
func NewCounting(e storage.Engine) *Counting {
	return &Counting{Engine: e, by: make(map[Method]int)}
}

// Trips returns what was counted since the last Reset. Calls count when they begin, disturbed or not.
func (c *Counting) Trips() Trips {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trips()
}

func (c *Counting) trips() Trips {
	trips := Trips{By: make(map[Method]int, len(c.by))}
	for m, n := range c.by {
		trips.By[m] = n
		if m != Wake && m != Now {
			trips.Total += n
		}
	}
	trips.Durable = trips.By[Commit] + trips.By[NextID] + trips.By[LiftID]
	return trips
}

// Reset starts counting again and returns what was counted before. Faults stay.
func (c *Counting) Reset() Trips {
	c.mu.Lock()
	defer c.mu.Unlock()
	trips := c.trips()
	clear(c.by)
	return trips
}

// Inject adds a fault. A call is disturbed by the first fault that matches it and has not been used up. The returned
// function removes the fault.
func (c *Counting) Inject(f Fault) (remove func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fault := &f
	if fault.Times == 0 {
		fault.Times = -1
	}
	c.faults = append(c.faults, fault)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		fault.Times = 0
	}
}

// begin counts a call and returns the fault that disturbs it, or an empty one.
func (c *Counting) begin(m Method, b *storage.Batch) Fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.by[m]++
	for _, f := range c.faults {
		if f.Method != m || f.Times == 0 || b != nil && f.Match != nil && !f.Match(*b) {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		if f.Times > 0 {
			f.Times--
		}
		return *f
	}
	return Fault{}
}

// do runs one disturbed call.
func (c *Counting) do(ctx context.Context, m Method, b *storage.Batch, call func() error) error {
	f := c.begin(m, b)
	if f.Reached != nil {
		f.Reached <- struct{}{}
	}
	if f.Delay != nil {
		select {
		case <-f.Delay:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", storage.ErrUnavailable, ctx.Err())
		}
	}
	if f.Before != nil {
		return f.Before
	}
	if err := call(); err != nil {
		return err
	}
	return f.After
}

// Get implements [storage.Engine].
func (c *Counting) Get(ctx context.Context, keys ...storage.Key) (items []storage.Item, err error) {
	err = c.do(ctx, Get, nil, func() (err error) { items, err = c.Engine.Get(ctx, keys...); return err })
	if err != nil {
		return nil, err
	}
	return items, nil
}

// Spend implements [storage.Engine].
func (c *Counting) Spend(ctx context.Context, token storage.Token, limits []storage.Limit, keys ...storage.Key) (spent storage.Spent, err error) {
	err = c.do(ctx, Spend, nil, func() (err error) { spent, err = c.Engine.Spend(ctx, token, limits, keys...); return err })
	if err != nil {
		return storage.Spent{}, err
	}
	return spent, nil
}

// Commit implements [storage.Engine].
func (c *Counting) Commit(ctx context.Context, b storage.Batch) error {
	return c.do(ctx, Commit, &b, func() error { return c.Engine.Commit(ctx, b) })
}

// Scan implements [storage.Engine].
func (c *Counting) Scan(ctx context.Context, index string, r storage.Range, p storage.Page) (members [][]byte, err error) {
	err = c.do(ctx, Scan, nil, func() (err error) { members, err = c.Engine.Scan(ctx, index, r, p); return err })
	if err != nil {
		return nil, err
	}
	return members, nil
}

// Count implements [storage.Engine].
func (c *Counting) Count(ctx context.Context, index string, r storage.Range) (n int64, err error) {
	err = c.do(ctx, Count, nil, func() (err error) { n, err = c.Engine.Count(ctx, index, r); return err })
	return n, err
}

// NextID implements [storage.Engine].
func (c *Counting) NextID(ctx context.Context, sequence string, n int) (first int64, err error) {
	err = c.do(ctx, NextID, nil, func() (err error) { first, err = c.Engine.NextID(ctx, sequence, n); return err })
	if err != nil {
		return 0, err
	}
	return first, nil
}

// LiftID implements [storage.Engine].
func (c *Counting) LiftID(ctx context.Context, sequence string, last int64) error {
	return c.do(ctx, LiftID, nil, func() error { return c.Engine.LiftID(ctx, sequence, last) })
}

// Wake implements [storage.Engine]. A fault with Before loses the hint.
func (c *Counting) Wake(ctx context.Context, topic string) {
	c.do(ctx, Wake, nil, func() error { c.Engine.Wake(ctx, topic); return nil })
}

// Health implements [storage.Engine]. A fault's error becomes Health.Err.
func (c *Counting) Health(ctx context.Context) (h storage.Health) {
	if err := c.do(ctx, Health, nil, func() error { h = c.Engine.Health(ctx); return nil }); err != nil {
		h.Err = err
	}
	return h
}

// Now implements [storage.Engine].
func (c *Counting) Now(ctx context.Context) (now time.Time, err error) {
	err = c.do(ctx, Now, nil, func() (err error) { now, err = c.Engine.Now(ctx); return err })
	return now, err
}
