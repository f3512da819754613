package acme

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-ca/gatehouse/internal/work"
	"github.com/gatehouse-ca/gatehouse/problem"
)

func TestOutcomeAfterTheLapse(t *testing.T) { synctest.Test(t, testOutcomeAfterTheLapse) }

func testOutcomeAfterTheLapse(t *testing.T) {
	w := newWorld(t, slow)
	c := w.account()
	url := c.challengeOf(c.newOrder("a.example.com").Authorizations[0])
	gate := make(chan struct{})
	w.validator.set(func() { w.validator.gate = gate })
	c.to(url, map[string]any{}).want(t, http.StatusOK)
	w.clock.advance(7 * 24 * time.Hour)
	close(gate)
	w.settled()
	if a := w.onlyAuthz(); a.proven() != nil || a.failed() == nil { // RFC 8555, 7.1.6
		t.Errorf("a lapsed authorization became valid: %+v", a.Challenges[0])
	}
}

// another is a second gateway process on the same store.
func (w *world) another() *Server {
	w.t.Helper()
	cfg := w.server.Config
	cfg.Work = work.New(work.Config{})
	w.t.Cleanup(func() { _ = cfg.Work.Drain(w.t.Context()) })
	s, err := New(w.t.Context(), cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// elsewhere is the same client, talking to another process.
func (c *client) elsewhere() *client {
	w := *c.w
	w.server = c.w.another()
	return &client{w: &w, key: c.key, kid: c.kid}
}

// TestInterruptedValidationIsTakenUp is a crash after "processing" was promised: a new process finishes the job once the
// lease is over.
func TestInterruptedValidationIsTakenUp(t *testing.T) {
	synctest.Test(t, testInterruptedValidationIsTakenUp)
}

func testInterruptedValidationIsTakenUp(t *testing.T) {
	w := newWorld(t, slow)
	c := w.account()
	url := c.challengeOf(c.newOrder("a.example.com").Authorizations[0])
	started := make(chan struct{}, 1)
	// The gate never opens: this is the process that dies.
	w.validator.set(func() { w.validator.gate, w.validator.started = make(chan struct{}), started })
	c.to(url, map[string]any{}).want(t, http.StatusOK)
	<-started
	w.validator.set(func() { w.validator.gate = nil })
	w.server = w.another() // the new process knows of no validation

	if err := w.server.sweepValidations(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.settled()
	if got := w.onlyAuthz(); got.proven() != nil {
		t.Fatal("taken over before the lease ended")
	}
	w.clock.advance(validationLease)
	if err := w.server.sweepValidations(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.settled()
	if got := w.onlyAuthz(); got.proven() == nil {
		t.Errorf("not taken up: %+v", got.Challenges[0])
	}
	last := w.validator.seen()[1]
	if last.KeyAuthorization != c.keyAuthorization(last.Token) {
		t.Error("another key authorization than the account's")
	}
}

func TestTwoProcessesTakeUpOnce(t *testing.T) { synctest.Test(t, testTwoProcessesTakeUpOnce) }

func testTwoProcessesTakeUpOnce(t *testing.T) {
	w := newWorld(t, slow)
	c := w.account()
	c.newOrder("a.example.com")
	w.store.edit(func() {
		for _, a := range w.store.authzs {
			a.Challenges[0].Begun, a.Challenges[0].Due = testTime, testTime
		}
	})
	due := w.onlyAuthz()
	second := due.clone()
	if err := w.server.resume(t.Context(), due); err != nil {
		t.Fatal(err)
	}
	other := w.another()
	if err := other.resume(t.Context(), second); !problem.Is(err, problem.Conflict) {
		t.Error("a lease was given twice:", err)
	}
}

func TestPointlessValidationsEnd(t *testing.T) { synctest.Test(t, testPointlessValidationsEnd) }

func testPointlessValidationsEnd(t *testing.T) {
	for name, spoil := range map[string]func(w *world, c *client, a *Authorization){
		"RFC 8555, 7.3.6: account deactivated": func(w *world, c *client, _ *Authorization) { w.store.accounts[c.id()].Deactivated = testTime },
		"account gone":                         func(w *world, c *client, _ *Authorization) { delete(w.store.accounts, c.id()) },
		"authorization lapsed":                 func(_ *world, _ *client, a *Authorization) { a.Expires = testTime },
	} {
		w := newWorld(t)
		c := w.account()
		c.newOrder("a.example.com")
		w.store.edit(func() {
			for _, a := range w.store.authzs {
				a.Challenges[0].Begun, a.Challenges[0].Due = testTime, testTime
				spoil(w, c, a)
			}
		})
		if err := w.server.sweepValidations(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.settled()
		if got := w.onlyAuthz(); got.failed() == nil || !got.Challenges[0].Due.IsZero() || len(w.validator.seen()) != 0 {
			t.Errorf("%s: %+v", name, got.Challenges[0])
		}
	}
}

// TestOurFaultIsNoVerdict keeps an authorization alive when the validation could not be carried out.
func TestOurFaultIsNoVerdict(t *testing.T) { synctest.Test(t, testOurFaultIsNoVerdict) }

func testOurFaultIsNoVerdict(t *testing.T) {
	for _, fault := range []error{errors.New("bug"), problem.New(problem.Unavailable, "no slot").After(30 * time.Second), context.Canceled} {
		w := newWorld(t)
		c := w.account()
		o := c.newOrder("a.example.com")
		w.validator.set(func() { w.validator.errs[dnsName(t, "a.example.com")] = fault })
		got := c.to(c.challengeOf(o.Authorizations[0]), map[string]any{}).want(t, http.StatusOK).decode(t)
		if got["status"] != "processing" {
			t.Errorf("%v: the challenge is %v", fault, got["status"])
		}
		if ch := w.onlyAuthz().Challenges[0]; ch.Due.Before(testTime.Add(sweepInterval)) || ch.Due.After(testTime.Add(30*time.Second)) {
			t.Errorf("%v: due at %s", fault, ch.Due)
		}
		w.clock.advance(validationPatience) // and yet not for ever
		if err := w.server.sweepValidations(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.settled()
		if got := w.onlyAuthz(); got.failed() == nil {
			t.Errorf("%v: still tried after %s", fault, validationPatience)
		}
	}
}

func TestOutcomeThatCannotBeRecorded(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	url := c.challengeOf(c.newOrder("a.example.com").Authorizations[0])
	w.store.failing("FinishChallenge", problem.New(problem.Unavailable, "the store does not answer"))
	c.to(url, map[string]any{}).wantProblem(t, http.StatusServiceUnavailable, "serverInternal")
	w.store.failing("FinishChallenge", nil)
	if got := c.to(url, map[string]any{}).want(t, http.StatusOK).decode(t); got["status"] != "valid" {
		t.Error(got)
	}
}

func TestConflictShowsWhatIsRecorded(t *testing.T) { synctest.Test(t, testConflictShowsWhatIsRecorded) }

func testConflictShowsWhatIsRecorded(t *testing.T) {
	w := newWorld(t, slow)
	c := w.account()
	url := c.challengeOf(c.newOrder("a.example.com").Authorizations[0])
	gate := make(chan struct{})
	defer close(gate)
	w.validator.set(func() { w.validator.gate = gate })
	w.store.failing("BeginChallenge", errConflict)
	if got := c.to(url, map[string]any{}).want(t, http.StatusOK).decode(t); got["status"] != "pending" {
		t.Error(got)
	}
}
