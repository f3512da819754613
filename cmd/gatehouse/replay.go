package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/storage"
)

const (
	markEvery = 5 * time.Second
	// markLag is how long after an entry is in the journal the commit that goes with it may still be under way: longer than
	// any deadline of a commit.
	markLag = 30 * time.Second
)

// replay brings the store up to the journal, then the journal up to the store. It reads the entries behind the store's
// mark: after an orderly end none, after a crash the last half minute's, and all that a store lacks which went back or
// was emptied. Nothing is served meanwhile.
func (g *gateway) replay(ctx context.Context, folder string) error {
	mark, err := g.checkMark(ctx, folder)
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
	r := g.db.Replay(abandoned)
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
	added, err := g.authority.CompleteJournal(ctx, audit.After(folder, mark.Seq))
	if err != nil {
		return fmt.Errorf("completing the journal: %w", err)
	}
	if r.Changed > 0 || added > 0 {
		g.settings.log.Warn("store and journal were brought together", "behind entry", mark.Seq, "given to the store", r.Changed, "given to the journal", added)
	}
	return g.setMark(ctx, g.headMark())
}

// checkMark reads the store's mark of this journal and refuses a journal that is not the one that was marked.
func (g *gateway) checkMark(ctx context.Context, folder string) (storage.Mark, error) {
	mark, err := g.db.JournalMark(ctx, g.journal.ID())
	if err != nil {
		return mark, err
	}
	if mark.Seq == 0 {
		return mark, g.checkForeign(ctx)
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

// checkForeign refuses a journal of which the store knows nothing although it knows others, unless it has just begun.
func (g *gateway) checkForeign(ctx context.Context) error {
	others, err := g.db.Journals(ctx)
	if err != nil || len(others) == 0 {
		return err
	}
	if seq, _ := g.journal.Head(); seq <= 1 {
		return nil
	}
	return fmt.Errorf("the store in %s belongs to journal %s, not to journal %s that lies beside it; restore the one that belongs to it, or move this one away and start once with --new-journal",
		g.settings.folder, strings.Join(others, ", "), g.journal.ID())
}

// laggingMark is the journal's end at a moment.
type laggingMark struct {
	at time.Time
	storage.Mark
}

func (g *gateway) headMark() storage.Mark {
	seq, hash := g.journal.Head()
	return storage.Mark{Seq: seq, Hash: hash}
}

// advanceMark tells the store how far it surely has the journal.
func (g *gateway) advanceMark(ctx context.Context) error {
	now := time.Now()
	head := g.headMark()
	if n := len(g.marks); n == 0 && head != g.marked || n > 0 && g.marks[n-1].Mark != head {
		g.marks = append(g.marks, laggingMark{now, head})
	}
	settled := -1
	for i, m := range g.marks {
		if now.Sub(m.at) >= markLag {
			settled = i
		}
	}
	if settled < 0 {
		return nil
	}
	if err := g.setMark(ctx, g.marks[settled].Mark); err != nil {
		return err
	}
	g.marks = g.marks[settled+1:]
	return nil
}

func (g *gateway) setMark(ctx context.Context, m storage.Mark) error {
	if err := g.db.SetJournalMark(ctx, g.journal.ID(), m); err != nil {
		return fmt.Errorf("marking the journal's end in the store: %w", err)
	}
	g.marked = m
	return nil
}
