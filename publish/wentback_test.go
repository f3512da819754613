package publish

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-ca/gatehouse/ca"
)

// The store goes back to an older list and older revocations: what was published stays and nothing replaces it.
func TestStoreThatWentBackIsNotBelieved(t *testing.T) {
	store, clk := newStore(), newClock()
	p := newPublisher(t, store, func(c *Config) { c.Now = clk.now })
	end := clk.now().Add(1000 * time.Hour)
	build := func() error { clk.add(time.Second); return p.build(t.Context()) }
	if err := build(); err != nil {
		t.Fatal(err)
	}
	old := *store.list
	store.revoke(Revoked{Serial: serialOf(1), At: clk.now(), NotAfter: end})
	if err := build(); err != nil {
		t.Fatal(err)
	}
	newest := p.Status()[0].Number

	store.list = &old
	if err := build(); err != nil { // only the list went back
		t.Fatal(err)
	}
	if got := storedList(t, store).number; got <= newest {
		t.Errorf("number %d after %d", got, newest)
	}
	store.list = &old
	delete(store.revoked, serialOf(1))
	if err := build(); err == nil || !strings.Contains(err.Error(), "would be lost") {
		t.Errorf("err = %v", err)
	}
	if cur := p.byName["leaf"].current.Load(); !cur.has(serialOf(1)) {
		t.Error("the served list lost the entry")
	}
}

func TestUnusableStoredListIsNotReplaced(t *testing.T) {
	store := newStore()
	store.list = &CRL{Issuer: "leaf", Number: 5, DER: []byte("not a list"), Version: [16]byte{1}}
	p := newPublisher(t, store, nil)
	if err := p.build(t.Context()); err == nil || !strings.Contains(err.Error(), "stored list 5 is unusable") {
		t.Errorf("err = %v", err)
	}
	if err := p.Load(t.Context()); err == nil {
		t.Error("Load accepted it")
	}
	if store.saved() != 0 {
		t.Error("it was replaced without a comparison")
	}
}

// Another process publishes a list without an expired entry and drops it from the store between this one's two reads.
func TestLossExplainedByAnotherProcess(t *testing.T) {
	store, clk := newStore(), newClock()
	p := newPublisher(t, store, func(c *Config) { c.Now = clk.now })
	q := newPublisher(t, store, func(c *Config) { c.Now = clk.now })
	store.revoke(Revoked{Serial: serialOf(1), At: clk.now(), NotAfter: clk.now().Add(time.Minute)})
	if err := p.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	clk.add(time.Hour)
	if err := p.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	clk.add(time.Second)
	store.onRead = func(s *fakeStore) {
		s.lease = Lease{} // it ran out
		s.mu.Unlock()
		defer s.mu.Lock()
		if err := q.build(t.Context()); err != nil {
			t.Error(err)
		}
		if s.saved() != 3 || store.dropped != 1 {
			t.Error("the other process did not drop the entry; the test tests nothing")
		}
	}
	if err := p.build(t.Context()); err != nil {
		t.Errorf("a loss with a harmless cause was refused: %v", err)
	}
	if a, b := p.Status()[0], q.Status()[0]; a.Number != b.Number || a.Entries != 0 || store.saved() != 3 {
		t.Errorf("status %+v and %+v after %d lists", a, b, store.saved())
	}
}

// TestASuccessorKeepsWhatWasServed: a publisher that comes after another one, on a store that went back, publishes no list
// that lost an entry or falls in number, and serves the old one meanwhile.
func TestASuccessorKeepsWhatWasServed(t *testing.T) {
	store, clk := newStore(), newClock()
	kept := map[string][]byte{"another": {1}, "leaf": {2}}
	if p := newPublisher(t, store, func(c *Config) { c.Seen = kept }); p.issuers[0].current.Load() != nil {
		t.Error("something that is no list is served")
	}
	first := newPublisher(t, store, func(c *Config) {
		c.Now = clk.now
		c.Remember = func(issuer string, der []byte) error { kept[issuer] = der; return errors.New("only a warning") }
	})
	entry := Revoked{Serial: serialOf(1), At: clk.now(), Reason: 4, NotAfter: clk.now().Add(1000 * time.Hour)}
	store.revoke(entry)
	if err := first.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	served := first.issuers[0].current.Load()

	emptied := newStore()
	clk.add(-time.Hour) // even if nothing but the list before tells of its number
	second := newPublisher(t, emptied, func(c *Config) { c.Now, c.Seen = clk.now, kept })
	if err := second.build(t.Context()); err == nil {
		t.Error("a list without an entry that was served is published")
	}
	if now := second.issuers[0].current.Load(); !bytes.Equal(now.der, served.der) {
		t.Error("the list that was served is not served any more")
	}
	emptied.revoke(entry)
	if err := second.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now := second.issuers[0].current.Load(); now.number <= served.number || len(now.entries) != 1 || now.thisUpdate.Before(served.thisUpdate) {
		t.Errorf("after list %d of %v comes list %d of %v with %d entries", served.number, served.thisUpdate, now.number, now.thisUpdate, len(now.entries))
	}
}

// TestAListThatLostAnEntryIsNotAdopted: a process without the list before, on a store that lost entries, makes a list with a
// higher number. Whoever served an entry goes on serving its list until the next one is whole.
func TestAListThatLostAnEntryIsNotAdopted(t *testing.T) {
	store, clk := newStore(), newClock()
	knowing := newPublisher(t, store, func(c *Config) { c.Now, c.Holder = clk.now, "knowing" })
	lasting := Revoked{Serial: serialOf(1), At: clk.now(), Reason: 4, NotAfter: clk.now().Add(1000 * time.Hour)}
	ending := Revoked{Serial: serialOf(2), At: clk.now(), Reason: 4, NotAfter: clk.now().Add(time.Hour)}
	store.revoke(lasting)
	store.revoke(ending)
	if err := knowing.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	knowing.giveBack(t.Context(), knowing.issuers[0])
	before := knowing.issuers[0].current.Load()

	clk.add(2 * time.Hour)
	store.list, store.revoked = nil, map[ca.Serial]Revoked{} // lost; "ending" has expired
	stranger := newPublisher(t, store, func(c *Config) { c.Now, c.Holder = clk.now, "stranger" })
	if err := stranger.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	stranger.giveBack(t.Context(), stranger.issuers[0])
	incomplete := storedList(t, store)
	if err := knowing.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now := knowing.issuers[0].current.Load(); now != before {
		t.Fatalf("a list of %d entries took the place of one of %d", len(now.entries), len(before.entries))
	}
	if err := knowing.build(t.Context()); err == nil {
		t.Error("a list is made without what was lost")
	}
	store.revoke(lasting)
	store.revoke(ending)
	if err := knowing.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now := storedList(t, store); now.number <= incomplete.number || !now.has(lasting.Serial) {
		t.Errorf("list %d after %d: %+v", now.number, incomplete.number, now.entries)
	}
	if err := stranger.Load(t.Context()); err != nil || !stranger.issuers[0].current.Load().has(lasting.Serial) {
		t.Errorf("the whole list is not adopted: %v", err)
	}

	// What is missing because it expired is no loss.
	clk.add(time.Hour)
	delete(store.revoked, ending.Serial)
	late := newPublisher(t, store, func(c *Config) { c.Now, c.Seen = clk.now, map[string][]byte{"leaf": before.der} })
	store.list = nil
	fresh := newPublisher(t, store, func(c *Config) { c.Now, c.Holder = clk.now, "fresh" })
	knowing.giveBack(t.Context(), knowing.issuers[0])
	if err := fresh.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := late.Load(t.Context()); err != nil || late.issuers[0].current.Load().number != storedList(t, store).number {
		t.Errorf("a list without an expired entry is not adopted: %v", err)
	}
}

// TestTheFirstListOfARestoredStoreWaits for a process that knows the list before, but not for ever.
func TestTheFirstListOfARestoredStoreWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		p := newPublisher(t, store, func(c *Config) { c.Restored = true })
		look := func() (time.Duration, bool) {
			wait, err := p.update(t.Context(), p.issuers[0])
			if err != nil {
				t.Fatal(err)
			}
			return wait, store.list != nil
		}
		if wait, made := look(); made || wait != firstWait {
			t.Errorf("at once: made %t, wait %v", made, wait)
		}
		time.Sleep(firstWait)
		if _, made := look(); !made {
			t.Error("nothing is made after the wait")
		}
	})
}
