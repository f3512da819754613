package acme

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-ca/gatehouse/dcv"
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
