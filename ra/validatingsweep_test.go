package ra_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// TestTheGatewayLooksByItself: a minute after the beginning, then more and more rarely, and with each name's proof it issues.
func TestTheGatewayLooksByItself(t *testing.T) {
	w := newPendingWorld(t)
	e := w.begin("tls", dcv.DNSTXT, "a.example.com")
	sweep := func() { must(t, w.SweepValidations(t.Context())) }
	sweep()
	if w.net.count() != 0 {
		t.Fatal("looked at once")
	}
	for i, pause := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		w.clock.add(pause*time.Minute - time.Second)
		sweep()
		if w.net.count() != i {
			t.Fatalf("look %d came early", i+1)
		}
		w.clock.add(time.Second)
		sweep()
		sweep()
		if w.net.count() != i+1 {
			t.Fatalf("look %d did not come: %d", i+1, w.net.count())
		}
	}
	w.net.publish(e.Challenges...)
	w.clock.add(time.Hour)
	sweep()
	if got := w.read(e.ID); got.Phase != ra.Issued || !got.Due.IsZero() {
		t.Errorf("%+v", got)
	}
}

// TestRequestsLapse at the end of their time and not before, also where nothing is validated any more.
func TestRequestsLapse(t *testing.T) {
	for name, change := range map[string]func(*ra.Config){
		"private": nil,
		"short":   func(c *ra.Config) { c.Validation.Lifetime = time.Hour },
	} {
		t.Run(name, func(t *testing.T) {
			w := newPendingWorld(t)
			w.Registrar = w.pending(change)
			e := w.begin("tls", dcv.DNSTXT, "a.example.com")
			w.clock.set(e.ValidateBy.Add(-time.Second))
			must(t, w.SweepValidations(t.Context()))
			if got := w.read(e.ID); got.Phase != ra.Validating || got.Due.After(e.ValidateBy) {
				t.Fatalf("%+v", got)
			}
			w.clock.set(e.ValidateBy)
			w.net.publish(e.Challenges...)
			_, err := w.Validate(t.Context(), rob, e.ID, ra.Validation{})
			wantKind(t, err, problem.Conflict)
			w.Registrar = w.pending(func(c *ra.Config) { c.Validation.Validator = nil })
			must(t, w.SweepValidations(t.Context()))
			got := w.read(e.ID)
			if got.Phase != ra.Failed || !strings.Contains(got.Failure.Detail, "in time") || len(got.CSR) != 0 || len(got.Challenges) != 1 || got.Challenges[0].Failed.Record != nil {
				t.Errorf("%+v", got)
			}
			must(t, w.SweepValidations(t.Context()))
		})
	}
}

// TestWhatSaysNothingAboutTheName leaves what was known of it, and comes back.
func TestWhatSaysNothingAboutTheName(t *testing.T) {
	w := newPendingWorld(t)
	e := w.begin("tls", dcv.DNSTXT, "a.example.com", "b.example.com")
	w.net.publish(e.Challenges[0])
	w.net.breaks("b.example.com", problem.New(problem.Unavailable, "no slot"))
	e = w.validates(e.ID, ra.Validating)
	if e.Challenges[1].Failed != nil || e.Challenges[0].Validated.IsZero() {
		t.Errorf("%+v", e.Challenges)
	}
	for _, err := range []error{errors.New("inside"), problem.New(problem.DNS, "SERVFAIL")} {
		w.net.breaks("b.example.com", err)
		e = w.validates(e.ID, ra.Validating)
	}
	if c := e.Challenges[1]; c.Failed == nil || c.Failed.Detail != "SERVFAIL" {
		t.Errorf("%+v", c)
	}
	w.net.breaks("b.example.com", nil)
	w.net.publish(e.Challenges[1])
	w.validates(e.ID, ra.Issued)
}

// TestTooManyWaitForPeople: one more stays validated, and goes on when there is room, without asking every few seconds.
func TestTooManyWaitForPeople(t *testing.T) {
	w := newPendingWorld(t)
	w.Registrar = w.pending(func(c *ra.Config) {
		c.WaitingBounds = func(auth.OrgID) ra.WaitingBounds { return ra.WaitingBounds{PerRequester: 1} }
	})
	one, two := w.begin("one", dcv.DNSTXT, "a.example.com"), w.begin("one", dcv.DNSTXT, "b.example.com")
	w.net.publish(one.Challenges[0], two.Challenges[0])
	w.validates(one.ID, ra.Waiting)
	_, err := w.Validate(t.Context(), rob, two.ID, ra.Validation{})
	wantKind(t, err, problem.RateLimited)
	if got := w.read(two.ID); got.Phase != ra.Validating || got.Challenges[0].Validated.IsZero() || got.Due.Before(w.clock.now().Add(time.Minute)) || !got.Checking.IsZero() {
		t.Errorf("%+v", got)
	}
	w.approve(ann, one.ID, ra.Issued)
	w.clock.add(5 * time.Minute)
	must(t, w.SweepValidations(t.Context()))
	if got := w.read(two.ID); got.Phase != ra.Waiting || w.net.count() != 2 {
		t.Errorf("%+v", got)
	}
}

// TestAProofOfSomethingElse is none.
func TestAProofOfSomethingElse(t *testing.T) {
	w := newPendingWorld(t)
	w.Registrar = w.pending(func(c *ra.Config) { c.Validation.Validator = liar{} })
	e := w.begin("tls", dcv.DNSTXT, "a.example.com")
	w.validates(e.ID, ra.Validating)
}

type liar struct{}

func (liar) Check(_ context.Context, req dcv.Request) (*dcv.Proof, *dcv.Record, error) {
	return &dcv.Proof{Method: dcv.HTTP01, Identifier: req.Identifier, At: time.Now()}, nil, nil
}

// TestOldProofsRunOut while another name is not validated; the name is then looked at again.
func TestOldProofsRunOut(t *testing.T) {
	w := newPendingWorld(t)
	e := w.begin("tls", dcv.DNSTXT, "a.example.com", "b.example.com")
	w.net.publish(e.Challenges[0])
	w.validates(e.ID, ra.Validating)
	w.clock.add(13 * time.Hour)
	w.net.breaks("a.example.com", problem.New(problem.DNS, "gone"))
	if e = w.validates(e.ID, ra.Validating); !e.Challenges[0].Validated.IsZero() || e.Challenges[0].Failed == nil {
		t.Errorf("%+v", e.Challenges[0])
	}
	w.net.breaks("a.example.com", nil)
	w.net.publish(e.Challenges...)
	if e = w.validates(e.ID, ra.Issued); len(e.Proofs) != 2 {
		t.Errorf("%+v", e.Proofs)
	}
}

// TestOneLookAtATime: a second one is told to wait, whichever process it comes to, and a lease whose worker died runs out.
func TestOneLookAtATime(t *testing.T) {
	w := newPendingWorld(t)
	e := w.begin("tls", dcv.DNSTXT, "a.example.com")
	w.net.publish(e.Challenges...)
	there, on := make(chan struct{}), make(chan struct{})
	w.net.before = func(dcv.Request) { close(there); <-on }
	done := make(chan error, 1)
	go func() {
		_, err := w.Validate(context.WithoutCancel(t.Context()), rob, e.ID, ra.Validation{})
		done <- err
	}()
	<-there
	other := w.pending(nil)
	_, err := other.Validate(t.Context(), rob, e.ID, ra.Validation{Method: dcv.DNSCNAME})
	if wantKind(t, err, problem.Conflict); problem.From(err).RetryAfter <= 0 {
		t.Errorf("without a time: %v", err)
	}
	w.clock.add(time.Minute)
	must(t, other.SweepValidations(t.Context()))
	if w.net.count() != 1 {
		t.Error("looked at twice at the same time")
	}
	close(on)
	must(t, <-done)
	if w.read(e.ID).Phase != ra.Issued || w.signer.signed.Load() != 1 {
		t.Errorf("%+v", w.read(e.ID))
	}
}

// TestCancelledWhileLookedAt: what was found then is nothing.
func TestCancelledWhileLookedAt(t *testing.T) {
	w := newPendingWorld(t)
	e := w.begin("tls", dcv.DNSTXT, "a.example.com")
	w.net.publish(e.Challenges...)
	var cancelled *ra.Enrollment
	w.net.before = func(dcv.Request) {
		var err error
		if cancelled, err = w.Cancel(t.Context(), rob, e.ID); err != nil {
			t.Error(err)
		}
	}
	got := w.validates(e.ID, ra.Failed)
	if got.Version != cancelled.Version || got.Canceller != rob.Principal || w.signer.signed.Load() != 0 {
		t.Errorf("%+v", got)
	}
}

// TestChangedWhileLookedAt: what others change of a request at the same time stays, and so does what the look found.
func TestChangedWhileLookedAt(t *testing.T) {
	w := newPendingWorld(t)
	e := w.begin("tls", dcv.DNSTXT, "a.example.com", "b.example.com")
	w.net.publish(e.Challenges[0])
	var once sync.Once
	w.net.before = func(dcv.Request) {
		once.Do(func() {
			have := w.read(e.ID)
			next := *have
			next.Comments = "meanwhile"
			if err := w.db.MoveEnrollment(t.Context(), &next, have, nil); err != nil {
				t.Error(err)
			}
		})
	}
	if got := w.validates(e.ID, ra.Validating); got.Comments != "meanwhile" || got.Challenges[0].Validated.IsZero() {
		t.Errorf("%+v", got)
	}
}

// TestCancel ends a request in each phase before it is issued, durably; saying it again brings it to a journal that lacked it.
func TestCancel(t *testing.T) {
	w := newPendingWorld(t)
	for _, phase := range []ra.Phase{ra.Validating, ra.Waiting} {
		e := w.begin("one", dcv.DNSTXT, "a.example.com")
		if phase == ra.Waiting {
			w.net.publish(e.Challenges...)
			e = w.validates(e.ID, ra.Waiting)
		}
		w.journal.refuse(audit.Cancelled)
		if _, err := w.Cancel(t.Context(), rob, e.ID); !problem.Is(err, problem.Unavailable) {
			t.Errorf("a journal that fails: %v", err)
		}
		w.journal.refuse("")
		before := len(w.journal.about(""))
		got, err := w.Cancel(t.Context(), rob, e.ID)
		must(t, err)
		if got.Phase != ra.Failed || got.Canceller != rob.Principal || got.CSR != nil || len(w.journal.about("")) != before+1 {
			t.Errorf("%+v", got)
		}
		_, err = w.Approve(t.Context(), ann, e.ID, "")
		wantKind(t, err, problem.Conflict)
		w.clock.add(2 * time.Hour)
		must(t, w.SweepValidations(t.Context()))
		if w.read(e.ID).Version != got.Version {
			t.Error("it went on")
		}
	}
	done := w.begin("tls", dcv.DNSTXT, "b.example.com")
	w.net.publish(done.Challenges...)
	w.validates(done.ID, ra.Issued)
	_, err := w.Cancel(t.Context(), rob, done.ID)
	wantKind(t, err, problem.Conflict)
	boss := auth.Caller{Principal: "user:3", Org: 1, Roles: []auth.Grant{{Org: 1, Role: auth.Administrator}}}
	dir, err := auth.NewDirectory([]auth.Org{{ID: 1, Slug: "main"}, {ID: 2, Slug: "other"}})
	must(t, err)
	w.Registrar = w.pending(func(c *ra.Config) { c.May = dir.May })
	if got, err := w.Cancel(t.Context(), boss, w.begin("tls", dcv.DNSTXT, "c.example.com").ID); err != nil || got.Canceller != boss.Principal {
		t.Errorf("an administrator: %+v, %v", got, err)
	}
}

// TestSlowOrganisationsHoldUpNobody: of one organisation a share of the places, so that a look of another finds one.
func TestSlowOrganisationsHoldUpNobody(t *testing.T) {
	w := newPendingWorld(t)
	w.Registrar = w.pending(func(c *ra.Config) { c.Validation.MaxChecks = 4 })
	for i := range 5 {
		w.begin("tls", dcv.DNSTXT, fmt.Sprintf("slow%d.example.com", i))
	}
	w.clock.add(time.Second)
	quick := w.submit(mia, w.wants("tls", dcv.DNSTXT, "quick.example.com"), ra.Validating)
	w.net.publish(quick.Challenges...)
	w.clock.add(time.Minute)
	there, on := make(chan struct{}, 10), make(chan struct{})
	w.net.before = func(req dcv.Request) {
		if strings.HasPrefix(req.Identifier.Value(), "slow") {
			there <- struct{}{}
			<-on
		}
	}
	done := make(chan error, 1)
	go func() { done <- w.SweepValidations(context.WithoutCancel(t.Context())) }()
	<-there
	if _, err := w.Validate(t.Context(), rob, 5, ra.Validation{}); !problem.Is(err, problem.Unavailable) {
		t.Errorf("one more of the same organisation: %v", err)
	}
	for deadline := time.Now().Add(10 * time.Second); w.read(quick.ID).Phase != ra.Issued; {
		if time.Now().After(deadline) {
			t.Fatal("another organisation's request is held up")
		}
		runtime.Gosched()
	}
	close(on)
	must(t, <-done)
	for range 4 {
		must(t, w.SweepValidations(t.Context()))
	}
	looked := map[string]bool{}
	for _, req := range w.net.asked {
		looked[req.Identifier.Value()] = true
	}
	if len(looked) != 6 {
		t.Errorf("looked at %v", looked)
	}
}

// TestPublicTokensAreUsedOnce: Baseline Requirements 1.6.1. A random value may be found again.
func TestPublicTokensAreUsedOnce(t *testing.T) {
	for m, again := range map[dcv.Method]bool{dcv.CSRHashCNAME: false, dcv.DNSCNAME: true} {
		w := newPendingWorld(t)
		public, err := policy.New(policy.Config{
			Name: "web", Issuer: "main", Mode: policy.Public, Now: w.clock.now(), ProofLifetime: time.Hour, CAA: policy.CAAOn,
			DCVMethods: []dcv.Method{dcv.CSRHashCNAME, dcv.DNSCNAME}, DNSSEC: dcv.DNSSECRequire,
		})
		must(t, err)
		w.net.secure = true
		w.Registrar = w.pending(func(c *ra.Config) { c.Profiles["web"] = public })
		e := w.begin("web", m, "a.example.com", "b.example.com")
		w.net.publish(e.Challenges[0])
		if e = w.validates(e.ID, ra.Validating); e.Challenges[0].Validated.IsZero() {
			t.Fatalf("%+v", e.Challenges[0])
		}
		w.clock.add(2 * time.Hour)
		e = w.validates(e.ID, ra.Validating)
		if c := e.Challenges[0]; again == c.Validated.IsZero() || !again && (c.Failed == nil || !strings.Contains(c.Failed.Detail, "proves control once")) {
			t.Errorf("%s: %+v", m, c)
		}
		for _, req := range w.net.asked {
			if req.CAA == nil || req.CAA.Identifier != req.Identifier || req.DNSSEC != dcv.DNSSECRequire {
				t.Errorf("CAA was not asked as the profile says: %+v", req)
			}
		}
	}
}
