package acme

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

var (
	testOperator = auth.Caller{Principal: "uid:0", Operator: true}
	testStranger = auth.Caller{Principal: "api:x", Org: 2}
)

// failedOrder is an order whose one validation failed.
func (c *client) failedOrder(name string) (authz AuthzID, doc map[string]any) {
	c.w.t.Helper()
	c.w.validator.set(func() {
		c.w.validator.errs[dnsName(c.w.t, name)] = problem.New(problem.Connection, "nobody listens at %s", name)
	})
	o := c.newOrder(name)
	url := c.challengeOf(o.Authorizations[0])
	doc = c.to(url, map[string]any{}).want(c.w.t, 200).decode(c.w.t)
	return AuthzID(o.Authorizations[0][strings.LastIndexByte(o.Authorizations[0], '/')+1:]), doc
}

func TestInspect(t *testing.T) {
	w := newWorld(t)
	id, doc := w.account().failedOrder("a.example.com")
	// RFC 7807, 3.1: the client's user has a name for it.
	if e := doc["error"].(map[string]any); e["instance"] != base+"/acme/r/authz/"+string(id) || e["detail"] != "nobody listens at a.example.com" {
		t.Errorf("%v", e)
	}
	for _, reference := range []string{
		string(id), base + "/acme/r/authz/" + string(id), "/acme/r/challenge/" + string(id) + ".0", string(id) + ".0",
		"https://old.example.com/acme/r/challenge/" + string(id) + ".0",
	} {
		a, err := w.server.Inspect(t.Context(), testOperator, reference)
		if err != nil || a.ID != id || a.failed() == nil || len(a.failed().Failed.Record) == 0 {
			t.Errorf("%s: %+v, %v", reference, a, err)
		}
	}
	for _, bad := range []string{"", "a", base + "/acme/r/order/" + string(id), base + "/acme/directory", "/acme/r/authz/x/y"} {
		if a, err := w.server.Inspect(t.Context(), testOperator, bad); !problem.Is(err, problem.Malformed) {
			t.Errorf("%q: %+v, %v", bad, a, err)
		}
	}
	// A foreign one is as absent as one that does not exist.
	_, foreign := w.server.Inspect(t.Context(), testStranger, string(id))
	absent := AuthzID(newID())
	_, none := w.server.Inspect(t.Context(), testStranger, string(absent))
	if !problem.Is(foreign, problem.NotFound) || strings.ReplaceAll(foreign.Error(), string(id), "X") != strings.ReplaceAll(none.Error(), string(absent), "X") {
		t.Errorf("%v, %v", foreign, none)
	}
}

func TestFailures(t *testing.T) {
	w := newWorld(t)
	one, two := w.account(), w.account()
	var ids []AuthzID
	for i := range 5 {
		c := one
		if i == 2 {
			c = two
		}
		id, _ := c.failedOrder(fmt.Sprintf("h%d.example.com", i))
		ids = append([]AuthzID{id}, ids...)
		w.clock.advance(time.Minute)
	}
	list := func(caller auth.Caller, q FailureQuery) (got []AuthzID, next string) {
		t.Helper()
		found, err := w.server.Failures(t.Context(), caller, q)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range found.Authorizations {
			got = append(got, a.ID)
		}
		return got, found.Next
	}
	if got, next := list(testOperator, FailureQuery{Limit: 10}); fmt.Sprint(got) != fmt.Sprint(ids) || next != "" {
		t.Errorf("%v, want %v; next %q", got, ids, next)
	}
	first, next := list(testOperator, FailureQuery{Limit: 2})
	second, _ := list(testOperator, FailureQuery{Limit: 10, After: next})
	if fmt.Sprint(append(first, second...)) != fmt.Sprint(ids) || len(first) != 2 {
		t.Errorf("%v, %v", first, second)
	}
	if got, _ := list(testOperator, FailureQuery{Limit: 10, Account: two.id()}); fmt.Sprint(got) != fmt.Sprint(ids[2:3]) {
		t.Errorf("of an account: %v", got)
	}
	if got, _ := list(testOperator, FailureQuery{Limit: 10, Name: "H4.example.com"}); fmt.Sprint(got) != fmt.Sprint(ids[:1]) {
		t.Errorf("of a name: %v", got)
	}
	if got, _ := list(testStranger, FailureQuery{Limit: 10}); len(got) != 0 {
		t.Errorf("another organisation sees %v", got)
	}
	for name, tt := range map[string]struct {
		caller auth.Caller
		q      FailureQuery
		kind   problem.Kind
	}{
		"another organisation's": {testStranger, FailureQuery{Org: 1, Limit: 10}, problem.Unauthorized},
		"nobody":                 {auth.Caller{}, FailureQuery{Limit: 10}, problem.Unauthorized},
		"nothing":                {testOperator, FailureQuery{}, problem.Malformed},
		"too many":               {testOperator, FailureQuery{Limit: 1001}, problem.Malformed},
	} {
		if got, err := w.server.Failures(t.Context(), tt.caller, tt.q); !problem.Is(err, tt.kind) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// TestHinderedValidationKeepsItsRecord: an attempt that said nothing about the name is not forgotten, and not shown to the
// client as a failure.
func TestHinderedValidationKeepsItsRecord(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	w.validator.set(func() {
		w.validator.errs[dnsName(t, "a.example.com")] = problem.New(problem.Unavailable, "no place was free")
	})
	o := c.newOrder("a.example.com")
	doc := c.to(c.challengeOf(o.Authorizations[0]), map[string]any{}).want(t, 200).decode(t)
	if doc["status"] != "processing" || doc["error"] != nil {
		t.Errorf("%v", doc)
	}
	a, err := w.server.Inspect(t.Context(), testOperator, o.Authorizations[0])
	if err != nil {
		t.Fatal(err)
	}
	if h := a.Challenges[0].Hindered; h == nil || h.Detail != "no place was free" || len(h.Record) == 0 {
		t.Fatalf("%+v", h)
	}
	w.validator.set(func() { clear(w.validator.errs) })
	w.clock.advance(time.Minute)
	if err := w.server.sweepValidations(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.settled()
	if a, err := w.server.Inspect(t.Context(), testOperator, o.Authorizations[0]); err != nil || a.Challenges[0].Hindered != nil || a.Challenges[0].Proof == nil {
		t.Errorf("%+v, %v", a, err)
	}
}
