package ra_test

import (
	"slices"
	"testing"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// TestReplayedApprovalOfAnAgent: an approval that the operator gave to the principal's own request, and that a replay gives back, does
// not serve the same request that the operator has made since.
func TestReplayedApprovalOfAnAgent(t *testing.T) {
	first := guardedWorld(t)
	req := first.ask(rob, "one", "", newKey(t))
	req.Door = ra.DoorConsole
	e, err := first.Submit(t.Context(), rob, req)
	must(t, err)
	_, err = first.Approve(t.Context(), operator, e.ID, "")
	must(t, err)
	approved := first.journal.events[slices.IndexFunc(first.journal.events, func(e audit.Event) bool { return e.Kind == audit.Approved })]

	w := guardedWorld(t)
	other := w.ask(rob, "one", "", newKey(t))
	other.Door = ra.DoorConsole
	_, err = w.Submit(t.Context(), rob, other) // the number is another's
	must(t, err)
	req.Agent = operator.Principal
	waiting := w.submit(rob, req, ra.Waiting)
	must(t, w.replay([]audit.Event{approved}, nil))
	got, err := w.Proceed(t.Context(), w.read(waiting.ID))
	if err != nil || got.Phase != ra.Waiting || len(got.Approvals) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	w.submit(rob, req, ra.Waiting)
}
