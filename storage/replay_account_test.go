package storage_test

import (
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/acme/jws"
	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// accountEntry is an ACME account as a journal holds it, with its key.
type accountEntry struct {
	id          acme.AccountID
	Key         json.RawMessage `json:"key"`
	Rollovers   int64           `json:"rollovers,omitzero"`
	Contacts    []string        `json:"contacts,omitempty"`
	TermsAgreed time.Time       `json:"termsAgreed,omitzero"`
	Created     time.Time       `json:"created"`
	Deactivated time.Time       `json:"deactivated,omitzero"`
}

func newAccountEntry(t *testing.T) accountEntry {
	t.Helper()
	key, err := testca.NewKey(testca.P256)
	must(t, err)
	point, err := key.Public().(*ecdsa.PublicKey).Bytes()
	must(t, err)
	enc := base64.RawURLEncoding.EncodeToString
	return accountEntry{
		id: acme.AccountID(random()), Created: now().Add(-time.Hour), Contacts: []string{"mailto:a@example.com"},
		Key: fmt.Appendf(nil, `{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}`, enc(point[1:33]), enc(point[33:])),
	}
}

func (a accountEntry) event(kind audit.Kind) audit.Event {
	data, err := json.Marshal(a)
	if err != nil {
		panic(err)
	}
	return audit.Event{Kind: kind, At: now(), Actor: "acme:" + string(a.id), Org: 1, Account: string(a.id), Data: data}
}

// account is what the entry means.
func (a accountEntry) account(t *testing.T) *acme.Account {
	t.Helper()
	key, err := jws.ParsePublicKey(a.Key)
	must(t, err)
	return &acme.Account{
		ID: a.id, Org: 1, Key: key.Marshal(), Thumbprint: key.Thumbprint(), Rollovers: a.Rollovers, Contacts: a.Contacts, TermsAgreed: a.TermsAgreed,
		Created: a.Created, Deactivated: a.Deactivated,
	}
}

func (a accountEntry) make(t *testing.T, db *storage.DB) {
	t.Helper()
	must(t, db.CreateAccount(t.Context(), a.account(t), nil))
}

// stored demands that the store has exactly this, found by its key.
func (a accountEntry) stored(t *testing.T, db *storage.DB) {
	t.Helper()
	want := a.account(t)
	got, err := db.AccountByKey(t.Context(), want.Thumbprint)
	must(t, err)
	want.Version = got.Version
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("the account:", diff)
	}
}

// TestReplayOfAccounts: one that was lost comes back with all its edits; one that is there only moves to deactivated.
func TestReplayOfAccounts(t *testing.T) {
	a := newAccountEntry(t)
	edited, gone := a, a
	edited.Contacts, edited.TermsAgreed = []string{"mailto:b@example.com"}, now()
	gone.Deactivated = now()
	for _, tt := range []struct {
		name    string
		before  func(t *testing.T, db *storage.DB)
		events  []audit.Event
		changed int
		want    accountEntry
	}{
		{"lost, and its edits", nil, []audit.Event{a.event(audit.AccountMade), edited.event(audit.AccountEdited)}, 2, edited},
		{"lost, made before the journal's part", nil, []audit.Event{edited.event(audit.AccountEdited)}, 1, edited},
		{"lost, deactivated", nil, []audit.Event{a.event(audit.AccountMade), gone.event(audit.AccountEdited)}, 2, gone},
		{"lost, and an edit that came too late to the journal", nil,
			[]audit.Event{gone.event(audit.AccountMade), a.event(audit.AccountEdited)}, 1, gone},
		{"there, and edited since", edited.make, []audit.Event{a.event(audit.AccountMade)}, 0, edited},
		{"there, and deactivated since", gone.make, []audit.Event{a.event(audit.AccountMade), edited.event(audit.AccountEdited)}, 0, gone},
		{"there, and the journal deactivates", edited.make, []audit.Event{a.event(audit.AccountMade), gone.event(audit.AccountEdited)}, 1,
			accountEntry{a.id, a.Key, 0, edited.Contacts, edited.TermsAgreed, a.Created, gone.Deactivated}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			db, _ := open(t)
			if tt.before != nil {
				tt.before(t, db)
			}
			if n := replay(t, db, tt.events...); n != tt.changed {
				t.Errorf("%d entries changed something, want %d", n, tt.changed)
			}
			tt.want.stored(t, db)
			if n := replay(t, db, tt.events...); n != 0 {
				t.Errorf("a second time %d entries changed something", n)
			}
			tt.want.stored(t, db)
		})
	}
}

// TestReplayOfARaceForOneKey: the loser's account was journaled and never was one.
func TestReplayOfARaceForOneKey(t *testing.T) {
	db, c := open(t)
	winner := newAccountEntry(t)
	loser := winner
	loser.id, loser.Contacts = acme.AccountID(random()), nil
	replay(t, db, winner.event(audit.AccountMade), loser.event(audit.AccountMade), loser.event(audit.AccountEdited))
	winner.stored(t, db)
	if items, err := c.Get(t.Context(), storage.Key("account/"+string(loser.id))); err != nil || items[0].Found {
		t.Errorf("the loser has a record, %v", err)
	}
}
