package ra_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage/redis"
	"github.com/gatehouse-ca/gatehouse/storage/redis/redistest"
)

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
			list, _, err := w.Waiting(t.Context(), operator, 0, 0, 100)
			must(t, err)
			for _, e := range list { // what came too late waits for the next decision
				if _, err := w.Decline(t.Context(), ann, e.ID, "clear"); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

// TestLeftoverApprovalServesOne: a request failed and left its approval over; two orders that have both read it, and are both
// about to record their intents, come to one certificate.
func TestLeftoverApprovalServesOne(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		e := w.submit(alice, w.ask(alice, "each", "order1", newKey(t)), ra.Waiting)
		w.clock.add(13 * time.Hour) // beyond the life of its proof
		e = w.approve(ann, e.ID, ra.Approved)
		if got, err := w.Proceed(t.Context(), e); err != nil || got.Phase != ra.Failed {
			t.Fatalf("%+v, %v", got, err)
		}
		var together sync.WaitGroup
		together.Add(2)
		f := func(step int) {
			if step == 5 { // decided and linted; the intent comes next
				together.Done()
				together.Wait()
			}
		}
		w.step.Store(&f)
		one := w.submitting(w.Registrar, alice, w.ask(alice, "each", "order2", newKey(t)))
		two := w.submitting(w.Registrar, alice, w.ask(alice, "each", "order3", newKey(t)))
		issued := 0
		for _, done := range []<-chan outcome{one, two} {
			switch o := <-done; {
			case o.err == nil && o.e.Phase == ra.Issued:
				issued++
			case o.err == nil || !problem.Is(o.err, problem.Conflict):
				t.Errorf("the other came to %+v, %v", o.e, errors.Unwrap(o.err))
			}
		}
		if n := w.signer.signed.Load(); issued != 1 || n != 1 {
			t.Errorf("one approval made %d certificates, %d signatures", issued, n)
		}
	})
}
