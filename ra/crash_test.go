package ra_test

import (
	"context"
	"crypto/sha256"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// mortal is an authority that dies in the middle of an issuance: the intent is recorded, and nothing happens any more.
type mortal struct {
	ra.Authority
	w *world
}

func (m mortal) Issue(ctx context.Context, req ca.Request) (*ca.Certificate, error) {
	d, err := req.Profile.Decide(req.Policy)
	if err != nil {
		return nil, err
	}
	id, owner, err := req.Begin(ctx, d)
	if err != nil {
		return nil, err
	}
	err = m.w.db.RecordIntent(ctx, ca.Intent{
		Issuer: "main", Serial: "01feed", Names: d.Names, NotBefore: d.NotBefore, NotAfter: d.NotAfter, Enrollment: id,
		Requester: d.Requester, Profile: d.Profile.Name(), ProfileHash: d.Profile.Hash(), Opened: m.w.clock.now(),
	}, owner)
	if err != nil {
		return nil, err
	}
	runtime.Goexit()
	return nil, nil
}

// died is an enrollment whose process ended behind the intent.
func (w *world) died(how func(w *world) *ra.Registrar) *ra.Enrollment {
	w.t.Helper()
	r := how(w)
	for o := range w.submitting(r, alice, w.request(alice, newKey(w.t), "a.example.com")) {
		w.t.Fatalf("the process lives: %+v", o)
	}
	w.step.Store(nil)
	e := w.read(1)
	if e.Phase != ra.Requested || e.Serial == "" || e.Attempts != 1 || !e.Due.Equal(w.clock.now().Add(lease)) {
		w.t.Fatalf("a crash left %+v", e)
	}
	return e
}

// dyingAfter is a process that ends behind a step of the real gate.
func dyingAfter(step int) func(w *world) *ra.Registrar {
	return func(w *world) *ra.Registrar {
		f := func(n int) {
			if n == step {
				runtime.Goexit()
			}
		}
		w.step.Store(&f)
		return w.Registrar
	}
}

var deaths = map[string]func(w *world) *ra.Registrar{
	"intent recorded, not journaled": func(w *world) *ra.Registrar {
		return w.registrar(func(c *ra.Config) { c.Authority = mortal{c.Authority, w} })
	},
	"signed":   dyingAfter(8),
	"compared": dyingAfter(9),
}

// TestASweepWaitsForTheLease of a process that died, and then finishes its enrollment with another serial.
func TestASweepWaitsForTheLease(t *testing.T) {
	for name, how := range deaths {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			e := w.died(how)
			w.clock.add(lease - time.Millisecond)
			must(t, w.Sweep(t.Context()))
			if w.read(e.ID).Version != e.Version || w.certificate(e.Serial).State != ca.Open {
				t.Error("a sweep went on with what is leased")
			}
			w.clock.add(time.Millisecond)
			must(t, w.Sweep(t.Context()))
			w.finished(e)
		})
	}
}

// TestRecoverDoesNotWait for the lease, because the store has no other process.
func TestRecoverDoesNotWait(t *testing.T) {
	for name, how := range deaths {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			e := w.died(how)
			w.clock.add(time.Second)
			must(t, w.registrar(nil).Recover(t.Context()))
			w.finished(e)
			again := w.read(e.ID)
			must(t, w.Recover(t.Context()))
			if w.read(e.ID).Version != again.Version {
				t.Error("a second recovery changed what the first had finished")
			}
		})
	}
}

// finished demands that an enrollment was issued with another serial than it had, and that this one was abandoned.
func (w *world) finished(before *ra.Enrollment) {
	w.t.Helper()
	e := w.read(before.ID)
	if e.Phase != ra.Issued || e.Serial == before.Serial || e.CSR != nil || !e.Due.IsZero() {
		w.t.Fatalf("it was left as %+v", e)
	}
	if c := w.certificate(e.Serial); c.State != ca.Issued || sha256.Sum256(c.DER) != e.Fingerprint || c.Enrollment != int64(e.ID) {
		w.t.Errorf("its certificate is %+v", c)
	}
	w.abandoned(before.Serial)
	if slices.Contains(w.revoked(), e.Serial) {
		w.t.Error("the certificate is on the list")
	}
}
