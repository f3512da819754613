package ra_test

import (
	"cmp"
	"crypto"
	"crypto/x509"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage/redis"
	"github.com/gatehouse-ca/gatehouse/storage/redis/redistest"
)

// The people: a requester who is no ACME account, and approvers of organisation 1.
var (
	rob  = auth.Caller{Principal: "user:7", Org: 1}
	ann  = auth.Caller{Principal: "user:1", Org: 1}
	ben  = auth.Caller{Principal: "user:2", Org: 1}
	boss = auth.Caller{Principal: "user:3", Org: 1}
)

// decides are the roles of the people above; rob is an approver, too.
func decides(c auth.Caller, role policy.ApproverRole, org auth.OrgID) error {
	has := map[string]policy.ApproverRole{ann.Principal: policy.ByApprover, ben.Principal: policy.ByApprover, rob.Principal: policy.ByApprover, boss.Principal: policy.ByAdministrator}
	switch {
	case c.Operator:
		return nil
	case org != c.Org:
		return problem.New(problem.NotFound, "there is no such object")
	case has[c.Principal] != role:
		return problem.New(problem.Unauthorized, "the wrong role")
	}
	return nil
}

// guardedProfile demands approvals by a rule.
func guardedProfile(t *testing.T, name string, rule policy.ApprovalRule) *policy.Profile {
	t.Helper()
	p, err := policy.New(policy.Config{Name: name, Issuer: "main", Validity: 24 * time.Hour, ProofLifetime: 12 * time.Hour, Approvals: rule})
	must(t, err)
	return p
}

// guardedWorld has profiles that demand approvals: one, two, an administrator's, and one for each renewal. Its clock begins
// now, because records about approvals expire by the store's.
func guardedWorld(t *testing.T) *world { return guard(t, newWorld(t)) }

func guard(t *testing.T, w *world) *world {
	w.clock.set(time.Now().UTC().Truncate(time.Second))
	w.Registrar = w.guarded()
	return w
}

func (w *world) guarded() *ra.Registrar {
	return w.registrar(func(c *ra.Config) {
		c.MayDecide = decides
		c.Allowed = func(auth.OrgID, string) bool { return true }
		for name, rule := range map[string]policy.ApprovalRule{
			"one": {Required: 1}, "two": {Required: 2}, "boss": {Required: 1, Role: policy.ByAdministrator},
			"each": {Required: 1, Renewals: policy.ApproveRenewals},
		} {
			c.Profiles[name] = guardedProfile(w.t, name, rule)
		}
	})
}

// ask is a request under a profile; holder is the ACME order that it is for, and empty for a caller who is no account.
func (w *world) ask(caller auth.Caller, profile, holder string, key crypto.Signer) ra.Request {
	w.t.Helper()
	account := caller
	if holder == "" {
		account.Principal = "acme:"
	}
	r := w.request(account, key, "a.example.com")
	r.Profile, r.Holder = profile, holder
	if holder == "" {
		r.Door = "test"
	}
	return r
}

func (w *world) submit(caller auth.Caller, r ra.Request, want ra.Phase) *ra.Enrollment {
	w.t.Helper()
	e, err := w.Submit(w.t.Context(), caller, r)
	must(w.t, err)
	if e.Phase != want {
		w.t.Fatalf("enrollment %d is in phase %d (%+v), want %d", e.ID, e.Phase, e.Failure, want)
	}
	return e
}

func (w *world) approve(by auth.Caller, id ra.ID, want ra.Phase) *ra.Enrollment {
	w.t.Helper()
	e, err := w.Approve(w.t.Context(), by, id, "seen")
	must(w.t, err)
	if e.Phase != want || w.read(id).Phase != want {
		w.t.Fatalf("after %s approved, enrollment %d is in phase %d (%+v), want %d", by.Principal, id, e.Phase, e.Failure, want)
	}
	return e
}

// kinds are the kinds of decisions in the journal, with who made them.
func (j *journal) decisions() (list []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.events {
		if e.Kind == audit.Approved || e.Kind == audit.Declined {
			list = append(list, string(e.Kind)+" "+e.Actor)
		}
	}
	return list
}

// TestOrdersWaitAndJoin is the life of a certificate whose client makes a key and order with each run.
func TestOrdersWaitAndJoin(t *testing.T) {
	w := guardedWorld(t)
	e := w.submit(alice, w.ask(alice, "one", "order1", newKey(t)), ra.Waiting)
	if w.signer.signed.Load() != 0 || len(w.journal.events) != 0 || e.Serial != "" || e.Status(w.clock.now()) != "awaiting approval" {
		t.Fatalf("something happened to a request that waits: %+v, %v", e, w.journal.events)
	}
	list, more, err := w.Waiting(t.Context(), ann, 0, 10)
	must(t, err)
	if len(list) != 1 || list[0].ID != e.ID || more {
		t.Errorf("the list is %v, %v", list, more)
	}
	found, err := w.Search(t.Context(), ann, ra.Query{Status: ra.StatusWaiting, Limit: 10})
	must(t, err)
	if len(found.Enrollments) != 1 || found.Total != 1 {
		t.Errorf("by status: %+v", found)
	}
	if list, _, err := w.Waiting(t.Context(), eve, 0, 10); err != nil || len(list) > 0 {
		t.Errorf("another organisation sees %v, %v", list, err)
	}

	joined := w.submit(alice, w.ask(alice, "one", "order2", newKey(t)), ra.Waiting)
	if joined.ID != e.ID || joined.Holder != "order2" || w.total() != 1 {
		t.Fatalf("a second order has enrollment %d of %d, for %s", joined.ID, w.total(), joined.Holder)
	}
	w.approve(ann, e.ID, ra.Approved)
	if w.signer.signed.Load() != 0 {
		t.Error("signed for a client that may be gone")
	}
	key := newKey(t)
	issued := w.submit(alice, w.ask(alice, "one", "order3", key), ra.Issued)
	if issued.ID != e.ID || issued.Holder != "order3" || len(issued.Approvals) != 1 || issued.Approvals[0].Approver != ann.Principal {
		t.Errorf("issued was %+v", issued)
	}
	if leaf := w.leaf(issued); !key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(leaf.PublicKey) {
		t.Error("the certificate is for another key than the last order's")
	}
	if list, _, err := w.Waiting(t.Context(), ann, 0, 10); err != nil || len(list) > 0 {
		t.Errorf("still waiting: %v, %v", list, err)
	}
	if e := w.event(audit.Signed); e.Content != issued.Content || !slices.Equal(e.Approvers, []string{ann.Principal}) {
		t.Errorf("the journal says that %v approved %q", e.Approvers, e.Content)
	}

	// The same again needs nobody, and what renewed it is renewed freely, too.
	for range 2 {
		next := w.submit(alice, w.ask(alice, "one", "order4", newKey(t)), ra.Issued)
		if next.ID == e.ID || !next.Renews || len(next.Approvals) > 0 {
			t.Errorf("the renewal is %+v", next)
		}
		w.clock.add(16 * time.Hour)
	}
	w.clock.add(24 * time.Hour)
	w.submit(alice, w.ask(alice, "one", "order5", newKey(t)), ra.Waiting)
}

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

// TestApprovalIssues what has no client to wait for.
func TestApprovalIssues(t *testing.T) {
	w := guardedWorld(t)
	r := w.ask(rob, "two", "", newKey(t))
	e := w.submit(rob, r, ra.Waiting)
	if again := w.submit(rob, r, ra.Waiting); again.ID != e.ID {
		t.Errorf("the same request again is %d, not %d", again.ID, e.ID)
	}
	if other := w.submit(rob, w.ask(rob, "two", "", newKey(t)), ra.Waiting); other.ID == e.ID {
		t.Error("another key joined")
	}
	w.approve(ann, e.ID, ra.Waiting)
	w.approve(ann, e.ID, ra.Waiting) // once
	w.approve(ben, e.ID, ra.Issued)
	if w.signer.signed.Load() != 1 {
		t.Errorf("%d were signed", w.signer.signed.Load())
	}
	if got := w.journal.decisions(); !slices.Equal(got, []string{"approved user:1", "approved user:1", "approved user:2"}) {
		t.Errorf("the journal says %v", got)
	}
}

func TestDecisionsAreRefused(t *testing.T) {
	w := guardedWorld(t)
	ctx := t.Context()
	plain, err := w.Submit(ctx, alice, w.request(alice, newKey(t), "plain.example.com"))
	must(t, err)
	mine := w.submit(rob, w.ask(rob, "one", "", newKey(t)), ra.Waiting)
	bosses := w.submit(alice, w.ask(alice, "boss", "order", newKey(t)), ra.Waiting)
	declined := w.submit(rob, w.ask(rob, "one", "", newKey(t)), ra.Waiting)
	if _, err := w.Decline(ctx, ann, declined.ID, "not this one"); err != nil {
		t.Fatal(err)
	}
	issued := w.submit(rob, w.ask(rob, "one", "", newKey(t)), ra.Waiting)
	w.approve(ann, issued.ID, ra.Issued)
	for _, c := range []struct {
		name    string
		by      auth.Caller
		id      ra.ID
		message string
		kind    problem.Kind
		says    string
	}{
		{"their own", rob, mine.ID, "", problem.Unauthorized, "their own"},
		{"another organisation's", eve, mine.ID, "", problem.NotFound, "no enrollment"},
		{"nobody", auth.Caller{}, mine.ID, "", problem.Unauthorized, "nobody"},
		{"none there", ann, 4711, "", problem.NotFound, "no enrollment 4711"},
		{"an approver for an administrator", ann, bosses.ID, "", problem.Unauthorized, "wrong role"},
		{"an administrator for an approver", boss, mine.ID, "", problem.Unauthorized, "wrong role"},
		{"what needs none", ann, plain.ID, "", problem.Conflict, "needs no approval"},
		{"what was declined", ben, declined.ID, "", problem.Conflict, "declined by user:1"},
		{"what was issued", ben, issued.ID, "", problem.Conflict, "was issued"},
		{"two lines", ann, mine.ID, "a\nb", problem.Malformed, "one line"},
		{"a book", ann, mine.ID, strings.Repeat("x", 501), problem.Malformed, "at most 500"},
	} {
		_, err := w.Approve(ctx, c.by, c.id, c.message)
		wantKind(t, err, c.kind)
		if err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v does not say %q", c.name, err, c.says)
		}
		_, err = w.Decline(ctx, c.by, c.id, cmp.Or(c.message, "no"))
		if c.by.Principal == rob.Principal {
			continue // who may take back what is their own
		}
		wantKind(t, err, c.kind)
	}
	_, err = w.Decline(ctx, ann, bosses.ID, "")
	wantKind(t, err, problem.Malformed)

	// A declined one said so to its requester; the same request again waits anew.
	if got := w.read(declined.ID); got.Failure.Detail != "not this one" || got.CSR != nil || got.Status(w.clock.now()) != ra.StatusDeclined {
		t.Errorf("declined: %+v", got)
	}
	// The profile changes: what waits cannot be approved, and can be declined.
	changed := w.registrar(func(c *ra.Config) {
		c.Allowed, c.MayDecide = func(auth.OrgID, string) bool { return true }, decides
		c.Profiles["boss"] = guardedProfile(t, "boss", policy.ApprovalRule{Required: 2, Role: policy.ByAdministrator})
	})
	_, err = changed.Approve(ctx, boss, bosses.ID, "")
	wantKind(t, err, problem.Conflict)
	if _, err := changed.Decline(ctx, boss, bosses.ID, "ask anew"); err != nil {
		t.Error(err)
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

// onBoth runs a test on each engine.
func onBoth(t *testing.T, test func(t *testing.T, w *world)) {
	t.Run("embedded", func(t *testing.T) { test(t, guardedWorld(t)) })
	t.Run("redis", func(t *testing.T) {
		redistest.Need(t)
		e, err := redis.Open(t.Context(), redis.Config{Addrs: []string{redistest.Start(t).Addr}, Name: "approvals"})
		must(t, err)
		t.Cleanup(func() { e.Close() })
		test(t, guard(t, newWorldOn(t, e)))
	})
}

// atOnce runs functions at the same time and gives back their errors.
func atOnce(list ...func() error) []error {
	errs := make([]error, len(list))
	var wg sync.WaitGroup
	for i, f := range list {
		wg.Go(func() { errs[i] = f() })
	}
	wg.Wait()
	return errs
}

const rounds = 6

// TestTwoApproversAtOnce: of two that are needed both count; of one that is needed, one certificate comes of it.
func TestTwoApproversAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		for _, profile := range []string{"one", "two"} {
			for range rounds {
				before := w.signer.signed.Load()
				e := w.submit(rob, w.ask(rob, profile, "", newKey(t)), ra.Waiting)
				errs := atOnce(
					func() error { _, err := w.Approve(t.Context(), ann, e.ID, ""); return err },
					func() error { _, err := w.Approve(t.Context(), ben, e.ID, ""); return err },
				)
				for _, err := range errs {
					if err != nil && (profile == "two" || !problem.Is(err, problem.Conflict)) {
						t.Errorf("%s: %v", profile, errs)
					}
				}
				got := w.read(e.ID)
				wanted := map[string]int{"one": 1, "two": 2}[profile]
				if got.Phase != ra.Issued || w.signer.signed.Load() != before+1 || len(got.Approvals) != wanted {
					t.Fatalf("%s: %v came to %+v with %d signatures", profile, errs, got, w.signer.signed.Load()-before)
				}
			}
		}
	})
}

// TestApproveAgainstDecline: one outcome, and whoever was told of the other was told before it.
func TestApproveAgainstDecline(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		for range rounds {
			before := w.signer.signed.Load()
			e := w.submit(rob, w.ask(rob, "one", "", newKey(t)), ra.Waiting)
			errs := atOnce(
				func() error { _, err := w.Approve(t.Context(), ann, e.ID, ""); return err },
				func() error { _, err := w.Decline(t.Context(), ben, e.ID, "no"); return err },
			)
			got, signed := w.read(e.ID), w.signer.signed.Load()-before
			switch {
			case errs[0] == nil && problem.Is(errs[1], problem.Conflict) && got.Phase == ra.Issued && signed == 1:
			case errs[1] == nil && problem.Is(errs[0], problem.Conflict) && got.Phase == ra.Declined && signed == 0:
			default:
				t.Fatalf("%v came to %+v with %d signatures", errs, got, signed)
			}
		}
	})
}

// TestOneApprovalOneCertificate: orders, polls and a decline at once, after one approval.
func TestOneApprovalOneCertificate(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		for range rounds {
			before := w.signer.signed.Load()
			e := w.submit(alice, w.ask(alice, "each", "order1", newKey(t)), ra.Waiting)
			if e.Phase == ra.Waiting {
				e = w.approve(ann, e.ID, ra.Approved)
			}
			first, second := w.ask(alice, "each", "order2", newKey(t)), w.ask(alice, "each", "order3", newKey(t))
			errs := atOnce(
				func() error { _, err := w.Submit(t.Context(), alice, first); return err },
				func() error { _, err := w.Submit(t.Context(), alice, second); return err },
				func() error { _, err := w.Proceed(t.Context(), e); return err },
				func() error { _, err := w.Decline(t.Context(), ben, e.ID, "after all, no"); return err },
			)
			signed, declined := w.signer.signed.Load()-before, errs[3] == nil
			if signed > 1 || declined && signed > 0 || !declined && signed != 1 {
				t.Fatalf("%v: %d certificates, declined: %v", errs, signed, declined)
			}
			list, _, err := w.Waiting(t.Context(), operator, 0, 100)
			must(t, err)
			for _, e := range list { // what came too late waits for the next decision
				if _, err := w.Decline(t.Context(), ann, e.ID, "clear"); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

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

// TestRevokedIsNotRenewedFreely: who revoked a certificate may have had a reason.
func TestRevokedIsNotRenewedFreely(t *testing.T) {
	w := guardedWorld(t)
	e := w.submit(alice, w.ask(alice, "one", "order1", newKey(t)), ra.Waiting)
	w.approve(ann, e.ID, ra.Approved)
	e = w.submit(alice, w.ask(alice, "one", "order2", newKey(t)), ra.Issued)
	must(t, w.Revoke(t.Context(), alice, ra.Revocation{Issuer: e.Issuer, Serial: e.Serial}))
	w.submit(alice, w.ask(alice, "one", "order3", newKey(t)), ra.Waiting)
}

// leaf is an enrollment's certificate.
func (w *world) leaf(e *ra.Enrollment) *x509.Certificate {
	w.t.Helper()
	leaf, err := x509.ParseCertificate(w.certificate(e.Serial).DER)
	must(w.t, err)
	return leaf
}

// event is the last one of a kind.
func (w *world) event(kind audit.Kind) audit.Event {
	w.journal.mu.Lock()
	defer w.journal.mu.Unlock()
	for _, e := range slices.Backward(w.journal.events) {
		if e.Kind == kind {
			return e
		}
	}
	return audit.Event{}
}
