package embedded

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"

	"go.etcd.io/bbolt"

	"github.com/gatehouse-ca/gatehouse/storage"
)

const (
	queueLength = 1024 // jobs that wait without blocking their callers' goroutines in the queue's send
	groupLimit  = 256  // jobs in one transaction, so that one sync's latency stays bounded
)

// job is one change on its way to the committer.
type job struct {
	// do evaluates and applies the change. It returns ErrConflict before it has written anything; any other error
	// abandons the whole transaction. It runs in the committer and must hold all the memory it needs.
	do    func(*write) error
	state atomic.Uint32
	err   error      // what do returned
	done  chan error // receives the outcome once
}

const (
	waiting uint32 = iota
	taken
	withdrawn
)

// submit queues a change and waits for its outcome. When ctx ends first, the job is withdrawn if the committer has not
// taken it (ErrUnavailable); otherwise nobody knows yet (ErrUnknown).
func (e *Engine) submit(ctx context.Context, do func(*write) error) error {
	if err := ctx.Err(); err != nil {
		return unavailable(err)
	}
	j := &job{do: do, done: make(chan error, 1)}
	if err := e.enqueue(ctx, j); err != nil {
		return unavailable(err)
	}
	select {
	case err := <-j.done:
		return err
	case <-ctx.Done():
	}
	if j.state.CompareAndSwap(waiting, withdrawn) {
		return unavailable(ctx.Err())
	}
	select {
	case err := <-j.done:
		return err
	default:
		return unknown(ctx.Err())
	}
}

func (e *Engine) enqueue(ctx context.Context, j *job) error {
	e.admit.RLock()
	defer e.admit.RUnlock()
	if e.closed {
		return errClosed
	}
	select {
	case e.jobs <- j:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// committer is the only goroutine that writes. Jobs that arrive while a transaction is under way form the next group.
//
// It does not wait for more company: with idle processors Go's timers fire a millisecond late, which measured a fifth less
// throughput at 4 clients and no gain at 32.
func (e *Engine) committer() {
	group := make([]*job, 0, groupLimit)
	for first := range e.jobs {
		runtime.Gosched()
		group = e.gather(append(group[:0], first))
		e.turn(group)
		clear(group)
	}
}

// gather adds the jobs that wait already, and those that come while it lets whoever can run, run: with all processors busy
// more jobs are a few microseconds away, and a transaction costs far more. It stops when a turn brings nothing, which with
// idle processors is at once.
func (e *Engine) gather(group []*job) []*job {
	for len(group) < groupLimit {
		before := len(group)
		group = e.waiting(group)
		if len(group) == before {
			break
		}
		runtime.Gosched()
	}
	return group
}

// waiting adds the jobs that wait.
func (e *Engine) waiting(group []*job) []*job {
	for len(group) < groupLimit {
		select {
		case j, ok := <-e.jobs:
			if !ok {
				return group
			}
			group = append(group, j)
		default:
			return group
		}
	}
	return group
}

// turn commits one group and answers every job in it, conflicts included: a conflict was judged against the group's own
// earlier writes, so it holds only once these are on disk.
func (e *Engine) turn(group []*job) {
	if e.fault.unsettled.Load() {
		if _, err := e.settle(); err != nil {
			answer(group, unavailable(err), unavailable(err))
			return
		}
	}
	tx, err := e.db.Begin(true)
	if err != nil {
		e.unsettle(err)
		answer(group, unavailable(err), unavailable(err))
		return
	}
	w := begin(tx, e.now().UnixMilli())
	for _, j := range group {
		if !j.state.CompareAndSwap(waiting, taken) {
			continue
		}
		if j.err = j.do(w); j.err != nil && !errors.Is(j.err, storage.ErrConflict) {
			tx.Rollback()
			err := unavailable(j.err)
			e.fault.failed(e.log, err)
			answer(group, err, err)
			return
		}
	}
	if !w.dirty {
		tx.Rollback()
		answer(group, nil, nil)
		return
	}
	e.finish(tx, group)
}

// finish syncs the transaction. If that fails it finds out whether the transaction can be seen: bbolt may have written
// the page that makes it current before the sync failed.
func (e *Engine) finish(tx *bbolt.Tx, group []*job) {
	if err := e.room(); err != nil {
		tx.Rollback()
		e.fault.failed(e.log, err)
		answer(group, err, err)
		return
	}
	id := tx.ID()
	err := e.commit(tx)
	if err == nil {
		e.horizon.move(id, nil)
		e.fault.healed(e.log)
		answer(group, nil, nil)
		return
	}
	e.fault.failed(e.log, err)
	if current, viewErr := e.current(); viewErr == nil && current < id {
		answer(group, unavailable(err), unavailable(err))
		return
	}
	e.unsettle(err)
	switch found, settleErr := e.settle(); {
	case settleErr != nil:
		answer(group, unknown(err), unavailable(err))
	case found < id:
		answer(group, unavailable(err), unavailable(err))
	default: // the transaction is on disk after all
		answer(group, nil, nil)
	}
}

// current is the newest transaction readers can see.
func (e *Engine) current() (int, error) {
	tx, err := e.db.Begin(false)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	return tx.ID(), nil
}

// answer gives applied to the jobs that changed or would have changed something, refused to those that conflicted.
// A nil refused leaves them their own error.
func answer(group []*job, applied, refused error) {
	for _, j := range group {
		switch {
		case j.err == nil:
			j.done <- applied
		case refused == nil:
			j.done <- j.err
		default:
			j.done <- refused
		}
	}
}

// unsettle closes the store to readers and writers until settle succeeds.
func (e *Engine) unsettle(err error) {
	e.fault.unsettled.Store(true)
	e.fault.failed(e.log, err)
	e.horizon.move(0, err)
}

// settle makes what readers can see durable after a failed sync, by reopening the file and committing a transaction that
// changes nothing. Only such a transaction is safe: a changing one could overwrite pages of the last state that is surely
// on disk. Reopening waits for all readers, so none of them holds pages that bbolt now believes to be free. It returns the
// newest transaction it found.
func (e *Engine) settle() (found int, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.db != nil {
		if err := e.db.Close(); err != nil {
			e.log.Warn("closing the store after a failed sync", "error", err)
		}
		e.db = nil
	}
	db, err := openFile(e.dir)
	if err != nil {
		return 0, fmt.Errorf("reopening the store after a failed sync: %w", err)
	}
	e.db = db
	tx, err := db.Begin(true)
	if err != nil {
		return 0, err
	}
	id := tx.ID()
	if err := e.commit(tx); err != nil {
		return 0, fmt.Errorf("syncing the store again: %w", err)
	}
	e.horizon.move(id, nil)
	e.fault.unsettled.Store(false)
	e.fault.healed(e.log)
	return id - 1, nil
}
