package acme

import (
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// byDomains is a world with the key "domains" of organisation 2, whose accounts are held to its domains.
func byDomains(t *testing.T) *world {
	t.Helper()
	w := withKeys(t, auth.EABOptional)
	w.setKey(auth.EABKey{ID: "domains", Org: 2, Reusable: true, ByDomains: true})
	return w
}

// setKey changes a key, as another gateway does.
func (w *world) setKey(k auth.EABKey) {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	k.Version = newVersion()
	w.store.external[k.ID] = k
}

// TestAccountByDomains: an account may ask for what the domains of its key cover now, at newOrder, newAuthz and finalize.
func TestAccountByDomains(t *testing.T) {
	t.Parallel()
	w := byDomains(t)
	c := w.bound("domains")
	if only := w.store.accounts[c.id()].Binding.Restriction; !only.ByDomains || only.Domains != nil {
		t.Fatalf("the binding holds %+v", only)
	}
	w.sameAfterReplay()
	const order = "/acme/r/new-order"
	detail := c.post(order, identifiers("a.example.com")).wantProblem(t, 403, "rejectedIdentifier")["detail"].(string)
	if !strings.Contains(detail, "it has none") {
		t.Error(detail)
	}
	key := auth.EABKey{ID: "domains", Org: 2, Reusable: true, ByDomains: true, Domains: []string{"example.com"}}
	w.setKey(key)
	one, two := c.post(order, identifiers("a.example.com")).want(t, 201).order(t), c.post(order, identifiers("b.example.com")).want(t, 201).order(t)
	c.post(order, identifiers("a.example.com", "a.example.net")).wantProblem(t, 403, "rejectedIdentifier")
	c.post(newAuthzPath, preauthorization("c.example.com")).want(t, 201)
	c.post(newAuthzPath, preauthorization("c.example.net")).wantProblem(t, 403, "rejectedIdentifier")
	for _, o := range []orderDoc{one, two} {
		for _, authz := range o.Authorizations {
			c.to(c.challengeOf(authz), map[string]any{}).want(t, 200)
		}
	}
	key.Domains = []string{"a.example.com", "other.example.net"}
	w.setKey(key)
	c.to(one.Finalize, w.csr("a.example.com")).want(t, 200)
	w.settled()
	if got := w.registrar.requests[len(w.registrar.requests)-1].Restriction; !got.ByDomains || len(got.Domains) != 1 || got.Domains[0] != "a.example.com" {
		t.Errorf("the registrar is told %+v", got)
	}
	// What is not covered any more is refused by the signing gate, which is told of no domain that covers it.
	c.to(two.Finalize, w.csr("b.example.com"))
	w.settled()
	if got := w.registrar.requests[len(w.registrar.requests)-1].Restriction; !got.ByDomains || len(got.Domains) != 0 {
		t.Errorf("the registrar is told %+v", got)
	}
}

// TestAccountOfARemovedKey: whichever key it was, its accounts are issued nothing any more; they are valid, and may revoke.
func TestAccountOfARemovedKey(t *testing.T) {
	t.Parallel()
	w := byDomains(t)
	for _, kid := range []string{"domains", "often", "once"} {
		key := w.store.external[kid]
		key.Domains = []string{"example.com"}
		w.setKey(key)
		c := w.bound(kid)
		o := c.newOrder("a.example.com")
		for _, authz := range o.Authorizations {
			c.to(c.challengeOf(authz), map[string]any{}).want(t, 200)
		}
		key = w.store.external[kid]
		key.Removed, key.Revoked = testTime, testTime
		w.setKey(key)
		c.post("/acme/r/new-order", identifiers("a.example.com")).wantProblem(t, 403, "unauthorized")
		c.post(newAuthzPath, preauthorization("a.example.com")).wantProblem(t, 403, "unauthorized")
		c.to(o.Finalize, w.csr("a.example.com")).wantProblem(t, 403, "unauthorized")
		c.to(c.kid, nil).want(t, 200)
	}
}

// TestAccountOfAnAbsentKey: without the key nobody knows its domains, so nothing is issued; other accounts have what they were given.
func TestAccountOfAnAbsentKey(t *testing.T) {
	t.Parallel()
	w := byDomains(t)
	held, free := w.bound("domains"), w.bound("often")
	w.store.mu.Lock()
	delete(w.store.external, "domains")
	delete(w.store.external, "often")
	w.store.mu.Unlock()
	held.post("/acme/r/new-order", identifiers("a.example.com")).wantProblem(t, 403, "unauthorized")
	free.post("/acme/r/new-order", identifiers("a.example.com")).want(t, 201)
	x := w.server.External.(*external)
	x.err = problem.New(problem.Unavailable, "the store does not answer")
	for _, c := range []*client{held, free} {
		if got := c.post("/acme/r/new-order", identifiers("a.example.com")); got.status < 500 {
			t.Errorf("without the store: %d", got.status)
		}
	}
	w.server.External = nil
	held.post("/acme/r/new-order", identifiers("a.example.com")).wantProblem(t, 403, "unauthorized")
	free.post("/acme/r/new-order", identifiers("a.example.com")).want(t, 201)
}

// TestDeactivateBound: an administrator ends an account of a key of the organisation, nobody else's, and the journal names the
// administrator.
func TestDeactivateBound(t *testing.T) {
	t.Parallel()
	w := byDomains(t)
	c, other, plain := w.bound("often"), w.bound("mains"), w.client()
	plain.kid = plain.post(newAccountPath, map[string]any{}).want(t, 201).header.Get("Location")
	admin := auth.Caller{Principal: "user:7", Org: 2, Roles: []auth.Grant{{Org: 2, Role: auth.Administrator}}}
	requester := auth.Caller{Principal: "user:8", Org: 2, Roles: []auth.Grant{{Org: 2, Role: auth.Requester}}}
	for name, tc := range map[string]struct {
		caller  auth.Caller
		kid     string
		account AccountID
		kind    problem.Kind
	}{
		"another key's":           {admin, "narrow", c.id(), problem.NotFound},
		"another organisation's":  {admin, "mains", other.id(), problem.NotFound},
		"bound by none":           {admin, "often", plain.id(), problem.NotFound},
		"bound by none, no key":   {admin, "", plain.id(), problem.NotFound},
		"none":                    {admin, "often", AccountID(strings.Repeat("A", 22)), problem.NotFound},
		"no id":                   {admin, "often", "a/b", problem.NotFound},
		"nobody":                  {auth.Caller{}, "often", c.id(), problem.NotFound},
		"a requester":             {requester, "often", c.id(), problem.Unauthorized},
		"the account by itself":   {auth.Caller{Principal: "acme:" + string(c.id()), Org: 2}, "often", c.id(), problem.Unauthorized},
		"somebody else's account": {auth.Caller{Principal: "acme:x", Org: 1}, "often", c.id(), problem.NotFound},
	} {
		if err := w.server.DeactivateBound(t.Context(), tc.caller, tc.kid, tc.account); !problem.Is(err, tc.kind) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c.newOrder("a.example.com")
	for range 2 {
		if err := w.server.DeactivateBound(t.Context(), admin, "often", c.id()); err != nil {
			t.Fatal(err)
		}
	}
	c.post("/acme/r/new-order", identifiers("a.example.com")).wantProblem(t, 401, "unauthorized")
	w.sameAfterReplay()
	var by []string
	for _, e := range w.journal.all() {
		if e.Account == string(c.id()) && e.Kind == audit.AccountEdited {
			by = append(by, e.Actor)
		}
	}
	if len(by) != 1 || by[0] != "user:7" {
		t.Errorf("the journal says it was %q", by)
	}
}

// TestApprovedOrderObeysItsKey: what was approved is not issued to an account whose key lost the domain, or was removed, while
// the order waited for people.
func TestApprovedOrderObeysItsKey(t *testing.T) {
	t.Parallel()
	w := byDomains(t)
	key := auth.EABKey{ID: "domains", Org: 2, Reusable: true, ByDomains: true, Domains: []string{"example.com"}}
	w.setKey(key)
	c := w.bound("domains")
	o := w.waitingOrder(c)
	w.moved(func(e *ra.Enrollment) { e.Phase = ra.Approved })
	without, removed := key, key
	without.Domains = []string{"other.example.net"}
	removed.Removed, removed.Revoked = testTime, testTime
	w.setKey(without)
	c.read(o.url).wantProblem(t, 403, "rejectedIdentifier")
	w.setKey(removed)
	c.read(o.url).wantProblem(t, 403, "unauthorized")
	w.settled()
	if w.registrar.issued != 0 {
		t.Error("issued")
	}
	w.setKey(key)
	if got := c.read(o.url).want(t, 200).order(t); got.Status != "valid" || w.registrar.issued != 1 {
		t.Errorf("with the domain again the order is %s", got.Status)
	}
}
