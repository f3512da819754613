package storage_test

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/embedded"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// modelWorld is a store that several gateways share and that goes back now and then, and what clients were told.
type modelWorld struct {
	t        *testing.T
	random   *rand.Rand
	mu       sync.RWMutex // held by every call of the engine; locked while the store is replaced
	engine   *embedded.Engine
	folder   string
	copies   []string
	clock    atomic.Int64
	profile  *policy.Profile
	issuer   ca.Issuer
	keys     []crypto.Signer
	signed   map[ca.Serial][]byte // all that the signer ever made
	gateways []*modelGateway
	history  []string

	acknowledged map[ca.Serial]modelCertificate
	order        []ca.Serial             // of what was acknowledged
	revoked      map[ca.Serial]ca.Reason // by revocations that were acknowledged
	accounts     []accountEntry
}

type modelCertificate struct {
	caller auth.Caller
	names  string
	number ra.ID
}

// modelGateway is one process after another with one journal.
type modelGateway struct {
	w         *modelWorld
	name      string
	events    []audit.Event
	mu        sync.Mutex
	dead      bool // killed: the journal takes nothing
	serves    bool
	link      *link
	db        *storage.DB
	authority *ca.Authority
	registrar *ra.Registrar
	step      func(n int)
}

func (g *modelGateway) Append(_ context.Context, events ...audit.Event) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.dead {
		return errors.New("killed")
	}
	g.events = append(g.events, events...)
	return nil
}

func (g *modelGateway) kill() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dead = true
	g.link.cut.Store(true)
}

// link is one process's connection to whatever store there is. It is cut when the store went back, as an engine does that
// notices it.
type link struct {
	storage.Engine
	w       *modelWorld
	cut     atomic.Bool
	commits atomic.Int64 // so many before it is cut, if not negative
}

func (l *link) call(f func(e storage.Engine) error) error {
	l.w.mu.RLock()
	defer l.w.mu.RUnlock()
	if l.cut.Load() {
		return storage.ErrUnavailable
	}
	return f(l.w.engine)
}

func (l *link) Get(ctx context.Context, keys ...storage.Key) (items []storage.Item, err error) {
	err = l.call(func(e storage.Engine) (err error) { items, err = e.Get(ctx, keys...); return err })
	return items, err
}

func (l *link) Commit(ctx context.Context, b storage.Batch) error {
	if l.commits.Add(-1) == -1 {
		l.cut.Store(true)
	}
	return l.call(func(e storage.Engine) error { return e.Commit(ctx, b) })
}

func (l *link) Scan(ctx context.Context, index string, r storage.Range, p storage.Page) (members [][]byte, err error) {
	err = l.call(func(e storage.Engine) (err error) { members, err = e.Scan(ctx, index, r, p); return err })
	return members, err
}

func (l *link) Count(ctx context.Context, index string, r storage.Range) (n int64, err error) {
	err = l.call(func(e storage.Engine) (err error) { n, err = e.Count(ctx, index, r); return err })
	return n, err
}

func (l *link) NextID(ctx context.Context, sequence string, n int) (first int64, err error) {
	err = l.call(func(e storage.Engine) (err error) { first, err = e.NextID(ctx, sequence, n); return err })
	return first, err
}

func (l *link) LiftID(ctx context.Context, sequence string, last int64) error {
	return l.call(func(e storage.Engine) error { return e.LiftID(ctx, sequence, last) })
}

func (l *link) Wake(context.Context, string) {}

func (w *modelWorld) now() time.Time { return time.Unix(w.clock.Load(), 0).UTC() }

func (w *modelWorld) note(format string, args ...any) {
	w.history = append(w.history, fmt.Sprintf(format, args...))
}

// modelSigner remembers all that it made.
type modelSigner struct {
	ca.Backend
	w *modelWorld
}

func (s *modelSigner) Sign(ctx context.Context, template *x509.Certificate, pub crypto.PublicKey) ([]byte, error) {
	der, err := s.Backend.Sign(ctx, template, pub)
	if err == nil {
		serial := ca.SerialOf(template.SerialNumber)
		if _, twice := s.w.signed[serial]; twice {
			s.w.t.Errorf("invariant 3: serial %s was signed twice", serial)
		}
		s.w.signed[serial] = der
	}
	return der, err
}

func newModelWorld(t *testing.T, random *rand.Rand, gateways int) *modelWorld {
	t.Helper()
	w := &modelWorld{
		t: t, random: random, folder: filepath.Join(t.TempDir(), "store"), signed: map[ca.Serial][]byte{},
		acknowledged: map[ca.Serial]modelCertificate{}, revoked: map[ca.Serial]ca.Reason{},
	}
	w.clock.Store(now().Unix())
	w.openEngine()
	t.Cleanup(func() { w.engine.Close() })
	soft, err := ca.NewSoftCAS(hierarchy().Chain(), hierarchy().Intermediate.Key)
	must(t, err)
	w.issuer = ca.Issuer{Name: "main", Chain: hierarchy().Chain(), Backend: &modelSigner{soft, w}}
	w.profile, err = policy.New(policy.Config{Name: "tls", Issuer: "main", Validity: 24 * time.Hour, ProofLifetime: 20 * time.Hour})
	must(t, err)
	for range 3 {
		key, err := testca.NewKey(testca.P256)
		must(t, err)
		w.keys = append(w.keys, key)
	}
	for n := range gateways {
		g := &modelGateway{w: w, name: fmt.Sprintf("g%d", n), step: func(int) {}}
		w.gateways = append(w.gateways, g)
		if err := g.start(-1, false); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (w *modelWorld) openEngine() {
	e, err := embedded.Open(embedded.Config{Dir: w.folder})
	must(w.t, err)
	w.engine = e
}

// keepCopy copies the store's folder while it is closed.
func (w *modelWorld) keepCopy() {
	w.mu.Lock()
	defer w.mu.Unlock()
	must(w.t, w.engine.Close())
	folder := filepath.Join(w.t.TempDir(), "copy")
	must(w.t, os.CopyFS(folder, os.DirFS(w.folder)))
	w.copies = append(w.copies, folder)
	w.openEngine()
	w.note("copy %d", len(w.copies))
}

// goBack puts a copy in the place of the store, or nothing if there is none of that number. Every gateway notices.
func (w *modelWorld) goBack(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	must(w.t, w.engine.Close())
	must(w.t, os.RemoveAll(w.folder))
	if n < len(w.copies) {
		must(w.t, os.CopyFS(w.folder, os.DirFS(w.copies[n])))
	}
	w.openEngine()
	for _, g := range w.gateways {
		g.serves = false
		g.link.cut.Store(true)
	}
	w.note("back to copy %d of %d", n+1, len(w.copies))
}

// start is what a process does before it serves. It is cut off after so many commits, unless that is negative; whole
// begins with the journal's first entry, wherever the store's mark is.
func (g *modelGateway) start(commits int64, whole bool) (err error) {
	w, ctx := g.w, context.Background()
	g.serves, g.dead = false, false
	g.link = &link{w: w}
	g.link.commits.Store(commits)
	defer func() { w.note("start %s (cut %d, whole %t): %v", g.name, commits, whole, err) }()
	if g.db, err = storage.Open(ctx, storage.Config{Engine: g.link, Issuers: []string{"main"}}); err != nil {
		return err
	}
	g.authority, err = ca.New(ca.Config{
		Issuers: []ca.Issuer{w.issuer}, Store: g.db, Journal: g, Now: w.now, Step: func(n int) { g.step(n) },
	})
	must(w.t, err)
	g.registrar = ra.New(ra.Config{
		Store: g.db, Authority: g.authority, Certificate: g.db.Certificate, Now: w.now,
		Profiles: map[string]*policy.Profile{"tls": w.profile}, Allowed: func(auth.OrgID, string) bool { return true },
	})
	mark, err := g.db.JournalMark(ctx, g.name)
	if err != nil {
		return err
	}
	if whole {
		mark.Seq = 0
	}
	if _, err := g.replay(mark.Seq); err != nil {
		return err
	}
	if err := g.mark(); err != nil {
		return err
	}
	g.link.commits.Store(-1)
	g.serves = true
	return nil
}

// replay brings store and journal together, from an entry on.
func (g *modelGateway) replay(from int64) (int, error) {
	ctx := context.Background()
	events := g.events[from:]
	changed, err := tryReplay(ctx, g.db, events...)
	if err != nil {
		return changed, err
	}
	added, err := g.authority.CompleteJournal(ctx, func(yield func(audit.Entry, error) bool) {
		for _, e := range events {
			if !yield(audit.Entry{Event: e}, nil) {
				return
			}
		}
	})
	return changed + added, err
}

func (g *modelGateway) mark() error {
	return g.db.SetJournalMark(context.Background(), g.name, storage.Mark{Seq: int64(len(g.events))})
}

// submit asks for a certificate as one of two organisations, for one of few names and keys, so that what the store lost is
// soon asked for again, by the same and by others.
func (g *modelGateway) submit() {
	w := g.w
	n := 1 + w.random.Int32N(2)
	caller := auth.Caller{Principal: fmt.Sprintf("acme:o%d", n), Org: auth.OrgID(n)}
	name := []string{"a.example.com", "b.example.com"}[w.random.IntN(2)]
	csr, err := testca.CSR(w.keys[w.random.IntN(len(w.keys))], name)
	must(w.t, err)
	id := names(w.t, name)
	e, err := g.registrar.Submit(context.Background(), caller, ra.Request{
		Door: ra.DoorACME, Profile: "tls", Names: id, CSR: csr,
		Proofs: []policy.Proven{{Proof: dcv.Proof{Method: dcv.HTTP01, Identifier: id[0], At: w.now()}, Org: n, Account: caller.Principal[len("acme:"):]}},
	})
	if err == nil && e.Phase == ra.Issued && !g.dead {
		w.acknowledged[e.Serial] = modelCertificate{caller, name, e.ID}
		w.order = append(w.order, e.Serial)
		w.note("%s: issued %d %.8s to %s", g.name, e.ID, e.Serial, caller.Principal)
	} else {
		w.note("%s: not issued to %s: %v", g.name, caller.Principal, err)
	}
	g.step = func(int) {}
	g.serves = g.serves && !g.link.cut.Load()
}

// revoke revokes what some client has.
func (g *modelGateway) revoke() {
	w := g.w
	if len(w.order) == 0 {
		return
	}
	serial := w.order[w.random.IntN(len(w.order))]
	reason := []ca.Reason{ca.Superseded, ca.KeyCompromise}[w.random.IntN(2)]
	err := g.registrar.Revoke(context.Background(), ra.Operator("uid:0"), ra.Revocation{Issuer: "main", Serial: serial, Reason: reason})
	switch {
	case err == nil && w.revoked[serial] != ca.KeyCompromise:
		w.revoked[serial] = reason
	case err != nil && !problem.Is(err, problem.AlreadyRevoked) && !problem.Is(err, problem.NotFound):
		w.t.Errorf("revoking: %v", err)
	}
	w.note("%s: revoke %.8s: %v", g.name, serial, err)
}

func (g *modelGateway) account() {
	a := newAccountEntry(g.w.t)
	ctx := context.Background()
	if err := errors.Join(g.db.CreateAccount(ctx, a.account(g.w.t), nil), g.Append(ctx, a.event(audit.AccountMade))); err != nil {
		g.w.t.Errorf("an account: %v", err)
		return
	}
	g.w.accounts = append(g.w.accounts, a)
}

// takeOver goes on with what other processes began, as if they had died; sweep closes it.
func (g *modelGateway) takeOver() {
	g.w.clock.Add(3600)
	err := g.registrar.Sweep(context.Background())
	g.w.note("%s: take over: %v", g.name, err)
}

func (g *modelGateway) sweep() {
	n, err := g.authority.SweepIntents(context.Background(), -time.Second)
	g.w.note("%s: sweep: %d, %v", g.name, n, err)
}
