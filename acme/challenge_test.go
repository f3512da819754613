package acme

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/internal/work"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// Tests of what goes on in the background run in a bubble of testing/synctest: no sweep comes between, because time stands
// still while anything can go on.

// slow makes the answers of a world wait for nothing.
func slow(c *Config) { c.ChallengeWait, c.FinalizeWait = time.Nanosecond, time.Nanosecond }

func (w *world) onlyAuthz() *Authorization {
	w.t.Helper()
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	if len(w.store.authzs) != 1 {
		w.t.Fatalf("%d authorizations", len(w.store.authzs))
	}
	for _, a := range w.store.authzs {
		return a.clone()
	}
	return nil
}

func TestChallengeValidatesAtOnce(t *testing.T) { synctest.Test(t, testChallengeValidatesAtOnce) }

func testChallengeValidatesAtOnce(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	o := c.newOrder("a.example.com")
	url := c.challengeOf(o.Authorizations[0])
	w.store.taken()
	a := c.to(url, map[string]any{"keyAuthorization": "as old clients send it"}).want(t, http.StatusOK)
	got := a.decode(t)
	if got["status"] != "valid" || got["validated"] != "2026-05-04T12:00:00Z" || got["url"] != url || got["token"] == "" {
		t.Errorf("%s", a.body)
	}
	// RFC 8555, 7.5.1
	if !slices.Contains(a.header.Values("Link"), `<`+o.Authorizations[0]+`>;rel="up"`) || a.header.Get("Retry-After") != "" {
		t.Error(a.header)
	}
	if trips := w.ownTrips(); !slices.Equal(trips, []string{"Admit", "FinishChallenge"}) {
		t.Error("store trips:", trips)
	}
	req := w.validator.seen()[0]
	token := got["token"].(string)
	if req.Identifier.Value() != "a.example.com" || req.Token != token || req.KeyAuthorization != c.keyAuthorization(token) {
		t.Errorf("RFC 8555, 8.1: %+v", req)
	}
	authz := c.read(o.Authorizations[0]).want(t, http.StatusOK).decode(t)
	// RFC 8555, 7.1.4: a valid authorization ends when its proof may no longer be used.
	if authz["status"] != "valid" || authz["expires"] != "2026-05-05T12:00:00Z" {
		t.Errorf("%v", authz)
	}
	// Telling us again changes nothing.
	if again := c.to(url, map[string]any{}).want(t, http.StatusOK).decode(t); !cmp.Equal(again, got) {
		t.Error(cmp.Diff(got, again))
	}
	if read := c.read(url).want(t, http.StatusOK).decode(t); !cmp.Equal(read, got) {
		t.Error(cmp.Diff(got, read))
	}
	if n := len(w.validator.seen()); n != 1 {
		t.Errorf("%d validations", n)
	}
}

// ownTrips are the store trips that no sweep made.
func (w *world) ownTrips() []string {
	return slices.DeleteFunc(w.store.taken(), func(s string) bool {
		return s == "DueChallenges" || s == "SweepOrders" || s == "NonceKeys"
	})
}

func TestChallengeReadsStartNothing(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	url := c.challengeOf(c.newOrder("a.example.com").Authorizations[0])
	if got := c.read(url).want(t, http.StatusOK).decode(t); got["status"] != "pending" {
		t.Error(got)
	}
	for _, payload := range []any{"text", []int{}, 1} { // RFC 8555, 7.5.1
		c.to(url, payload).wantProblem(t, http.StatusBadRequest, "malformed")
	}
	c.to(strings.TrimSuffix(url, "0")+"1", map[string]any{}).wantProblem(t, http.StatusNotFound, "malformed")
	if n := len(w.validator.seen()); n != 0 {
		t.Errorf("%d validations", n)
	}
}

func TestChallengeFailure(t *testing.T) { synctest.Test(t, testChallengeFailure) }

func testChallengeFailure(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	o := c.newOrder("a.example.com", "b.example.com")
	w.validator.set(func() {
		w.validator.errs[dnsName(t, "a.example.com")] = problem.New(problem.IncorrectResponse, "another text was found")
	})
	got := c.to(c.challengeOf(o.Authorizations[0]), map[string]any{}).want(t, http.StatusOK).decode(t)
	want := map[string]any{"type": urn + "incorrectResponse", "detail": "another text was found", "status": 403.0, "instance": o.Authorizations[0]}
	if diff := cmp.Diff(want, got["error"]); diff != "" || got["status"] != "invalid" { // RFC 8555, 8.2
		t.Error(got["status"], diff)
	}
	// RFC 8555, 7.1.6: the authorization and its order are at an end.
	if authz := c.read(o.Authorizations[0]).want(t, http.StatusOK).decode(t); authz["status"] != "invalid" {
		t.Error(authz)
	}
	order := c.read(o.url).want(t, http.StatusOK).order(t)
	if order.Status != "invalid" || order.Error["type"] != urn+"unauthorized" || len(order.Error["subproblems"].([]any)) != 1 {
		t.Errorf("%+v", order)
	}
	c.to(order.Finalize, w.csr("a.example.com", "b.example.com")).wantProblem(t, http.StatusForbidden, "orderNotReady")
	stored := w.store.authz(AuthzID(o.Authorizations[0][strings.LastIndexByte(o.Authorizations[0], '/')+1:]))
	if f := stored.Challenges[0].Failed; f == nil || !strings.Contains(string(f.Record), `"Started"`) {
		t.Errorf("no record for people: %+v", f)
	}
}

func TestSlowValidationIsProcessing(t *testing.T) { synctest.Test(t, testSlowValidationIsProcessing) }

func testSlowValidationIsProcessing(t *testing.T) {
	w := newWorld(t, slow)
	c := w.account()
	o := c.newOrder("a.example.com")
	url := c.challengeOf(o.Authorizations[0])
	gate := make(chan struct{})
	w.validator.set(func() { w.validator.gate = gate })
	a := c.to(url, map[string]any{}).want(t, http.StatusOK)
	if got := a.decode(t); got["status"] != "processing" || a.header.Get("Retry-After") != "1" { // RFC 8555, 8.2
		t.Errorf("%v %s", a.header, a.body)
	}
	// It is on record, with a lease that outlasts the validation.
	if ch := w.onlyAuthz().Challenges[0]; !ch.Due.Equal(testTime.Add(validationLease)) || validationLease <= validationTime {
		t.Errorf("%+v", ch)
	}
	authz := c.read(o.Authorizations[0]).want(t, http.StatusOK)
	if got := authz.decode(t); got["status"] != "pending" || authz.header.Get("Retry-After") != "1" { // RFC 8555, 7.5.1
		t.Errorf("%v %s", authz.header, authz.body)
	}
	if got := c.to(url, map[string]any{}).want(t, http.StatusOK).decode(t); got["status"] != "processing" {
		t.Error(got)
	}
	close(gate)
	w.settled()
	if got := c.read(url).want(t, http.StatusOK).decode(t); got["status"] != "valid" {
		t.Error(got)
	}
	if ch := w.onlyAuthz().Challenges[0]; !ch.Due.IsZero() {
		t.Error("a finished validation is still due")
	}
	if n := len(w.validator.seen()); n != 1 {
		t.Errorf("%d validations", n)
	}
}

// TestChallengeRace posts one challenge many times at once. Those that come while a validation is under way wait for it;
// one that read the challenge before it ended and looks for it after may validate again, which changes nothing.
func TestChallengeRace(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	url := c.challengeOf(c.newOrder("a.example.com").Authorizations[0])
	gate := make(chan struct{})
	w.validator.set(func() { w.validator.gate = gate })
	var wg, sent sync.WaitGroup
	for range 20 {
		r := c.prepare(strings.TrimPrefix(url, base), map[string]any{})
		sent.Add(1)
		wg.Go(func() {
			sent.Done()
			if a := c.send(r); a.status != http.StatusOK || !strings.Contains(string(a.body), `"valid"`) {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	sent.Wait()
	close(gate)
	wg.Wait()
	if a := w.onlyAuthz(); a.proven() == nil || a.failed() != nil {
		t.Errorf("%+v", a.Challenges[0])
	}
}

func TestValidationsJoin(t *testing.T) {
	var vs validations
	vs.init(1)
	a, b := &Authorization{ID: "a"}, &Authorization{ID: "b"}
	first, made := vs.join(a, 0)
	if first == nil || !made {
		t.Fatal("not made")
	}
	if again, made := vs.join(a, 0); again != first || made {
		t.Error("a validation is under way twice")
	}
	if v, _ := vs.join(b, 0); v != nil {
		t.Error("more are under way than may be")
	}
	vs.leave(first)
	if _, made := vs.join(b, 0); !made {
		t.Error("no room after the first ended")
	}
}

func TestLapsedAuthorizationIsNotValidated(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	url := c.challengeOf(c.newOrder("a.example.com").Authorizations[0])
	w.clock.advance(7 * 24 * time.Hour)
	c.to(url, map[string]any{}).wantProblem(t, http.StatusBadRequest, "malformed")
	if n := len(w.validator.seen()); n != 0 {
		t.Errorf("%d validations", n)
	}
}

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

func TestProfileThatIsGone(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	o := c.newOrder("a.example.com")
	w.store.edit(func() {
		for _, a := range w.store.authzs {
			a.Profile = "yesterday"
		}
	})
	if got := c.to(c.challengeOf(o.Authorizations[0]), map[string]any{}).want(t, http.StatusOK).decode(t); got["status"] != "invalid" {
		t.Error(got)
	}
}

func TestProofOfSomethingElse(t *testing.T) {
	w := newWorld(t)
	a := &Authorization{Profile: "web", Identifier: dnsName(t, "a.example.com"), Expires: testTime.Add(time.Hour),
		Challenges: []Challenge{{Method: dcv.HTTP01}}}
	for _, proof := range []*dcv.Proof{nil, {Method: dcv.HTTP01, Identifier: dnsName(t, "b.example.com")}, {Method: "dns-99", Identifier: a.Identifier}} {
		if next := w.server.conclude(a, 0, proof, nil, nil); next != nil {
			t.Errorf("%+v was taken: %+v", proof, next.Challenges[0])
		}
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

// TestSlowNamesLeaveRoomForOthers: an account whose names are answered slowly does not keep anybody else's from being
// validated at once.
func TestSlowNamesLeaveRoomForOthers(t *testing.T) { synctest.Test(t, testSlowNamesLeaveRoomForOthers) }

// slowNames keeps names of one domain waiting as long as it is let.
type slowNames struct {
	Validator
	domain string
}

func (v slowNames) Check(ctx context.Context, req dcv.Request) (*dcv.Proof, *dcv.Record, error) {
	if strings.HasSuffix(req.Identifier.Value(), v.domain) {
		<-ctx.Done()
		return nil, nil, problem.Wrap(ctx.Err(), problem.Unavailable, "no slot became free")
	}
	return v.Validator.Check(ctx, req)
}

func testSlowNamesLeaveRoomForOthers(t *testing.T) {
	const limit, share = 20, 16
	w := newWorld(t, slow, func(c *Config) {
		c.Validations, c.Validator = limit, slowNames{c.Validator, ".example.net"}
	})
	hostile, healthy := w.account(), w.account()
	var names []string
	for i := range 2 * limit {
		names = append(names, fmt.Sprintf("n%d.example.net", i))
	}
	for _, authz := range hostile.newOrder(names...).Authorizations {
		if got := hostile.to(hostile.challengeOf(authz), map[string]any{}).want(t, http.StatusOK).decode(t); got["status"] != "processing" {
			t.Error(got)
		}
	}
	if n := len(w.server.validations.running); n != share {
		t.Errorf("%d validations of one account", n)
	}
	o := healthy.newOrder("a.example.com", "b.example.com")
	for _, authz := range o.Authorizations {
		healthy.to(healthy.challengeOf(authz), map[string]any{}).want(t, http.StatusOK)
	}
	synctest.Wait()
	if got := healthy.read(o.url).want(t, http.StatusOK).order(t); got.Status != "ready" {
		t.Error("the others' order is", got.Status)
	}
	time.Sleep(2 * validationTime)
	synctest.Wait()
	if vs := &w.server.validations; len(vs.running) != 0 || len(vs.of) != 0 {
		t.Errorf("%d are running, counted %v", len(vs.running), vs.of)
	}
}

func TestFullQueueIsLeftToTheSweep(t *testing.T) { synctest.Test(t, testFullQueueIsLeftToTheSweep) }

func testFullQueueIsLeftToTheSweep(t *testing.T) {
	w := newWorld(t, slow, func(c *Config) { c.Validations = 1 })
	c := w.account()
	o := c.newOrder("a.example.com", "b.example.com")
	gate := make(chan struct{})
	w.validator.set(func() { w.validator.gate = gate })
	for _, authz := range o.Authorizations {
		if got := c.to(c.challengeOf(authz), map[string]any{}).want(t, http.StatusOK).decode(t); got["status"] != "processing" {
			t.Error(got)
		}
	}
	if n := len(w.validator.seen()); n > 1 {
		t.Errorf("%d validations at once", n)
	}
	close(gate)
	w.settled()
	w.clock.advance(sweepInterval)
	if err := w.server.sweepValidations(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.settled()
	if got := c.read(o.url).want(t, http.StatusOK).order(t); got.Status != "ready" {
		t.Error(got.Status)
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

// TestKeptRecordsAreBounded: the store's size does not follow what a hostile server sends.
func TestKeptRecordsAreBounded(t *testing.T) {
	if got := encodeRecord(nil); got != nil {
		t.Errorf("%s", got)
	}
	small := &dcv.Record{Advice: "look", Hops: []dcv.Hop{{URL: "http://a.example.com"}}}
	if got := encodeRecord(small); !bytes.Contains(got, []byte("http://a.example.com")) || bytes.Contains(got, []byte("Omitted")) {
		t.Errorf("%s", got)
	}
	lookup := dcv.Lookup{Name: "a.example.com", Aliases: slices.Repeat([]string{strings.Repeat("x", 1000)}, 10)}
	hop := dcv.Hop{URL: "http://a.example.com", Lookups: []dcv.Lookup{lookup, lookup}}
	large := &dcv.Record{Advice: "look", Hops: slices.Repeat([]dcv.Hop{hop}, 11)}
	got := encodeRecord(large)
	var back dcv.Record
	if err := json.Unmarshal(got, &back); err != nil || len(got) > maxRecord || back.Omitted == 0 || len(back.Hops) < 2 || back.Advice != "look" {
		t.Errorf("%d bytes, %+v, %v", len(got), back, err)
	}
}
