package storage

import (
	"context"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/ra"
)

const (
	// idleRetention is how long an order or authorization can still be read after it expired.
	idleRetention = 24 * time.Hour
	// begunRetention is the same for an order that has an enrollment.
	begunRetention = 30 * 24 * time.Hour
)

// Admit implements acme.Store.
func (db *DB) Admit(ctx context.Context, a acme.Admission) (acme.Admitted, error) {
	keys := make([]Key, 0, 2)
	switch {
	case a.Account != "":
		keys = append(keys, keyAccount(a.Account))
	case a.Thumbprint != "":
		keys = append(keys, keyThumbprint(a.Thumbprint))
	}
	object := len(keys)
	switch {
	case a.Order != "":
		keys = append(keys, keyOrder(a.Order))
	case a.Authz != "":
		keys = append(keys, keyAuthz(a.Authz))
	case a.Certificate != nil:
		keys = append(keys, keyCertificate(a.Certificate.Issuer, a.Certificate.Serial))
	}
	spent, err := db.engine.Spend(ctx, Token{Value: a.Nonce, Made: a.NonceMade, Until: a.NonceUntil}, limits(a.Takes), keys...)
	if err != nil {
		return acme.Admitted{}, unavailable(err)
	}
	out := acme.Admitted{Fresh: spent.Fresh}
	if err := refused(spent); err != nil {
		return out, err
	}
	switch {
	case a.Account != "":
		out.Account, err = decodeAccount(a.Account, spent.Items[0])
	case a.Thumbprint != "" && spent.Items[0].Found:
		out.Account, err = db.accountWith(ctx, acme.AccountID(spent.Items[0].Value), a.Thumbprint)
	}
	if err != nil || object == len(keys) {
		return out, err
	}
	item := spent.Items[object]
	switch {
	case a.Order != "":
		out.Order, err = decodeOrder(a.Order, item)
	case a.Authz != "":
		out.Authz, err = decodeAuthz(a.Authz, item)
	default:
		out.Certificate, err = decodeCertificate(a.Certificate.Issuer, a.Certificate.Serial, item)
	}
	return out, err
}

// wanted is the name an authorization answers for.
func wanted(a *acme.Authorization) string {
	if a.Wildcard {
		return "*." + a.Identifier.Value()
	}
	return a.Identifier.Value()
}

// UsableAuthorizations implements acme.Store.
func (db *DB) UsableAuthorizations(ctx context.Context, account acme.AccountID, names []identifier.Identifier, takes ...acme.Take) ([]*acme.Authorization, error) {
	keys := make([]Key, len(names))
	for i, n := range names {
		keys[i] = keyUsable(account, n)
	}
	items, err := db.takeAndRead(ctx, takes, keys...)
	if err != nil {
		return nil, err
	}
	var ids []acme.AuthzID
	var at []int
	for i, it := range items {
		if it.Found {
			ids, at = append(ids, acme.AuthzID(it.Value)), append(at, i)
		}
	}
	out := make([]*acme.Authorization, len(names))
	if len(ids) == 0 {
		return out, nil
	}
	found, err := db.authorizations(ctx, ids)
	for i, a := range found {
		// The pointer is ours, but an authorization is used only by whom and for what it says itself.
		if a != nil && a.Account == account && a.Identifier.Type() == names[at[i]].Type() && wanted(a) == names[at[i]].Value() {
			out[at[i]] = a
		}
	}
	return out, err
}

// authorizations reads several, nil where absent.
func (db *DB) authorizations(ctx context.Context, ids []acme.AuthzID) ([]*acme.Authorization, error) {
	keys := make([]Key, len(ids))
	for i, id := range ids {
		keys[i] = keyAuthz(id)
	}
	items, err := db.read(ctx, keys...)
	if err != nil {
		return nil, err
	}
	out := make([]*acme.Authorization, len(ids))
	for i, it := range items {
		if out[i], err = decodeAuthz(ids[i], it); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// CreateOrder implements acme.Store.
func (db *DB) CreateOrder(ctx context.Context, o *acme.Order, fresh []*acme.Authorization) error {
	value, err := encodeOrder(o)
	if err != nil {
		return err
	}
	b := &Batch{
		Conditions: []Condition{{Key: keyOrder(o.ID), Want: Absent}},
		Puts:       []Put{{Key: keyOrder(o.ID), Value: value, Expires: orderEnd(o)}},
		Adds:       []Entry{{Index: indexOrders(o.Account), Member: []byte(orderMember(o))}, orderEndEntry(o)},
	}
	if err := b.putReplacing(o); err != nil {
		return err
	}
	for _, a := range fresh {
		value, err := encodeAuthz(a)
		if err != nil {
			return err
		}
		b.Conditions = append(b.Conditions, Condition{Key: keyAuthz(a.ID), Want: Absent})
		b.Puts = append(b.Puts, Put{Key: keyAuthz(a.ID), Value: value, Expires: a.Expires.Add(idleRetention)})
	}
	if err := db.commit(ctx, b); err != nil {
		return err
	}
	o.Version = b.Version
	for _, a := range fresh {
		a.Version = b.Version
	}
	return nil
}

// beginOrder adds to a batch that an order has its enrollment.
func beginOrder(b *Batch, begun *acme.OrderBegun) error {
	before := begun.Order
	after := *before
	after.Enrollment = begun.Enrollment
	value, err := encodeOrder(&after)
	if err != nil {
		return err
	}
	b.Conditions = append(b.Conditions, Condition{Key: keyOrder(after.ID), Want: Equals, Version: before.Version})
	for _, a := range begun.Authorizations {
		b.Conditions = append(b.Conditions, Condition{Key: keyAuthz(a.ID), Want: Equals, Version: a.Version})
	}
	b.Puts = append(b.Puts, Put{Key: keyOrder(after.ID), Value: value, Expires: orderEnd(&after)})
	b.Removes = append(b.Removes, orderEndEntry(before))
	b.Adds = append(b.Adds, orderEndEntry(&after))
	return b.putReplaced(before, &after)
}

// OrderFacts implements acme.Store.
func (db *DB) OrderFacts(ctx context.Context, o *acme.Order) (acme.Facts, error) {
	facts, _, err := db.orderFacts(ctx, o)
	return facts, err
}

// FinalizeFacts implements acme.Store.
func (db *DB) FinalizeFacts(ctx context.Context, o *acme.Order, thumbprint string) (acme.Facts, bool, error) {
	facts, rest, err := db.orderFacts(ctx, o, keyThumbprint(thumbprint))
	return facts, err == nil && rest[0].Found, err
}

// orderFacts reads what the order's status depends on, and further keys, in one round trip.
func (db *DB) orderFacts(ctx context.Context, o *acme.Order, further ...Key) (facts acme.Facts, rest []Item, err error) {
	keys := make([]Key, 0, len(o.Authzs)+1+len(further))
	for _, id := range o.Authzs {
		keys = append(keys, keyAuthz(id))
	}
	if o.Enrollment != 0 {
		keys = append(keys, keyEnrollment(o.Enrollment))
	}
	own := len(keys)
	items, err := db.read(ctx, append(keys, further...)...)
	if err != nil {
		return acme.Facts{}, nil, err
	}
	facts.Authorizations = make([]*acme.Authorization, len(o.Authzs))
	for i, id := range o.Authzs {
		if facts.Authorizations[i], err = decodeAuthz(id, items[i]); err != nil {
			return acme.Facts{}, nil, err
		}
	}
	if o.Enrollment != 0 {
		facts.Enrollment, err = decodeEnrollment(ra.ID(o.Enrollment), items[own-1])
	}
	return facts, items[own:], err
}
