package ra_test

import (
	"cmp"
	"crypto"
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// The people: a requester who is no ACME account, and approvers of organisation 1.
var (
	rob  = auth.Caller{Principal: "user:7", Org: 1, Roles: []auth.Grant{{Org: 1, Role: auth.Requester}}}
	ann  = auth.Caller{Principal: "user:1", Org: 1, Roles: []auth.Grant{{Org: 1, Role: auth.Approver}}}
	ben  = auth.Caller{Principal: "user:2", Org: 1, Roles: []auth.Grant{{Org: 1, Role: auth.Approver}}}
	boss = auth.Caller{Principal: "user:3", Org: 1, Roles: []auth.Grant{{Org: 1, Role: auth.Administrator}}}
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
	list, more, err := w.Waiting(t.Context(), ann, 0, 0, 10)
	must(t, err)
	if len(list) != 1 || list[0].ID != e.ID || more {
		t.Errorf("the list is %v, %v", list, more)
	}
	found, err := w.Search(t.Context(), ann, ra.Query{Status: ra.StatusWaiting, Limit: 10})
	must(t, err)
	if len(found.Enrollments) != 1 || found.Total != 1 {
		t.Errorf("by status: %+v", found)
	}
	if list, _, err := w.Waiting(t.Context(), eve, 0, 0, 10); err != nil || len(list) > 0 {
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
	if list, _, err := w.Waiting(t.Context(), ann, 0, 0, 10); err != nil || len(list) > 0 {
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
		{"a book", ann, mine.ID, strings.Repeat("x", 513), problem.Malformed, "at most 512"},
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
