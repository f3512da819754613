package main

import (
	"context"
	"fmt"
	"sync"
)

// entrance counts the requests inside a core.
type entrance struct {
	mu     sync.Mutex
	shut   bool
	inside sync.WaitGroup
}

// enter lets a request in; the caller must call inside.Done if it returns true.
func (e *entrance) enter() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.shut {
		e.inside.Add(1)
	}
	return !e.shut
}

// close lets nobody in any more and waits for those inside, or for ctx.
func (e *entrance) close(ctx context.Context) error {
	e.mu.Lock()
	e.shut = true
	e.mu.Unlock()
	empty := make(chan struct{})
	go func() { e.inside.Wait(); close(empty) }()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("requests did not end in time: %w", ctx.Err())
	}
}
