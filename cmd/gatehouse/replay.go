package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/storage"
)

const (
	markEvery = 5 * time.Second
	// markLag is how long after an entry is in the journal what goes with it may still be under way: longer than an issuance
	// may take, with each of its deadlines.
	markLag = time.Minute
)

// replay brings the store up to the journal, then the journal up to the store. It reads the entries behind the store's
// mark: after an orderly end none, after a crash the last minute's, and all that a store lacks which went back or
// was emptied. Nothing is served meanwhile.
func (c *core) replay(ctx context.Context, folder string) error {
	mark, err := c.checkMark(ctx, folder)
	if err != nil {
		return err
	}
	abandoned := map[string]bool{}
	for e, err := range audit.After(folder, mark.Seq) {
		if err != nil {
			return fmt.Errorf("reading the journal: %w", err)
		}
		if e.Event.Kind == audit.Abandoned {
			abandoned[e.Event.Issuer+"/"+e.Event.Serial] = true
		}
	}
	r := c.db.Replay(abandoned)
	for e, err := range audit.After(folder, mark.Seq) {
		if err != nil {
			return fmt.Errorf("reading the journal: %w", err)
		}
		if err := r.Apply(ctx, e.Event); err != nil {
			return fmt.Errorf("giving the store entry %d of the journal: %w", e.Seq, err)
		}
	}
	if err := r.End(ctx); err != nil {
		return err
	}
	added, err := c.authority.CompleteJournal(ctx, audit.After(folder, mark.Seq))
	if err != nil {
		return fmt.Errorf("completing the journal: %w", err)
	}
	if r.Changed > 0 || added > 0 {
		c.settings.log.Warn("store and journal were brought together", "behind entry", mark.Seq, "given to the store", r.Changed, "given to the journal", added)
	}
	return c.setMark(ctx, c.headMark())
}

// checkMark reads the store's mark of this journal and refuses a journal that is not the one that was marked.
func (c *core) checkMark(ctx context.Context, folder string) (storage.Mark, error) {
	mark, err := c.db.JournalMark(ctx, c.journal.ID())
	if err != nil {
		return mark, err
	}
	if mark.Seq == 0 { // the store knows nothing of it: a new gateway's, or the store was emptied
		return mark, nil
	}
	for e, err := range audit.After(folder, mark.Seq-1) {
		if err != nil {
			return mark, fmt.Errorf("reading the journal: %w", err)
		}
		if e.Seq != mark.Seq || e.Hash != mark.Hash {
			return mark, fmt.Errorf("entry %d of the journal in %s is not the one that the store has marked; restore the journal that belongs to this store", mark.Seq, folder)
		}
		return mark, nil
	}
	return mark, fmt.Errorf("the journal in %s ends before entry %d, which the store has marked: its end is missing; restore the newest copy of the journal", folder, mark.Seq)
}

// checkJournal refuses a journal that is not the data folder's: another one than it remembers, or, where it remembers none,
// because it is from before it did so or a first start did not come that far, one of which the store knows nothing although
// it knows others. A journal that holds nothing and that the store does not know either was begun by a start that failed.
func (c *core) checkJournal(ctx context.Context, state folderState) error {
	remembered, id := state.member.Journal, c.journal.ID()
	if !state.hasJournal || id == remembered {
		return nil
	}
	known, err := c.db.Journals(ctx)
	switch {
	case err != nil:
		return err
	case !slices.Contains(known, id) && justBegun(c.settings.folder), remembered == "" && (len(known) == 0 || slices.Contains(known, id)):
		return nil
	case remembered != "":
		return fmt.Errorf("the journal in %s is %s, and the folder's own belongs to journal %s; restore the one that belongs to it, or move this one away and start once with --new-journal",
			c.settings.folder, id, remembered)
	}
	return fmt.Errorf("the store in %s belongs to journal %s, not to journal %s that lies beside it; restore the one that belongs to it, or move this one away and start once with --new-journal",
		c.settings.folder, strings.Join(known, ", "), id)
}

// laggingMark is the journal's end at a moment.
type laggingMark struct {
	at time.Time
	storage.Mark
}

func (c *core) headMark() storage.Mark {
	seq, hash := c.journal.Head()
	return storage.Mark{Seq: seq, Hash: hash}
}

// advanceMark tells the store how far it surely has the journal. While an issuance of this process has no end the mark stays
// where it is, so that a replay would come upon it.
func (c *core) advanceMark(ctx context.Context) error {
	if c.authority.Unsettled() > 0 {
		c.marks = nil
		return nil
	}
	now := time.Now()
	head := c.headMark()
	if n := len(c.marks); n == 0 && head != c.marked || n > 0 && c.marks[n-1].Mark != head {
		c.marks = append(c.marks, laggingMark{now, head})
	}
	settled := -1
	for i, m := range c.marks {
		if now.Sub(m.at) >= markLag {
			settled = i
		}
	}
	if settled < 0 {
		return nil
	}
	if err := c.setMark(ctx, c.marks[settled].Mark); err != nil {
		return err
	}
	c.marks = c.marks[settled+1:]
	return nil
}

// settleMark marks the journal's end when nothing is under way any more: then everything in it is in the store, unless an
// issuance could not be given its end, which is for the next start.
func (c *core) settleMark(ctx context.Context) error {
	if err := c.authority.Settle(ctx); err != nil {
		return err
	}
	return c.setMark(ctx, c.headMark())
}

func (c *core) setMark(ctx context.Context, m storage.Mark) error {
	if err := c.db.SetJournalMark(ctx, c.journal.ID(), m); err != nil {
		return fmt.Errorf("marking the journal's end in the store: %w", err)
	}
	c.marked = m
	return nil
}
