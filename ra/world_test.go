package ra_test

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/embedded"
	"github.com/gatehouse-ca/gatehouse/storage/storetest"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// start is where every test's clock begins.
var start = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// lease is the registration authority's, which it does not export.
const lease = time.Minute

// The callers: two accounts of one organisation, one of another, and the machine's operator.
var (
	alice    = auth.Caller{Principal: "acme:alice", Org: 1}
	bob      = auth.Caller{Principal: "acme:bob", Org: 1}
	eve      = auth.Caller{Principal: "acme:eve", Org: 2}
	operator = ra.Operator("uid:0")
)

// clock is a time that moves when it is told to.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) set(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = at
}

func (c *clock) add(d time.Duration) { c.set(c.now().Add(d)) }

// journal keeps what it is given, except events of the kind that it refuses.
type journal struct {
	mu      sync.Mutex
	events  []audit.Event
	refuses audit.Kind
}

func (j *journal) Append(_ context.Context, events ...audit.Event) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range events {
		if e.Kind == j.refuses {
			return errors.New("the disk is full")
		}
	}
	j.events = append(j.events, events...)
	return nil
}

func (j *journal) refuse(kind audit.Kind) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.refuses = kind
}

// about is what the journal says of a serial, in order; of all serials if it is empty.
func (j *journal) about(serial ca.Serial) []audit.Kind {
	j.mu.Lock()
	defer j.mu.Unlock()
	var kinds []audit.Kind
	for _, e := range j.events {
		if serial == "" || e.Serial == string(serial) {
			kinds = append(kinds, e.Kind)
		}
	}
	return kinds
}

// signer is a back end that counts its signatures and can be out of order.
type signer struct {
	ca.Backend
	down   atomic.Bool
	signed atomic.Int64
}

func (s *signer) Sign(ctx context.Context, template *x509.Certificate, pub crypto.PublicKey) ([]byte, error) {
	if s.down.Load() {
		return nil, errors.New("the module was unplugged")
	}
	s.signed.Add(1)
	return s.Backend.Sign(ctx, template, pub)
}

// world is a registration authority over a real store and a real signing gate.
type world struct {
	*ra.Registrar
	t         *testing.T
	clock     *clock
	db        *storage.DB
	engine    *storetest.Counting
	journal   *journal
	signer    *signer
	authority *ca.Authority
	step      atomic.Pointer[func(int)] // called after each step of an issuance
}

func newWorld(t *testing.T) *world {
	t.Helper()
	engine, err := embedded.Open(embedded.Config{Dir: filepath.Join(t.TempDir(), "store")})
	must(t, err)
	t.Cleanup(func() { engine.Close() })
	return newWorldOn(t, engine)
}

// newWorldOn is the same over any engine.
func newWorldOn(t *testing.T, engine storage.Engine) *world {
	t.Helper()
	w := &world{t: t, clock: &clock{at: start}, journal: &journal{}}
	w.engine = storetest.NewCounting(engine)
	var err error
	w.db, err = storage.Open(t.Context(), storage.Config{Engine: w.engine, Issuers: []string{"main"}})
	must(t, err)
	h, err := testca.NewHierarchy(testca.HierarchyConfig{Now: w.clock.now})
	must(t, err)
	soft, err := ca.NewSoftCAS(h.Chain(), h.Intermediate.Key)
	must(t, err)
	w.signer = &signer{Backend: soft}
	w.authority, err = ca.New(ca.Config{
		Issuers: []ca.Issuer{{Name: "main", Chain: h.Chain(), Backend: w.signer}}, Store: w.db, Journal: w.journal, Now: w.clock.now,
		Step: func(step int) {
			if f := w.step.Load(); f != nil {
				(*f)(step)
			}
		},
	})
	must(t, err)
	w.Registrar = w.registrar(nil)
	return w
}

// registrar is another one over the same store, as another process has it.
func (w *world) registrar(change func(c *ra.Config)) *ra.Registrar {
	w.t.Helper()
	c := ra.Config{
		Store: w.db, Authority: w.authority, Certificate: w.db.Certificate, Now: w.clock.now, Journal: w.journal,
		Profiles: map[string]*policy.Profile{"tls": newProfile(w.t, "tls", 24*time.Hour), "inner": newProfile(w.t, "inner", time.Hour)},
		Allowed:  func(org auth.OrgID, profile string) bool { return profile == "tls" || org == 2 },
	}
	if change != nil {
		change(&c)
	}
	return ra.New(c)
}

func newProfile(t *testing.T, name string, validity time.Duration) *policy.Profile {
	t.Helper()
	p, err := policy.New(policy.Config{Name: name, Issuer: "main", Validity: validity, ProofLifetime: 12 * time.Hour})
	must(t, err)
	return p
}

func newKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := testca.NewKey(testca.P256)
	must(t, err)
	return key
}

func ids(t *testing.T, names ...string) []identifier.Identifier {
	t.Helper()
	var list []identifier.Identifier
	for _, n := range names {
		id, err := identifier.ParseDNS(n)
		must(t, err)
		list = append(list, id)
	}
	return list
}

// request is a good one, with a proof for each name that belongs to the caller.
func (w *world) request(caller auth.Caller, key crypto.Signer, names ...string) ra.Request {
	w.t.Helper()
	csr, err := testca.CSR(key, names...)
	must(w.t, err)
	r := ra.Request{Door: ra.DoorACME, Profile: "tls", Names: ids(w.t, names...), CSR: csr}
	for _, id := range r.Names {
		r.Proofs = append(r.Proofs, policy.Proven{
			Proof: dcv.Proof{Method: dcv.HTTP01, Identifier: id, At: w.clock.now()},
			Org:   int32(caller.Org), Account: caller.Principal[len("acme:"):],
		})
	}
	return r
}

// issue is an enrollment that was issued to a caller.
func (w *world) issue(caller auth.Caller, names ...string) *ra.Enrollment {
	w.t.Helper()
	e, err := w.Submit(w.t.Context(), caller, w.request(caller, newKey(w.t), names...))
	must(w.t, err)
	if e.Phase != ra.Issued {
		w.t.Fatalf("enrollment %d is in phase %d", e.ID, e.Phase)
	}
	return e
}

// postponed is an enrollment whose first attempt failed because the signer was down; it is up again.
func (w *world) postponed(caller auth.Caller, names ...string) *ra.Enrollment {
	w.t.Helper()
	w.signer.down.Store(true)
	defer w.signer.down.Store(false)
	e, err := w.Submit(w.t.Context(), caller, w.request(caller, newKey(w.t), names...))
	must(w.t, err)
	if e.Phase != ra.Requested {
		w.t.Fatalf("enrollment %d is in phase %d", e.ID, e.Phase)
	}
	return e
}

// outcome is what a Submit in the background came to; none if its process died.
type outcome struct {
	e   *ra.Enrollment
	err error
}

func (w *world) submitting(r *ra.Registrar, caller auth.Caller, req ra.Request) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		defer close(done) // also when a step ends the goroutine, as a crash would
		e, err := r.Submit(context.WithoutCancel(w.t.Context()), caller, req)
		done <- outcome{e, err}
	}()
	return done
}

// hold stops the first issuance behind a step. reached is closed once it stands there, with its intent recorded; it goes
// on after release.
func (w *world) hold(step int) (reached <-chan struct{}, release func()) {
	var first atomic.Bool
	there, on, intent := make(chan struct{}), make(chan struct{}), make(chan struct{})
	recorded := sync.OnceFunc(func() { close(intent) })
	f := func(n int) {
		if n == 6 {
			recorded()
		}
		if n == step && first.CompareAndSwap(false, true) {
			<-intent // steps 6 and 7 run at the same time
			close(there)
			<-on
		}
	}
	w.step.Store(&f)
	release = sync.OnceFunc(func() { close(on) })
	w.t.Cleanup(release)
	return there, release
}

// read is an enrollment as the store has it.
func (w *world) read(id ra.ID) *ra.Enrollment {
	w.t.Helper()
	e, err := w.db.Enrollment(w.t.Context(), id)
	must(w.t, err)
	return e
}

// certificate is a serial's record.
func (w *world) certificate(serial ca.Serial) *ca.Certificate {
	w.t.Helper()
	c, err := w.db.Certificate(w.t.Context(), "main", serial)
	must(w.t, err)
	return c
}

// abandoned demands that a serial is closed, is on the list of the revoked, and that the journal ends so.
func (w *world) abandoned(serial ca.Serial) {
	w.t.Helper()
	if c := w.certificate(serial); c.State != ca.Abandoned || len(c.DER) > 0 {
		w.t.Errorf("serial %s is in state %d with %d bytes of certificate", serial, c.State, len(c.DER))
	}
	if !slices.Contains(w.revoked(), serial) {
		w.t.Errorf("serial %s was abandoned and is not on the list", serial)
	}
	if kinds := w.journal.about(serial); len(kinds) == 0 || kinds[len(kinds)-1] != audit.Abandoned {
		w.t.Errorf("the journal says of serial %s: %v", serial, kinds)
	}
}

// revoked are the serials that the issuer's list names.
func (w *world) revoked() []ca.Serial {
	w.t.Helper()
	list, err := w.db.Revoked(w.t.Context(), "main", w.clock.now())
	must(w.t, err)
	var serials []ca.Serial
	for _, r := range list {
		serials = append(serials, r.Serial)
	}
	return serials
}

// total is how many enrollments the store has.
func (w *world) total() int64 {
	w.t.Helper()
	found, err := w.db.Search(w.t.Context(), ra.Query{Limit: 1}, w.clock.now())
	must(w.t, err)
	return found.Total
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantKind demands a kind of refusal.
func wantKind(t *testing.T, err error, kind problem.Kind) {
	t.Helper()
	if !problem.Is(err, kind) {
		t.Errorf("got %v, want %s", err, kind)
	}
}
