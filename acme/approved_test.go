package acme

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// waitingOrder is an order that was finalized under a profile with approvals.
func (w *world) waitingOrder(c *client) orderDoc {
	w.t.Helper()
	w.registrar.waits = true
	o := c.readyOrder("a.example.com")
	a := c.to(o.Finalize, w.csr("a.example.com")).want(w.t, http.StatusOK)
	if got := a.order(w.t); got.Status != "processing" || a.header.Get("Retry-After") != "60" {
		w.t.Fatalf("finalize answers %s, Retry-After %q", a.body, a.header.Get("Retry-After"))
	}
	return o
}

// moved changes the one enrollment there is.
func (w *world) moved(change func(*ra.Enrollment)) {
	w.store.edit(func() {
		for id, e := range w.store.enrollments {
			n := *e
			change(&n)
			w.store.enrollments[id] = &n
		}
	})
}

// TestApprovedOrderIsIssuedWhenAsked: polling makes the certificate, and what fails then leaves the order as it was.
func TestApprovedOrderIsIssuedWhenAsked(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	o := w.waitingOrder(c)
	if req := w.registrar.requests[0]; req.Holder == "" || !strings.HasSuffix(o.url, req.Holder) {
		t.Errorf("the request is for %q, the order is %s", req.Holder, o.url)
	}
	a := c.read(o.url).want(t, http.StatusOK)
	if a.order(t).Status != "processing" || a.header.Get("Retry-After") != "60" || w.registrar.issued != 0 {
		t.Errorf("an order that waits: %s", a.body)
	}
	w.moved(func(e *ra.Enrollment) { e.Phase = ra.Approved })
	w.registrar.refuse = problem.Wrap(errors.New("down"), problem.Unavailable, "not now")
	if a := c.read(o.url).want(t, http.StatusOK); a.order(t).Status != "processing" {
		t.Errorf("an order that could not be issued: %s", a.body)
	}
	w.registrar.refuse = nil
	got := c.read(o.url).want(t, http.StatusOK).order(t)
	if got.Status != "valid" || w.registrar.issued != 1 {
		t.Fatalf("an approved order is %s, and %d were issued", got.Status, w.registrar.issued)
	}
	w.chainOf(c.read(got.Certificate).want(t, http.StatusOK).body, "a.example.com")
}

func TestOrdersThatGetNoCertificate(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*ra.Enrollment)
		says   string
	}{
		"declined": {func(e *ra.Enrollment) { *e = *e.Decline("user:1", "not ours", testTime) }, "the request was declined: not ours"},
		"lapsed": {func(e *ra.Enrollment) {
			e.Phase, e.Failure = ra.Failed, &ra.Failure{Kind: problem.Unauthorized, Detail: "in time"}
		}, "in time"},
		"taken over":      {func(e *ra.Enrollment) { e.Holder = "another" }, "newer order"},
		"taken, approved": {func(e *ra.Enrollment) { e.Holder, e.Phase = "another", ra.Approved }, "newer order"},
		"taken, issued":   {func(e *ra.Enrollment) { e.Holder, e.Phase = "another", ra.Issued }, "newer order"},
		"newer phase":     {func(e *ra.Enrollment) { e.Phase = 200 }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c := w.account()
			o := w.waitingOrder(c)
			w.moved(test.change)
			a := c.read(o.url).want(t, http.StatusOK)
			if got := a.order(t); got.Status != "invalid" || got.Certificate != "" || !strings.Contains(string(a.body), test.says) {
				t.Errorf("%s", a.body)
			}
			if w.registrar.issued != 0 {
				t.Error("issued")
			}
			c.to(o.Finalize, w.csr("a.example.com")).wantProblem(t, http.StatusForbidden, "orderNotReady")
		})
	}
}
