package ra_test

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage/redis"
	"github.com/gatehouse-ca/gatehouse/storage/redis/redistest"
)

// dying is a store whose process ends behind a write.
type dying struct {
	ra.Store
	left atomic.Int64
}

func (d *dying) wrote() {
	if d.left.Add(-1) == 0 {
		runtime.Goexit()
	}
}

func (d *dying) MoveEnrollment(ctx context.Context, next, e *ra.Enrollment, begin any) error {
	err := d.Store.MoveEnrollment(ctx, next, e, begin)
	d.wrote()
	return err
}

func (d *dying) StandEnrollment(ctx context.Context, next, e *ra.Enrollment, mark [16]byte, b ra.WaitingBounds) error {
	err := d.Store.StandEnrollment(ctx, next, e, mark, b)
	d.wrote()
	return err
}

func (d *dying) TakeEnrollment(ctx context.Context, e *ra.Enrollment, due time.Time) error {
	err := d.Store.TakeEnrollment(ctx, e, due)
	d.wrote()
	return err
}

// TestAProcessDiesAfterEachWrite: another one finishes what it began, with one certificate.
func TestAProcessDiesAfterEachWrite(t *testing.T) {
	for _, profile := range []string{"tls", "one"} {
		for n := int64(1); n <= 4; n++ {
			t.Run(fmt.Sprint(profile, n), func(t *testing.T) {
				w := newPendingWorld(t)
				e := w.begin(profile, dcv.DNSTXT, "a.example.com")
				w.net.publish(e.Challenges...)
				store := &dying{Store: w.db}
				store.left.Store(n)
				mortal := w.pending(func(c *ra.Config) { c.Store = store })
				died := make(chan struct{})
				go func() {
					defer close(died)
					_, _ = mortal.Validate(context.WithoutCancel(t.Context()), rob, e.ID, ra.Validation{})
				}()
				<-died
				for range 3 {
					w.clock.add(2 * time.Minute)
					must(t, w.SweepValidations(t.Context()))
					must(t, w.Sweep(t.Context()))
				}
				if profile == "one" {
					w.approve(ann, e.ID, ra.Issued)
				}
				got := w.read(e.ID)
				if got.Phase != ra.Issued || w.signer.signed.Load() != 1 || w.total() != 1 {
					t.Errorf("%+v with %d signatures", got, w.signer.signed.Load())
				}
			})
		}
	}
}

// onBothPending runs a test on each engine.
func onBothPending(t *testing.T, test func(t *testing.T, w *pendingWorld)) {
	t.Run("embedded", func(t *testing.T) { test(t, newPendingWorld(t)) })
	t.Run("redis", func(t *testing.T) {
		redistest.Need(t)
		e, err := redis.Open(t.Context(), redis.Config{Addrs: []string{redistest.Start(t).Addr}, Name: "validations"})
		must(t, err)
		t.Cleanup(func() { e.Close() })
		test(t, pendingOver(t, newWorldOn(t, e)))
	})
}

// TestRacesOverARequest: two gateways look, one takes it back, one chooses another method: one outcome, and at most one certificate.
func TestRacesOverARequest(t *testing.T) {
	onBothPending(t, func(t *testing.T, w *pendingWorld) {
		other := w.pending(nil)
		for range rounds {
			before := w.signer.signed.Load()
			e := w.begin("tls", dcv.DNSTXT, "a.example.com")
			w.net.publish(e.Challenges...)
			w.clock.add(time.Minute)
			errs := atOnce(
				func() error { _, err := w.Validate(t.Context(), rob, e.ID, ra.Validation{}); return err },
				func() error { _, err := other.Validate(t.Context(), rob, e.ID, ra.Validation{}); return err },
				func() error { return other.SweepValidations(t.Context()) },
				func() error { _, err := w.Cancel(t.Context(), rob, e.ID); return err },
			)
			for _, err := range errs {
				if err != nil && !problem.Is(err, problem.Conflict) {
					t.Errorf("%v", errs)
				}
			}
			got, signed := w.read(e.ID), w.signer.signed.Load()-before
			cancelled := errs[3] == nil
			if cancelled != (got.Phase == ra.Failed) || cancelled && signed != 0 || !cancelled && (got.Phase != ra.Issued || signed != 1) {
				t.Fatalf("%v came to %+v with %d signatures", errs, got, signed)
			}
		}
	})
}

// TestRacesBeforePeople: two requests of the same content, validated at the same time: one waits for people.
func TestRacesBeforePeople(t *testing.T) {
	onBothPending(t, func(t *testing.T, w *pendingWorld) {
		other := w.pending(nil)
		for range rounds {
			req := w.wants("one", dcv.DNSTXT, "a.example.com")
			one, two := w.submit(rob, req, ra.Validating), w.submit(rob, req, ra.Validating)
			w.net.publish(one.Challenges...)
			w.validates(one.ID, ra.Waiting)
			w.net.publish(two.Challenges...)
			errs := atOnce(
				func() error { _, err := w.Approve(t.Context(), ann, one.ID, ""); return err },
				func() error { _, err := other.Validate(t.Context(), rob, two.ID, ra.Validation{}); return err },
			)
			if errs[0] != nil || errs[1] != nil && !problem.Is(errs[1], problem.Unavailable) {
				t.Errorf("%v", errs)
			}
			for range 3 {
				w.clock.add(5 * time.Minute)
				must(t, w.SweepValidations(t.Context()))
				must(t, w.Sweep(t.Context()))
			}
			a, b := w.read(one.ID), w.read(two.ID)
			if a.Phase != ra.Issued || b.Phase != ra.Failed && !(b.Phase == ra.Issued && b.Renews) {
				t.Fatalf("%v: %+v and %+v", errs, a, b)
			}
		}
	})
}
