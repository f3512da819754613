package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// Errors of [Open], for errors.Is.
var (
	// ErrNoJournal says that the folder holds no journal. Beginning one beside an existing store would hide that the
	// record of what was signed is gone, so a person must ask for it.
	ErrNoJournal = errors.New("audit: there is no journal here; if this is a new installation, or the old journal is lost for good, start once with --new-journal")
	// ErrExists says that a new journal was asked for where there is one.
	ErrExists = errors.New("audit: there is a journal here already; start without --new-journal")
	// ErrLocked says that another process writes the journal.
	ErrLocked = errors.New("audit: the journal is in use")
)

// errClosed is the cause of what [Journal.Append] returns after [Journal.Close].
var errClosed = errors.New("the journal is closed")

const (
	defaultSegmentBytes = 64 << 20
	recoverPause        = 100 * time.Millisecond // between attempts that appends make
	recoverEvery        = time.Second            // between attempts while nobody appends
	retryAfter          = 5 * time.Second        // told to clients
)

// Config is what a journal needs.
type Config struct {
	Dir          string           // of the segments; nothing else belongs there
	New          bool             // begin a journal; Dir is made if absent
	Version      string           // of the program, for the [Started] entry
	SegmentBytes int64            // a segment closes once it is this long; zero: 64 MiB. It always closes with the UTC day
	Now          func() time.Time // nil: time.Now
	Log          *slog.Logger     // nil: nothing is logged

	disk disk // nil: Dir
}

// Journal is an open journal. All methods may be called concurrently.
type Journal struct {
	cfg    Config
	id     string
	lock   *os.File
	head   atomic.Pointer[Mark]
	sick   atomic.Pointer[error]
	bodies sync.Pool

	mu      sync.Mutex
	queue   []*waiting
	closing bool

	wake     chan struct{} // capacity 1: the queue or closing changed
	compress chan struct{} // capacity 1: a segment closed
	quit     chan struct{} // closed when the compressor must end
	done     sync.WaitGroup
	closed   func() error
}

// waiting is an append on its way to the disk.
type waiting struct {
	body []byte // events as appendEvent writes them
	ends []int  // where each ends
	err  chan error
}

// Head is the last entry that is on disk.
func (j *Journal) Head() (seq int64, hash [32]byte) {
	m := *j.head.Load()
	return m.Seq, m.Hash
}

// ID is the journal's random id, made when it was begun.
func (j *Journal) ID() string { return j.id }

// Healthy is nil while entries can be written, and otherwise says why they cannot.
func (j *Journal) Healthy() error {
	if p := j.sick.Load(); p != nil {
		return *p
	}
	return nil
}

// Append writes events, in order and without another's between them, and returns once they are on disk. An event
// without a time gets the journal's clock. Appends that wait at the same time share one write and one sync.
//
// An error that [problem.Is] Unavailable means that the events were not acknowledged, and may or may not be found in the
// journal later; the action they describe must not happen. That is also the answer when ctx ends first. Any other error
// says that an event cannot be written at all: its time is out of range, or the events together exceed 4 MiB of text.
func (j *Journal) Append(ctx context.Context, events ...Event) error {
	if err := ctx.Err(); err != nil {
		return unavailable(err)
	}
	if len(events) == 0 {
		return nil
	}
	p := &waiting{ends: make([]int, 0, len(events)), err: make(chan error, 1)}
	if b, ok := j.bodies.Get().(*[]byte); ok {
		p.body = (*b)[:0]
	}
	for i := range events {
		e := events[i]
		if e.At.IsZero() {
			e.At = j.cfg.Now()
		}
		var err error
		if p.body, err = appendEvent(p.body, &e); err != nil {
			return err
		}
		p.ends = append(p.ends, len(p.body))
	}
	if p.length() > maxGroup {
		return fmt.Errorf("audit: the events take %d bytes, the limit is %d", p.length(), maxGroup)
	}
	if err := j.enqueue(p); err != nil {
		return unavailable(err)
	}
	select {
	case err := <-p.err:
		j.bodies.Put(&p.body)
		if err != nil {
			return unavailable(err)
		}
		return nil
	case <-ctx.Done():
		return unavailable(context.Cause(ctx))
	}
}

// length is at least what the events take in the segment.
func (p *waiting) length() int { return len(p.body) + headSize*len(p.ends) }

func unavailable(cause error) error {
	return problem.Wrap(cause, problem.Unavailable, "the audit journal cannot be written at the moment").After(retryAfter)
}

func (j *Journal) enqueue(p *waiting) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closing {
		return errClosed
	}
	j.queue = append(j.queue, p)
	notify(j.wake)
	return nil
}

// take removes the next group from the queue: as much as one write may hold.
func (j *Journal) take() (group []*waiting, closing bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	n, size := 0, 0
	for n < len(j.queue) {
		if size += j.queue[n].length(); size > maxGroup && n > 0 {
			break
		}
		n++
	}
	group = j.queue[:n:n]
	if j.queue = j.queue[n:]; len(j.queue) == 0 {
		j.queue = nil
	}
	return group, j.closing
}

// run is the one goroutine that writes, until the journal is closed and everything accepted was answered.
func (j *Journal) run(w *writer) {
	retry := time.NewTicker(recoverEvery)
	defer retry.Stop()
	for {
		group, closing := j.take()
		if len(group) > 0 {
			j.settle(w, group)
			continue
		}
		if closing {
			return
		}
		select {
		case <-j.wake:
			// With all processors busy more entries are a few microseconds away, and a sync costs far more; with idle ones this
			// comes back at once.
			runtime.Gosched()
		case <-retry.C:
			if w.broken != nil {
				w.reopen(0)
				j.publish(w)
				notify(j.compress)
			}
		}
	}
}

func (j *Journal) settle(w *writer, group []*waiting) {
	name := w.name
	err := w.commit(group)
	j.publish(w)
	if w.name != name {
		notify(j.compress)
	}
	for _, p := range group {
		p.err <- err
	}
}

func (j *Journal) publish(w *writer) {
	j.head.Store(&Mark{w.chain.seq, w.chain.hash})
	if w.broken == nil {
		j.sick.Store(nil)
		return
	}
	err := fmt.Errorf("audit: the journal cannot be written: %w", w.broken)
	j.sick.Store(&err)
}

// Close writes what was accepted, cuts the open segment to its length and releases the folder. Later appends fail.
func (j *Journal) Close() error { return j.closed() }

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
