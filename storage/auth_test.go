package storage_test

import (
	"context"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/storage"
)

func organisation(id auth.OrgID, slug string) *auth.Org {
	return &auth.Org{ID: id, Slug: slug, Name: "Name", EAB: auth.EABOff, Created: now()}
}

// TestOrganisations: what was put is read as it was, and changes only as long as nothing else has.
func TestOrganisations(t *testing.T) {
	onBoth(t, func(t *testing.T, db *storage.DB) {
		ctx := t.Context()
		list, none, err := db.Orgs(ctx)
		if err != nil || len(list) != 0 || none != [16]byte{} {
			t.Fatalf("a new store has %v, %x, %v", list, none, err)
		}
		hints := db.WatchOrgs(ctx)
		a := organisation(70000, "a")
		a.Parent, a.Profiles, a.Disabled, a.Edits, a.EAB = 1, []string{}, now(), 3, auth.EABRequired
		a.Closed, a.Details = now(), auth.OrgDetails{
			AlternativeName: "alternative", Alias: "alias", ContactEmails: []string{"ann@example.com", "ben@example.com"}, Address1: "1", Address2: "2",
			Address3: "3", City: "Town", State: "Land", PostalCode: "12345", Country: "DE",
		}
		note, err := db.CreateOrg(ctx, a, none)
		must(t, err)
		select {
		case <-hints:
		case <-time.After(10 * time.Second):
			t.Error("no hint comes")
		}
		list, first, err := db.Orgs(ctx)
		must(t, err)
		if len(list) != 1 || !reflect.DeepEqual(list[0], a) || a.Version == [16]byte{} {
			t.Errorf("it is read as %+v, want %+v", list[0], a)
		}
		for name, o := range map[string]*auth.Org{
			"a number": organisation(70000, "b"), "a slug": organisation(70001, "a"),
		} {
			_, err := db.CreateOrg(ctx, o, first)
			conflicts(t, name+" that another has", err)
		}
		_, err = db.CreateOrg(ctx, organisation(70002, "c"), none)
		conflicts(t, "a check against another state", err)
		_, err = db.CreateOrg(ctx, organisation(5, "b"), first)
		must(t, err)
		_, err = db.UpdateOrg(ctx, a, first)
		conflicts(t, "a change after another's", err)
		list, second, err := db.Orgs(ctx)
		must(t, err)
		if len(list) != 2 || list[0].Slug != "b" || list[1].Slug != "a" || list[1].Profiles == nil || list[0].Profiles != nil {
			t.Errorf("the list is %+v", list)
		}
		stale := *a
		a.Name = "Other"
		_, err = db.UpdateOrg(ctx, a, second)
		must(t, err)
		_, now, err := db.Orgs(ctx)
		must(t, err)
		_, err = db.UpdateOrg(ctx, &stale, now)
		conflicts(t, "a change of what was changed", err)
		if v, err := db.OrgsVersion(ctx); err != nil || v != now || v == first || v == second {
			t.Errorf("the version is %x, %v", v, err)
		}
		notes, err := db.Unjournaled(ctx, time.Now().Add(time.Hour), 10)
		if err != nil || len(notes) != 3 || notes[0] != note {
			t.Errorf("notes are %v, %v; want %v first", notes, err, note)
		}
		for _, n := range notes {
			must(t, db.Journaled(ctx, n))
			must(t, db.Journaled(ctx, n))
		}
		if notes, err := db.Unjournaled(ctx, time.Now().Add(time.Hour), 10); err != nil || len(notes) != 0 {
			t.Errorf("left are %v, %v", notes, err)
		}
	})
}

// TestManyOrganisations are read in pages, and two numbers are never one.
func TestManyOrganisations(t *testing.T) {
	db, _ := open(t)
	version := [16]byte{}
	for i := range 1203 {
		_, err := db.CreateOrg(t.Context(), organisation(auth.OrgID(100+i), fmt.Sprint("o", i)), version)
		must(t, err)
		version, err = db.OrgsVersion(t.Context())
		must(t, err)
	}
	list, _, err := db.Orgs(t.Context())
	must(t, err)
	for i, o := range list {
		if o.ID != auth.OrgID(100+i) {
			t.Fatalf("at %d is %d", i, o.ID)
		}
	}
	if len(list) != 1203 {
		t.Errorf("%d are read", len(list))
	}
	a, err := db.NextOrg(t.Context())
	must(t, err)
	b, err := db.NextOrg(t.Context())
	must(t, err)
	if b <= a || a < 100_000 {
		t.Errorf("numbers %d and %d", a, b)
	}
}

// TestEABKeys: what was put is read as it was, listed in both lists, and changes under its version alone.
func TestEABKeys(t *testing.T) {
	onBoth(t, func(t *testing.T, db *storage.DB) {
		ctx := t.Context()
		k := &auth.EABKey{
			ID: "kid", Org: 4, Label: "label", Profiles: []string{"tls"}, Names: []string{"*.example.com"}, Reusable: true, Created: now(), Expires: now().Add(time.Hour),
			Revoked: now(), Account: "a", Sealed: []byte{1, 2, 3}, Edits: 4,
		}
		note, err := db.CreateEABKey(ctx, k)
		must(t, err)
		got, err := db.EABKey(ctx, "kid")
		must(t, err)
		if !reflect.DeepEqual(got, k) {
			t.Errorf("it is read as %+v, want %+v", got, k)
		}
		again := *k
		_, err = db.CreateEABKey(ctx, &again)
		conflicts(t, "a second key of one id", err)
		stale := *k
		k.Label = "other"
		_, err = db.UpdateEABKey(ctx, k)
		must(t, err)
		_, err = db.UpdateEABKey(ctx, &stale)
		conflicts(t, "a change of what was changed", err)
		if _, err := db.EABKey(ctx, "none"); !problem.Is(err, problem.NotFound) {
			t.Errorf("no key: %v", err)
		}
		for org, want := range map[auth.OrgID]int{0: 1, 4: 1, 5: 0} {
			if list, next, err := db.EABKeys(ctx, org, "", 10); err != nil || len(list) != want || next != "" {
				t.Errorf("of organisation %d: %v, %q, %v", org, list, next, err)
			}
		}
		if accounts, n, err := db.EABAccounts(ctx, "kid", 10); err != nil || n != 0 || len(accounts) != 0 {
			t.Errorf("accounts are %v, %d, %v", accounts, n, err)
		}
		if notes, err := db.Unjournaled(ctx, time.Now().Add(time.Hour), 10); err != nil || len(notes) == 0 || notes[0] != note || notes[0].EABKey != "kid" {
			t.Errorf("notes are %v, %v", notes, err)
		}
	})
}

// TestTenantTransitionsHaveOneWinner runs each of them twice at once, on both engines.
func TestTenantTransitionsHaveOneWinner(t *testing.T) {
	onBoth(t, func(t *testing.T, db *storage.DB) {
		ctx := context.Background()
		for round := range 10 {
			version, err := db.OrgsVersion(ctx)
			must(t, err)
			one := func(o *auth.Org) func() error {
				return func() error { _, err := db.CreateOrg(ctx, o, version); return err }
			}
			race(t, one(organisation(auth.OrgID(1000+round), fmt.Sprint("a", round))), one(organisation(auth.OrgID(2000+round), fmt.Sprint("b", round))))
			list, version, err := db.Orgs(ctx)
			must(t, err)
			update := func() error { c := *list[0]; c.Edits++; _, err := db.UpdateOrg(ctx, &c, version); return err }
			race(t, update, update)
			k := &auth.EABKey{ID: random(), Org: 1, Created: now(), Sealed: []byte{1}}
			create := func() error { c := *k; _, err := db.CreateEABKey(ctx, &c); return err }
			race(t, create, create)
			k, err = db.EABKey(ctx, k.ID)
			must(t, err)
			revoke := func() error { c := *k; c.Revoked = now(); _, err := db.UpdateEABKey(ctx, &c); return err }
			race(t, revoke, revoke)
		}
	})
}

// TestReadOnly: what only reads writes nothing.
func TestReadOnly(t *testing.T) {
	_, counting := open(t)
	ro := storage.ReadOnly(counting)
	if _, err := ro.CreateOrg(t.Context(), organisation(9, "x"), [16]byte{}); err == nil {
		t.Error("an organisation was made")
	}
	if _, err := ro.CreateEABKey(t.Context(), &auth.EABKey{ID: "k", Org: 1, Sealed: []byte{1}}); err == nil {
		t.Error("a key was made")
	}
	if list, _, err := ro.Orgs(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("it reads %v, %v", list, err)
	}
}
