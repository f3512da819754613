package acme

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// TestBadCursors has one answer, whether the form of a cursor is bad or the store does not know it.
func TestBadCursors(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	for _, query := range append(slices.Clone(badPages), formatCursor("bogus")) {
		if strings.Contains(query, "\n") {
			continue // no URL
		}
		got := c.read(c.kid+"/orders?"+query).wantProblem(t, http.StatusBadRequest, "malformed")
		if got["detail"] != errCursor.Detail {
			t.Errorf("%s: %v", query, got)
		}
	}
	w.store.failing("Orders", problem.New(problem.Unavailable, "the store does not answer"))
	c.read(c.kid+"/orders").wantProblem(t, http.StatusServiceUnavailable, "serverInternal")
}

// TestOrderExpiresWithItsAuthorizations: an order says when it can no longer be finalized (RFC 8555, 7.1.3 and 7.1.6).
func TestOrderExpiresWithItsAuthorizations(t *testing.T) {
	short := 2 * time.Hour
	w := newWorld(t, func(c *Config) {
		profile, err := policy.New(policy.Config{Name: "web", Issuer: "test", ProofLifetime: short})
		if err != nil {
			t.Fatal(err)
		}
		c.Profiles["web"] = profile
	})
	c := w.account()
	pending := c.newOrder("pending.example.com")
	if want := testTime.Add(w.server.OrderLifetime); !pending.Expires.Equal(want) {
		t.Errorf("a pending order expires %s, want %s", pending.Expires, want)
	}
	ready, done := c.readyOrder("a.example.com"), c.readyOrder("b.example.com")
	if want := testTime.Add(short); !ready.Expires.Equal(want) { // the proof's end is before the order's
		t.Errorf("a ready order expires %s, want %s", ready.Expires, want)
	}
	done = c.to(done.Finalize, w.csr("b.example.com")).want(t, http.StatusOK).order(t)
	if want := testTime.Add(w.server.OrderLifetime); !done.Expires.Equal(want) {
		t.Errorf("an order with a certificate expires %s, want its own expiry", done.Expires)
	}

	list := func() []string {
		t.Helper()
		var urls []string
		for _, u := range c.read(c.kid+"/orders").want(t, http.StatusOK).decode(t)["orders"].([]any) {
			urls = append(urls, u.(string))
		}
		slices.Sort(urls)
		return urls
	}
	sorted := func(urls ...string) []string { slices.Sort(urls); return urls }
	w.clock.advance(short - time.Second)
	if diff := cmp.Diff(sorted(pending.url, ready.url, done.url), list()); diff != "" {
		t.Error("RFC 8555, 7.1.2.1:", diff)
	}
	w.clock.advance(time.Second) // at the moment it named
	if got := c.read(ready.url).want(t, http.StatusOK).order(t); got.Status != "invalid" || !got.Expires.Equal(ready.Expires) {
		t.Errorf("%+v", got)
	}
	if diff := cmp.Diff(sorted(pending.url, done.url), list()); diff != "" {
		t.Error("RFC 8555, 7.1.2.1: without the invalid one:", diff)
	}
	w.store.failing("OrderFacts", problem.New(problem.Unavailable, "the store does not answer"))
	c.read(c.kid+"/orders").wantProblem(t, http.StatusServiceUnavailable, "serverInternal")
}
