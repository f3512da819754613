package acme

import (
	"context"
	"sync"
)

// journaledKept bounds how many accounts' versions this process remembers, twice: some hundred bytes each.
const journaledKept = 8192

// journaled remembers which version of an account is in the journal, and lets changes of one account take turns. It is
// safe for concurrent use.
type journaled struct {
	mu     sync.Mutex
	busy   map[AccountID]chan struct{} // closed at the end of the turn
	recent map[AccountID][16]byte
	older  map[AccountID][16]byte // what recent was before it was full; dropped when it is full again
	kept   int
}

func (j *journaled) init(kept int) {
	j.busy, j.recent, j.kept = make(map[AccountID]chan struct{}), make(map[AccountID][16]byte), kept
}

// has reports whether this process put the account into the journal in this very version.
func (j *journaled) has(a *Account) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	version, ok := j.recent[a.ID]
	if !ok {
		version, ok = j.older[a.ID]
	}
	return ok && version == a.Version
}

func (j *journaled) add(a *Account) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.recent) >= j.kept {
		j.recent, j.older = make(map[AccountID][16]byte), j.recent
	}
	j.recent[a.ID] = a.Version
}

// turn waits until nobody else in this process changes the account. The caller calls leave at the end of its change.
func (j *journaled) turn(ctx context.Context, id AccountID) (leave func(), err error) {
	mine := make(chan struct{})
	for {
		j.mu.Lock()
		others, busy := j.busy[id]
		if !busy {
			j.busy[id] = mine
		}
		j.mu.Unlock()
		if !busy {
			return func() { j.leave(id, mine) }, nil
		}
		select {
		case <-others:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (j *journaled) leave(id AccountID, mine chan struct{}) {
	j.mu.Lock()
	delete(j.busy, id)
	j.mu.Unlock()
	close(mine)
}
