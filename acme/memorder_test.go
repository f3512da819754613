package acme

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

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

func (m *memStore) FinalizeFacts(_ context.Context, o *Order, thumbprint string) (Facts, bool, error) {
	err := m.enter("FinalizeFacts")
	defer m.mu.Unlock()
	if err != nil {
		return Facts{}, false, err
	}
	_, claimed := m.keys[thumbprint]
	return m.facts(o), claimed, nil
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

func (m *memStore) edit(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}
