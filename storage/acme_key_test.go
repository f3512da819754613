package storage_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/redis"
	"github.com/gatehouse-ca/gatehouse/storage/redis/redistest"
)

// onBoth runs a test on both engines.
func onBoth(t *testing.T, test func(t *testing.T, db *storage.DB)) {
	t.Run("embedded", func(t *testing.T) {
		db, _ := open(t)
		test(t, db)
	})
	t.Run("redis", func(t *testing.T) {
		redistest.Need(t)
		e, err := redis.Open(t.Context(), redis.Config{Addrs: []string{redistest.Start(t).Addr}, Name: "keys"})
		must(t, err)
		t.Cleanup(func() { e.Close() })
		db, err := storage.Open(t.Context(), storage.Config{Engine: e, Issuers: []string{"main"}})
		must(t, err)
		test(t, db)
	})
}

// rolled is an account entry with another key, and how often it has changed.
func (a accountEntry) rolled(t *testing.T, times int64) accountEntry {
	t.Helper()
	a.Key, a.Rollovers = newAccountEntry(t).Key, times
	return a
}

// absent demands that no account is found by a key, and that a store which admits a request by it finds none either.
func (a accountEntry) absent(t *testing.T, db *storage.DB) {
	t.Helper()
	key := a.account(t).Thumbprint
	if got, err := db.AccountByKey(t.Context(), key); !problem.Is(err, problem.NotFound) {
		t.Errorf("a key that was given up finds %+v, %v", got, err)
	}
	if got, err := db.Admit(t.Context(), acme.Admission{Thumbprint: key}); err != nil || got.Account != nil {
		t.Errorf("a key that was given up is admitted as %+v, %v", got.Account, err)
	}
}

func roll(ctx context.Context, db *storage.DB, from *acme.Account, to accountEntry, t *testing.T) error {
	next := *to.account(t)
	next.Version = from.Version
	return db.RollKey(ctx, &next, from.Thumbprint)
}

// TestRollKey: RFC 8555, 7.3.5: account, old key and new key in one commit.
func TestRollKey(t *testing.T) {
	onBoth(t, func(t *testing.T, db *storage.DB) {
		ctx := t.Context()
		first, other := newAccountEntry(t), newAccountEntry(t)
		second := first.rolled(t, 1)
		first.make(t, db)
		other.make(t, db)
		a, err := db.AccountByKey(ctx, first.account(t).Thumbprint)
		must(t, err)

		taken := second
		taken.Key = other.Key
		if err := roll(ctx, db, a, taken, t); !problem.Is(err, problem.Conflict) {
			t.Errorf("to a key that has an account: %v", err)
		}
		first.stored(t, db)
		other.stored(t, db)
		must(t, roll(ctx, db, a, second, t))
		second.stored(t, db)
		first.absent(t, db)
		if err := roll(ctx, db, a, first.rolled(t, 1), t); !problem.Is(err, problem.Conflict) {
			t.Errorf("from a version that is gone: %v", err)
		}
		// The old key is free again, for an account with another id.
		if err := db.CreateAccount(ctx, first.account(t), nil); !problem.Is(err, problem.Conflict) {
			t.Errorf("an account took another's id: %v", err)
		}
		again := first
		again.id = acme.AccountID(random())
		again.make(t, db)
		again.stored(t, db)
		second.stored(t, db)
	})
}

// TestRollKeyHasOneWinner: two key changes, a key change against an update and a deactivation, and a key change to a key
// that newAccount takes.
func TestRollKeyHasOneWinner(t *testing.T) {
	onBoth(t, func(t *testing.T, db *storage.DB) {
		ctx := context.Background()
		for range 10 {
			first, fresh := newAccountEntry(t), newAccountEntry(t)
			first.make(t, db)
			a, err := db.AccountByKey(ctx, first.account(t).Thumbprint)
			must(t, err)
			to := func(e accountEntry) func() error { return func() error { return roll(ctx, db, a, e, t) } }
			update := func() error {
				c := *a
				c.Deactivated = now()
				return db.UpdateAccount(ctx, &c)
			}
			x, y, onto := first.rolled(t, 1), first.rolled(t, 1), first
			race(t, to(x), to(y))
			winner := x
			if got, err := db.AccountByKey(ctx, y.account(t).Thumbprint); err == nil {
				winner = y
				x.absent(t, db)
			} else if got != nil {
				t.Error(got)
			} else {
				y.absent(t, db)
			}
			first.absent(t, db)
			if a, err = db.AccountByKey(ctx, winner.account(t).Thumbprint); err != nil {
				t.Fatal(err)
			}
			onto = winner
			onto.Key, onto.Rollovers = fresh.Key, 2
			race(t, to(onto), func() error { return db.CreateAccount(ctx, fresh.account(t), nil) })
			if a, err = db.AccountByKey(ctx, fresh.account(t).Thumbprint); err != nil {
				t.Fatal(err)
			}
			race(t, to(first.rolled(t, 3)), update)
		}
	})
}

// TestReplayOfKeys: a key that was changed stays changed, whatever the store went back to, in any order of journals.
func TestReplayOfKeys(t *testing.T) {
	onBoth(t, func(t *testing.T, db *storage.DB) {
		a := newAccountEntry(t)
		b := a.rolled(t, 1)
		c := a.rolled(t, 2)
		made, second, third := a.event(audit.AccountMade), b.event(audit.AccountEdited), c.event(audit.AccountEdited)
		for name, tc := range map[string]struct {
			before  *accountEntry
			events  []audit.Event
			changed int
			want    accountEntry
		}{
			"lost":                           {nil, []audit.Event{made, second, third}, 3, c},
			"lost, and only the last":        {nil, []audit.Event{third}, 1, c},
			"lost, another journal first":    {nil, []audit.Event{third, made, second}, 1, c},
			"went back before the change":    {&a, []audit.Event{made, second}, 1, b},
			"went back before both":          {&a, []audit.Event{made, second, third}, 2, c},
			"has moved on since":             {&c, []audit.Event{made, second}, 0, c},
			"is as the journal says":         {&b, []audit.Event{made, second}, 0, b},
			"went back, the later one first": {&a, []audit.Event{third, second}, 1, c},
		} {
			t.Run(name, func(t *testing.T) {
				// Each run has an account and keys of its own.
				id := acme.AccountID(random())
				keys := map[string]accountEntry{}
				rename := func(e accountEntry) accountEntry {
					if _, ok := keys[string(e.Key)]; !ok {
						keys[string(e.Key)] = newAccountEntry(t)
					}
					e.id, e.Key = id, keys[string(e.Key)].Key
					return e
				}
				var events []audit.Event
				for _, e := range tc.events {
					for _, entry := range []accountEntry{a, b, c} {
						if string(entry.event(e.Kind).Data) == string(e.Data) {
							events = append(events, rename(entry).event(e.Kind))
						}
					}
				}
				if len(events) != len(tc.events) {
					t.Fatal("the test lost an event")
				}
				if tc.before != nil {
					rename(*tc.before).make(t, db)
				}
				if n := replay(t, db, events...); n != tc.changed {
					t.Errorf("%d entries changed something, want %d", n, tc.changed)
				}
				want := rename(tc.want)
				for range 2 {
					want.stored(t, db)
					for _, other := range []accountEntry{a, b, c} {
						if other = rename(other); string(other.Key) != string(want.Key) {
							other.absent(t, db)
						}
					}
					if n := replay(t, db, events...); n != 0 {
						t.Errorf("a second time %d entries changed something", n)
					}
				}
			})
		}
	})
}

// TestReplayOfAKeyThatIsTaken: the key that was given up is refused all the same, and the account that a client made with the new
// key while the store had lost the change stays the one that the key finds.
func TestReplayOfAKeyThatIsTaken(t *testing.T) {
	onBoth(t, func(t *testing.T, db *storage.DB) {
		a := newAccountEntry(t)
		b, meanwhile := a.rolled(t, 1), newAccountEntry(t)
		meanwhile.Key = b.Key
		a.make(t, db)
		meanwhile.make(t, db)
		events := []audit.Event{a.event(audit.AccountMade), b.event(audit.AccountEdited)}
		if n := replay(t, db, events...); n != 1 {
			t.Errorf("%d entries changed something", n)
		}
		a.absent(t, db)
		meanwhile.stored(t, db)
		got, err := db.Admit(t.Context(), acme.Admission{Account: a.id})
		must(t, err)
		if got.Account == nil || got.Account.Thumbprint != b.account(t).Thumbprint || string(got.Account.Key) != string(b.account(t).Key) {
			t.Errorf("the account is %+v", got.Account)
		}
		if n := replay(t, db, events...); n != 0 {
			t.Errorf("a second time %d entries changed something", n)
		}
		// Its next key is its own again, and the other's stays the other's.
		c := a.rolled(t, 2)
		must(t, roll(t.Context(), db, got.Account, c, t))
		c.stored(t, db)
		meanwhile.stored(t, db)
	})
}

// TestOldAccountRecords: a record or an entry from before key changes is one with none.
func TestOldAccountRecords(t *testing.T) {
	a := newAccountEntry(t)
	e := a.event(audit.AccountMade)
	said, err := acme.AccountFromEvent(e)
	must(t, err)
	if said.Rollovers != 0 || said.Terms != "" {
		t.Errorf("%+v", said)
	}
}

// TestAuthorizationsGivenUp: RFC 8555, 7.5.2: newOrder does not find it, its validation is not due, and an order that relies
// on it cannot begin any more.
func TestAuthorizationsGivenUp(t *testing.T) {
	onBoth(t, func(t *testing.T, db *storage.DB) {
		ctx := t.Context()
		account := newAccount(t, db)
		name := names(t, "www.example.com")
		o, z := newOrder(t, db, account)
		z.Challenges[0].Begun = now()
		must(t, db.BeginChallenge(ctx, z, now().Add(-time.Second)))
		pending := *z
		pending.Deactivated = now()
		must(t, db.DeactivateAuthorization(ctx, &pending))
		if due, err := db.DueChallenges(ctx, now(), 10); err != nil || len(due) != 0 {
			t.Errorf("due: %v, %v", due, err)
		}
		if err := db.FinishChallenge(ctx, z); !problem.Is(err, problem.Conflict) {
			t.Errorf("a validation's outcome is recorded after it: %v", err)
		}
		facts, err := db.OrderFacts(ctx, o)
		must(t, err)
		if got := facts.Authorizations[0]; got.Status(now()) != acme.StatusDeactivated || !got.Deactivated.Equal(pending.Deactivated) || o.Status(now(), facts) != acme.StatusInvalid {
			t.Errorf("%+v", got)
		}

		// One that is valid, made by newAuthz, and a later one beside it.
		fresh := func() *acme.Authorization {
			a := &acme.Authorization{
				ID: acme.AuthzID(random()), Account: account.ID, Org: 1, Identifier: name[0], Created: now(), Expires: now().Add(time.Hour),
				Challenges: []acme.Challenge{{Method: "http-01", Token: "t"}},
			}
			must(t, db.CreateAuthorization(ctx, a))
			if err := db.CreateAuthorization(ctx, &acme.Authorization{ID: a.ID, Identifier: name[0]}); !problem.Is(err, problem.Conflict) {
				t.Errorf("it was made twice: %v", err)
			}
			a.Challenges[0].Proof = &dcv.Proof{Method: dcv.HTTP01, Identifier: name[0], At: now()}
			must(t, db.FinishChallenge(ctx, a))
			return a
		}
		usable := func() *acme.Authorization {
			list, err := db.UsableAuthorizations(ctx, account.ID, name)
			must(t, err)
			return list[0]
		}
		first := fresh()
		second := fresh()
		first.Deactivated = now()
		must(t, db.DeactivateAuthorization(ctx, first))
		if got := usable(); got == nil || got.ID != second.ID {
			t.Errorf("the later one is not found any more: %+v", got)
		}
		relies := &acme.Order{ID: acme.OrderID(random()), Account: account.ID, Org: 1, Names: name, Authzs: []acme.AuthzID{second.ID}, Created: now(), Expires: now().Add(time.Hour)}
		must(t, db.CreateOrder(ctx, relies, nil))
		read := *second
		second.Deactivated = now()
		must(t, db.DeactivateAuthorization(ctx, second))
		if got := usable(); got != nil {
			t.Errorf("what was given up is found: %+v", got)
		}
		i := unbegun(t, db)
		i.Begin = &acme.OrderBegun{Order: relies, Enrollment: i.Enrollment.ID, Authorizations: []*acme.Authorization{&read}}
		if err := db.RecordIntent(ctx, intent(i.Enrollment), i); !problem.Is(err, problem.Conflict) {
			t.Errorf("an order begins on what was given up: %v", err)
		}
	})
}

// TestReplayOfAnAuthorizationGivenUp: a store that went back does not give the authority back; one that has lost the
// authorization gets none.
func TestReplayOfAnAuthorizationGivenUp(t *testing.T) {
	onBoth(t, func(t *testing.T, db *storage.DB) {
		account := newAccount(t, db)
		o, z := newOrder(t, db, account)
		event := func(account acme.AccountID, id acme.AuthzID) audit.Event {
			return audit.Event{
				Kind: audit.AuthzGivenUp, At: now(), Org: 1, Account: string(account),
				Data: fmt.Appendf(nil, `{"authz":%q,"deactivated":%q}`, id, now().Format(time.RFC3339)),
			}
		}
		if n := replay(t, db, event(account.ID, acme.AuthzID(random())), event("another", z.ID)); n != 0 {
			t.Errorf("%d entries changed something", n)
		}
		if n := replay(t, db, event(account.ID, z.ID), event(account.ID, z.ID)); n != 1 {
			t.Errorf("%d entries changed something", n)
		}
		facts, err := db.OrderFacts(t.Context(), o)
		must(t, err)
		if got := facts.Authorizations[0].Status(now()); got != acme.StatusDeactivated {
			t.Errorf("it is %s", got)
		}
	})
}

// TestAClaimThatIsBehindItsAccount: a rollover between the reading of a key's claim and of its account must not let the old
// key pass for the account's.
func TestAClaimThatIsBehindItsAccount(t *testing.T) {
	db, engine := open(t)
	old := newAccountEntry(t)
	account := old.account(t)
	must(t, db.CreateAccount(t.Context(), account, nil))
	must(t, roll(t.Context(), db, account, old.rolled(t, 1), t))
	old.absent(t, db)
	must(t, engine.Commit(t.Context(), storage.Batch{
		Version: storage.NewVersion(), Puts: []storage.Put{{Key: storage.Key("account-key/" + account.Thumbprint), Value: []byte(account.ID)}},
	}))
	old.absent(t, db)
}
