package ra

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// keyWork lets so many keys be made, and files of them written, at once and no more: an RSA key takes a processor for seconds.
// Who has to wait, waits for those of its own organisation: a place that becomes free is for the organisation that has fewest,
// of several that have as few for the one that had its last turn longest ago, and there for who waits longest.
type keyWork struct {
	wait time.Duration // for a place
	most int           // that may wait of one organisation

	mu    sync.Mutex
	free  int
	turns int // that were given
	of    map[auth.OrgID]*keyTurns
}

// keyTurns are one organisation's.
type keyTurns struct {
	running int
	last    int             // of keyWork.turns; zero: none yet
	waiting []chan struct{} // each closed when it has its place; oldest first
}

func newKeyWork(atOnce, waiting int, wait time.Duration) *keyWork {
	return &keyWork{wait: wait, most: waiting, free: atOnce, of: map[auth.OrgID]*keyTurns{}}
}

var (
	errKeysBusy = problem.New(problem.Unavailable, "too many private keys are being made now; try again").After(10 * time.Second)
	errKeysOwn  = problem.New(problem.Unavailable, "too many private keys are being made for this organisation now; try again").After(10 * time.Second)
)

// do runs f for an organisation when there is a place; Unavailable if there is none in time, or if too many of the same
// organisation wait. f is not cut short.
func (w *keyWork) do(ctx context.Context, org auth.OrgID, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, w.wait)
	defer cancel()
	if ctx.Err() != nil {
		return errKeysBusy
	}
	place, err := w.enter(org)
	if err != nil {
		return err
	}
	if !w.await(ctx, org, place) {
		return errKeysBusy
	}
	defer w.leave(org)
	return f()
}

// enter takes a place, or gives the channel that is closed once there is one.
func (w *keyWork) enter(org auth.OrgID) (chan struct{}, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.of[org]
	if t == nil {
		t = &keyTurns{}
		w.of[org] = t
	}
	if w.free > 0 { // then nobody waits
		w.free--
		w.turn(t)
		return nil, nil
	}
	if len(t.waiting) >= w.most {
		return nil, errKeysOwn
	}
	place := make(chan struct{})
	t.waiting = append(t.waiting, place)
	return place, nil
}

// turn counts a place as t's. w.mu is held.
func (w *keyWork) turn(t *keyTurns) {
	w.turns++
	t.running, t.last = t.running+1, w.turns
}

// await reports whether there is a place before ctx ends. Of a nil channel there is.
func (w *keyWork) await(ctx context.Context, org auth.OrgID, place chan struct{}) bool {
	if place == nil {
		return true
	}
	select {
	case <-place:
		return true
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.of[org]
	i := slices.Index(t.waiting, place)
	if i < 0 { // it came at the same moment
		return true
	}
	t.waiting = slices.Delete(t.waiting, i, i+1)
	if w.next() == nil {
		w.forget()
	}
	return false
}

// leave gives a place to whoever is next.
func (w *keyWork) leave(org auth.OrgID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.of[org]
	t.running--
	if next := w.next(); next != nil {
		w.turn(next)
		close(next.waiting[0])
		next.waiting = next.waiting[1:]
	} else {
		w.free++
		w.forget()
	}
}

// forget keeps nothing of organisations that have no place, once nobody waits any more. Before that, when they had their last turns
// is kept of them, lest those that ask for one at a time had the next turn whenever they ask again. w.mu is held.
func (w *keyWork) forget() {
	for org, t := range w.of {
		if t.running == 0 {
			delete(w.of, org)
		}
	}
}

// next is whose turn it is; nil if nobody waits. w.mu is held.
func (w *keyWork) next() (best *keyTurns) {
	for _, t := range w.of {
		if len(t.waiting) > 0 && (best == nil || t.running < best.running || t.running == best.running && t.last < best.last) {
			best = t
		}
	}
	return best
}
