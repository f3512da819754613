package ra_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage/storetest"
)

// TestALateCertificateIsRefused: a worker that was taken over while it signed records nothing, and leaves alone what its
// successor has taken.
func TestALateCertificateIsRefused(t *testing.T) {
	w := newWorld(t)
	reached, release := w.hold(9)
	done := w.submitting(w.Registrar, alice, w.request(alice, newKey(t), "a.example.com"))
	<-reached
	taken := w.read(1)
	must(t, w.db.TakeEnrollment(t.Context(), taken, start.Add(time.Hour)))
	release()
	o := <-done
	must(t, o.err) // it is accepted, and its successor owes the outcome
	if o.e.Phase != ra.Requested {
		t.Errorf("it came back in phase %d", o.e.Phase)
	}
	got := w.read(1)
	if got.Version != taken.Version || !got.Due.Equal(start.Add(time.Hour)) {
		t.Errorf("the late worker moved what another has taken: %+v", got)
	}
	w.abandoned(got.Serial)
}

// TestAWorkerThatWasStopped behind any step, until another had finished its enrollment, adds nothing when it goes on.
func TestAWorkerThatWasStopped(t *testing.T) {
	for step, name := range map[int]string{6: "intent", 7: "will sign", 8: "signed", 9: "compared"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			reached, release := w.hold(step)
			done := w.submitting(w.Registrar, alice, w.request(alice, newKey(t), "a.example.com"))
			<-reached
			stale := w.read(1)
			w.clock.add(lease)
			must(t, w.registrar(nil).Sweep(t.Context()))
			w.finished(stale)
			finished := w.read(1)
			release()
			if o := <-done; o.err == nil && (o.e.Phase != ra.Issued || o.e.Serial != finished.Serial) {
				t.Errorf("the stopped worker answers %+v", o.e)
			}
			if got := w.read(1); got.Version != finished.Version {
				t.Errorf("it changed the enrollment: %+v", got)
			}
			w.finished(stale)
			w.onlyCertificate(finished.Serial)
		})
	}
}

// onlyCertificate demands that of all serials that the journal knows one alone was issued.
func (w *world) onlyCertificate(serial ca.Serial) {
	w.t.Helper()
	w.journal.mu.Lock()
	events := slices.Clone(w.journal.events)
	w.journal.mu.Unlock()
	for _, e := range events {
		if e.Kind == audit.WillSign && (w.certificate(ca.Serial(e.Serial)).State == ca.Issued) != (e.Serial == string(serial)) {
			w.t.Errorf("serial %s is in state %d", e.Serial, w.certificate(ca.Serial(e.Serial)).State)
		}
	}
}

// TestAStoppedWorkerThatHadRecorded is not overtaken: there is nothing left to do.
func TestAStoppedWorkerThatHadRecorded(t *testing.T) {
	w := newWorld(t)
	reached, release := w.hold(10)
	done := w.submitting(w.Registrar, alice, w.request(alice, newKey(t), "a.example.com"))
	<-reached
	w.clock.add(lease)
	must(t, w.registrar(nil).Sweep(t.Context()))
	release()
	o := <-done
	must(t, o.err)
	if o.e.Phase != ra.Issued || w.signer.signed.Load() != 1 || len(w.revoked()) != 0 {
		t.Errorf("%+v, %d signatures, %v revoked", o.e, w.signer.signed.Load(), w.revoked())
	}
}

// TestOneSweepWins of two that found the same enrollment due: both stand before the commit that takes it.
func TestOneSweepWins(t *testing.T) {
	w := newWorld(t)
	e := w.postponed(alice, "a.example.com")
	w.clock.set(e.Due)
	on, reached := make(chan struct{}), make(chan struct{}, 2)
	defer w.engine.Inject(storetest.Fault{Method: storetest.Commit, Times: 2, Delay: on, Reached: reached})()
	var wg sync.WaitGroup
	for range 2 {
		r := w.registrar(nil)
		wg.Go(func() {
			if err := r.Sweep(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	<-reached
	<-reached
	close(on)
	wg.Wait()
	w.finished(e)
	if w.signer.signed.Load() != 1 {
		t.Errorf("%d signatures", w.signer.signed.Load())
	}
	w.onlyCertificate(w.read(e.ID).Serial)
}

// overtaken is an authority that is so slow to refuse that another worker has taken the enrollment over.
type overtaken struct {
	ra.Authority
	w *world
}

func (o overtaken) Issue(ctx context.Context, _ ca.Request) (*ca.Certificate, error) {
	e := o.w.read(1)
	e.Attempts++
	if err := o.w.db.TakeEnrollment(ctx, e, o.w.clock.now().Add(time.Hour)); err != nil {
		return nil, err
	}
	return nil, problem.New(problem.Unauthorized, "the proof is too old")
}

// TestALateRefusalIsTheLateWorkers: it does not end what another has taken.
func TestALateRefusalIsTheLateWorkers(t *testing.T) {
	w := newWorld(t)
	e := w.postponed(alice, "a.example.com")
	w.clock.set(e.Due)
	must(t, w.registrar(func(c *ra.Config) { c.Authority = overtaken{c.Authority, w} }).Sweep(t.Context()))
	got := w.read(e.ID)
	if got.Phase != ra.Requested || got.Attempts != 3 || !got.Due.Equal(e.Due.Add(time.Hour)) {
		t.Errorf("it is %+v, %+v", got, got.Failure)
	}
	w.clock.set(got.Due)
	must(t, w.Sweep(t.Context()))
	w.finished(e)
}
