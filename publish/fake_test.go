package publish

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"math/big"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/testca"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hierarchy is made once: keys cost time and nothing here changes them.
var hierarchy = sync.OnceValue(func() *testca.Hierarchy {
	h, err := testca.NewHierarchy(testca.HierarchyConfig{})
	if err != nil {
		panic(err)
	}
	return h
})

func authority() testca.Authority { return hierarchy().Intermediate }

// signList signs what it was asked to.
func signList(_ context.Context, _ string, list List) ([]byte, error) {
	return signTemplate(template(list), authority().Certificate, authority().Key)
}

func template(list List) *x509.RevocationList {
	tmpl := &x509.RevocationList{
		Number: big.NewInt(list.Number), ThisUpdate: list.ThisUpdate, NextUpdate: list.NextUpdate,
		RevokedCertificateEntries: make([]x509.RevocationListEntry, len(list.Entries)),
	}
	for i, e := range list.Entries {
		octets, err := hex.DecodeString(string(e.Serial))
		if err != nil {
			panic(err)
		}
		tmpl.RevokedCertificateEntries[i] = x509.RevocationListEntry{
			SerialNumber: new(big.Int).SetBytes(octets), RevocationTime: e.At, ReasonCode: int(e.Reason),
		}
	}
	return tmpl
}

func signTemplate(tmpl *x509.RevocationList, by *x509.Certificate, key crypto.Signer) ([]byte, error) {
	return x509.CreateRevocationList(rand.Reader, tmpl, by, key)
}

// fakeStore is a store in memory with switchable faults.
type fakeStore struct {
	mu       sync.Mutex
	revoked  map[ca.Serial]Revoked
	ends     map[ca.Serial]time.Time // of what was ever revoked
	list     *CRL
	saves    int // that succeeded
	dropped  int
	reads    int   // of the revoked serials
	lease    Lease // Left counts from leased
	leased   time.Time
	takes    int                // leases taken or extended
	skew     time.Duration      // of the store's clock
	revoking []chan string      // who watches revocations
	saving   []chan string      // who watches lists
	silent   bool               // hints are lost
	saveErr  error              // SaveCRL fails with it
	onRead   func(s *fakeStore) // called with mu held before Revoked answers, once
}

func newStore() *fakeStore {
	return &fakeStore{revoked: map[ca.Serial]Revoked{}, ends: map[ca.Serial]time.Time{}}
}

// Expiries tells of all that was ever revoked.
func (s *fakeStore) Expiries(_ context.Context, _ string, serials []ca.Serial) (map[ca.Serial]time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ends := map[ca.Serial]time.Time{}
	for _, serial := range serials {
		if end, ok := s.ends[serial]; ok {
			ends[serial] = end
		}
	}
	return ends, nil
}

func (s *fakeStore) Revoked(ctx context.Context, _ string, from time.Time) ([]Revoked, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	if f := s.onRead; f != nil {
		s.onRead = nil
		f(s)
	}
	out := make([]Revoked, 0, len(s.revoked))
	for _, r := range s.revoked {
		if !r.NotAfter.Before(from) {
			out = append(out, r)
		}
	}
	return out, ctx.Err()
}

func (s *fakeStore) CRL(context.Context, string, int) (*CRL, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.list == nil {
		return nil, problem.New(problem.NotFound, "no list")
	}
	c := *s.list
	return &c, nil
}

func (s *fakeStore) SaveCRL(_ context.Context, next CRL, prev *CRL, by Lease) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.saveErr != nil {
		return s.saveErr
	}
	if (prev == nil) != (s.list == nil) || prev != nil && prev.Version != s.list.Version {
		return problem.New(problem.Conflict, "the list was replaced")
	}
	if !s.fenced(by) {
		return problem.New(problem.Conflict, "the lease has ended")
	}
	rand.Read(next.Version[:])
	s.list = &next
	s.saves++
	s.hint(s.saving)
	return nil
}

func (s *fakeStore) WatchRevocations(context.Context) <-chan string { return s.watch(&s.revoking) }
func (s *fakeStore) WatchCRLs(context.Context) <-chan string        { return s.watch(&s.saving) }

func (s *fakeStore) watch(watchers *[]chan string) <-chan string {
	s.mu.Lock()
	defer s.mu.Unlock()
	ch := make(chan string, 1)
	*watchers = append(*watchers, ch)
	return ch
}

// hint tells watchers of issuer "leaf". mu is held.
func (s *fakeStore) hint(watchers []chan string) {
	if s.silent {
		return
	}
	for _, ch := range watchers {
		select {
		case ch <- "leaf":
		default:
		}
	}
}

func (s *fakeStore) DropExpired(_ context.Context, by Lease, before time.Time, limit int) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.fenced(by) {
		return 0, problem.New(problem.Conflict, "the lease has ended")
	}
	n := 0
	for serial, r := range s.revoked {
		if n < limit && r.NotAfter.Before(before) {
			delete(s.revoked, serial)
			n++
		}
	}
	s.dropped += n
	return n, nil
}

// revoke records an entry and hints, as a store does after its commit.
func (s *fakeStore) revoke(r Revoked) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revoked[r.Serial] = r
	s.ends[r.Serial] = r.NotAfter
	s.hint(s.revoking)
}

func (s *fakeStore) fill(n int, at, notAfter time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range n {
		serial := serialOf(i)
		s.revoked[serial] = Revoked{Serial: serial, At: at, Reason: ca.Reason(i % 6), NotAfter: notAfter}
	}
}

func (s *fakeStore) saved() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.saves
}

// serialOf is a serial of the gate's form: an octet 01–7f and sixteen more.
func serialOf(i int) ca.Serial {
	return ca.Serial(fmt.Sprintf("%02x%032x", 1+i%0x7f, uint64(i)*0x9e3779b97f4a7c15))
}

// newPublisher makes a publisher of issuer "leaf".
func newPublisher(t testing.TB, store Store, change func(*Config)) *Publisher {
	t.Helper()
	cfg := Config{
		Store: store, Sign: signList, Issuers: []Issuer{{Name: "leaf", Certificate: authority().Certificate}},
	}
	if change != nil {
		change(&cfg)
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// build brings the list of issuer "leaf" up to date, as one turn of Run does.
func (p *Publisher) build(ctx context.Context) error {
	_, err := p.update(ctx, p.byName["leaf"])
	return err
}

// clock is a settable Config.Now.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
	return c.t
}

// storedList parses what the store holds, verified, so that each test ends with a list a relying party would accept.
func storedList(t testing.TB, s *fakeStore) *parsedList {
	t.Helper()
	c, err := s.CRL(t.Context(), "leaf", 0)
	if err != nil {
		t.Fatal(err)
	}
	list, err := parse(c.DER, authority().Certificate)
	if err != nil {
		t.Fatal(err)
	}
	if c.Number != list.number || !c.ThisUpdate.Equal(list.thisUpdate) || !c.NextUpdate.Equal(list.nextUpdate) {
		t.Fatalf("the record says %d %v %v, the list %d %v %v", c.Number, c.ThisUpdate, c.NextUpdate,
			list.number, list.thisUpdate, list.nextUpdate)
	}
	return list
}

func (l *parsedList) has(serial ca.Serial) bool {
	for _, e := range l.entries {
		if e.serial == serial {
			return true
		}
	}
	return false
}
