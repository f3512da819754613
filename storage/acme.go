package storage

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
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

// account reads one, nil if absent.
func (db *DB) account(ctx context.Context, id acme.AccountID) (*acme.Account, error) {
	items, err := db.read(ctx, keyAccount(id))
	if err != nil {
		return nil, err
	}
	return decodeAccount(id, items[0])
}

// accountWith reads the account that a key's claim names, nil if the key has been changed since the claim was read.
func (db *DB) accountWith(ctx context.Context, id acme.AccountID, thumbprint string) (*acme.Account, error) {
	a, err := db.account(ctx, id)
	if err != nil || a == nil || a.Thumbprint != thumbprint {
		return nil, err
	}
	return a, nil
}

// AccountByKey implements acme.Store.
func (db *DB) AccountByKey(ctx context.Context, thumbprint string) (*acme.Account, error) {
	items, err := db.read(ctx, keyThumbprint(thumbprint))
	if err != nil {
		return nil, err
	}
	if items[0].Found {
		a, err := db.accountWith(ctx, acme.AccountID(items[0].Value), thumbprint)
		if a != nil || err != nil {
			return a, err
		}
	}
	return nil, problem.New(problem.NotFound, "no account has this key")
}

// CreateAccount implements acme.Store: the account, the claim on its key and what becomes of the external account key in one
// commit.
func (db *DB) CreateAccount(ctx context.Context, a *acme.Account, by *auth.EABKey) error {
	value, err := encodeAccount(a)
	if err != nil {
		return err
	}
	b := &Batch{
		Conditions: []Condition{{Key: keyAccount(a.ID), Want: Absent}, {Key: keyThumbprint(a.Thumbprint), Want: Absent}},
		Puts:       []Put{{Key: keyAccount(a.ID), Value: value}, {Key: keyThumbprint(a.Thumbprint), Value: []byte(a.ID)}},
	}
	if err := b.putBound(a, by); err != nil {
		return err
	}
	if err := db.commit(ctx, b); err != nil {
		return err
	}
	a.Version = b.Version
	return nil
}

// UpdateAccount implements acme.Store.
func (db *DB) UpdateAccount(ctx context.Context, a *acme.Account) error {
	value, err := encodeAccount(a)
	if err != nil {
		return err
	}
	b := &Batch{
		Conditions: []Condition{{Key: keyAccount(a.ID), Want: Equals, Version: a.Version}},
		Puts:       []Put{{Key: keyAccount(a.ID), Value: value}},
	}
	if err := db.commit(ctx, b); err != nil {
		return err
	}
	a.Version = b.Version
	return nil
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

// orderEnd is when an order's record goes.
func orderEnd(o *acme.Order) time.Time {
	if o.Enrollment != 0 {
		return o.Expires.Add(begunRetention)
	}
	return o.Expires.Add(idleRetention)
}

func orderEndEntry(o *acme.Order) Entry {
	return Entry{Index: indexOrderEnds, Member: timeMember(orderEnd(o), string(o.Account)+"/"+orderMember(o))}
}

// maxOrderMember is more than an order's member can have: a time and an id of some twenty characters.
const maxOrderMember = 100

// orderMember sorts an account's orders by the time they were made.
func orderMember(o *acme.Order) string {
	return string(member(o.Created.Unix(), string(o.ID)))
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
	keys := make([]Key, 0, len(o.Authzs)+1)
	for _, id := range o.Authzs {
		keys = append(keys, keyAuthz(id))
	}
	if o.Enrollment != 0 {
		keys = append(keys, keyEnrollment(o.Enrollment))
	}
	items, err := db.read(ctx, keys...)
	if err != nil {
		return acme.Facts{}, err
	}
	facts := acme.Facts{Authorizations: make([]*acme.Authorization, len(o.Authzs))}
	for i, id := range o.Authzs {
		if facts.Authorizations[i], err = decodeAuthz(id, items[i]); err != nil {
			return acme.Facts{}, err
		}
	}
	if o.Enrollment != 0 {
		facts.Enrollment, err = decodeEnrollment(ra.ID(o.Enrollment), items[len(items)-1])
	}
	return facts, err
}

// Orders implements acme.Store. The cursor is the last member seen.
func (db *DB) Orders(ctx context.Context, account acme.AccountID, cursor string, limit int) ([]*acme.Order, string, error) {
	page := Page{Limit: limit, Reverse: true}
	if cursor != "" {
		page.After = []byte(cursor)
		if _, id, ok := memberParts(page.After); !ok || id == "" || len(cursor) > maxOrderMember {
			return nil, "", problem.New(problem.NotFound, "no list has this cursor")
		}
	}
	members, err := db.engine.Scan(ctx, indexOrders(account), Range{}, page)
	if err != nil {
		return nil, "", unavailable(err)
	}
	var ids []acme.OrderID
	var keys []Key
	for _, m := range members {
		if _, id, ok := memberParts(m); ok {
			ids, keys = append(ids, acme.OrderID(id)), append(keys, keyOrder(acme.OrderID(id)))
		}
	}
	if len(ids) == 0 {
		return nil, "", nil
	}
	items, err := db.read(ctx, keys...)
	if err != nil {
		return nil, "", err
	}
	var orders []*acme.Order
	for i, it := range items {
		o, err := decodeOrder(ids[i], it)
		if err != nil {
			return nil, "", err
		}
		if o != nil { // gone at the end of its retention, the list entry not yet
			orders = append(orders, o)
		}
	}
	next := ""
	if len(members) == limit {
		next = string(members[limit-1])
	}
	return orders, next, nil
}

// SweepOrders implements acme.Store.
func (db *DB) SweepOrders(ctx context.Context, now time.Time, limit int) (int, error) {
	members, err := db.engine.Scan(ctx, indexOrderEnds, until(now), Page{Limit: limit})
	if err != nil {
		return 0, unavailable(err)
	}
	if len(members) == 0 {
		return 0, nil
	}
	b := &Batch{}
	for _, m := range members {
		b.Removes = append(b.Removes, Entry{Index: indexOrderEnds, Member: m})
		if _, rest, ok := memberParts(m); ok {
			if account, order, ok := cutAccount(rest); ok {
				b.Removes = append(b.Removes, Entry{Index: indexOrders(account), Member: []byte(order)})
			}
		}
	}
	return len(members), db.commit(ctx, b)
}

func cutAccount(s string) (acme.AccountID, string, bool) {
	for i := range len(s) {
		if s[i] == '/' {
			return acme.AccountID(s[:i]), s[i+1:], true
		}
	}
	return "", "", false
}

// NonceKeys implements acme.Store.
func (db *DB) NonceKeys(ctx context.Context) (acme.NonceKeys, error) {
	for range 3 {
		items, err := db.read(ctx, keyNonceKeys)
		if err != nil {
			return acme.NonceKeys{}, err
		}
		if items[0].Found {
			var r nonceKeysRecord
			if err := decode(items[0].Value, &r); err != nil {
				return acme.NonceKeys{}, damaged(keyNonceKeys, err)
			}
			k := acme.NonceKeys{Made: r.Made.time(), Version: items[0].Version}
			if copy(k.Current[:], r.Current) != 32 || copy(k.Previous[:], r.Previous) != 32 {
				return acme.NonceKeys{}, damaged(keyNonceKeys, errShortKey)
			}
			return k, nil
		}
		now, err := db.engine.Now(ctx)
		if err != nil {
			return acme.NonceKeys{}, unavailable(err)
		}
		first := acme.NonceKeys{Made: now}
		rand.Read(first.Current[:])
		rand.Read(first.Previous[:])
		if err := db.putNonceKeys(ctx, first, Condition{Key: keyNonceKeys, Want: Absent}); err != nil && !problem.Is(err, problem.Conflict) {
			return acme.NonceKeys{}, err
		}
	}
	return acme.NonceKeys{}, problem.New(problem.Unavailable, "the nonce keys cannot be made; try again").After(retryAfter)
}

// RotateNonceKeys implements acme.Store.
func (db *DB) RotateNonceKeys(ctx context.Context, next acme.NonceKeys) error {
	return db.putNonceKeys(ctx, next, Condition{Key: keyNonceKeys, Want: Equals, Version: next.Version})
}

func (db *DB) putNonceKeys(ctx context.Context, k acme.NonceKeys, c Condition) error {
	value, err := encode(nonceKeysRecord{Current: k.Current[:], Previous: k.Previous[:], Made: toSeconds(k.Made)})
	if err != nil {
		return err
	}
	return db.commit(ctx, &Batch{Conditions: []Condition{c}, Puts: []Put{{Key: keyNonceKeys, Value: value}}})
}
