package storage_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/storage"
)

// TestNumberedEABKeys: a number is one key's, and what was removed is in the list of all keys alone.
func TestNumberedEABKeys(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *storage.DB) {
		ctx := t.Context()
		n, err := db.NextEABNumber(ctx)
		must(t, err)
		if next, err := db.NextEABNumber(ctx); err != nil || next <= n || n <= 0 {
			t.Errorf("after %d comes %d, %v", n, next, err)
		}
		k := &auth.EABKey{ID: "one", Org: 4, Number: n, ByDomains: true, Domains: []string{"example.com"}, Reusable: true, Created: now(), Sealed: []byte{1}}
		_, err = db.CreateEABKey(ctx, k)
		must(t, err)
		got, err := db.EABKeyOfNumber(ctx, n)
		if err != nil || !reflect.DeepEqual(got, k) {
			t.Errorf("it is read as %+v, %v", got, err)
		}
		if _, err := db.EABKeyOfNumber(ctx, n+1); !problem.Is(err, problem.NotFound) {
			t.Errorf("a number that none has: %v", err)
		}
		_, err = db.CreateEABKey(ctx, &auth.EABKey{ID: "two", Org: 4, Number: n, Created: now(), Sealed: []byte{1}})
		conflicts(t, "a second key with a number", err)
		two := &auth.EABKey{ID: "two", Org: 4, Created: now().Add(time.Second), Sealed: []byte{1}}
		_, err = db.CreateEABKey(ctx, two)
		must(t, err)
		stolen := *two
		stolen.Number = n
		_, err = db.NumberEABKey(ctx, &stolen)
		conflicts(t, "another's number", err)
		race(t, func() error { c := *two; c.Number = n + 5; _, err := db.NumberEABKey(ctx, &c); return err },
			func() error { c := *two; c.Number = n + 6; _, err := db.NumberEABKey(ctx, &c); return err })
		list, total, err := db.EABKeysOf(ctx, 4, 0, 10)
		if err != nil || total != 2 || len(list) != 2 || list[0].ID != "one" || list[1].Number < n+5 {
			t.Errorf("the list is %v, %d, %v", list, total, err)
		}
		if list, total, err := db.EABKeysOf(ctx, 4, 1, 1); err != nil || total != 2 || len(list) != 1 || list[0].ID != "two" {
			t.Errorf("the second is %v, %d, %v", list, total, err)
		}
		if list, total, err := db.EABKeysOf(ctx, 4, 2, 1); err != nil || total != 2 || len(list) != 0 {
			t.Errorf("behind the end are %v, %d, %v", list, total, err)
		}
		k.Removed = now()
		_, err = db.UpdateEABKey(ctx, k)
		must(t, err)
		if list, total, err := db.EABKeysOf(ctx, 4, 0, 10); err != nil || total != 1 || len(list) != 1 || list[0].ID != "two" {
			t.Errorf("after a removal: %v, %d, %v", list, total, err)
		}
		if all, _, err := db.EABKeys(ctx, 0, "", 10); err != nil || len(all) != 2 {
			t.Errorf("of all keys there are %v, %v", all, err)
		}
		if got, err := db.EABKeyOfNumber(ctx, n); err != nil || got.Removed.IsZero() {
			t.Errorf("the number is %+v, %v", got, err)
		}
	})
}

// TestEABClients: the accounts that a key has bound, by pages, with what their bindings say.
func TestEABClients(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *storage.DB) {
		ctx := t.Context()
		k := &auth.EABKey{ID: "one", Org: 4, ByDomains: true, Reusable: true, Created: now(), Sealed: []byte{1}}
		_, err := db.CreateEABKey(ctx, k)
		must(t, err)
		restriction := policy.Restriction{ByDomains: true, Domains: []string{"example.com"}}
		for i := range 3 {
			id := fmt.Sprint("account", i)
			must(t, db.CreateAccount(ctx, &acme.Account{
				ID: acme.AccountID(id), Org: 4, Key: []byte("{}"), Thumbprint: id, Contacts: []string{"mailto:a@example.com"}, Created: now(),
				Binding: &acme.Binding{KeyID: "one", JWS: []byte("{}"), Restriction: restriction},
			}, k))
		}
		list, total, err := db.EABClients(ctx, "one", 1, 1)
		if err != nil || total != 3 || len(list) != 1 || list[0].ID != "account1" || len(list[0].Contacts) != 1 || list[0].Created.IsZero() || !list[0].Deactivated.IsZero() {
			t.Errorf("the second is %+v, %d, %v", list, total, err)
		}
		if list, total, err := db.EABClients(ctx, "one", 3, 10); err != nil || total != 3 || len(list) != 0 {
			t.Errorf("behind the end are %v, %d, %v", list, total, err)
		}
		if list, total, err := db.EABClients(ctx, "none", 0, 10); err != nil || total != 0 || len(list) != 0 {
			t.Errorf("of none: %v, %d, %v", list, total, err)
		}
		a, err := db.AccountByKey(ctx, "account0")
		must(t, err)
		if !a.Binding.Restriction.Equal(restriction) {
			t.Errorf("it is bound by %+v", a.Binding.Restriction)
		}
	})
}
