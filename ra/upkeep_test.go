package ra_test

import (
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

func TestUpkeepRenews(t *testing.T) {
	w := peopled(t, newWorld(t), nil)
	ctx := t.Context()
	e := w.managed(rob, "tls", "a.example.com")
	_, err := w.Update(ctx, rob, e.ID, ra.Changes{AutoRenew: &ra.AutoRenew{On: true, Days: 3}})
	must(t, err)
	due := e.NotAfter.Add(-3 * 24 * time.Hour)
	w.clock.set(due.Add(-time.Second))
	must(t, w.Upkeep(ctx))
	before := w.signer.signed.Load()
	w.clock.set(due)
	two := w.registrar(func(c *ra.Config) { *c = w.Registrar.Config })
	for _, err := range atOnce(func() error { return w.Upkeep(ctx) }, func() error { return two.Upkeep(ctx) }) {
		must(t, err)
	}
	if n := w.signer.signed.Load() - before; n != 1 {
		t.Fatalf("%d certificates", n)
	}
	s, err := w.db.Succession(ctx, w.read(e.ID), w.clock.now())
	must(t, err)
	next := w.read(s.Next)
	if next.Phase != ra.Issued || next.Requester != rob.Principal || next.Door != ra.DoorConsole || !next.AutoRenew.On || next.Replaces != e.ID {
		t.Errorf("it was renewed as %+v", next)
	}
	w.clock.add(6 * time.Minute)
	must(t, w.Upkeep(ctx))
	if got := w.read(e.ID); !got.Trial.Done || !got.UpkeepDue().IsZero() {
		t.Errorf("the old one is %+v", got)
	}
	w.clock.set(next.RenewalDue())
	must(t, w.Upkeep(ctx))
	if list, err := w.Lineage(ctx, rob, e.ID); err != nil || len(list) != 3 {
		t.Errorf("the lineage is %v, %v", list, err)
	}
}

// TestUpkeepStops: what is not to be renewed any more is not.
func TestUpkeepStops(t *testing.T) {
	for name, stop := range map[string]func(w *world, e *ra.Enrollment) error{
		"off": func(w *world, e *ra.Enrollment) error {
			_, err := w.Update(w.t.Context(), rob, e.ID, ra.Changes{AutoRenew: &ra.AutoRenew{Days: 3}})
			return err
		},
		"revoked": func(w *world, e *ra.Enrollment) error {
			_, err := w.RevokeEnrollment(w.t.Context(), rob, e.ID, 0, "")
			return err
		},
		"removed": func(w *world, e *ra.Enrollment) error { return w.Remove(w.t.Context(), rob, e.ID) },
		"renewed": func(w *world, e *ra.Enrollment) error {
			next, err := w.renewed(rob, e.ID)
			must(w.t, err)
			_, err = w.Update(w.t.Context(), rob, next.ID, ra.Changes{AutoRenew: &ra.AutoRenew{}})
			return err
		},
		"marked": func(w *world, e *ra.Enrollment) error {
			_, err := w.MarkRenewed(w.t.Context(), rob, e.ID, 0)
			return err
		},
		"disabled": func(w *world, e *ra.Enrollment) error {
			w.Registrar.Allowed = func(auth.OrgID, string) bool { return false }
			return nil
		},
		"expired": func(w *world, e *ra.Enrollment) error { w.clock.set(e.NotAfter.Add(time.Second)); return nil },
	} {
		w := peopled(t, newWorld(t), nil)
		e := w.managed(rob, "tls", "a.example.com")
		_, err := w.Update(t.Context(), rob, e.ID, ra.Changes{AutoRenew: &ra.AutoRenew{On: true, Days: 3}})
		must(t, err)
		must(t, stop(w, e))
		before := w.signer.signed.Load()
		if due := e.NotAfter.Add(-3 * 24 * time.Hour); w.clock.now().Before(due) {
			w.clock.set(due)
		}
		must(t, w.Upkeep(t.Context()))
		if n := w.signer.signed.Load() - before; n != 0 {
			t.Errorf("%s: %d certificates", name, n)
		}
		if name == "disabled" {
			got := w.read(e.ID)
			if f := got.Trial.Failure; f == nil || f.Kind != problem.Unauthorized || got.Trial.Attempts != 1 || !got.RenewalDue().After(w.clock.now()) {
				t.Errorf("the failure is not on record: %+v", got.Trial)
			}
			if x := w.lastOf(audit.RenewalFailed); x.Actor != "system" || x.Detail == "" || x.Enrollment != int64(e.ID) {
				t.Errorf("the journal says %+v", x)
			}
			must(t, w.Upkeep(t.Context())) // not due
			if w.read(e.ID).Trial.Attempts != 1 {
				t.Error("it did not back off")
			}
			w.clock.set(got.RenewalDue())
			must(t, w.Upkeep(t.Context()))
			if w.read(e.ID).Trial.Attempts != 2 {
				t.Error("it was not tried again")
			}
		}
	}
}

// TestUpkeepWaitsForPeople: a renewal that must be approved is asked for once, and again after a decline.
func TestUpkeepWaitsForPeople(t *testing.T) {
	w := peopled(t, newWorld(t), nil)
	ctx := t.Context()
	e := w.managed(rob, "each", "a.example.com")
	_, err := w.Update(ctx, rob, e.ID, ra.Changes{AutoRenew: &ra.AutoRenew{On: true, Days: 4}})
	must(t, err)
	w.clock.set(w.read(e.ID).RenewalDue())
	waiting := func() *ra.Enrollment {
		t.Helper()
		for range 4 {
			must(t, w.Upkeep(ctx))
			w.clock.add(90 * time.Minute)
		}
		list, _, err := w.Waiting(ctx, operator, 0, 0, 10)
		must(t, err)
		if len(list) != 1 || list[0].Replaces != e.ID {
			t.Fatalf("%d wait: %v", len(list), list)
		}
		return list[0]
	}
	_, err = w.Decline(ctx, ann, waiting().ID, "not now")
	must(t, err)
	w.approve(ann, waiting().ID, ra.Issued)
	for range 3 {
		must(t, w.Upkeep(ctx))
		w.clock.add(90 * time.Minute)
	}
	if got := w.read(e.ID); !got.Trial.Done {
		t.Errorf("it is %+v", got)
	}
}

// TestUpkeepMakesANewKey where the old one was made here: no key serves on when nobody has to do anything for another.
func TestUpkeepMakesANewKey(t *testing.T) {
	w := newKeyWorld(t)
	ctx := t.Context()
	old, err := w.Submit(ctx, kim, w.wanted("kept", policy.ECDSAP256, "www.example.com"))
	must(t, err)
	old, err = w.Update(ctx, kim, old.ID, ra.Changes{AutoRenew: &ra.AutoRenew{On: true, Days: 1}})
	must(t, err)
	w.clock.set(old.RenewalDue())
	must(t, w.Upkeep(ctx))
	s, err := w.db.Succession(ctx, w.read(old.ID), w.clock.now())
	must(t, err)
	next := w.read(s.Next)
	if next.Phase != ra.Issued || next.KeyStored.IsZero() || next.Replaces != old.ID {
		t.Fatalf("the renewal is %+v", next)
	}
	key, err := w.take(kim, next.ID)
	must(t, err)
	w.belongs(key, next)
	if string(w.leafOf(next).RawSubjectPublicKeyInfo) == string(w.leafOf(old).RawSubjectPublicKeyInfo) {
		t.Error("the old key serves on")
	}
}
