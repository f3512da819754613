package ra_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// TestPolling: the order's client finds its certificate made, without another order.
func TestPolling(t *testing.T) {
	w := guardedWorld(t)
	e := w.submit(alice, w.ask(alice, "one", "order", newKey(t)), ra.Waiting)
	if got, err := w.Proceed(t.Context(), e); err != nil || got.Phase != ra.Waiting {
		t.Fatalf("an order that waits came to %+v, %v", got, err)
	}
	e = w.approve(ann, e.ID, ra.Approved)
	must(t, w.Sweep(t.Context()))
	got, err := w.Proceed(t.Context(), e)
	must(t, err)
	if got.Phase != ra.Issued || w.signer.signed.Load() != 1 {
		t.Fatalf("an approved order came to %+v", got)
	}
	if again, err := w.Proceed(t.Context(), e); err != nil || again.Serial != got.Serial || w.signer.signed.Load() != 1 {
		t.Errorf("asked twice: %+v, %v", again, err)
	}
}

// TestWaitingLapses: undecided, and approved but never asked for.
func TestWaitingLapses(t *testing.T) {
	w := guardedWorld(t)
	waits := w.submit(alice, w.ask(alice, "one", "order", newKey(t)), ra.Waiting)
	granted := w.submit(alice, w.ask(alice, "each", "order", newKey(t)), ra.Waiting)
	w.approve(ann, granted.ID, ra.Approved)
	w.clock.add(7*24*time.Hour - time.Second)
	must(t, w.Sweep(t.Context()))
	if w.read(waits.ID).Phase != ra.Waiting || w.read(granted.ID).Phase != ra.Approved {
		t.Fatal("a request lapsed early")
	}
	w.clock.add(time.Second)
	_, err := w.Approve(t.Context(), ann, waits.ID, "")
	wantKind(t, err, problem.Conflict)
	late := w.submit(alice, w.ask(alice, "each", "later", newKey(t)), ra.Waiting)
	if late.ID == granted.ID || len(late.Approvals) > 0 {
		t.Errorf("joined what has lapsed: %+v", late)
	}
	must(t, w.Sweep(t.Context()))
	for _, id := range []ra.ID{waits.ID, granted.ID} {
		if e := w.read(id); e.Phase != ra.Failed || e.Failure == nil || e.CSR != nil || !e.Due.IsZero() {
			t.Errorf("lapsed: %+v", e)
		}
	}
	if w.signer.signed.Load() != 0 {
		t.Error("something was signed")
	}
}

// TestRecoverLapsesNothingEarly: a start does not wait for leases, and people keep the time they have.
func TestRecoverLapsesNothingEarly(t *testing.T) {
	w := guardedWorld(t)
	e := w.submit(alice, w.ask(alice, "one", "order", newKey(t)), ra.Waiting)
	w.clock.add(7*24*time.Hour - time.Second)
	must(t, w.Recover(t.Context()))
	w.approve(ann, e.ID, ra.Approved)
}

// TestProofRunsOutWhileWaiting: that order fails and says why, and the approval is the next one's, once.
func TestProofRunsOutWhileWaiting(t *testing.T) {
	w := guardedWorld(t)
	e := w.submit(alice, w.ask(alice, "each", "order1", newKey(t)), ra.Waiting)
	w.clock.add(13 * time.Hour)
	e = w.approve(ann, e.ID, ra.Approved)
	got, err := w.Proceed(t.Context(), e)
	must(t, err)
	if got.Phase != ra.Failed || got.Failure.Kind != problem.Unauthorized || !strings.Contains(got.Failure.Detail, "too long ago") {
		t.Fatalf("came to %+v, %+v", got, got.Failure)
	}
	next := w.submit(alice, w.ask(alice, "each", "order2", newKey(t)), ra.Issued)
	if next.ID == e.ID || len(next.Approvals) != 1 {
		t.Errorf("the next one is %+v", next)
	}
	w.submit(alice, w.ask(alice, "each", "order3", newKey(t)), ra.Waiting)
	if w.signer.signed.Load() != 1 {
		t.Errorf("one approval made %d certificates", w.signer.signed.Load())
	}
}

// TestRefusedRequestsDoNotWait: what policy refuses takes no number and does not disturb what waits.
func TestRefusedRequestsDoNotWait(t *testing.T) {
	w := guardedWorld(t)
	bad := w.ask(alice, "one", "order1", newKey(t))
	bad.Proofs = nil
	_, err := w.Submit(t.Context(), alice, bad)
	wantKind(t, err, problem.Unauthorized)
	if w.total() != 0 {
		t.Error("a refused request has a number")
	}
	e := w.submit(alice, w.ask(alice, "one", "order1", newKey(t)), ra.Waiting)
	bad.Holder = "order2"
	_, err = w.Submit(t.Context(), alice, bad)
	wantKind(t, err, problem.Unauthorized)
	if got := w.read(e.ID); got.Holder != "order1" || got.Version != e.Version {
		t.Errorf("a refused order took it over: %+v", got)
	}
	w.submit(bob, w.ask(bob, "one", "order3", newKey(t)), ra.Waiting)
	if w.total() != 2 {
		t.Error("another account's order joined")
	}
}

// TestCrashAfterApproval: the approval is recorded and its process dies. The sweep issues, and the journal is told when the
// approver asks again.
func TestCrashAfterApproval(t *testing.T) {
	w := guardedWorld(t)
	e := w.submit(rob, w.ask(rob, "one", "", newKey(t)), ra.Waiting)
	w.journal.refuse(audit.Approved)
	_, err := w.Approve(t.Context(), ann, e.ID, "")
	wantKind(t, err, problem.Unavailable)
	if e = w.read(e.ID); e.Phase != ra.Requested || w.signer.signed.Load() != 0 {
		t.Fatalf("%+v", e)
	}
	w.journal.refuse("")
	must(t, w.Sweep(t.Context()))
	if e = w.read(e.ID); e.Phase != ra.Issued {
		t.Fatalf("the sweep left it in %+v", e)
	}
	if _, err := w.Approve(t.Context(), ann, e.ID, ""); err != nil {
		t.Errorf("saying it again: %v", err)
	}
	if got := w.journal.decisions(); len(got) != 1 {
		t.Errorf("the journal says %v", got)
	}
}
