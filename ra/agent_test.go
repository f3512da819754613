package ra_test

import (
	"slices"
	"testing"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// TestAgentDoesNotApprove: who asks in another's name is noted before anything comes of it, and approves as little as the other.
func TestAgentDoesNotApprove(t *testing.T) {
	w := guardedWorld(t)
	req := w.ask(rob, "one", "", newKey(t))
	req.Door, req.Agent = ra.DoorConsole, operator.Principal
	e, err := w.Submit(t.Context(), rob, req)
	if err != nil || e.Phase != ra.Waiting || w.read(e.ID).Agent != operator.Principal || e.Requester != rob.Principal {
		t.Fatalf("%+v, %v", e, err)
	}
	if said := w.journal.events[0]; said.Kind != audit.AskedFor || said.Actor != operator.Principal || said.Requester != rob.Principal || len(said.Names) != 1 {
		t.Errorf("the journal says %+v", said)
	}
	_, err = w.Approve(t.Context(), operator, e.ID, "")
	wantKind(t, err, problem.Unauthorized)
	_, err = w.Approve(t.Context(), rob, e.ID, "")
	wantKind(t, err, problem.Unauthorized)
	if e, err = w.Approve(t.Context(), ann, e.ID, ""); err != nil || e.Phase != ra.Issued {
		t.Errorf("%+v, %v", e, err)
	}
	w.journal.refuse(audit.AskedFor)
	total := w.total()
	_, err = w.Submit(t.Context(), rob, req)
	wantKind(t, err, problem.Unavailable)
	if w.total() != total {
		t.Error("what could not be journaled was asked for")
	}
}

// TestAgentUsesNoApprovalOfItsOwn: an approval that the operator gave to the principal's own request does not serve the same request
// if the operator makes it.
func TestAgentUsesNoApprovalOfItsOwn(t *testing.T) {
	first := guardedWorld(t)
	req := first.ask(rob, "one", "", newKey(t))
	req.Door = ra.DoorConsole
	e, err := first.Submit(t.Context(), rob, req)
	must(t, err)
	_, err = first.Approve(t.Context(), operator, e.ID, "")
	must(t, err)
	approved := first.journal.events[slices.IndexFunc(first.journal.events, func(e audit.Event) bool { return e.Kind == audit.Approved })]
	for agent, want := range map[string]ra.Phase{"": ra.Issued, operator.Principal: ra.Waiting} {
		w := guardedWorld(t)
		r := w.db.Replay(nil)
		must(t, r.Apply(t.Context(), approved))
		must(t, r.End(t.Context()))
		req.Agent = agent
		if e, err := w.Submit(t.Context(), rob, req); err != nil || e.Phase != want {
			t.Errorf("with the agent %q: %+v, %v", agent, e, err)
		}
	}
}

// TestAgentUsesNoApprovalOfItsOwnBehindValidation: the same of a request that first waits for validation.
func TestAgentUsesNoApprovalOfItsOwnBehindValidation(t *testing.T) {
	first := newPendingWorld(t)
	req := first.wants("one", dcv.DNSTXT, "a.example.com")
	e := first.submit(rob, req, ra.Validating)
	first.net.publish(e.Challenges...)
	first.validates(e.ID, ra.Waiting)
	_, err := first.Approve(t.Context(), operator, e.ID, "")
	must(t, err)
	approved := first.event(audit.Approved)
	for agent, want := range map[string]ra.Phase{"": ra.Issued, operator.Principal: ra.Waiting} {
		w := newPendingWorld(t)
		r := w.db.Replay(nil)
		must(t, r.Apply(t.Context(), approved))
		must(t, r.End(t.Context()))
		req.Agent = agent
		e := w.submit(rob, req, ra.Validating)
		w.net.publish(e.Challenges...)
		if e, err := w.Validate(t.Context(), rob, e.ID, ra.Validation{}); err != nil || e.Phase != want || agent != "" && len(e.Approvals) > 0 {
			t.Errorf("with the agent %q: %+v, %v", agent, e, err)
		}
	}
}
