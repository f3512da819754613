package ra_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// TestDelegation has effect from its approval until it is taken back, for the organisation that it names.
func TestDelegation(t *testing.T) {
	w, ctx := newDomainWorld(t), t.Context()
	w.validated("example.com", "main", dcv.DNSTXT)
	_, err := w.Approve(ctx, operator, "example.com", "below")
	wantKind(t, err, problem.NotFound)
	_, err = w.Delegate(ctx, operator, "example.com", "below")
	must(t, err)
	w.refuses(child, "www.example.com")
	d, err := w.Approve(ctx, operator, "example.com", "below")
	must(t, err)
	if len(d.Delegations) != 1 || d.Delegations[0].State != ra.DelegationApproved || d.Delegations[0].Decided.IsZero() {
		t.Errorf("%+v", d.Delegations)
	}
	w.issues(child, "www.example.com")
	w.refuses(auth.Caller{Principal: "acme:far", Org: 4}, "www.example.com")
	_, err = w.Approve(ctx, operator, "example.com", "below")
	wantKind(t, err, problem.Conflict)
	_, err = w.Reject(ctx, operator, "example.com", "below")
	must(t, err)
	w.refuses(child, "www.example.com")
	_, err = w.Approve(ctx, operator, "example.com", "below") // a new request comes first
	wantKind(t, err, problem.Conflict)
	_, err = w.Delegate(ctx, operator, "example.com", "below")
	must(t, err)
	w.refuses(child, "www.example.com")
	for _, slug := range []string{"other", "main"} {
		_, err = w.Delegate(ctx, operator, "example.com", slug)
		wantKind(t, err, problem.Malformed)
	}
}

// TestNamesThatAreNoDomains and methods that are none.
func TestNamesThatAreNoDomains(t *testing.T) {
	w, ctx := newDomainWorld(t), t.Context()
	for _, name := range []string{"", "com", "co.uk", "*.example.com", "a..b", "192.0.2.1", "_a.example.com"} {
		if _, err := w.Add(ctx, operator, name, "main"); !problem.Is(err, problem.Malformed) {
			t.Errorf("%q: %v", name, err)
		}
	}
	_, err := w.Add(ctx, operator, "example.com", "nobody")
	wantKind(t, err, problem.NotFound)
	_, err = w.Add(ctx, operator, "Example.COM", "main")
	must(t, err)
	_, err = w.Add(ctx, operator, "example.com", "main")
	wantKind(t, err, problem.Conflict)
	for _, m := range []dcv.Method{"", dcv.HTTP01, dcv.DNS01, policy.Configured} {
		_, err = w.Validate(ctx, operator, "example.com", m)
		wantKind(t, err, problem.Malformed)
	}
	w.Target = ""
	_, err = w.Validate(ctx, operator, "example.com", dcv.DNSCNAME)
	wantKind(t, err, problem.Malformed)
}

// TestDomainsOfOthers are absent, byte for byte, for whoever may not see them; and nobody but who manages them changes them.
func TestDomainsOfOthers(t *testing.T) {
	w, ctx := newDomainWorld(t), t.Context()
	w.validated("example.com", "main", dcv.DNSTXT)
	admin := func(org auth.OrgID) auth.Caller {
		return auth.Caller{Principal: "user:1", Org: org, Roles: []auth.Grant{{Org: org, Role: auth.Administrator}}}
	}
	auditor := auth.Caller{Principal: "user:2", Org: 1, Roles: []auth.Grant{{Org: 1, Role: auth.Auditor}}}
	try := map[string]func(auth.Caller, string) error{
		"get":      func(c auth.Caller, n string) error { _, err := w.Get(ctx, c, n); return err },
		"validate": func(c auth.Caller, n string) error { _, err := w.Validate(ctx, c, n, dcv.DNSTXT); return err },
		"check":    func(c auth.Caller, n string) error { _, err := w.Check(ctx, c, n); return err },
		"remove":   func(c auth.Caller, n string) error { _, err := w.Remove(ctx, c, n); return err },
		"approve":  func(c auth.Caller, n string) error { _, err := w.Approve(ctx, c, n, "below"); return err },
		"reject":   func(c auth.Caller, n string) error { _, err := w.Reject(ctx, c, n, "below"); return err },
	}
	for what, do := range try {
		for name, caller := range map[string]auth.Caller{"nobody": {}, "other's administrator": admin(2), "other's account": eve} {
			foreign, absent := do(caller, "example.com"), do(caller, "example.org")
			if !problem.Is(foreign, problem.NotFound) || strings.ReplaceAll(foreign.Error(), "example.com", "example.org") != absent.Error() {
				t.Errorf("%s by %s: %v, of an absent one %v", what, name, foreign, absent)
			}
		}
		if what == "get" {
			must(t, do(auditor, "example.com"))
			must(t, do(alice, "example.com"))
			continue
		}
		wantKind(t, do(auditor, "example.com"), problem.Unauthorized)
		wantKind(t, do(alice, "example.com"), problem.Unauthorized)
	}
	// An organisation below sees nothing of it before it asks, then its own part.
	_, err := w.Get(ctx, admin(3), "example.com")
	wantKind(t, err, problem.NotFound)
	_, err = w.Delegate(ctx, admin(3), "example.com", "below")
	must(t, err)
	_, err = w.Delegate(ctx, operator, "example.com", "far")
	must(t, err)
	_, err = w.Approve(ctx, admin(3), "example.com", "below") // not by whoever asks
	wantKind(t, err, problem.NotFound)
	_, err = w.Validate(ctx, operator, "example.com", dcv.DNSTXT)
	must(t, err)
	far := auth.Caller{Principal: "user:3", Org: 4, Roles: []auth.Grant{{Org: 4, Role: auth.Administrator}}}
	d, err := w.Get(ctx, far, "example.com")
	must(t, err)
	if d.Validation != nil || len(d.Delegations) != 1 || d.Delegations[0].Org != 4 {
		t.Errorf("far sees %+v", d)
	}
	_, err = w.Approve(ctx, admin(1), "example.com", "below")
	must(t, err)
	for slug, want := range map[string]int{"main": 1, "below": 1, "other": 0} {
		list, err := w.List(ctx, operator, slug, "", 10)
		if err != nil || len(list) != want {
			t.Errorf("%s lists %d, %v", slug, len(list), err)
		}
	}
	_, err = w.List(ctx, admin(2), "main", "", 10)
	wantKind(t, err, problem.NotFound)
	_, err = w.List(ctx, admin(2), "", "", 10)
	wantKind(t, err, problem.Unauthorized)
}

// TestDomainsComeBack from the journal into an emptied store, in any order of two journals, and removed ones do not.
func TestDomainsComeBack(t *testing.T) {
	w, ctx := newDomainWorld(t), t.Context()
	w.validated("example.com", "main", dcv.DNSTXT)
	_, err := w.Delegate(ctx, operator, "example.com", "below")
	must(t, err)
	_, err = w.Approve(ctx, operator, "example.com", "below")
	must(t, err)
	w.validated("gone.example.org", "main", dcv.DNSTXT)
	_, err = w.Remove(ctx, operator, "gone.example.org")
	must(t, err)
	_, err = w.Add(ctx, operator, "pending.example.org", "main")
	must(t, err)
	pending, err := w.Validate(ctx, operator, "pending.example.org", dcv.HTTPFile)
	must(t, err)

	for _, backwards := range []bool{false, true} {
		other := newDomainWorld(t)
		events := append([]audit.Event{}, w.journal.events...)
		if backwards {
			for i, j := 0, len(events)-1; i < j; i, j = i+1, j-1 {
				events[i], events[j] = events[j], events[i]
			}
		}
		for range 2 {
			r := other.db.Replay(nil)
			for _, e := range events {
				must(t, r.Apply(ctx, e))
			}
		}
		other.issues(alice, "www.example.com")
		other.issues(child, "www.example.com")
		other.refuses(eve, "www.example.com")
		other.refuses(alice, "gone.example.org")
		if d, err := other.Get(ctx, operator, "gone.example.org"); !problem.Is(err, problem.NotFound) {
			t.Errorf("a removed domain is back: %+v", d)
		}
		other.dns.publish(pending.Validation)
		if d, err := other.Check(ctx, operator, "pending.example.org"); err != nil || d.Proof == nil {
			t.Errorf("%+v, %v", d, err)
		}
		if list, err := other.List(ctx, operator, "below", "", 10); err != nil || len(list) != 1 {
			t.Errorf("%v, %v", list, err)
		}
	}
}

// TestAnUnjournaledChange is not acknowledged, and another gateway's journal is told of it later.
func TestAnUnjournaledChange(t *testing.T) {
	w, ctx := newDomainWorld(t), t.Context()
	w.journal.refuse(audit.DomainChanged)
	if _, err := w.Add(ctx, operator, "example.com", "main"); err == nil {
		t.Error("acknowledged without the journal")
	}
	w.journal.refuse("")
	must(t, w.Settle(ctx, false))
	if len(w.journal.events) != 0 {
		t.Error("told too early")
	}
	w.clock.add(time.Minute)
	must(t, w.Settle(ctx, false))
	must(t, w.Settle(ctx, false))
	if len(w.journal.events) != 1 || w.journal.events[0].Kind != audit.DomainChanged || w.journal.events[0].Org != 1 {
		t.Errorf("%+v", w.journal.events)
	}
}

// TestDelegateTellsNothingOfOthers: who asks for a domain learns of no domain outside of what is above it, and is not given
// what only the owner sees.
func TestDelegateTellsNothingOfOthers(t *testing.T) {
	w, ctx := newDomainWorld(t), t.Context()
	w.validated("example.com", "main", dcv.DNSTXT)
	admin := func(org auth.OrgID) auth.Caller {
		return auth.Caller{Principal: "user:1", Org: org, Roles: []auth.Grant{{Org: org, Role: auth.Administrator}}}
	}
	_, foreign := w.Delegate(ctx, admin(2), "example.com", "other")
	_, absent := w.Delegate(ctx, admin(2), "example.org", "other")
	if !problem.Is(foreign, problem.NotFound) || strings.ReplaceAll(foreign.Error(), "example.com", "example.org") != absent.Error() {
		t.Errorf("of another's domain: %v, of an absent one: %v", foreign, absent)
	}
	_, err := w.Delegate(ctx, admin(1), "example.com", "main")
	wantKind(t, err, problem.Malformed)
	_, err = w.Delegate(ctx, operator, "example.com", "far")
	must(t, err)
	_, err = w.Validate(ctx, operator, "example.com", dcv.DNSTXT)
	must(t, err)
	_, err = w.Delegate(ctx, operator, "example.com", "below")
	must(t, err)
	_, err = w.Reject(ctx, operator, "example.com", "far")
	must(t, err)
	far := auth.Caller{Principal: "user:3", Org: 4, Roles: []auth.Grant{{Org: 4, Role: auth.Administrator}}}
	d, err := w.Delegate(ctx, far, "example.com", "far")
	must(t, err)
	if d.Validation != nil || len(d.Delegations) != 1 || d.Delegations[0].Org != 4 {
		t.Errorf("far is given %+v", d)
	}
}

// TestADisabledOrganisationLosesItsDelegation: what it was given is taken back, and not there when it works again.
func TestADisabledOrganisationLosesItsDelegation(t *testing.T) {
	w, ctx := newDomainWorld(t), t.Context()
	w.validated("example.com", "main", dcv.DNSTXT)
	_, err := w.Delegate(ctx, operator, "example.com", "below")
	must(t, err)
	_, err = w.Delegate(ctx, operator, "example.com", "far")
	must(t, err)
	_, err = w.Approve(ctx, operator, "example.com", "below")
	must(t, err)
	works := w.Directory
	w.Directory, err = auth.NewDirectory([]auth.Org{{ID: 1, Slug: "main"}, {ID: 2, Slug: "other"}, {ID: 3, Slug: "below", Parent: 1, Disabled: w.clock.now()}, {ID: 4, Slug: "far", Parent: 3}})
	must(t, err)
	_, err = w.Approve(ctx, operator, "example.com", "far")
	wantKind(t, err, problem.NotFound)
	_, err = w.Reject(ctx, operator, "example.com", "below")
	must(t, err)
	w.Directory = works
	w.refuses(child, "www.example.com")
}
