package storage_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// TestOrdersByPages reads an account's list from cursor to cursor (RFC 8555, 7.1.2.1), which may be any octets.
func TestOrdersByPages(t *testing.T) {
	db, _ := open(t)
	ctx := t.Context()
	id := func(i int) acme.OrderID { return acme.OrderID(fmt.Sprintf("%022d", i)) }
	var want []acme.OrderID
	for i := range 5 {
		o := &acme.Order{ID: id(i), Account: "a", Org: 1, Created: now().Add(time.Duration(i) * time.Second), Expires: now().Add(time.Hour)}
		must(t, db.CreateOrder(ctx, o, nil))
		want = slices.Insert(want, 0, o.ID)
	}
	must(t, db.CreateOrder(ctx, &acme.Order{ID: id(9), Account: "b", Org: 1, Created: now(), Expires: now().Add(time.Hour)}, nil))
	var got []acme.OrderID
	var cursors []string
	for cursor := ""; len(cursors) < 10; {
		page, next, err := db.Orders(ctx, "a", cursor, 2)
		must(t, err)
		for _, o := range page {
			got = append(got, o.ID)
		}
		if cursor = next; cursor == "" {
			break
		}
		cursors = append(cursors, cursor)
	}
	if !slices.Equal(got, want) || len(cursors) != 2 {
		t.Errorf("%v with %d cursors, want %v", got, len(cursors), want)
	}
	for _, bad := range []string{
		"x", "12345678", strings.Repeat("x", 101),
	} {
		if _, _, err := db.Orders(ctx, "a", bad, 2); !problem.Is(err, problem.NotFound) {
			t.Errorf("the cursor %q: %v", bad, err)
		}
	}
	// Another account's cursor is a place in the caller's own list.
	page, _, err := db.Orders(ctx, "b", cursors[0], 2)
	must(t, err)
	for _, o := range page {
		if o.Account != "b" {
			t.Errorf("order %s of account %s", o.ID, o.Account)
		}
	}
}
