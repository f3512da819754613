package ra_test

import (
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// emptied is the world after its store was emptied and its journal replayed, but for entries that skip says.
func (w *world) emptied(skip func(audit.Event) bool) *world {
	w.t.Helper()
	n := guardedWorld(w.t)
	n.clock.set(w.clock.now())
	must(w.t, n.replay(w.journal.events, skip))
	return n
}

func (w *world) replay(events []audit.Event, skip func(audit.Event) bool) error {
	r := w.db.Replay(nil)
	for _, e := range events {
		if skip != nil && skip(e) {
			continue
		}
		if err := r.Apply(w.t.Context(), e); err != nil {
			return err
		}
	}
	return r.End(w.t.Context())
}

// TestReplayedDecisions: a store that was emptied is given back what people decided, and what came of it.
func TestReplayedDecisions(t *testing.T) {
	t.Run("approved", func(t *testing.T) {
		w := guardedWorld(t)
		e := w.submit(alice, w.ask(alice, "each", "order1", newKey(t)), ra.Waiting)
		w.approve(ann, e.ID, ra.Approved)
		n := w.emptied(nil)
		must(t, n.replay(w.journal.events, nil)) // again, as after a crash
		got := n.submit(alice, n.ask(alice, "each", "order2", newKey(t)), ra.Issued)
		if len(got.Approvals) != 1 || got.Approvals[0].Approver != ann.Principal {
			t.Errorf("issued by %+v", got.Approvals)
		}
		n.submit(alice, n.ask(alice, "each", "order3", newKey(t)), ra.Waiting)
	})
	t.Run("half approved", func(t *testing.T) {
		w := guardedWorld(t)
		e := w.submit(alice, w.ask(alice, "two", "order1", newKey(t)), ra.Waiting)
		w.approve(ann, e.ID, ra.Waiting)
		n := w.emptied(nil)
		e = n.submit(alice, n.ask(alice, "two", "order2", newKey(t)), ra.Waiting)
		n.approve(ben, e.ID, ra.Approved)
	})
	t.Run("into a request that waits", func(t *testing.T) {
		w := guardedWorld(t)
		e := w.submit(alice, w.ask(alice, "one", "order1", newKey(t)), ra.Waiting)
		w.approve(ann, e.ID, ra.Approved)
		n := guardedWorld(t)
		n.clock.set(w.clock.now())
		n.submit(alice, n.ask(alice, "one", "order2", newKey(t)), ra.Waiting)
		must(t, n.replay(w.journal.events, nil))
		n.submit(alice, n.ask(alice, "one", "order3", newKey(t)), ra.Issued)
	})
	t.Run("declined", func(t *testing.T) {
		w := guardedWorld(t)
		e := w.submit(alice, w.ask(alice, "one", "order1", newKey(t)), ra.Waiting)
		w.approve(ann, e.ID, ra.Approved)
		_, err := w.Decline(t.Context(), ben, e.ID, "no")
		must(t, err)
		n := w.emptied(nil)
		must(t, n.replay(w.journal.events, func(e audit.Event) bool { return e.Kind == audit.Declined })) // a second journal, late
		n.submit(alice, n.ask(alice, "one", "order2", newKey(t)), ra.Waiting)
	})
	t.Run("used", func(t *testing.T) {
		for profile, want := range map[string]ra.Phase{"each": ra.Waiting, "one": ra.Issued} {
			w := guardedWorld(t)
			e := w.submit(alice, w.ask(alice, profile, "order1", newKey(t)), ra.Waiting)
			w.approve(ann, e.ID, ra.Approved)
			w.submit(alice, w.ask(alice, profile, "order2", newKey(t)), ra.Issued)
			n := w.emptied(nil)
			n.submit(alice, n.ask(alice, profile, "order3", newKey(t)), want)
			// The approval in one journal, the certificate in another that comes first.
			n = w.emptied(func(e audit.Event) bool { return e.Kind == audit.Approved })
			must(t, n.replay(w.journal.events, func(e audit.Event) bool { return e.Kind != audit.Approved }))
			n.submit(alice, n.ask(alice, profile, "order3", newKey(t)), want)
		}
	})
}

// TestReplayDoesNotGrantTwice: a crash replays the last minute's entries over a store that lacks nothing. An approval that
// made a certificate does not come back to the request that follows it.
func TestReplayDoesNotGrantTwice(t *testing.T) {
	w := guardedWorld(t)
	e := w.submit(alice, w.ask(alice, "each", "order1", newKey(t)), ra.Waiting)
	w.approve(ann, e.ID, ra.Approved)
	w.submit(alice, w.ask(alice, "each", "order2", newKey(t)), ra.Issued)
	next := w.submit(alice, w.ask(alice, "each", "order3", newKey(t)), ra.Waiting)
	must(t, w.replay(w.journal.events, nil))
	if got := w.read(next.ID); got.Phase != ra.Waiting || len(got.Approvals) > 0 {
		t.Errorf("the replay left %+v", got)
	}
	w.submit(alice, w.ask(alice, "each", "order4", newKey(t)), ra.Waiting)
}

// TestReplayOfAnotherGatewaysUse: the approval is in the journal of one gateway, and what came of it in another's. The first
// one dies, and replays its last minute over a store that lacks nothing.
func TestReplayOfAnotherGatewaysUse(t *testing.T) {
	ours := func(e audit.Event) bool { return e.Kind != audit.Approved }
	t.Run("used", func(t *testing.T) {
		w := guardedWorld(t)
		e := w.submit(alice, w.ask(alice, "each", "order1", newKey(t)), ra.Waiting)
		w.approve(ann, e.ID, ra.Approved)
		w.submit(alice, w.ask(alice, "each", "order2", newKey(t)), ra.Issued)
		next := w.submit(alice, w.ask(alice, "each", "order3", newKey(t)), ra.Waiting)
		must(t, w.replay(w.journal.events, ours))
		if got := w.read(next.ID); got.Phase != ra.Waiting || len(got.Approvals) > 0 {
			t.Errorf("the replay left %+v", got)
		}
		w.submit(alice, w.ask(alice, "each", "order4", newKey(t)), ra.Waiting)
	})
	t.Run("declined", func(t *testing.T) {
		w := guardedWorld(t)
		e := w.submit(alice, w.ask(alice, "one", "order1", newKey(t)), ra.Waiting)
		w.approve(ann, e.ID, ra.Approved)
		_, err := w.Decline(t.Context(), ben, e.ID, "no")
		must(t, err)
		w.submit(alice, w.ask(alice, "one", "order2", newKey(t)), ra.Waiting)
		must(t, w.replay(w.journal.events, ours))
		w.submit(alice, w.ask(alice, "one", "order3", newKey(t)), ra.Waiting)
	})
}

// TestSaidAgainTooLate: what is said again, and journaled again, after the request's end undoes nothing of what came then.
func TestSaidAgainTooLate(t *testing.T) {
	t.Run("approved", func(t *testing.T) {
		w := guardedWorld(t)
		e := w.submit(alice, w.ask(alice, "each", "order1", newKey(t)), ra.Waiting)
		w.approve(ann, e.ID, ra.Approved)
		w.clock.add(time.Minute)
		w.submit(alice, w.ask(alice, "each", "order2", newKey(t)), ra.Issued)
		w.approve(ann, e.ID, ra.Issued)
		// A store that went back to before all that, in which the client has asked again.
		n := guardedWorld(t)
		n.clock.set(w.clock.now())
		n.submit(rob, n.ask(rob, "one", "", newKey(t)), ra.Waiting) // has the number now
		n.submit(alice, n.ask(alice, "each", "order3", newKey(t)), ra.Waiting)
		must(t, n.replay(w.journal.events, nil))
		n.submit(alice, n.ask(alice, "each", "order4", newKey(t)), ra.Waiting)
	})
	t.Run("declined", func(t *testing.T) {
		w := guardedWorld(t)
		first := w.submit(alice, w.ask(alice, "two", "order1", newKey(t)), ra.Waiting)
		w.approve(ann, first.ID, ra.Waiting)
		_, err := w.Decline(t.Context(), ben, first.ID, "no")
		must(t, err)
		_, err = w.Approve(t.Context(), ann, first.ID, "")
		wantKind(t, err, problem.Conflict)
		w.clock.add(time.Minute)
		second := w.submit(alice, w.ask(alice, "two", "order2", newKey(t)), ra.Waiting)
		w.approve(ann, second.ID, ra.Waiting)
		_, err = w.Decline(t.Context(), ben, first.ID, "no")
		must(t, err)
		n := w.emptied(nil)
		if got := n.submit(alice, n.ask(alice, "two", "order3", newKey(t)), ra.Waiting); len(got.Approvals) != 1 {
			t.Errorf("the approval of the second request is gone: %+v", got.Approvals)
		}
	})
}

// TestReplayedApprovalIssues: a client that polls is given what was approved before the store went back.
func TestReplayedApprovalIssues(t *testing.T) {
	w := guardedWorld(t)
	e := w.submit(alice, w.ask(alice, "two", "order", newKey(t)), ra.Waiting)
	w.approve(ann, e.ID, ra.Waiting)
	w.approve(ben, e.ID, ra.Approved)
	n := guardedWorld(t)
	n.clock.set(w.clock.now())
	e = n.submit(alice, n.ask(alice, "two", "order", newKey(t)), ra.Waiting)
	must(t, n.replay(w.journal.events, func(e audit.Event) bool { return e.Actor == ben.Principal }))
	if got, err := n.Proceed(t.Context(), n.read(e.ID)); err != nil || got.Phase != ra.Waiting {
		t.Fatalf("half approved: %+v, %v", got, err)
	}
	must(t, n.replay(w.journal.events, nil))
	if got, err := n.Proceed(t.Context(), n.read(e.ID)); err != nil || got.Phase != ra.Issued {
		t.Errorf("approved: %+v, %v", got, err)
	}
}
