// Package embedded is the storage engine for one gateway process: a single bbolt file in a folder of its own.
//
// It decides how records, indexes, expiry and sequences lie in the file, how waiting commits share one synced
// transaction, and what a failed write means for those who waited: "surely not" wherever that can be proved, "unknown"
// otherwise. It trusts the file system to keep what fdatasync confirmed, and its callers for the meaning of keys and
// values. It never acknowledges a write before it is on disk, never shows a reader a state that is not yet on disk,
// never turns syncing off, and never touches a folder that is not its own.
//
// Marks of used tokens and counters of limits live in memory: tokens made before the process started are refused
// instead. docs/storage.md has the layout of the file.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"

	"github.com/gatehouse-ca/gatehouse/storage"
)

// Engine is an open store. All methods are safe for concurrent use.
type Engine struct {
	dir     string
	now     func() time.Time
	log     *slog.Logger
	started time.Time // tokens made up to this moment are refused
	id      [16]byte

	// commit is (*bbolt.Tx).Commit; tests of failing disks replace it before the first call.
	commit  func(*bbolt.Tx) error
	reserve uint64 // bytes of free disk space below which nothing is written

	admit  sync.RWMutex // read-held while a job enters the queue; guards closed
	closed bool
	jobs   chan *job
	quit   chan struct{} // closed by Close; ends the sweeper
	tasks  sync.WaitGroup

	// mu is read-held by every reader; the committer takes it whole to replace the database after a failed sync.
	mu sync.RWMutex
	db *bbolt.DB // nil when it could not be opened again

	horizon horizon
	fault   fault

	ledger *ledger
	hub    *hub
}

var _ storage.Engine = (*Engine)(nil)

// ID is the random identity the store got when it was made. A store restored from a backup keeps it.
func (e *Engine) ID() [16]byte { return e.id }

// Now is the clock of this process: the store has no other.
func (e *Engine) Now(ctx context.Context) (time.Time, error) {
	if err := e.open(ctx); err != nil {
		return time.Time{}, err
	}
	return e.now(), nil
}

// Health reports the last failed write until one succeeds again, and a disk that is nearly full.
func (e *Engine) Health(ctx context.Context) storage.Health {
	h := storage.Health{
		Engine:     "embedded",
		Durability: "every commit is synced to " + fileName + " before it is acknowledged; one process, one folder",
	}
	if h.Err = e.open(ctx); h.Err == nil {
		h.Err = e.fault.last()
	}
	if h.Err == nil {
		h.Err = e.room()
	}
	return h
}

// Watch starts delivering hints of this process. The channel is also closed when the engine is.
func (e *Engine) Watch(ctx context.Context, topics ...string) <-chan string {
	return e.hub.watch(ctx, topics)
}

// Wake never blocks.
func (e *Engine) Wake(_ context.Context, topic string) { e.hub.wake(topic) }

// Close refuses new work, lets queued commits finish, and releases the folder. A second Close does nothing.
func (e *Engine) Close() error {
	e.admit.Lock()
	if e.closed {
		e.admit.Unlock()
		return nil
	}
	e.closed = true
	e.admit.Unlock()

	close(e.jobs) // nobody is entering the queue any more
	close(e.quit)
	e.hub.close()
	e.tasks.Wait()

	e.mu.Lock()
	defer e.mu.Unlock()
	if e.db == nil {
		return nil
	}
	if !e.fault.unsettled.Load() {
		writeFreeList(e.db)
	}
	err := e.db.Close()
	e.db = nil
	return err
}

// open says whether calls may go on.
func (e *Engine) open(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return unavailable(err)
	}
	e.admit.RLock()
	defer e.admit.RUnlock()
	if e.closed {
		return unavailable(errClosed)
	}
	return nil
}

var errClosed = errors.New("the store is closed")

func unavailable(cause error) error { return fmt.Errorf("%w: %w", storage.ErrUnavailable, cause) }
func unknown(cause error) error     { return fmt.Errorf("%w: %w", storage.ErrUnknown, cause) }

// surely turns ErrUnknown into ErrUnavailable for calls whose caller loses nothing if the change happened.
func surely(ctx context.Context, err error) error {
	switch {
	case !errors.Is(err, storage.ErrUnknown):
		return err
	case ctx.Err() != nil:
		return unavailable(ctx.Err())
	}
	return fmt.Errorf("%w: %v", storage.ErrUnavailable, err)
}

// view runs fn on the newest committed state and returns when that state is on disk. What fn keeps it must copy.
//
// bbolt shows a transaction to readers a moment before its last sync. An answer built on such a state could be lost
// with the machine after the client has it, so the reader waits for the sync it overtook.
func (e *Engine) view(ctx context.Context, fn func(*read) error) error {
	if err := e.open(ctx); err != nil {
		return err
	}
	if e.fault.unsettled.Load() {
		// A sync failed and nobody has written since: a job that changes nothing makes the committer settle it.
		if err := e.submit(ctx, func(*write) error { return nil }); err != nil {
			return surely(ctx, err)
		}
	}
	seen, err := e.snapshot(fn)
	if err != nil {
		return err
	}
	return e.horizon.wait(ctx, seen)
}

func (e *Engine) snapshot(fn func(*read) error) (seen int, err error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.db == nil {
		return 0, unavailable(errClosed)
	}
	tx, err := e.db.Begin(false)
	if err != nil {
		return 0, unavailable(err)
	}
	defer tx.Rollback()
	return tx.ID(), fn(&read{tx: tx, now: e.now().UnixMilli()})
}

// read is one moment of the store.
type read struct {
	tx  *bbolt.Tx
	now int64 // Unix milliseconds; what expires up to then is absent
}

// horizon is the newest transaction that is on disk.
type horizon struct {
	synced atomic.Int64
	mu     sync.Mutex
	moved  chan struct{} // closed and replaced whenever synced or lost changes
	lost   error         // why a newer transaction than synced may never get to disk
}

// move says that transaction id is on disk or, with lost, that it may never get there.
func (h *horizon) move(id int, lost error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if lost == nil {
		h.synced.Store(int64(id))
	}
	h.lost = lost
	close(h.moved)
	h.moved = make(chan struct{})
}

// wait returns nil when transaction id is on disk.
func (h *horizon) wait(ctx context.Context, id int) error {
	for int64(id) > h.synced.Load() {
		h.mu.Lock()
		moved, lost := h.moved, h.lost
		h.mu.Unlock()
		switch {
		case int64(id) <= h.synced.Load():
		case lost != nil:
			return unavailable(lost)
		default:
			select {
			case <-moved:
			case <-ctx.Done():
				return unavailable(ctx.Err())
			}
		}
	}
	return nil
}
