package ca

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// fault is how a write of the store or the journal goes wrong.
type fault int

const (
	works         fault = iota
	fails               // an error, and nothing is written
	failsAfter          // it is written, and the answer is lost
	conflicts           // the precondition does not hold
	conflictsOnce       // another change came first, once
)

var errDown = problem.New(problem.Unavailable, "the store is down")

// fakeStore keeps records in memory. The name of a method in faults makes it go wrong; before, if set, runs ahead of it.
type fakeStore struct {
	mu      sync.Mutex
	records map[string]*Certificate
	faults  map[string]fault
	before  map[string]func()
	owners  []Owner
}

func newFakeStore() *fakeStore {
	return &fakeStore{records: map[string]*Certificate{}, faults: map[string]fault{}, before: map[string]func(){}}
}

func key(issuer string, serial Serial) string { return issuer + "/" + string(serial) }

// write runs one conditional write under its fault.
func (s *fakeStore) write(ctx context.Context, method string, change func() error) error {
	if hook := s.before[method]; hook != nil {
		hook()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil {
		return errDown
	}
	f := s.faults[method]
	switch f {
	case fails:
		return errDown
	case conflictsOnce:
		delete(s.faults, method)
		fallthrough
	case conflicts:
		return problem.New(problem.Conflict, "somebody else was first")
	}
	err := change()
	if err == nil && f == failsAfter {
		return errDown
	}
	return err
}

func (s *fakeStore) RecordIntent(ctx context.Context, in Intent, owner Owner) error {
	return s.write(ctx, "RecordIntent", func() error {
		if s.records[key(in.Issuer, in.Serial)] != nil {
			return problem.New(problem.Conflict, "serial used twice")
		}
		s.records[key(in.Issuer, in.Serial)] = &Certificate{Intent: in, State: Open}
		s.owners = append(s.owners, owner)
		return nil
	})
}

func (s *fakeStore) RecordCertificate(ctx context.Context, c Certificate, owner Owner) error {
	return s.write(ctx, "RecordCertificate", func() error {
		r := s.records[key(c.Issuer, c.Serial)]
		if r == nil || r.State != Open {
			return problem.New(problem.Conflict, "the intent is not open")
		}
		*r = c
		s.owners = append(s.owners, owner)
		return nil
	})
}

func (s *fakeStore) AbandonIntent(ctx context.Context, issuer string, serial Serial, _ time.Time) error {
	return s.write(ctx, "AbandonIntent", func() error {
		r := s.records[key(issuer, serial)]
		switch {
		case r == nil:
			return problem.New(problem.NotFound, "no such intent")
		case r.State != Open:
			return problem.New(problem.Conflict, "the intent is not open")
		}
		r.State = Abandoned
		return nil
	})
}

func (s *fakeStore) RecordAbandoned(ctx context.Context, in Intent, at time.Time) error {
	return s.write(ctx, "RecordAbandoned", func() error {
		if s.records[key(in.Issuer, in.Serial)] != nil {
			return problem.New(problem.Conflict, "there is a record")
		}
		s.records[key(in.Issuer, in.Serial)] = &Certificate{Intent: in, State: Abandoned, Revocation: &Revocation{At: at}}
		return nil
	})
}

func (s *fakeStore) OpenIntents(_ context.Context, before time.Time, limit int) ([]Intent, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var open []Intent
	for _, r := range s.records {
		if r.State == Open && r.Opened.Before(before) {
			open = append(open, r.Intent)
		}
	}
	slices.SortFunc(open, func(a, b Intent) int { return a.Opened.Compare(b.Opened) })
	return open[:min(limit, len(open))], nil
}

func (s *fakeStore) Certificate(_ context.Context, issuer string, serial Serial) (*Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.records[key(issuer, serial)]
	if r == nil {
		return nil, problem.New(problem.NotFound, "no such certificate")
	}
	c := *r
	return &c, nil
}

func (s *fakeStore) RecordRevocation(ctx context.Context, c Certificate, r Revocation) error {
	return s.write(ctx, "RecordRevocation", func() error {
		have := s.records[key(c.Issuer, c.Serial)]
		if have == nil || have.Version != c.Version {
			return problem.New(problem.Conflict, "the record has changed")
		}
		have.Revocation = &r
		have.Version[0]++
		return nil
	})
}

func (s *fakeStore) RecordRenewal(ctx context.Context, c Certificate, r Renewal) error {
	return s.write(ctx, "RecordRenewal", func() error {
		have := s.records[key(c.Issuer, c.Serial)]
		if have == nil || have.Version != c.Version {
			return problem.New(problem.Conflict, "the record has changed")
		}
		have.Renewal = &r
		have.Version[0]++
		return nil
	})
}

// lose is a store that goes back to before everything.
func (s *fakeStore) lose() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.records)
}

// all lists the records in any order.
func (s *fakeStore) all() []Certificate {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Certificate
	for _, r := range s.records {
		list = append(list, *r)
	}
	return list
}

// fakeJournal keeps events in memory; the kind of an event in faults makes its entry go wrong; before runs
// ahead of it.
type fakeJournal struct {
	mu     sync.Mutex
	events []audit.Event
	faults map[audit.Kind]fault
	before map[audit.Kind]func()
}

func (j *fakeJournal) Append(ctx context.Context, events ...audit.Event) error {
	for _, e := range events {
		if hook := j.before[e.Kind]; hook != nil {
			hook()
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, e := range events {
		if j.faults[e.Kind] == fails {
			return io.ErrShortWrite
		}
		j.events = append(j.events, e)
		if j.faults[e.Kind] == failsAfter {
			return io.ErrShortWrite
		}
	}
	return nil
}

// of lists the journaled events of one kind.
func (j *fakeJournal) of(kind audit.Kind) []audit.Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(j.events), func(e audit.Event) bool { return e.Kind != kind })
}

// witness is a signer that remembers every digest it signed. For issuers with P-256 keys that is the intent's hash.
type witness struct {
	crypto.Signer
	mu      sync.Mutex
	digests [][]byte
	onSign  func(digest []byte)
}

func (w *witness) Sign(r io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	w.mu.Lock()
	w.digests = append(w.digests, slices.Clone(digest))
	w.mu.Unlock()
	if w.onSign != nil {
		w.onSign(digest)
	}
	return w.Signer.Sign(r, digest, opts)
}

// world is an authority over fakes, with one issuer "main" and one profile.
type world struct {
	store     *fakeStore
	journal   *fakeJournal
	hierarchy *testca.Hierarchy
	witness   *witness
	config    Config
	profile   *policy.Profile
	authority *Authority
}

// newWorld builds a world; change may alter the configuration before the authority is made.
func newWorld(t testing.TB, change func(w *world)) *world {
	t.Helper()
	h, err := testca.NewHierarchy(testca.HierarchyConfig{})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		store: newFakeStore(), journal: &fakeJournal{faults: map[audit.Kind]fault{}, before: map[audit.Kind]func(){}}, hierarchy: h,
		witness: &witness{Signer: h.Intermediate.Key}, profile: newProfile(t, nil),
	}
	backend, err := NewSoftCAS(h.Chain(), w.witness)
	if err != nil {
		t.Fatal(err)
	}
	w.config = Config{Store: w.store, Journal: w.journal, Log: slog.New(slog.DiscardHandler), Issuers: []Issuer{mainIssuer(h, backend)}}
	if change != nil {
		change(w)
	}
	if w.authority, err = New(w.config); err != nil {
		t.Fatal(err)
	}
	return w
}

func mainIssuer(h *testca.Hierarchy, b Backend) Issuer {
	return Issuer{
		Name: "main", Chain: []*x509.Certificate{h.Intermediate.Certificate, h.Root.Certificate}, Backend: b,
		CRLURL: "http://pki.example.com/crl/main/0.crl", IssuerURL: "http://pki.example.com/issuer/main.crt",
	}
}

func newProfile(t testing.TB, change func(c *policy.Config)) *policy.Profile {
	t.Helper()
	c := policy.Config{
		Name: "web", Issuer: "main", Validity: 24 * time.Hour, Backdate: time.Minute,
		KeyTypes: []policy.KeyType{policy.ECDSAP256, policy.ECDSAP384, policy.ECDSAP521, policy.RSA2048, policy.Ed25519},
	}
	if change != nil {
		change(&c)
	}
	p, err := policy.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const testOrg = 7

// request is a request that policy accepts, for a new P-256 key.
func (w *world) request(t testing.TB, names ...string) Request {
	t.Helper()
	return w.requestFor(t, newKey(t, "p256"), names...)
}

func (w *world) requestFor(t testing.TB, k crypto.Signer, names ...string) Request {
	t.Helper()
	if len(names) == 0 {
		names = []string{"www.example.com"}
	}
	der, err := testca.CSR(k, names...)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := policy.ParseCSR(der)
	if err != nil {
		t.Fatal(err)
	}
	req := Request{
		Profile: w.profile, Enrollment: 41, Owner: "the owner",
		Policy: policy.Request{
			Requester:   policy.Requester{Org: testOrg, Door: "acme", Principal: "acme:a1"},
			ProfileHash: w.profile.Hash(), CSR: csr, Now: time.Now(),
		},
	}
	for _, id := range csr.Names {
		req.Policy.Names = append(req.Policy.Names, id)
		req.Policy.Proofs = append(req.Policy.Proofs, policy.Proven{
			Proof: dcv.Proof{Method: dcv.HTTP01, Identifier: id.Base(), Secure: true, At: time.Now().Add(-time.Second), Until: time.Now().Add(time.Hour)},
			Org:   testOrg, Account: "a1",
		})
	}
	return req
}

func newKey(t testing.TB, kind string) crypto.Signer {
	t.Helper()
	var k crypto.Signer
	var err error
	switch kind {
	case "p256":
		k, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "p384":
		k, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "p521":
		k, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "rsa2048":
		k, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ed25519":
		_, k, err = ed25519.GenerateKey(rand.Reader)
	default:
		t.Fatalf("no key type %q", kind)
	}
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// issue issues and fails the test on an error.
func (w *world) issue(t testing.TB, names ...string) *Certificate {
	t.Helper()
	c, err := w.authority.Issue(t.Context(), w.request(t, names...))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mustDNS(t testing.TB, s string) identifier.Identifier {
	t.Helper()
	id, err := identifier.ParseDNS(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// tamperer is a back end that does not do what it is asked.
type tamperer struct {
	Backend
	sign    func(ctx context.Context, template *x509.Certificate, pub crypto.PublicKey) ([]byte, error)
	signCRL func(ctx context.Context, list *x509.RevocationList) ([]byte, error)
}

func (b *tamperer) Sign(ctx context.Context, t *x509.Certificate, pub crypto.PublicKey) ([]byte, error) {
	if b.sign == nil {
		return b.Backend.Sign(ctx, t, pub)
	}
	return b.sign(ctx, t, pub)
}

func (b *tamperer) SignCRL(ctx context.Context, l *x509.RevocationList) ([]byte, error) {
	if b.signCRL == nil {
		return b.Backend.SignCRL(ctx, l)
	}
	return b.signCRL(ctx, l)
}
