package ra_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/storetest"
)

// failing is an authority that cannot issue, and counts who asks.
type failing struct {
	ra.Authority
	asked map[int64]int
}

func (f failing) Issue(ctx context.Context, req ca.Request) (*ca.Certificate, error) {
	id, _, err := req.Begin(ctx, nil)
	f.asked[id]++
	return nil, errors.Join(err, problem.New(problem.Unavailable, "not now"))
}

// TestRecoverMeetsEachOnce, though more wait than one batch holds and none can be finished.
func TestRecoverMeetsEachOnce(t *testing.T) {
	w := newWorld(t)
	const waiting = 55
	csr := w.request(alice, newKey(t), "a.example.com").CSR
	for n := range waiting {
		id, err := w.db.NextEnrollment(t.Context())
		must(t, err)
		e := &ra.Enrollment{
			ID: id, Org: 1, Door: ra.DoorACME, Requester: "acme:alice", Profile: "tls", Names: ids(t, "a.example.com"),
			Created: start, Phase: ra.Requested, CSR: csr, Due: start.Add(time.Duration(n) * time.Second), Attempts: 1,
		}
		in := ca.Intent{Issuer: "main", Serial: ca.Serial(fmt.Sprintf("01%02x", n)), Opened: start, NotAfter: start.Add(time.Hour)}
		must(t, w.db.RecordIntent(t.Context(), in, &ra.Issuance{Enrollment: e}))
	}
	asked := map[int64]int{}
	r := w.registrar(func(c *ra.Config) { c.Authority = failing{c.Authority, asked} })
	must(t, r.Recover(t.Context()))
	if len(asked) != waiting {
		t.Errorf("%d of %d were tried", len(asked), waiting)
	}
	for id, n := range asked {
		if n != 1 {
			t.Fatalf("enrollment %d was tried %d times", id, n)
		}
	}
}

// TestTheLastAttemptFails: the back-off doubles up to ten minutes, and the sixteenth failure is the end.
func TestTheLastAttemptFails(t *testing.T) {
	w := newWorld(t)
	w.signer.down.Store(true)
	e, err := w.Submit(t.Context(), alice, w.request(alice, newKey(t), "a.example.com"))
	must(t, err)
	serials := []ca.Serial{e.Serial}
	for attempt := 1; attempt < 16; attempt++ {
		delay := min(5*time.Second<<(attempt-1), 10*time.Minute)
		if e.Phase != ra.Requested || e.Attempts != attempt || !e.Due.Equal(w.clock.now().Add(delay)) {
			t.Fatalf("after attempt %d, at %v: %+v", attempt, w.clock.now(), e)
		}
		w.clock.set(e.Due)
		must(t, w.Sweep(t.Context()))
		e = w.read(e.ID)
		serials = append(serials, e.Serial)
	}
	f := e.Failure
	if e.Phase != ra.Failed || f == nil || f.Kind != problem.Unavailable || f.Detail != "the issuer main cannot sign now" || !f.At.Equal(w.clock.now()) {
		t.Fatalf("in the end: %+v, %+v", e, f)
	}
	if e.CSR != nil || !e.Due.IsZero() || e.Status(w.clock.now()) != ra.StatusFailed {
		t.Errorf("a failed enrollment keeps %+v", e)
	}
	for _, s := range serials {
		w.abandoned(s)
	}
	w.signer.down.Store(false)
	w.clock.add(24 * time.Hour)
	must(t, w.Sweep(t.Context()))
	if w.read(e.ID).Version != e.Version {
		t.Error("a failed enrollment was taken up")
	}
}

// TestWhatPolicyRefusesFailsAtOnce: trying again cannot help.
func TestWhatPolicyRefusesFailsAtOnce(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(w *world) *ra.Registrar
		kind   problem.Kind
	}{
		{"proof too old", func(w *world) *ra.Registrar {
			w.clock.add(12 * time.Hour)
			return w.Registrar
		}, problem.Unauthorized},
		{"profile changed", func(w *world) *ra.Registrar {
			return w.registrar(func(c *ra.Config) {
				c.Profiles = map[string]*policy.Profile{"tls": newProfile(t, "tls", time.Hour)}
			})
		}, problem.Unauthorized},
		{"profile gone", func(w *world) *ra.Registrar {
			return w.registrar(func(c *ra.Config) { c.Profiles = nil })
		}, problem.Unauthorized},
		{"profile withdrawn", func(w *world) *ra.Registrar {
			return w.registrar(func(c *ra.Config) { c.Allowed = func(auth.OrgID, string) bool { return false } })
		}, problem.Unauthorized},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			e := w.postponed(alice, "a.example.com")
			w.clock.set(e.Due)
			must(t, tt.change(w).Sweep(t.Context()))
			got := w.read(e.ID)
			if got.Phase != ra.Failed || got.Failure.Kind != tt.kind || got.Failure.Detail == "" || got.Attempts != 2 || got.Serial != e.Serial {
				t.Errorf("it is %+v, %+v", got, got.Failure)
			}
			w.abandoned(e.Serial)
			if w.signer.signed.Load() != 0 {
				t.Error("something was signed")
			}
		})
	}
}

// TestTryingAgainHelps against what passes by: the enrollment stays requested.
func TestTryingAgainHelps(t *testing.T) {
	for _, kind := range []problem.Kind{problem.Internal, problem.Unavailable, problem.Conflict, problem.RateLimited} {
		t.Run(kind.String(), func(t *testing.T) {
			w := newWorld(t)
			e := w.postponed(alice, "a.example.com")
			w.clock.set(e.Due)
			r := w.registrar(func(c *ra.Config) { c.Authority = refusing{c.Authority, problem.New(kind, "later")} })
			must(t, r.Sweep(t.Context()))
			got := w.read(e.ID)
			if got.Phase != ra.Requested || got.Attempts != 2 || !got.Due.After(w.clock.now()) {
				t.Errorf("it is %+v", got)
			}
			w.clock.set(got.Due)
			must(t, w.Sweep(t.Context()))
			w.finished(e)
		})
	}
}

// refusing is an authority that issues nothing, and has its reason.
type refusing struct {
	ra.Authority
	err error
}

func (r refusing) Issue(context.Context, ca.Request) (*ca.Certificate, error) { return nil, r.err }

// TestAnUnjournaledRetryIsIssued: with the journal gone at step 11 of a later attempt, the certificate is on record and
// the enrollment does not fail.
func TestAnUnjournaledRetryIsIssued(t *testing.T) {
	w := newWorld(t)
	e := w.postponed(alice, "a.example.com")
	w.clock.set(e.Due)
	w.journal.refuse(audit.Signed)
	must(t, w.Sweep(t.Context()))
	w.finished(e)
}

// TestAnIntentThatCannotBeClosed keeps its enrollment from a new one: two could be signed.
func TestAnIntentThatCannotBeClosed(t *testing.T) {
	w := newWorld(t)
	e := w.died(deaths["signed"])
	w.clock.add(lease)
	closing := func(b storage.Batch) bool {
		return slices.ContainsFunc(b.Adds, func(e storage.Entry) bool { return e.Index == "revoked/main" })
	}
	remove := w.engine.Inject(storetest.Fault{Method: storetest.Commit, Match: closing, Before: storage.ErrUnavailable})
	must(t, w.Sweep(t.Context()))
	remove()
	got := w.read(e.ID)
	if got.Phase != ra.Requested || got.Serial != e.Serial || got.Attempts != 2 || w.signer.signed.Load() != 1 {
		t.Errorf("it went on: %+v", got)
	}
	w.clock.set(got.Due)
	must(t, w.Sweep(t.Context()))
	w.finished(e)
}

// TestASweepSaysWhenTheStoreIsGone, and that it was told to stop.
func TestASweepSaysWhenTheStoreIsGone(t *testing.T) {
	w := newWorld(t)
	e := w.postponed(alice, "a.example.com")
	w.clock.set(e.Due)
	remove := w.engine.Inject(storetest.Fault{Method: storetest.Scan, Before: storage.ErrUnavailable})
	wantKind(t, w.Sweep(t.Context()), problem.Unavailable)
	wantKind(t, w.Recover(t.Context()), problem.Unavailable)
	remove()
	ctx, cancel := context.WithCancel(t.Context())
	r := w.registrar(func(c *ra.Config) { c.Store = cancelling{c.Store, cancel} })
	if err := r.Sweep(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("told to stop: %v", err)
	}
	if w.read(e.ID).Version != e.Version {
		t.Error("it took an enrollment after it was told to stop")
	}
}

// cancelling is a store whose reader is told to stop once it has its list.
type cancelling struct {
	ra.Store
	cancel func()
}

func (c cancelling) DueEnrollments(ctx context.Context, now time.Time, limit int) ([]*ra.Enrollment, error) {
	list, err := c.Store.DueEnrollments(ctx, now, limit)
	c.cancel()
	return list, err
}
