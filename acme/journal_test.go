package acme

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-ca/gatehouse/audit"
)

// replay gives an empty store what the journal holds, and returns its accounts without their versions.
func (w *world) replay() map[AccountID]*Account {
	w.t.Helper()
	store, restored := newMemStore(), map[AccountID]bool{}
	for _, e := range w.journal.all() {
		if e.Kind == audit.AuthzGivenUp {
			continue
		}
		said, err := AccountFromEvent(e)
		if err != nil {
			w.t.Fatal(err)
		}
		have := store.accounts[said.ID]
		switch next := Replayed(have, said, restored[said.ID]); {
		case next == nil:
		case have == nil:
			restored[said.ID] = store.CreateAccount(w.t.Context(), next, nil) == nil
		case next.Thumbprint != have.Thumbprint:
			if err := store.RollKey(w.t.Context(), next, have.Thumbprint); err != nil {
				w.t.Fatal(err)
			}
		default:
			if err := store.UpdateAccount(w.t.Context(), next); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	return unversioned(store.accounts)
}

func unversioned(accounts map[AccountID]*Account) map[AccountID]*Account {
	out := map[AccountID]*Account{}
	for id, a := range accounts {
		a = a.clone()
		a.Version = [16]byte{}
		if len(a.Contacts) == 0 {
			a.Contacts = nil
		}
		out[id] = a
	}
	return out
}

// sameAfterReplay holds the journal to giving back exactly what the store has.
func (w *world) sameAfterReplay() {
	w.t.Helper()
	if diff := cmp.Diff(unversioned(w.store.accounts), w.replay()); diff != "" {
		w.t.Error("the journal does not give back what was stored:", diff)
	}
}

var errDisk = errors.New("disk full")

// wantUnrecorded is the answer while the journal fails.
func (a answer) wantUnrecorded(t *testing.T) {
	t.Helper()
	a.wantProblem(t, http.StatusServiceUnavailable, "serverInternal")
	if strings.Contains(string(a.body), "disk") || a.header.Get("Retry-After") == "" {
		t.Errorf("%v %s", a.header, a.body)
	}
}

// TestNewAccountIsNotAcknowledgedBeforeItIsJournaled: the first request made the account and could not journal it. Later
// ones find it.
func TestNewAccountIsNotAcknowledgedBeforeItIsJournaled(t *testing.T) {
	for name, restart := range map[string]bool{"same process": false, "after a restart": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c := w.client()
			w.journal.fails(errDisk)
			c.post("/acme/r/new-account", map[string]any{"contact": []string{"mailto:a@example.com"}}).wantUnrecorded(t)
			if len(w.store.accounts) != 1 {
				t.Fatal("the test is about an account that only the store has")
			}
			if restart {
				w.server = w.another()
			}
			for _, in := range []map[string]any{{}, {"onlyReturnExisting": true}} {
				c.post("/acme/r/new-account", in).wantUnrecorded(t)
			}
			w.journal.fails(nil)
			c.kid = c.post("/acme/r/new-account", map[string]any{"onlyReturnExisting": true}).want(t, http.StatusOK).header.Get("Location")
			w.sameAfterReplay()
			// What this process knows to be there is not written again.
			key := &client{w: w, key: c.key}
			key.post("/acme/r/new-account", map[string]any{}).want(t, http.StatusOK)
			c.read(c.kid).want(t, http.StatusOK)
			if n := len(w.journal.all()); n != 1 {
				t.Errorf("%d entries", n)
			}
		})
	}
}

func TestAccountUpdateIsNotAcknowledgedBeforeItIsJournaled(t *testing.T) {
	for name, restart := range map[string]bool{"same process": false, "after a restart": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c := w.account()
			in := map[string]any{"contact": []string{"mailto:a@example.com"}}
			w.journal.fails(errDisk)
			c.to(c.kid, in).wantUnrecorded(t)
			if restart {
				w.server = w.another()
			}
			c.to(c.kid, in).wantUnrecorded(t) // there is nothing left to change
			c.read(c.kid).wantUnrecorded(t)
			w.journal.fails(nil)
			c.to(c.kid, in).want(t, http.StatusOK)
			w.sameAfterReplay()
			if n := len(w.journal.all()); n != 2 {
				t.Errorf("%d entries", n)
			}
		})
	}
}

func TestDeactivationIsNotAcknowledgedBeforeItIsJournaled(t *testing.T) {
	for name, restart := range map[string]bool{"same process": false, "after a restart": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c := w.account()
			o := c.newOrder("a.example.com")
			in := map[string]any{"status": "deactivated"}
			w.journal.fails(errDisk)
			c.to(c.kid, in).wantUnrecorded(t)
			if restart {
				w.server = w.another()
			}
			key := &client{w: w, key: c.key}
			c.to(c.kid, in).wantUnrecorded(t)
			c.read(o.url).wantUnrecorded(t)
			key.post("/acme/r/new-account", map[string]any{}).wantUnrecorded(t)
			w.journal.fails(nil)
			c.read(o.url).wantProblem(t, http.StatusUnauthorized, "unauthorized") // RFC 8555, 7.3.6
			w.sameAfterReplay()
			c.to(c.kid, in).wantProblem(t, http.StatusUnauthorized, "unauthorized")
			key.post("/acme/r/new-account", map[string]any{}).wantProblem(t, http.StatusUnauthorized, "unauthorized")
			if n := len(w.journal.all()); n != 2 {
				t.Errorf("%d entries", n)
			}
		})
	}
}

// TestTheJournalHoldsOnlyWhatTheStoreTook: losers of a conflict are no facts.
func TestTheJournalHoldsOnlyWhatTheStoreTook(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	elsewhere := c.elsewhere()
	w.store.meanwhile("CreateAccount", func() { elsewhere.post("/acme/r/new-account", map[string]any{}).want(t, http.StatusCreated) })
	c.kid = c.post("/acme/r/new-account", map[string]any{"contact": []string{"mailto:a@example.com"}}).want(t, http.StatusOK).header.Get("Location")
	// This process does not know what the other one's journal holds, so it says once more what the store has: the winner's.
	for _, e := range w.journal.all() {
		if a, err := AccountFromEvent(e); err != nil || len(a.Contacts) > 0 {
			t.Errorf("the loser of two new accounts is in the journal: %+v, %v", a, err)
		}
	}
	w.store.meanwhile("UpdateAccount", func() { // another process is first
		w.store.edit(func() {
			a := w.store.accounts[c.id()].clone()
			a.Deactivated, a.Version = testTime, newVersion()
			w.store.accounts[a.ID] = a
		})
	})
	c.to(c.kid, map[string]any{"contact": []string{"mailto:b@example.com"}}).wantProblem(t, http.StatusUnauthorized, "unauthorized")
	last := w.journal.all()[len(w.journal.all())-1]
	if a, err := AccountFromEvent(last); err != nil || a.Deactivated.IsZero() {
		t.Errorf("the last entry is not the deactivation: %+v, %v", a, err)
	}
	w.sameAfterReplay()
}

// TestJournalFollowsTheStoresOrder: a change waits until the one before it is in the journal.
func TestJournalFollowsTheStoresOrder(t *testing.T) {
	synctest.Test(t, testJournalFollowsTheStoresOrder)
}

func testJournalFollowsTheStoresOrder(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	w.server.journaled.init(journaledKept) // nothing is known, so that a reader has to journal as well
	var others sync.WaitGroup
	w.journal.meanwhile(func() {
		others.Go(func() {
			c.to(c.kid, map[string]any{"contact": []string{"mailto:b@example.com"}}).want(t, http.StatusOK)
		})
		others.Go(func() { c.read(c.kid).want(t, http.StatusOK) })
		others.Go(func() { c.w.client().post("/acme/r/new-account", map[string]any{}).want(t, http.StatusCreated) }) // another account does not wait
		synctest.Wait()
		if n := len(w.journal.all()); n != 2 {
			t.Errorf("%d entries: somebody did not wait, or waited for another account", n)
		}
	})
	c.to(c.kid, map[string]any{"contact": []string{"mailto:a@example.com"}}).want(t, http.StatusOK)
	others.Wait()
	if got := w.store.accounts[c.id()].Contacts; len(got) != 1 || got[0] != "mailto:b@example.com" {
		t.Error(got)
	}
	w.sameAfterReplay()
}

// TestWaitingForTheJournalEnds: a change behind one that hangs is refused in time, and is not made.
func TestWaitingForTheJournalEnds(t *testing.T) { synctest.Test(t, testWaitingForTheJournalEnds) }

func testWaitingForTheJournalEnds(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	leave, err := w.server.journaled.turn(t.Context(), c.id())
	if err != nil {
		t.Fatal(err)
	}
	w.store.taken()
	c.to(c.kid, map[string]any{"contact": []string{"mailto:a@example.com"}}).wantUnrecorded(t)
	if trips := w.store.taken(); slices.Contains(trips, "UpdateAccount") {
		t.Error("it was written out of turn:", trips)
	}
	w.server.journaled.init(journaledKept)
	leave2, err := w.server.journaled.turn(t.Context(), c.id())
	if err != nil {
		t.Fatal(err)
	}
	c.read(c.kid).wantUnrecorded(t)
	leave()
	leave2()
	c.to(c.kid, map[string]any{"contact": []string{"mailto:a@example.com"}}).want(t, http.StatusOK)
}

// TestJournalGivesBackTheStore has several processes change accounts at once, with a journal that fails now and then; in the
// end everybody asks again.
func TestJournalGivesBackTheStore(t *testing.T) {
	w := newWorld(t)
	clients := []*client{w.account(), w.account()}
	var wg sync.WaitGroup
	for n, c := range clients {
		for i := range 12 {
			wg.Go(func() {
				if i%4 == 3 {
					w.journal.fails(errDisk)
					defer w.journal.fails(nil)
				}
				in := map[string]any{"contact": []string{fmt.Sprintf("mailto:a%d@example.com", i)}}
				if n == 1 && i == 7 {
					in = map[string]any{"status": "deactivated"}
				}
				c.to(c.kid, in)
			})
		}
	}
	wg.Wait()
	w.journal.fails(nil)
	for _, c := range clients {
		c.read(c.kid)
	}
	w.sameAfterReplay()
}

func TestJournaledIsBounded(t *testing.T) {
	var j journaled
	j.init(3)
	account := func(i int) *Account { return &Account{ID: AccountID(fmt.Sprint(i)), Version: [16]byte{byte(i)}} }
	for i := range 10 {
		j.add(account(i))
		if !j.has(account(i)) {
			t.Errorf("%d is forgotten at once", i)
		}
	}
	if len(j.recent)+len(j.older) > 6 || j.has(account(0)) {
		t.Errorf("%d are kept", len(j.recent)+len(j.older))
	}
	next := account(9)
	next.Version = newVersion()
	if j.has(next) {
		t.Error("a version is known that nobody journaled")
	}
	j.add(next)
	if !j.has(next) || j.has(account(9)) {
		t.Error("the newer version counts")
	}
	leave, err := j.turn(t.Context(), "1")
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := j.turn(ended, "1"); !errors.Is(err, context.Canceled) {
		t.Error("two have the turn:", err)
	}
	leave()
	if len(j.busy) != 0 {
		t.Error("turns are not given back")
	}
}

func TestReplayed(t *testing.T) {
	at := func(contact string, deactivated time.Time) *Account {
		a := &Account{ID: "1", Org: 1, Thumbprint: "t", Created: testTime, Deactivated: deactivated, Version: [16]byte{1}}
		if contact != "" {
			a.Contacts = []string{contact}
		}
		return a
	}
	var valid time.Time
	later := testTime.Add(time.Hour)
	for _, tc := range []struct {
		name       string
		have, said *Account
		restored   bool
		want       *Account
	}{
		{"absent", nil, at("a", valid), false, at("a", valid)},
		{"absent, deactivated", nil, at("a", testTime), false, at("a", testTime)},
		{"the same", at("a", valid), at("a", valid), true, nil},
		{"restored: the last entry wins", at("a", valid), at("b", valid), true, at("b", valid)},
		{"restored: contacts removed", at("a", valid), at("", valid), true, at("", valid)},
		{"the store's own may be newer", at("a", valid), at("b", valid), false, nil},
		{"the store's own is deactivated", at("a", valid), at("b", later), false, at("a", later)},
		{"RFC 8555, 7.3.6: no way back", at("a", testTime), at("a", valid), true, nil},
		{"RFC 8555, 7.3.6: no way back, other contacts", at("a", testTime), at("b", valid), true, at("b", testTime)},
		{"deactivated twice: the first counts", at("a", testTime), at("a", later), true, nil},
	} {
		if diff := cmp.Diff(tc.want, Replayed(tc.have, tc.said, tc.restored)); diff != "" {
			t.Errorf("%s: %s", tc.name, diff)
		}
	}
	agreed := at("a", valid)
	agreed.TermsAgreed = testTime
	if diff := cmp.Diff(agreed, Replayed(at("a", valid), agreed, true)); diff != "" {
		t.Error("the agreement:", diff)
	}
	moved := at("b", valid)
	moved.Org, moved.Thumbprint, moved.Created = 2, "u", later
	got := Replayed(at("a", valid), moved, true)
	if diff := cmp.Diff(at("b", valid), got); diff != "" {
		t.Error("organisation, key or beginning changed:", diff)
	}
}

// TestReplayTakesTheFirstAccountOfAKey: two entries that made an account for one key cannot come from this door, and would
// not move a key.
func TestReplayTakesTheFirstAccountOfAKey(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	e := w.journal.all()[0]
	e.Account = newID()
	w.journal.events = append(w.journal.events, e)
	if got := w.replay(); len(got) != 1 || got[c.id()] == nil {
		t.Errorf("%+v", got)
	}
}

func TestAccountFromEvent(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	c.to(c.kid, map[string]any{"contact": []string{"mailto:a@example.com"}}).want(t, http.StatusOK)
	c.to(c.kid, map[string]any{"status": "deactivated"}).want(t, http.StatusOK)
	last := w.journal.events[len(w.journal.events)-1]
	if last.Actor != "acme:"+string(c.id()) || last.Org != 1 || !last.At.Equal(testTime) {
		t.Errorf("%+v", last)
	}
	got, err := AccountFromEvent(last)
	if err != nil {
		t.Fatal(err)
	}
	want := w.store.accounts[c.id()].clone()
	want.Version = [16]byte{}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("the journal does not give back what was stored:", diff)
	}
	for name, spoil := range map[string]func(*audit.Event){
		"another kind": func(e *audit.Event) { e.Kind = audit.Signed },
		"no data":      func(e *audit.Event) { e.Data = nil },
		"no key":       func(e *audit.Event) { e.Data = []byte(`{"key":{}}`) },
		"no account":   func(e *audit.Event) { e.Account = "" },
		"no org":       func(e *audit.Event) { e.Org = 0 },
	} {
		e := last
		spoil(&e)
		if _, err := AccountFromEvent(e); err == nil {
			t.Errorf("%s: an account came out", name)
		}
	}
}
