package ra_test

import (
	"slices"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// TestCancelValidation ends what is under way, and keeps the proof and who gave it.
func TestCancelValidation(t *testing.T) {
	t.Parallel()
	w, ctx := newEmailWorld(t), t.Context()
	w.confirms(w.asked("example.com", "main", "admin@example.com")[0])
	entries := len(w.journal.events)
	d, err := w.CancelValidation(ctx, operator, "example.com") // there is nothing to be ended
	if w.at(d, err, ra.StageNone).Email == nil || len(w.journal.events) != entries {
		t.Errorf("%+v, %d entries", d, len(w.journal.events)-entries)
	}
	pending, err := w.Validate(ctx, operator, "example.com", dcv.DNSTXT)
	must(t, err)
	d, err = w.CancelValidation(ctx, operator, "example.com")
	if w.at(d, err, ra.StageNone).Proof == nil || d.Validation != nil {
		t.Errorf("%+v", d)
	}
	w.dns.publish(pending.Validation)
	w.clock.add(2 * time.Minute)
	must(t, w.Domains.Sweep(ctx))
	if len(w.dns.asked) != 0 {
		t.Error("it is looked at all the same")
	}
	w.issues(alice, "www.example.com")

	w.deliver()
	_, err = w.ValidateByEmail(ctx, operator, "example.com", []string{"admin@example.com"})
	must(t, err)
	l := w.deliver()[0]
	_, err = w.CancelValidation(ctx, operator, "example.com")
	must(t, err)
	_, err = w.press(l)
	wantKind(t, err, problem.NotFound)
	if d := w.record("example.com"); d.Email != nil || d.Proof == nil {
		t.Errorf("%+v", d)
	}
	// A rejected one is seen until it is forgotten.
	_, err = w.ValidateByEmail(ctx, operator, "example.com", []string{"admin@example.com"})
	must(t, err)
	l = w.deliver()[0]
	_, err = w.AnswerEmail(ctx, ra.EmailAnswer{ID: l.ID, Code: l.Code, Reject: true, From: here})
	must(t, err)
	w.at(w.record("example.com"), nil, ra.StageRejected)
	d, err = w.CancelValidation(ctx, operator, "example.com")
	w.at(d, err, ra.StageNone)
}

// TestInvalidate forgets the proof for good: orders that were ready are refused, and no journal brings it back.
func TestInvalidate(t *testing.T) {
	t.Parallel()
	w, ctx := newDomainWorld(t), t.Context()
	w.validated("example.com", "main", dcv.DNSTXT)
	_, err := w.Delegate(ctx, operator, "example.com", "below")
	must(t, err)
	_, err = w.Approve(ctx, operator, "example.com", "below")
	must(t, err)
	w.issues(child, "www.example.com")
	old := slices.Clone(w.journal.events)
	d, err := w.Invalidate(ctx, operator, "example.com")
	must(t, err)
	if status, _ := w.Status(d); d.Proof != nil || status != ra.DomainNotValidated || len(d.Delegations) != 1 || d.Org != 1 {
		t.Errorf("%+v", d)
	}
	w.refuses(alice, "www.example.com")
	w.refuses(child, "www.example.com")
	entries := len(w.journal.events)
	if _, err = w.Invalidate(ctx, operator, "example.com"); err != nil || len(w.journal.events) != entries {
		t.Errorf("forgotten twice: %v, %d entries", err, len(w.journal.events)-entries)
	}
	for what, events := range map[string][]audit.Event{
		"in order": w.journal.events, "backwards": backwards(w.journal.events), "an old journal behind": append(slices.Clone(w.journal.events), old...),
	} {
		other := newDomainWorld(t)
		r := other.db.Replay(nil)
		for _, e := range events {
			must(t, r.Apply(ctx, e))
		}
		if d, err := other.Get(ctx, operator, "example.com"); err != nil || d.Proof != nil || len(d.Delegations) != 1 {
			t.Errorf("%s: %+v, %v", what, d, err)
		}
		other.refuses(alice, "www.example.com")
	}
}

// TestInvalidateDuringALook: the look proves nothing any more.
func TestInvalidateDuringALook(t *testing.T) {
	t.Parallel()
	w, ctx := newDomainWorld(t), t.Context()
	d := w.begun("example.com", dcv.DNSTXT)
	w.dns.publish(d.Validation)
	w.dns.before = func() {
		_, err := w.Invalidate(ctx, operator, "example.com")
		must(t, err)
	}
	d, err := w.Submit(ctx, operator, "example.com", dcv.DNSTXT, false)
	if w.at(d, err, ra.StageNone).Proof != nil {
		t.Errorf("%+v", d)
	}
}

func backwards(events []audit.Event) []audit.Event {
	list := slices.Clone(events)
	slices.Reverse(list)
	return list
}
