package storage

import (
	"context"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/problem"
)

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
