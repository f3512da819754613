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

func person(id auth.PrincipalID, login string) *auth.Principal {
	return &auth.Principal{ID: id, Org: 2, Customer: 1, Login: login, Created: now()}
}

func bound(id string, kind auth.CredentialKind, hash byte) auth.Credential {
	return auth.Credential{ID: id, Kind: kind, Hash: [32]byte{hash}, Created: now()}
}

// TestPrincipals: what was put is read as it was, found by all that it is known by, and changes under its version alone.
func TestPrincipals(t *testing.T) {
	onBoth(t, func(t *testing.T, db *storage.DB) {
		ctx := t.Context()
		p := person(7, "ada")
		p.Name, p.Mail, p.Expires, p.Disabled, p.Pruned, p.Edits = "Ada", "ada@example.com", now().Add(time.Hour), now(), now(), 4
		p.Grants = []auth.Grant{{Org: 2, Role: auth.Approver}, {Org: 3, Role: auth.Auditor}}
		p.Password = auth.Password{Sealed: []byte{1, 2, 3}, Changed: now()}
		full := bound("AAAAAAAAAAAA", auth.ClientCertificate, 1)
		full.Label, full.Subject, full.Previous, full.PreviousUntil, full.Rotated, full.Expires = "label", "CN=ada", [32]byte{9}, now().Add(time.Hour), now(), now().Add(2*time.Hour)
		gone := bound("BBBBBBBBBBBB", auth.APIKey, 2)
		gone.Revoked = now()
		p.Credentials = []auth.Credential{full, gone}
		note, err := db.CreatePrincipal(ctx, p)
		must(t, err)
		got, err := db.Principal(ctx, 7)
		must(t, err)
		if !reflect.DeepEqual(got, p) {
			t.Errorf("it is read as\n%+v, want\n%+v", got, p)
		}
		finds := func(lookup string, want auth.PrincipalID) {
			t.Helper()
			if id, err := db.PrincipalByLookup(ctx, lookup); id != want || (err == nil) != (want != 0) || want == 0 && !problem.Is(err, problem.NotFound) {
				t.Errorf("%s finds %v, %v", lookup, id, err)
			}
		}
		if len(p.Lookups()) != 4 {
			t.Errorf("it is known by %q", p.Lookups())
		}
		for _, l := range p.Lookups() {
			finds(l, 7)
		}
		for name, other := range map[string]*auth.Principal{"a number": person(7, "eve"), "a login": person(8, "ada")} {
			_, err := db.CreatePrincipal(ctx, other)
			conflicts(t, name+" that another has", err)
		}
		eve := person(8, "eve")
		eve.Credentials = []auth.Credential{bound("CCCCCCCCCCCC", auth.ClientCertificate, 1)}
		_, err = db.CreatePrincipal(ctx, eve)
		conflicts(t, "a certificate that another has", err)
		if _, err := db.Principal(ctx, 8); !problem.Is(err, problem.NotFound) {
			t.Errorf("nothing of it is there: %v", err)
		}

		next := *p
		next.Credentials = []auth.Credential{full, bound("DDDDDDDDDDDD", auth.APIKey, 3)}
		next.Credentials[0].Revoked = now()
		_, err = db.UpdatePrincipal(ctx, p, &next)
		must(t, err)
		_, err = db.UpdatePrincipal(ctx, p, &next)
		conflicts(t, "a change of what was changed", err)
		finds("id/AAAAAAAAAAAA", 7)
		finds("id/BBBBBBBBBBBB", 0)
		finds("id/DDDDDDDDDDDD", 7)
		finds(p.Lookups()[1], 0)
		_, err = db.CreatePrincipal(ctx, eve)
		must(t, err)
		if id, err := db.PrincipalByLogin(ctx, 1, "eve"); err != nil || id != 8 {
			t.Errorf("the login finds %v, %v", id, err)
		}
		if _, err := db.PrincipalByLogin(ctx, 2, "eve"); !problem.Is(err, problem.NotFound) {
			t.Errorf("the login below another customer: %v", err)
		}
		for org, want := range map[auth.OrgID]int{0: 2, 2: 2, 3: 0} {
			if list, cursor, err := db.Principals(ctx, org, "", 10); err != nil || len(list) != want || cursor != "" {
				t.Errorf("of organisation %d: %v, %q, %v", org, list, cursor, err)
			}
		}
		one, cursor, err := db.Principals(ctx, 0, "", 1)
		must(t, err)
		two, _, err := db.Principals(ctx, 0, cursor, 1)
		must(t, err)
		if len(one) != 1 || len(two) != 1 || one[0].ID == two[0].ID {
			t.Errorf("pages are %v and %v", one, two)
		}
		if _, _, err := db.Principals(ctx, 0, "nonsense", 1); !problem.Is(err, problem.NotFound) {
			t.Errorf("a cursor that is none: %v", err)
		}
		notes, err := db.Unjournaled(ctx, time.Now().Add(time.Hour), 10)
		if err != nil || len(notes) != 3 || notes[0] != note || notes[0].Principal != 7 {
			t.Errorf("notes are %v, %v", notes, err)
		}
		must(t, db.Journaled(ctx, note))
	})
}

// TestWhatGoesWithPrincipals and is in no journal.
func TestWhatGoesWithPrincipals(t *testing.T) {
	onBoth(t, func(t *testing.T, db *storage.DB) {
		ctx := t.Context()
		must(t, db.CredentialUse(ctx, "A", now()))
		if used, err := db.CredentialUsed(ctx, "A", "B"); err != nil || !used[0].Equal(now()) && time.Since(used[0]) > time.Minute || !used[1].IsZero() {
			t.Errorf("used are %v, %v", used, err)
		}
		must(t, db.RememberAddress(ctx, 7, "192.0.2.1", time.Now().Add(time.Hour)))
		for address, want := range map[string]bool{"192.0.2.1": true, "192.0.2.2": false} {
			if known, err := db.KnownAddress(ctx, 7, address); err != nil || known != want {
				t.Errorf("%s is known %t, %v", address, known, err)
			}
		}
		if known, err := db.KnownAddress(ctx, 8, "192.0.2.1"); err != nil || known {
			t.Errorf("another's address: %t, %v", known, err)
		}
		token := auth.AccessToken{Principal: 7, Credential: "A", Secret: [32]byte{1}, Expires: time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)}
		must(t, db.PutToken(ctx, [32]byte{5}, token))
		if got, err := db.AccessToken(ctx, [32]byte{5}); err != nil || !reflect.DeepEqual(got, token) {
			t.Errorf("the token is %+v, %v", got, err)
		}
		if _, err := db.AccessToken(ctx, [32]byte{6}); !problem.Is(err, problem.NotFound) {
			t.Errorf("a token that there is not: %v", err)
		}
		rate := auth.AttemptRate{Rate: auth.Rate{Burst: 2, Interval: time.Hour}, Name: "login", Of: random()}
		for i := range 3 {
			if wait, err := db.Attempt(ctx, rate); err != nil || (wait > 0) != (i == 2) {
				t.Errorf("attempt %d waits %s, %v", i+1, wait, err)
			}
		}
		other := rate
		other.Of = random()
		if wait, err := db.Attempt(ctx, other, rate); err != nil || wait == 0 {
			t.Errorf("all or none: %s, %v", wait, err)
		}
	})
}

// TestPrincipalTransitionsHaveOneWinner runs each of them twice at once, on both engines.
func TestPrincipalTransitionsHaveOneWinner(t *testing.T) {
	onBoth(t, func(t *testing.T, db *storage.DB) {
		ctx := context.Background()
		for round := range 10 {
			id := auth.PrincipalID(100 + 2*round)
			create := func(id auth.PrincipalID) func() error {
				return func() error { _, err := db.CreatePrincipal(ctx, person(id, fmt.Sprint("p", round))); return err }
			}
			race(t, create(id), create(id+1))
			id, err := db.PrincipalByLogin(ctx, 1, fmt.Sprint("p", round))
			must(t, err)
			p, err := db.Principal(ctx, id)
			must(t, err)
			update := func() error { c := *p; c.Edits++; _, err := db.UpdatePrincipal(ctx, p, &c); return err }
			race(t, update, update)
		}
	})
}
