package acme

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// memStore keeps the Store's contract in memory: versions, conflicts, copies in and out. It counts round trips.
type memStore struct {
	mu           sync.Mutex
	nonces       map[string]bool
	accounts     map[AccountID]*Account
	keys         map[string]AccountID
	orders       map[OrderID]*Order
	authzs       map[AuthzID]*Authorization
	enrollments  map[ra.ID]*ra.Enrollment
	certificates map[CertificateID]*ca.Certificate
	replacements map[CertificateID]replacement
	nonceKeys    NonceKeys
	external     map[string]auth.EABKey
	changed      chan struct{} // closed and made anew by begin, for tests that wait for it
	trips        []string
	limits       map[string]time.Time // when each limit will be at rest
	now          func() time.Time     // of the limits
	fail         map[string]error     // by method name: returned instead of doing anything
	before       map[string]func()    // by method name: called once, first
}

func newMemStore() *memStore {
	return &memStore{
		nonces: map[string]bool{}, limits: map[string]time.Time{}, now: time.Now, accounts: map[AccountID]*Account{}, keys: map[string]AccountID{},
		orders: map[OrderID]*Order{}, authzs: map[AuthzID]*Authorization{},
		enrollments: map[ra.ID]*ra.Enrollment{}, certificates: map[CertificateID]*ca.Certificate{}, replacements: map[CertificateID]replacement{}, external: map[string]auth.EABKey{}, fail: map[string]error{},
		changed: make(chan struct{}), before: map[string]func(){},
	}
}

// enter locks and counts; the caller unlocks.
func (m *memStore) enter(method string) error {
	m.mu.Lock()
	if f := m.before[method]; f != nil {
		delete(m.before, method)
		m.mu.Unlock()
		f()
		m.mu.Lock()
	}
	m.trips = append(m.trips, method)
	return m.fail[method]
}

func (m *memStore) failing(method string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail[method] = err
}

// meanwhile has something happen between a request's read and its next call of a method.
func (m *memStore) meanwhile(method string, f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.before[method] = f
}

func (m *memStore) taken() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	trips := m.trips
	m.trips = nil
	return trips
}

func newVersion() (v [16]byte) {
	rand.Read(v[:])
	return v
}

var errConflict = problem.New(problem.Conflict, "the object was changed at the same time")

func (m *memStore) Admit(_ context.Context, a Admission) (out Admitted, err error) {
	err = m.enter("Admit")
	defer m.mu.Unlock()
	if err != nil {
		return Admitted{}, err
	}
	if out.Fresh = !m.nonces[string(a.Nonce)]; len(a.Nonce) > 0 {
		m.nonces[string(a.Nonce)] = true
	}
	if out.Fresh {
		if err := m.spend(a.Takes); err != nil {
			return out, err
		}
	}
	id := a.Account
	if id == "" {
		id = m.keys[a.Thumbprint]
	}
	out.Account = copyOf(m.accounts[id])
	out.Order = copyOf(m.orders[a.Order])
	out.Authz = copyAuthz(m.authzs[a.Authz])
	if a.Certificate != nil {
		out.Certificate = copyOf(m.certificates[*a.Certificate])
	}
	return out, nil
}

// spend is the generic cell rate algorithm, as the engines do it. m.mu is held.
func (m *memStore) spend(takes []Take) error {
	now, moved := m.now(), map[string]time.Time{}
	var refused *Refused
	for i, take := range takes {
		key := string(take.Limit) + " " + take.Of
		rest := m.limits[key]
		if rest.Before(now) {
			rest = now
		}
		if _, twice := moved[key]; twice || take.Interval <= 0 || take.Burst < 1 || take.Cost < 0 {
			return fmt.Errorf("no engine takes %+v", take)
		}
		moved[key] = rest.Add(time.Duration(take.Cost) * take.Interval)
		if wait := moved[key].Sub(now) - time.Duration(take.Burst)*take.Interval; wait > 0 && (refused == nil || wait > refused.Wait) {
			refused = &Refused{Take: i, Wait: wait}
		}
	}
	if refused != nil {
		return refused
	}
	maps.Copy(m.limits, moved)
	return nil
}

func (m *memStore) Take(_ context.Context, takes ...Take) error {
	err := m.enter("Take")
	defer m.mu.Unlock()
	if err != nil {
		return err
	}
	return m.spend(takes)
}

func copyOf[T any](p *T) *T {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}

func (m *memStore) NonceKeys(context.Context) (NonceKeys, error) {
	err := m.enter("NonceKeys")
	defer m.mu.Unlock()
	if err != nil {
		return NonceKeys{}, err
	}
	if m.nonceKeys.Made.IsZero() {
		m.nonceKeys = NonceKeys{Made: testTime, Version: newVersion()}
		rand.Read(m.nonceKeys.Current[:])
	}
	return m.nonceKeys, nil
}

func (m *memStore) RotateNonceKeys(_ context.Context, next NonceKeys) error {
	err := m.enter("RotateNonceKeys")
	defer m.mu.Unlock()
	if err != nil {
		return err
	}
	if next.Version != m.nonceKeys.Version {
		return errConflict
	}
	next.Version = newVersion()
	m.nonceKeys = next
	return nil
}

// The rest lets tests look and meddle.
