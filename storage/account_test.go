package storage_test

import (
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/storage"
)

// externalKey puts a key for external account binding.
func externalKey(t *testing.T, db *storage.DB, reusable bool) *auth.EABKey {
	t.Helper()
	k := &auth.EABKey{ID: random(), Org: 1, Reusable: reusable, Created: now(), Sealed: []byte("sealed"), Names: []string{"*.example.com"}}
	_, err := db.CreateEABKey(t.Context(), k)
	must(t, err)
	return k
}

// boundAccount is an account that was made by a key, not yet stored.
func boundAccount(t *testing.T, k *auth.EABKey) *acme.Account {
	t.Helper()
	a := newAccountEntry(t).account(t)
	a.Org = k.Org
	a.Binding = &acme.Binding{KeyID: k.ID, JWS: []byte(`{"protected":"e30"}`), Restriction: policy.Restriction{Names: k.Names}}
	return a
}

// usedBy demands what the store says of a key's accounts.
func usedBy(t *testing.T, db *storage.DB, kid string, single string, all ...string) {
	t.Helper()
	k, err := db.EABKey(t.Context(), kid)
	must(t, err)
	if k.Account != single {
		t.Errorf("the key is used by %q, want %q", k.Account, single)
	}
	got, n, err := db.EABAccounts(t.Context(), kid, 100)
	must(t, err)
	if diff := cmp.Diff(all, got); diff != "" || int(n) != len(all) {
		t.Errorf("%d accounts: %s", n, diff)
	}
}

// TestCreateBoundAccount: RFC 8555, 7.3.4: the account and what becomes of the key in one commit, if the key is as it was read.
func TestCreateBoundAccount(t *testing.T) {
	onBoth(t, func(t *testing.T, db *storage.DB) {
		ctx := t.Context()
		once, often := externalKey(t, db, false), externalKey(t, db, true)
		before := *once
		a := boundAccount(t, once)
		must(t, db.CreateAccount(ctx, a, once))
		if !cmp.Equal(*once, before) {
			t.Error("the caller's key was changed")
		}
		got, err := db.AccountByKey(ctx, a.Thumbprint)
		must(t, err)
		if diff := cmp.Diff(a, got); diff != "" {
			t.Error(diff)
		}
		usedBy(t, db, once.ID, string(a.ID), string(a.ID))
		// By the key as it was read before, and as it is now.
		conflicts(t, "a second account of a single-use key", db.CreateAccount(ctx, boundAccount(t, once), once))
		used, err := db.EABKey(ctx, once.ID)
		must(t, err)
		if err := db.CreateAccount(ctx, boundAccount(t, used), used); err == nil {
			t.Error("a used key made an account")
		}
		if err := db.CreateAccount(ctx, boundAccount(t, once), often); err == nil {
			t.Error("an account was made by a key which is not the one it names")
		}
		if err := db.CreateAccount(ctx, newAccountEntry(t).account(t), often); err == nil {
			t.Error("an account that names no key was made by one")
		}
		usedBy(t, db, once.ID, string(a.ID), string(a.ID))

		b := boundAccount(t, often)
		must(t, db.CreateAccount(ctx, b, often))
		conflicts(t, "an account whose key has one", db.CreateAccount(ctx, func() *acme.Account { c := *b; c.ID = "x"; return &c }(), often))
		usedBy(t, db, often.ID, "", string(b.ID))
		revoked := *often
		revoked.Revoked = now()
		_, err = db.UpdateEABKey(ctx, &revoked)
		must(t, err)
		late := boundAccount(t, often)
		conflicts(t, "an account by a key that was revoked meanwhile", db.CreateAccount(ctx, late, often))
		if _, err := db.AccountByKey(ctx, late.Thumbprint); !problem.Is(err, problem.NotFound) {
			t.Error("the account is there all the same:", err)
		}
		usedBy(t, db, often.ID, "", string(b.ID))
	})
}

// TestBindingRaces: of forty accounts by one single-use key one is made; and a key's use and its revocation have one winner.
func TestBindingRaces(t *testing.T) {
	onBoth(t, func(t *testing.T, db *storage.DB) {
		once := externalKey(t, db, false)
		var made atomic.Int32
		var wg sync.WaitGroup
		for range 40 {
			a := boundAccount(t, once)
			wg.Go(func() {
				switch err := db.CreateAccount(t.Context(), a, once); {
				case err == nil:
					made.Add(1)
				case !problem.Is(err, problem.Conflict):
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if made.Load() != 1 {
			t.Errorf("%d accounts", made.Load())
		}
		for round := range 10 {
			k := externalKey(t, db, round%2 == 0)
			a, revoked := boundAccount(t, k), *k
			revoked.Revoked = now()
			if k.Reusable { // an account does not change it, so both can come first; but none follows a revocation
				_, err := db.UpdateEABKey(t.Context(), &revoked)
				must(t, err)
				conflicts(t, "after a revocation", db.CreateAccount(t.Context(), a, k))
				continue
			}
			race(t, func() error { return db.CreateAccount(t.Context(), a, k) }, func() error { _, err := db.UpdateEABKey(t.Context(), &revoked); return err })
		}
	})
}

// TestReplayOfBindings: a key that bound an account is used after a replay, in whichever sequence the journals come, and the
// account is restricted as before.
func TestReplayOfBindings(t *testing.T) {
	entry := newAccountEntry(t)
	key := func(reusable bool) (string, audit.Event) {
		kid := random()
		data, err := json.Marshal(map[string]any{"id": kid, "reusable": reusable, "created": now(), "sealed": []byte("sealed")})
		must(t, err)
		return kid, audit.Event{Kind: audit.EABKeyMade, At: now(), Actor: "uid:0", Org: 1, Data: data, Detail: kid}
	}
	made := func(kid string) audit.Event {
		e := entry.event(audit.AccountMade)
		binding := fmt.Sprintf(`,"binding":{"keyID":%q,"jws":{"protected":"e30"},"profiles":["tls"],"names":["*.example.com"]}}`, kid)
		e.Data = append(e.Data[:len(e.Data)-1], binding...)
		return e
	}
	for _, reusable := range []bool{false, true} {
		kid, keyMade := key(reusable)
		single := string(entry.id)
		if reusable {
			single = ""
		}
		for name, events := range map[string][]audit.Event{
			"key first":     {keyMade, made(kid)},
			"account first": {made(kid), keyMade},
			"twice":         {made(kid), keyMade, made(kid), keyMade},
		} {
			t.Run(fmt.Sprint(name, reusable), func(t *testing.T) {
				db, _ := open(t)
				replay(t, db, events...)
				usedBy(t, db, kid, single, string(entry.id))
				a, err := db.AccountByKey(t.Context(), entry.account(t).Thumbprint)
				must(t, err)
				want := &acme.Binding{KeyID: kid, JWS: []byte(`{"protected":"e30"}`), Restriction: policy.Restriction{Profiles: []string{"tls"}, Names: []string{"*.example.com"}}}
				if diff := cmp.Diff(want, a.Binding); diff != "" {
					t.Error(diff)
				}
				if n := replay(t, db, events...); n != 0 {
					t.Errorf("a second time %d entries changed something", n)
				}
			})
		}
	}
	t.Run("made again without it", func(t *testing.T) {
		db, _ := open(t)
		entry.make(t, db)
		kid, keyMade := key(false)
		if n := replay(t, db, keyMade, made(kid)); n != 2 {
			t.Errorf("%d entries changed something", n)
		}
		a, err := db.AccountByKey(t.Context(), entry.account(t).Thumbprint)
		must(t, err)
		if a.Binding == nil || a.Binding.KeyID != kid {
			t.Errorf("%+v", a.Binding)
		}
		usedBy(t, db, kid, string(entry.id), string(entry.id))
	})
}
