package ra_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// begun is a domain of main with a validation that waits to be submitted.
func (w *domainWorld) begun(domain string, m dcv.Method) *ra.Domain {
	w.t.Helper()
	_, err := w.Add(w.t.Context(), operator, domain, "main")
	must(w.t, err)
	d, err := w.Begin(w.t.Context(), operator, domain, m, "")
	must(w.t, err)
	return d
}

// at demands a stage.
func (w *domainWorld) at(d *ra.Domain, err error, want ra.ValidationStage) *ra.Domain {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	if got := d.Stage(w.clock.now()); got != want {
		w.t.Errorf("the validation is %q, want %q: %+v", got, want, d.Validation)
	}
	return d
}

// TestBeginAgain gives the same values for as long as they may be used, writes nothing, and is not looked for.
func TestBeginAgain(t *testing.T) {
	t.Parallel()
	w, ctx := newDomainWorld(t), t.Context()
	first := w.begun("example.com", dcv.DNSCNAME)
	w.at(first, nil, ra.StageBegun)
	w.dns.publish(first.Validation)
	writes, entries := w.engine.Trips().Durable, len(w.journal.events)
	for range 3 {
		w.clock.add(24 * time.Hour)
		must(t, w.Domains.Sweep(ctx))
		again, err := w.Begin(ctx, operator, "example.com", dcv.DNSCNAME, "")
		must(t, err)
		if again.Validation.Publication != first.Validation.Publication {
			t.Errorf("begun again it is %+v, and was %+v", again.Validation, first.Validation)
		}
	}
	if n := w.engine.Trips().Durable - writes; n != 0 || len(w.journal.events) != entries || len(w.dns.asked) != 0 {
		t.Errorf("%d writes, %d entries, %d looks", n, len(w.journal.events)-entries, len(w.dns.asked))
	}
	// Another method takes its place, and so do other values once these are too old.
	other, err := w.Begin(ctx, operator, "example.com", dcv.HTTPFile, "example.net")
	must(t, err)
	one, two, ok := strings.Cut(other.Validation.Publication.Value, "\n")
	if other.Validation.Method != dcv.HTTPFile || len(one) < 32 || two != "example.net" || !ok {
		t.Errorf("%+v", other.Validation)
	}
	w.clock.add(30 * 24 * time.Hour)
	got, err := w.Get(ctx, operator, "example.com")
	w.at(got, err, ra.StageNone)
	_, err = w.Submit(ctx, operator, "example.com", dcv.HTTPFile, false)
	wantKind(t, err, problem.Conflict)
	late, err := w.Begin(ctx, operator, "example.com", dcv.HTTPFile, "example.net")
	if w.at(late, err, ra.StageBegun).Validation.Publication == other.Validation.Publication {
		t.Error("a value that is too old is given again")
	}
}

// TestSubmit looks at once, and the gateway by itself from then on.
func TestSubmit(t *testing.T) {
	t.Parallel()
	w, ctx := newDomainWorld(t), t.Context()
	_, err := w.Add(ctx, operator, "example.com", "main")
	must(t, err)
	_, err = w.Submit(ctx, operator, "example.com", dcv.DNSCNAME, false)
	wantKind(t, err, problem.Conflict)
	begun, err := w.Begin(ctx, operator, "example.com", dcv.DNSCNAME, "")
	must(t, err)
	_, err = w.Submit(ctx, operator, "example.com", dcv.HTTPFile, false) // another method
	wantKind(t, err, problem.Conflict)

	d, err := w.Submit(ctx, operator, "example.com", dcv.DNSCNAME, false)
	v := w.at(d, err, ra.StageSubmitted).Validation
	if v.Failed == nil || v.Attempts != 1 || !v.Submitted.Equal(start) || v.Publication != begun.Validation.Publication || v.Due.IsZero() {
		t.Errorf("%+v", v)
	}
	w.dns.publish(v)
	w.clock.add(time.Hour)
	must(t, w.Domains.Sweep(ctx))
	d, err = w.Get(ctx, operator, "example.com")
	if w.at(d, err, ra.StageNone).Proof == nil {
		t.Fatalf("the gateway has not looked by itself: %+v", d)
	}
	// A client that has not heard of that submits again, on the same day alone.
	asked, proof := len(w.dns.asked), d.Proof
	d, err = w.Submit(ctx, operator, "example.com", dcv.DNSCNAME, false)
	must(t, err)
	if *d.Proof != *proof || len(w.dns.asked) != asked {
		t.Errorf("%+v", d)
	}
	_, err = w.Submit(ctx, operator, "example.com", dcv.DNSTXT, false)
	wantKind(t, err, problem.Conflict)
	w.clock.add(24 * time.Hour)
	_, err = w.Submit(ctx, operator, "example.com", dcv.DNSCNAME, false)
	wantKind(t, err, problem.Conflict)

	// A validation that is begun by the submission is not looked for yet: nobody knew what to publish.
	d, err = w.Submit(ctx, operator, "example.com", dcv.DNSTXT, true)
	v = w.at(d, err, ra.StageSubmitted).Validation
	if v.Method != dcv.DNSTXT || v.Attempts != 0 || len(w.dns.asked) != asked {
		t.Errorf("%+v", v)
	}
	w.dns.publish(v)
	d, err = w.Submit(ctx, operator, "example.com", dcv.DNSTXT, true)
	if w.at(d, err, ra.StageNone).Proof.Method != dcv.DNSTXT {
		t.Errorf("%+v", d.Proof)
	}
}

// TestLooksAreBounded: whoever asks for look after look, and begins anew in between, gets answers and no more looks.
func TestLooksAreBounded(t *testing.T) {
	t.Parallel()
	w, ctx := newDomainWorld(t), t.Context()
	w.begun("example.com", dcv.DNSCNAME)
	for range 8 {
		d, err := w.Submit(ctx, operator, "example.com", dcv.DNSCNAME, false)
		w.at(d, err, ra.StageSubmitted)
		d, err = w.Recheck(ctx, operator, "example.com")
		w.at(d, err, ra.StageSubmitted)
		_, err = w.CancelValidation(ctx, operator, "example.com")
		must(t, err)
		_, err = w.Begin(ctx, operator, "example.com", dcv.DNSCNAME, "")
		must(t, err)
	}
	if n := len(w.dns.asked); n < 2 || n > 8 {
		t.Errorf("%d looks", n)
	}
	other := w.begun("example.org", dcv.DNSCNAME) // has looks of its own
	w.dns.publish(other.Validation)
	d, err := w.Submit(ctx, operator, "example.org", dcv.DNSCNAME, false)
	if w.at(d, err, ra.StageNone).Proof == nil {
		t.Error("not looked at")
	}
}

// TestRecheck looks for what was submitted, and for nothing else.
func TestRecheck(t *testing.T) {
	t.Parallel()
	w, ctx := newDomainWorld(t), t.Context()
	begun := w.begun("example.com", dcv.DNSCNAME)
	w.dns.publish(begun.Validation)
	d, err := w.Recheck(ctx, operator, "example.com")
	w.at(d, err, ra.StageBegun)
	if len(w.dns.asked) != 0 {
		t.Error("looked at before it was submitted")
	}
	_, err = w.Check(ctx, operator, "example.com") // the command is a submission
	must(t, err)
	d, err = w.Recheck(ctx, operator, "example.com")
	if w.at(d, err, ra.StageNone).Proof == nil || len(w.dns.asked) != 1 {
		t.Errorf("%+v", d)
	}
	e := newEmailWorld(t)
	e.asked("example.com", "main", "admin@example.com")
	d, err = e.Recheck(ctx, operator, "example.com")
	e.at(d, err, ra.StageSubmitted)
}

// TestSubmitTwiceAtOnce: of two submissions one look finds it, both say so, and the journal has one proof. The same of two that begin.
func TestSubmitTwiceAtOnce(t *testing.T) {
	t.Parallel()
	w, ctx := newDomainWorld(t), t.Context()
	_, err := w.Add(ctx, operator, "example.com", "main")
	must(t, err)
	both := func(call func() (*ra.Domain, error)) (got [2]*ra.Domain) {
		var calls sync.WaitGroup
		for i := range got {
			calls.Go(func() {
				d, err := call()
				if err != nil {
					t.Error(err)
					d = &ra.Domain{}
				}
				got[i] = d
			})
		}
		calls.Wait()
		return got
	}
	begun := both(func() (*ra.Domain, error) { return w.Begin(ctx, operator, "example.com", dcv.DNSCNAME, "") })
	if t.Failed() || begun[0].Validation.Publication != begun[1].Validation.Publication {
		t.Fatalf("two begin %+v and %+v", begun[0].Validation, begun[1].Validation)
	}
	w.dns.publish(begun[0].Validation)
	var looks atomic.Int32
	w.dns.before = func() { // while one looks, another look is asked for and ends
		if looks.Add(1) == 1 {
			_, err := w.Recheck(context.WithoutCancel(ctx), operator, "example.com")
			if err != nil {
				t.Error(err)
			}
		}
	}
	both(func() (*ra.Domain, error) { return w.Submit(ctx, operator, "example.com", dcv.DNSCNAME, false) })
	d, err := w.Get(ctx, operator, "example.com")
	if w.at(d, err, ra.StageNone).Proof == nil {
		t.Errorf("%+v", d)
	}
	proofs := slices.DeleteFunc(slices.Clone(w.journal.events), func(e audit.Event) bool { return !strings.Contains(e.Detail, "validated by ") })
	if len(proofs) != 1 {
		t.Errorf("the journal has %d proofs: %+v", len(proofs), proofs)
	}
}

// TestSubmittedComesBack from the journal as it was: what was not submitted is not looked for.
func TestSubmittedComesBack(t *testing.T) {
	t.Parallel()
	w, ctx := newDomainWorld(t), t.Context()
	w.begun("waits.example.com", dcv.DNSCNAME)
	w.begun("sent.example.com", dcv.DNSCNAME)
	w.clock.add(time.Minute)
	_, err := w.Submit(ctx, operator, "sent.example.com", dcv.DNSCNAME, false)
	must(t, err)
	other := newDomainWorld(t)
	r := other.db.Replay(nil)
	for _, e := range w.journal.events {
		must(t, r.Apply(ctx, e))
	}
	for _, on := range []*domainWorld{w, other} {
		d, err := on.Get(ctx, operator, "waits.example.com")
		on.at(d, err, ra.StageBegun)
		d, err = on.Get(ctx, operator, "sent.example.com")
		if v := w.at(d, err, ra.StageSubmitted).Validation; !v.Submitted.Equal(start.Add(time.Minute)) {
			t.Errorf("%+v", v)
		}
		due, err := on.db.DueDomains(ctx, w.clock.now().Add(time.Hour), 10)
		if err != nil || len(due) != 1 || due[0].Name.Value() != "sent.example.com" {
			t.Errorf("due are %v, %v", due, err)
		}
	}
}

// TestBeginEndsMail that is under way, as Validate does.
func TestBeginEndsMail(t *testing.T) {
	t.Parallel()
	w, ctx := newEmailWorld(t), t.Context()
	l := w.asked("example.com", "main", "admin@example.com")[0]
	d, err := w.Begin(ctx, operator, "example.com", dcv.DNSCNAME, "")
	w.at(d, err, ra.StageBegun)
	_, err = w.press(l)
	wantKind(t, err, problem.NotFound)
	boss := auth.Caller{Principal: "user:1", Org: 2, Roles: []auth.Grant{{Org: 2, Role: auth.Administrator}}}
	for _, method := range []dcv.Method{"", dcv.HTTP01, dcv.EmailConstructed} {
		_, err = w.Begin(ctx, operator, "example.com", method, "")
		wantKind(t, err, problem.Malformed)
	}
	_, err = w.Begin(ctx, boss, "example.com", dcv.DNSCNAME, "")
	wantKind(t, err, problem.NotFound)
}

// TestCheckIsASubmission that the journal has as well, so that a store that was lost goes on looking.
func TestCheckIsASubmission(t *testing.T) {
	t.Parallel()
	w, ctx := newDomainWorld(t), t.Context()
	w.begun("example.com", dcv.DNSCNAME)
	d, err := w.Check(ctx, operator, "example.com")
	w.at(d, err, ra.StageSubmitted)
	other := newDomainWorld(t)
	r := other.db.Replay(nil)
	for _, e := range w.journal.events {
		must(t, r.Apply(ctx, e))
	}
	d, err = other.Get(ctx, operator, "example.com")
	other.at(d, err, ra.StageSubmitted)
}
