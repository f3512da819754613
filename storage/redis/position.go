package redis

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// Position is how far a store is known to have come for good.
type Position struct {
	Epoch   string // made when the store was installed
	History string // of replication, of the server that acknowledged last
	Commit  int64  // number of commits applied by then, by all gateways; 0 if none is known
}

// WentBackError says that a store lost something this engine knows it acknowledged: it was emptied, restored from a
// backup, or failed over to a replica that lacked the last commits. What is missing must be put back from the journal;
// Engine.Adopt, or opening with a zero Config.Known, then accepts the store as it is.
type WentBackError struct {
	Known Position
	Found Position // History and Commit are zero if the store has no epoch
	Why   string
}

func (e *WentBackError) Error() string {
	return fmt.Sprintf("the store went back: %s (known: epoch %s, commit %d; found: epoch %q, commit %d); replay the journal before it is used again",
		e.Why, e.Known.Epoch, e.Known.Commit, e.Found.Epoch, e.Found.Commit)
}

// Position is to be kept by the caller, outside the store, and given to the next Open. It never moves back by itself.
func (e *Engine) Position() Position {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.position
}

// Adopt accepts the store as it is now, also an empty one, and makes the engine work again after a WentBackError.
func (e *Engine) Adopt(ctx context.Context) error {
	_, err := await(ctx, e, unavailable, func(ctx context.Context) (struct{}, error) {
		e.mu.Lock()
		e.position, e.wentBack = Position{}, nil
		e.mu.Unlock()
		e.refusal.Store(nil)
		_, err := e.check(ctx, e.checked.Load())
		return struct{}{}, err
	})
	return err
}

// reached notes an acknowledged commit, unless the engine has left the server that acknowledged it: then nobody knows
// whether that server's last commits were kept.
func (e *Engine) reached(s *server, commit int64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.wentBack != nil || e.position.Epoch != s.epoch || e.position.History != s.history {
		return false
	}
	e.position.Commit = max(e.position.Commit, commit)
	return true
}

// fork is a change of history: the server of the new one had so many commits.
type fork struct {
	from, to string
	commits  int64
}

// parseForks reads what scriptEnroll keeps, the newest first, and returns the oldest first.
func parseForks(values []any) ([]fork, error) {
	forks := make([]fork, len(values))
	for i, value := range values {
		text, _ := value.(string)
		fields := strings.Split(text, " ")
		if len(fields) != 3 {
			return nil, fmt.Errorf("the store's list of forks holds %q", text)
		}
		commits, err := strconv.ParseInt(fields[2], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("the store's list of forks holds %q", text)
		}
		forks[len(values)-1-i] = fork{fields[0], fields[1], commits}
	}
	return forks, nil
}

// settle compares the store that was found with what is known, and takes its position over. asked is the position before
// the store was asked: commits may have been acknowledged since.
//
// Where replicas must confirm, the count that was found may include commits that none has, which may be lost and were
// acknowledged to nobody; so only acknowledgements and barriers raise the position.
func (e *Engine) settle(asked, found Position, forks []fork) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	known := e.position
	if known.Epoch != "" {
		if why := lost(known, asked, found, forks); why != "" {
			back := &WentBackError{Known: known, Found: found, Why: why}
			e.wentBack = back
			if e.cfg.WentBack != nil {
				e.cfg.WentBack(back)
			}
			return back
		}
	}
	e.wentBack = nil
	if e.cfg.MinReplicas > 0 {
		found.Commit = 0
	}
	found.Commit = max(found.Commit, known.Commit)
	e.position = found
	return nil
}

// lost says what speaks against the store, or nothing.
func lost(known, asked, found Position, forks []fork) string {
	switch {
	case found.Epoch == "":
		return "it is empty"
	case found.Epoch != known.Epoch:
		return "it has another epoch"
	case found.Commit < asked.Commit:
		return "it has fewer commits"
	case found.History == known.History || known.History == "":
		return ""
	}
	at := -1
	for i, f := range forks {
		if f.from == known.History {
			at = i
		}
	}
	if at < 0 {
		return "its history does not contain the known one"
	}
	for _, f := range forks[at:] {
		if f.commits < known.Commit {
			return fmt.Sprintf("a server took over with %d commits", f.commits)
		}
	}
	return ""
}
