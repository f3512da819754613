package ra_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage"
)

var sue = auth.Caller{Principal: "user:8", Org: 1, Roles: []auth.Grant{{Org: 1, Role: auth.Requester}}}

// bounded is the guarded world's registration authority with bounds, as another gateway has it: with records of its own over the
// same store.
func (w *world) bounded(b ra.WaitingBounds) *ra.Registrar {
	w.t.Helper()
	db, err := storage.Open(w.t.Context(), storage.Config{Engine: w.engine, Issuers: []string{"main"}})
	must(w.t, err)
	r := w.guarded()
	c := r.Config
	c.Store, c.WaitingBounds = db, func(auth.OrgID) ra.WaitingBounds { return b }
	return ra.New(c)
}

func TestWaitingIsBounded(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.Registrar = w.bounded(ra.WaitingBounds{PerRequester: 2, PerOrganisation: 3})
		refused := func(by auth.Caller, r ra.Request, says string) {
			t.Helper()
			before := w.total()
			_, err := w.Submit(t.Context(), by, r)
			wantKind(t, err, problem.RateLimited)
			if err != nil && !strings.Contains(err.Error(), says) || w.total() != before {
				t.Errorf("%d enrollments more: %v does not say %q", w.total()-before, err, says)
			}
		}
		first := w.ask(rob, "one", "", newKey(t))
		e := w.submit(rob, first, ra.Waiting)
		second := w.submit(rob, w.ask(rob, "one", "", newKey(t)), ra.Waiting)
		refused(rob, w.ask(rob, "one", "", newKey(t)), "2 requests of this requester wait")
		if again := w.submit(rob, first, ra.Waiting); again.ID != e.ID { // which is no other
			t.Errorf("the same again is %d, not %d", again.ID, e.ID)
		}
		order := w.submit(alice, w.ask(alice, "one", "order", newKey(t)), ra.Waiting)
		refused(sue, w.ask(sue, "one", "", newKey(t)), "3 requests of this organisation wait")
		w.submit(eve, w.ask(eve, "one", "order", newKey(t)), ra.Waiting) // of another organisation

		w.approve(ann, order.ID, ra.Approved) // and not fetched yet
		refused(sue, w.ask(sue, "one", "", newKey(t)), "3 requests of this organisation")
		w.submit(alice, w.ask(alice, "one", "later", newKey(t)), ra.Issued)
		w.submit(sue, w.ask(sue, "one", "", newKey(t)), ra.Waiting)
		if _, err := w.Decline(t.Context(), ann, e.ID, "no"); err != nil {
			t.Fatal(err)
		}
		w.submit(rob, w.ask(rob, "one", "", newKey(t)), ra.Waiting)
		refused(rob, w.ask(rob, "one", "", newKey(t)), "of this requester")
		w.approve(ann, second.ID, ra.Issued)
		w.submit(rob, w.ask(rob, "one", "", newKey(t)), ra.Waiting)
		w.clock.add(7 * 24 * time.Hour)
		must(t, w.Sweep(t.Context()))
		use, err := w.db.WaitingUse(t.Context(), 1, rob.Principal)
		if err != nil || use != (ra.WaitingUse{}) {
			t.Errorf("after all have lapsed: %+v, %v", use, err)
		}
	})
}

// TestWaitingIsCountedAtTheCommit: many at once, at two gateways, and none passes the bound.
func TestWaitingIsCountedAtTheCommit(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		const room = 5
		one, two := w.bounded(ra.WaitingBounds{PerRequester: 4, PerOrganisation: room}), w.bounded(ra.WaitingBounds{PerRequester: 4, PerOrganisation: room})
		var all []func() error
		for range 4 {
			for _, by := range []auth.Caller{rob, sue} {
				for _, gateway := range []*ra.Registrar{one, two} {
					r := w.ask(by, "one", "", newKey(t))
					all = append(all, func() error { _, err := gateway.Submit(t.Context(), by, r); return err })
				}
			}
		}
		accepted := 0
		for _, err := range atOnce(all...) {
			if err == nil {
				accepted++
			} else if !problem.Is(err, problem.RateLimited) {
				t.Error(err)
			}
		}
		list, _, err := one.Waiting(t.Context(), operator, 1, 0, 100)
		if err != nil || accepted != room || len(list) != room {
			t.Errorf("%d were accepted and %d wait, %v; there is room for %d", accepted, len(list), err, room)
		}
	})
}

// TestWaitingByOrganisation: an organisation's list is its own, in pages, and reading it reads nothing of another's.
func TestWaitingByOrganisation(t *testing.T) {
	w := guardedWorld(t)
	var ours []ra.ID
	for n := range 5 {
		if n == 2 { // between them
			w.submit(eve, w.ask(eve, "one", "order", newKey(t)), ra.Waiting)
		}
		by, holder := rob, ""
		if n == 3 {
			by, holder = alice, "order"
		}
		e := w.submit(by, w.ask(by, "one", holder, newKey(t)), ra.Waiting)
		if holder != "" {
			w.approve(ann, e.ID, ra.Approved)
		}
		ours = append(ours, e.ID)
	}
	for _, caller := range []auth.Caller{operator, ann} {
		var got []ra.ID
		for after, more := ra.ID(0), true; more; {
			var list []*ra.Enrollment
			var err error
			list, more, err = w.Waiting(t.Context(), caller, 1, after, 2)
			must(t, err)
			for _, e := range list {
				got, after = append(got, e.ID), e.ID
			}
			if len(got) > 10 {
				break
			}
		}
		if !slices.Equal(got, ours) {
			t.Errorf("%s pages through %v, not %v", caller.Principal, got, ours)
		}
	}
	if list, _, err := w.Waiting(t.Context(), operator, 0, 0, 100); err != nil || len(list) != 6 {
		t.Errorf("all organisations' are %d, %v", len(list), err)
	}
	if list, _, err := w.Waiting(t.Context(), ann, 0, 0, 100); err != nil || len(list) != 5 {
		t.Errorf("the caller's own are %d, %v", len(list), err)
	}
	_, _, err := w.Waiting(t.Context(), ann, 2, 0, 100)
	wantKind(t, err, problem.NotFound)
	_, _, err = w.Waiting(t.Context(), eve, 1, 0, 100)
	wantKind(t, err, problem.NotFound)
	_, _, err = w.Waiting(t.Context(), ann, 1, 0, 1001)
	wantKind(t, err, problem.Malformed)
}
