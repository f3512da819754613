package embedded

import (
	"context"
	"time"
)

const (
	sweepEvery = 5 * time.Second
	sweepLimit = 100 // expired records deleted in one transaction, so that a commit waits behind few of them
)

// sweeper removes what has expired: marks and limits from memory, records from the file. A turn rides in the same
// transaction as commits that wait at that moment.
func (e *Engine) sweeper() {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-e.quit:
			return
		case <-ticker.C:
		}
		e.ledger.sweep(e.now())
		for more := true; more; {
			more = e.sweepTurn(context.Background())
			select {
			case <-e.quit:
				return
			default:
			}
		}
	}
}

// sweepTurn deletes some expired records and says whether there may be more. A failure is not worth more than the line
// the committer logs: the next tick tries again.
func (e *Engine) sweepTurn(ctx context.Context) (more bool) {
	var due bool
	err := e.view(ctx, func(r *read) error { due = r.due(); return nil })
	if err != nil || !due {
		return false
	}
	found := make(chan bool, 1)
	err = e.submit(ctx, func(w *write) error {
		more, err := w.sweep(sweepLimit)
		found <- more
		return err
	})
	return err == nil && <-found
}
