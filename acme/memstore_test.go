package acme

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/identifier"
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

func copyAuthz(a *Authorization) *Authorization {
	if a == nil {
		return nil
	}
	return a.clone()
}

func (m *memStore) CreateAccount(_ context.Context, a *Account, by *auth.EABKey) error {
	err := m.enter("CreateAccount")
	defer m.mu.Unlock()
	if err != nil {
		return err
	}
	if _, taken := m.keys[a.Thumbprint]; taken || m.accounts[a.ID] != nil {
		return errConflict
	}
	if by != nil {
		key, ok := m.external[by.ID]
		if !ok || key.Version != by.Version {
			return errConflict
		}
		if !key.Reusable {
			key.Account, key.Version = string(a.ID), newVersion()
			m.external[by.ID] = key
		}
	}
	a.Version = newVersion()
	m.keys[a.Thumbprint], m.accounts[a.ID] = a.ID, a.clone()
	return nil
}

func (m *memStore) AccountByKey(_ context.Context, thumbprint string) (*Account, error) {
	err := m.enter("AccountByKey")
	defer m.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if a := m.accounts[m.keys[thumbprint]]; a != nil {
		return a.clone(), nil
	}
	return nil, problem.New(problem.NotFound, "no account has this key")
}

func (m *memStore) UpdateAccount(_ context.Context, a *Account) error {
	err := m.enter("UpdateAccount")
	defer m.mu.Unlock()
	if err != nil {
		return err
	}
	if current := m.accounts[a.ID]; current == nil || current.Version != a.Version {
		return errConflict
	}
	a.Version = newVersion()
	m.accounts[a.ID] = a.clone()
	return nil
}

func (m *memStore) RollKey(_ context.Context, a *Account, old string) error {
	err := m.enter("RollKey")
	defer m.mu.Unlock()
	if err != nil {
		return err
	}
	if current := m.accounts[a.ID]; current == nil || current.Version != a.Version || m.keys[old] != a.ID || m.keys[a.Thumbprint] != "" {
		return errConflict
	}
	a.Version = newVersion()
	delete(m.keys, old)
	m.keys[a.Thumbprint], m.accounts[a.ID] = a.ID, a.clone()
	return nil
}

func (m *memStore) CreateAuthorization(_ context.Context, a *Authorization) error {
	err := m.enter("CreateAuthorization")
	defer m.mu.Unlock()
	if err != nil {
		return err
	}
	a.Version = newVersion()
	m.authzs[a.ID] = a.clone()
	return nil
}

func (m *memStore) DeactivateAuthorization(_ context.Context, a *Authorization) error {
	err := m.enter("DeactivateAuthorization")
	defer m.mu.Unlock()
	if err != nil {
		return err
	}
	return m.put(a, func(c *Challenge) { c.Due = time.Time{} })
}

func (m *memStore) UsableAuthorizations(_ context.Context, account AccountID, names []identifier.Identifier, takes ...Take) ([]*Authorization, error) {
	err := m.enter("UsableAuthorizations")
	defer m.mu.Unlock()
	if err == nil {
		err = m.spend(takes)
	}
	if err != nil {
		return nil, err
	}
	out := make([]*Authorization, len(names))
	for i, name := range names {
		for _, a := range m.authzs {
			if a.Account == account && a.covers(name) && a.proven() != nil && (out[i] == nil || a.Expires.After(out[i].Expires)) {
				out[i] = a.clone()
			}
		}
	}
	return out, nil
}

func (m *memStore) CreateOrder(_ context.Context, o *Order, fresh []*Authorization) error {
	err := m.enter("CreateOrder")
	defer m.mu.Unlock()
	if err != nil {
		return err
	}
	version := newVersion()
	if r := o.Replaces; r != nil {
		if m.replacements[r.Certificate].version != r.Mark {
			return errConflict
		}
		m.replacements[r.Certificate] = replacement{o.ID, version}
	}
	o.Version = version
	m.orders[o.ID] = copyOf(o)
	for _, a := range fresh {
		a.Version = newVersion()
		m.authzs[a.ID] = a.clone()
	}
	return nil
}

// replacement is the order that replaces a certificate, and the version of the record that says so.
type replacement struct {
	order   OrderID
	version [16]byte
}

func (m *memStore) Predecessor(_ context.Context, id CertificateID) (p Predecessor, err error) {
	err = m.enter("Predecessor")
	defer m.mu.Unlock()
	if err != nil {
		return p, err
	}
	mark := m.replacements[id]
	p = Predecessor{Certificate: copyOf(m.certificates[id]), Mark: mark.version, Order: copyOf(m.orders[mark.order])}
	if p.Order != nil {
		p.Facts = m.facts(p.Order)
	}
	return p, nil
}

func (m *memStore) OrderFacts(_ context.Context, o *Order) (Facts, error) {
	err := m.enter("OrderFacts")
	defer m.mu.Unlock()
	if err != nil {
		return Facts{}, err
	}
	return m.facts(o), nil
}

// facts is for who holds the lock.
func (m *memStore) facts(o *Order) Facts {
	f := Facts{Enrollment: copyOf(m.enrollments[o.Enrollment])}
	for _, id := range o.Authzs {
		f.Authorizations = append(f.Authorizations, copyAuthz(m.authzs[id]))
	}
	return f
}

func (m *memStore) Orders(_ context.Context, account AccountID, cursor string, limit int) ([]*Order, string, error) {
	err := m.enter("Orders")
	defer m.mu.Unlock()
	if err != nil {
		return nil, "", err
	}
	offset := 0
	if cursor != "" {
		if offset, err = strconv.Atoi(cursor); err != nil {
			return nil, "", problem.New(problem.NotFound, "no list has this cursor")
		}
	}
	var all []*Order
	for _, o := range m.orders {
		if o.Account == account {
			all = append(all, copyOf(o))
		}
	}
	slices.SortFunc(all, func(a, b *Order) int { return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID)) })
	all = all[min(offset, len(all)):]
	if len(all) <= limit {
		return all, "", nil
	}
	return all[:limit], strconv.Itoa(offset + limit), nil
}

func (m *memStore) BeginChallenge(_ context.Context, a *Authorization, due time.Time) error {
	err := m.enter("BeginChallenge")
	defer m.mu.Unlock()
	if err != nil {
		return err
	}
	return m.put(a, func(c *Challenge) {
		if c.Status() == StatusProcessing {
			c.Due = due
		}
	})
}

func (m *memStore) FinishChallenge(_ context.Context, a *Authorization) error {
	err := m.enter("FinishChallenge")
	defer m.mu.Unlock()
	if err != nil {
		return err
	}
	return m.put(a, func(c *Challenge) { c.Due = time.Time{} })
}

func (m *memStore) put(a *Authorization, each func(*Challenge)) error {
	if current := m.authzs[a.ID]; current == nil || current.Version != a.Version {
		return errConflict
	}
	next := a.clone()
	for i := range next.Challenges {
		each(&next.Challenges[i])
	}
	next.Version = newVersion()
	m.authzs[a.ID] = next.clone()
	*a = *next
	return nil
}

func (m *memStore) DueChallenges(_ context.Context, now time.Time, limit int) ([]*Authorization, error) {
	err := m.enter("DueChallenges")
	defer m.mu.Unlock()
	if err != nil {
		return nil, err
	}
	var due []*Authorization
	for _, id := range slices.Sorted(maps.Keys(m.authzs)) {
		a := m.authzs[id]
		if a.find(func(c *Challenge) bool { return !c.Due.IsZero() && !c.Due.After(now) }) != nil && len(due) < limit {
			due = append(due, a.clone())
		}
	}
	return due, nil
}

func (m *memStore) Failures(_ context.Context, org auth.OrgID, cursor string, limit int) ([]ListedFailure, error) {
	err := m.enter("Failures")
	defer m.mu.Unlock()
	if err != nil {
		return nil, err
	}
	var all []ListedFailure
	for _, a := range m.authzs {
		if c := a.failed(); c != nil && (org == 0 || a.Org == org) {
			all = append(all, ListedFailure{Cursor: c.Failed.At.Format(time.RFC3339) + string(a.ID), Authorization: a.clone()})
		}
	}
	slices.SortFunc(all, func(a, b ListedFailure) int { return cmp.Compare(b.Cursor, a.Cursor) })
	all = slices.DeleteFunc(all, func(f ListedFailure) bool { return cursor != "" && f.Cursor >= cursor })
	return all[:min(limit, len(all))], nil
}

func (m *memStore) SweepFailures(context.Context, time.Time, int) (int, error) {
	err := m.enter("SweepFailures")
	defer m.mu.Unlock()
	return 0, err
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

func (m *memStore) SweepOrders(_ context.Context, now time.Time, limit int) (int, error) {
	err := m.enter("SweepOrders")
	defer m.mu.Unlock()
	if err != nil {
		return 0, err
	}
	n := 0
	for id, o := range m.orders {
		if now.After(o.Expires) && n < limit {
			delete(m.orders, id)
			n++
		}
	}
	return n, nil
}

// begin is the commit of an intent, with the order's beginning in it.
func (m *memStore) begin(begun *OrderBegun, e *ra.Enrollment) error {
	err := m.enter("begin")
	defer m.mu.Unlock()
	if err != nil {
		return err
	}
	current := m.orders[begun.Order.ID]
	if current == nil || current.Version != begun.Order.Version {
		return errConflict
	}
	for _, a := range begun.Authorizations {
		if now := m.authzs[a.ID]; now == nil || now.Version != a.Version {
			return errConflict
		}
	}
	if r := current.Replaces; r != nil {
		if m.replacements[r.Certificate].version != current.Version {
			return errConflict
		}
		m.replacements[r.Certificate] = replacement{current.ID, newVersion()}
	}
	next := *begun.Order
	next.Enrollment, next.Version = begun.Enrollment, newVersion()
	m.orders[next.ID] = &next
	m.enrollments[e.ID] = copyOf(e)
	begun.Order.Enrollment, begun.Order.Version = next.Enrollment, next.Version
	close(m.changed)
	m.changed = make(chan struct{})
	return nil
}

func (m *memStore) complete(e *ra.Enrollment, c *ca.Certificate) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.enrollments[e.ID] = copyOf(e)
	if c != nil {
		m.certificates[CertificateID{c.Issuer, c.Serial}] = copyOf(c)
	}
}

// The rest lets tests look and meddle.

func (m *memStore) authz(id AuthzID) *Authorization {
	m.mu.Lock()
	defer m.mu.Unlock()
	return copyAuthz(m.authzs[id])
}

func (m *memStore) edit(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}
