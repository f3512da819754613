package auth

import (
	"context"
	"log/slog"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/problem"
)

const (
	// noteAge is how old a note must be before somebody else than its maker tells the journal: longer than a change takes.
	noteAge = 2 * changeTime
	// settleBatch bounds how many notes one turn settles.
	settleBatch = 100
)

// recorder brings what the store took to the journal.
type recorder struct {
	store   Store
	journal Journal
	now     func() time.Time
	log     *slog.Logger
}

func newRecorder(store Store, journal Journal, now func() time.Time, log *slog.Logger) recorder {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return recorder{store, journal, now, log}
}

// append tells the journal of a change that the store took, and takes its note away.
func (r recorder) append(ctx context.Context, note Note, event audit.Event) error {
	if err := r.journal.Append(ctx, event); err != nil {
		return problem.Wrap(err, problem.Unavailable, "the change is in the store and could not be recorded in the journal, which will be done once it can be written; look at what it came to before you try again")
	}
	if err := r.store.Journaled(ctx, note); err != nil { // it stays, and the journal is told once more
		r.log.Warn("taking away the note of a change that is in the journal failed; it will be journaled again", "error", err)
	}
	return nil
}

// Settler tells the journal what changes of the store it may lack. It is safe for concurrent use.
type Settler struct{ recorder }

// NewSettler makes a Settler. A nil clock is time.Now, a nil log discards.
func NewSettler(store Store, journal Journal, now func() time.Time, log *slog.Logger) *Settler {
	if now == nil {
		now = time.Now
	}
	return &Settler{newRecorder(store, journal, now, log)}
}

// Settle tells the journal of what changed long enough ago that whoever changed it has told his journal, or is dead. At a
// start, before anything is served, all is told it.
func (s *Settler) Settle(ctx context.Context, all bool) error {
	before := s.now().Add(-noteAge)
	if all {
		before = s.now().Add(time.Hour) // whatever the clock
	}
	for {
		notes, err := s.store.Unjournaled(ctx, before, settleBatch)
		if err != nil {
			return err
		}
		for _, note := range notes {
			if err := s.settle(ctx, note); err != nil {
				return err
			}
		}
		if len(notes) < settleBatch {
			return nil
		}
	}
}

// settle tells the journal what an object is now: at least the change that the note is about.
func (s *Settler) settle(ctx context.Context, note Note) error {
	event, err := s.event(ctx, note)
	if err != nil {
		return err
	}
	if event.Kind != "" {
		if err := s.journal.Append(ctx, event); err != nil {
			return err
		}
		s.log.Warn("a change was in the store alone, and is in the journal now", "kind", string(event.Kind), "object", event.Detail)
	}
	return s.store.Journaled(ctx, note)
}

// event is what to tell; none if the store does not have the object.
func (s *Settler) event(ctx context.Context, note Note) (audit.Event, error) {
	const actor = "system"
	if note.EABKey != "" {
		k, err := s.store.EABKey(ctx, note.EABKey)
		if problem.Is(err, problem.NotFound) {
			return audit.Event{}, nil
		}
		if err != nil {
			return audit.Event{}, err
		}
		return eabEvent(audit.EABKeyEdited, k, actor, s.now())
	}
	if note.Principal != 0 {
		p, err := s.store.Principal(ctx, note.Principal)
		if problem.Is(err, problem.NotFound) {
			return audit.Event{}, nil
		}
		if err != nil {
			return audit.Event{}, err
		}
		return principalEvent(audit.PrincipalEdited, p, actor, "was found as it is", s.now())
	}
	orgs, _, err := s.store.Orgs(ctx)
	if err != nil {
		return audit.Event{}, err
	}
	for _, o := range orgs {
		if o.ID == note.Org {
			return orgEvent(audit.OrgEdited, o, actor, s.now())
		}
	}
	return audit.Event{}, nil
}
