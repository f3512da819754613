package acme

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/policy"
)

// TestBoundAccountID: RFC 8555, 7.3.5: a key that had an account before makes another with another id, also by a binding.
func TestBoundAccountID(t *testing.T) {
	w := withKeys(t, auth.EABRequired)
	c := w.bound("often")
	w.store.mu.Lock() // the key was given up
	delete(w.store.keys, w.store.accounts[c.id()].Thumbprint)
	w.store.mu.Unlock()
	again := (&client{w: w, key: c.key}).register(newAccountPath, "often").want(t, 201)
	if again.header.Get("Location") == c.kid {
		t.Error("two accounts have one id")
	}
}

// TestDisabledOrganisationBindsNothing: a key of an organisation that does not work makes no account.
func TestDisabledOrganisationBindsNothing(t *testing.T) {
	orgs, err := auth.NewDirectory([]auth.Org{{ID: 1, Slug: "main"}, {ID: 2, Slug: "other", EAB: auth.EABRequired, Disabled: testTime}})
	if err != nil {
		t.Fatal(err)
	}
	w := withKeys(t, auth.EABRequired, func(c *Config) { c.Organisations = orgs })
	got := w.client().register(newAccountPath, "often").wantProblem(t, 403, "unauthorized")["detail"].(string)
	if !strings.Contains(got, "disabled") {
		t.Error(got)
	}
}

// TestRestrictedAccount: an account may have what its key allowed when it was bound, and nothing else.
func TestRestrictedAccount(t *testing.T) {
	w := withKeys(t, auth.EABOptional)
	c, free := w.bound("narrow"), w.bound("often")
	want := policy.Restriction{Profiles: []string{"second", "secret"}, Names: []string{"*.example.com", "10.0.0.0/8"}}
	if got := w.store.accounts[c.id()].Binding.Restriction; !got.Equal(want) {
		t.Fatalf("%+v", got)
	}
	w.store.mu.Lock() // what becomes of the key is nothing to its accounts
	w.store.external["narrow"] = auth.EABKey{ID: "narrow", Org: 2, Revoked: testTime, Version: newVersion()}
	w.store.mu.Unlock()
	order := func(profile string, names ...string) map[string]any {
		in := identifiers(names...)
		if profile != "" {
			in["profile"] = profile
		}
		return in
	}
	for _, tc := range []struct {
		path   string
		in     map[string]any
		status int
		word   string
	}{
		{"/acme/r/new-order", order("second", "a.example.com"), 201, ""},
		{"/acme/r/new-order", order("secret", "a.example.com", "b.example.com"), 201, ""},
		{"/acme/r/new-order/in/other/second", order("", "a.example.com"), 201, ""},
		{"/acme/r/new-order", order("", "a.example.com"), 400, "invalidProfile"}, // the default one is not allowed, and there are two
		{"/acme/r/new-order", order("web", "a.example.com"), 400, "invalidProfile"},
		{"/acme/r/new-order/in/other/web", order("", "a.example.com"), 400, "invalidProfile"},
		{"/acme/r/new-order/in/other/web", order("second", "a.example.com"), 400, "invalidProfile"},
		{"/acme/r/new-order", order("second", "example.com"), 403, "rejectedIdentifier"},
		{"/acme/r/new-order", order("second", "a.b.example.com"), 403, "rejectedIdentifier"},
		{"/acme/r/new-order", order("second", "a.example.com", "a.example.net"), 403, "rejectedIdentifier"},
		{newAuthzPath + "/in/other/second", preauthorization("a.example.com"), 201, ""},
		{newAuthzPath, preauthorization("a.example.com"), 400, "invalidProfile"},
		{newAuthzPath + "/in/other/web", preauthorization("a.example.com"), 400, "invalidProfile"},
		{newAuthzPath + "/in/other/second", preauthorization("a.example.net"), 403, "rejectedIdentifier"},
	} {
		a := c.post(tc.path, tc.in)
		if tc.word == "" {
			a.want(t, tc.status)
			continue
		}
		p := a.wantProblem(t, tc.status, tc.word)
		if detail := p["detail"].(string); tc.word == "invalidProfile" && !strings.Contains(detail, "second") && !strings.Contains(detail, "secret") {
			t.Errorf("%s: it does not say which are allowed: %s", tc.path, detail)
		} else if tc.word == "rejectedIdentifier" && !strings.Contains(detail, "*.example.com") && len(p["subproblems"].([]any)) == 1 {
			t.Errorf("%s: it does not name the rule: %s", tc.path, detail)
		}
		if tc.word == "invalidProfile" && strings.Contains(tc.path, "/in/") {
			continue
		}
		if !strings.Contains(tc.path, "/in/") && tc.in["profile"] != "web" && tc.in["identifiers"] != nil && tc.in["profile"] != nil {
			free.post(tc.path, tc.in).want(t, 201) // the other accounts of the organisation are not restricted
		}
	}
	// The signing gate hears of the restriction.
	o := c.post("/acme/r/new-order", order("second", "a.example.com")).want(t, 201).order(t)
	for _, authz := range o.Authorizations {
		c.to(c.challengeOf(authz), map[string]any{}).want(t, 200)
	}
	c.to(o.Finalize, w.csr("a.example.com")).want(t, 200)
	w.settled()
	if got := w.registrar.requests[len(w.registrar.requests)-1].Restriction; !got.Equal(want) {
		t.Errorf("the registrar is told %+v", got)
	}
	w.sameAfterReplay()
	// One profile needs no name.
	only := w.bound("single")
	if got := only.newOrder("a.example.com"); w.store.orders[got.id()].Profile != "secret" {
		t.Error(w.store.orders[got.id()].Profile)
	}
	w.bound("lost").post("/acme/r/new-order", identifiers("a.example.com")).wantProblem(t, 400, "invalidProfile")
}

// TestReplayedBinding: an account that was made again without its binding gets it back, and never another.
func TestReplayedBinding(t *testing.T) {
	first, second := &Binding{KeyID: "a", JWS: []byte(`{}`)}, &Binding{KeyID: "b", JWS: []byte(`{}`)}
	account := func(org auth.OrgID, b *Binding) *Account {
		return &Account{ID: "x", Org: org, Created: testTime, Binding: b}
	}
	for name, tc := range map[string]struct{ have, said, want *Account }{
		"made again without it":     {account(2, nil), account(2, first), account(2, first)},
		"in another organisation":   {account(1, nil), account(2, first), nil},
		"by another key":            {account(2, second), account(2, first), nil},
		"the journal has none":      {account(2, first), account(2, nil), nil},
		"the store has lost it all": {nil, account(2, first), account(2, first)},
		"the same":                  {account(2, first), account(2, first), nil},
	} {
		if diff := cmp.Diff(tc.want, Replayed(tc.have, tc.said, false)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
