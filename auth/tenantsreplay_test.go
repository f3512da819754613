package auth_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/storage"
)

// TestReplayOfOrganisations: an emptied store has them again, a second replay changes nothing, and of two states the one
// that was changed more often holds, in whichever sequence they come.
func TestReplayOfOrganisations(t *testing.T) {
	w := newWorld(t)
	top := w.add(auth.NewOrg{Slug: "top", Name: "Top", Profiles: []string{"tls"}, EAB: auth.EABRequired})
	w.add(auth.NewOrg{Slug: "low", Parent: "top", Profiles: []string{}})
	w.edit("top", auth.OrgEdit{Name: new("Higher"), Disabled: new(true)})
	w.edit("top", auth.OrgEdit{EAB: new(auth.EABOptional)})
	want := readOrgs(t, w.db)
	if len(want) != 2 || want[0].Edits != 2 || want[0].Name != "Higher" || want[0].Disabled.IsZero() || want[1].Profiles == nil {
		t.Fatalf("stored are %+v", want)
	}
	db := w.replayed()
	if got := readOrgs(t, db); !reflect.DeepEqual(got, want) {
		t.Errorf("replayed:\n%+v\nwant\n%+v", got, want)
	}
	if n := w.replay(db); n != 0 {
		t.Errorf("a second time %d entries changed something", n)
	}
	if notes, err := db.Unjournaled(t.Context(), time.Now().Add(time.Hour), 10); err != nil || len(notes) != 0 {
		t.Errorf("a replay leaves %v, %v", notes, err)
	}
	events := w.journal.all()
	w.journal.events = []audit.Event{events[3], events[0], events[2], events[1], events[0]}
	if got := readOrgs(t, w.replayed()); !reflect.DeepEqual(got, want) {
		t.Errorf("replayed in another sequence:\n%+v", got)
	}
	for _, e := range events {
		if e.Actor != "uid:0" || e.Org == 0 || e.Detail == "" {
			t.Errorf("an entry names %q, organisation %d, %q", e.Actor, e.Org, e.Detail)
		}
	}
	// Whoever made another organisation under the number must not get its accounts.
	other := top
	other.Slug, other.Created, other.Version = "other", other.Created.Add(-time.Hour), [16]byte{}
	stranger := newStore(t)
	_, err := stranger.CreateOrg(t.Context(), &other, [16]byte{})
	must(t, err)
	r := stranger.Replay(nil)
	if err := r.Apply(t.Context(), events[0]); err == nil || !strings.Contains(err.Error(), "given anew") {
		t.Errorf("another organisation's number: %v", err)
	}
}

// TestReplayOfATakenSlug: an organisation whose slug was given anew comes back under its number and another slug, once.
func TestReplayOfATakenSlug(t *testing.T) {
	w := newWorld(t)
	old := w.add(auth.NewOrg{Slug: "sales", Name: "Old"})
	w.edit("sales", auth.OrgEdit{Name: new("Older")})
	db := newStore(t)
	_, err := db.CreateOrg(t.Context(), &auth.Org{ID: 77, Slug: "sales", EAB: auth.EABOff, Created: w.now}, [16]byte{})
	must(t, err)
	w.replay(db)
	w.replay(db)
	list := readOrgs(t, db)
	if len(list) != 2 || list[0].ID != 77 || list[0].Slug != "sales" || list[1].ID != old.ID || list[1].Slug != fmt.Sprintf("sales-%d", old.ID) || list[1].Name != "Older" {
		t.Errorf("there are %+v", list)
	}
}

func readOrgs(t *testing.T, db *storage.DB) (list []auth.Org) {
	t.Helper()
	found, _, err := db.Orgs(t.Context())
	must(t, err)
	for _, o := range found {
		c := *o
		c.Version = [16]byte{}
		list = append(list, c)
	}
	return list
}

// TestCrashBeforeTheJournal: a change that is in the store alone was not acknowledged, and is in the journal after the next
// start.
func TestCrashBeforeTheJournal(t *testing.T) {
	w := newWorld(t)
	w.journal.broken = true
	_, err := w.tenants.Add(t.Context(), operator, auth.NewOrg{Slug: "sales"})
	says(t, "a broken journal", err, problem.Unavailable, "journal")
	_, _, err = w.external.Add(t.Context(), operator, auth.NewEABKey{Org: "main"})
	says(t, "a broken journal", err, problem.Unavailable, "journal")
	w.journal.broken = false
	if n := len(w.journal.all()); n != 0 {
		t.Fatalf("the journal has %d entries", n)
	}
	// Whoever looks at once leaves it to the one who is at it.
	must(t, auth.NewSettler(w.db, w.journal, nil, nil).Settle(t.Context(), false))
	if n := len(w.journal.all()); n != 0 {
		t.Errorf("another gateway has told of what is under way: %d entries", n)
	}
	must(t, auth.NewSettler(w.db, w.journal, func() time.Time { return time.Now().Add(time.Minute) }, nil).Settle(t.Context(), false))
	if n := len(w.journal.all()); n != 2 {
		t.Errorf("a minute later the journal has %d entries", n)
	}
	w.settle()
	if n := len(w.journal.all()); n != 2 {
		t.Errorf("it was told again: %d entries", n)
	}
	db := w.replayed()
	if list := readOrgs(t, db); len(list) != 1 || list[0].Slug != "sales" {
		t.Errorf("replayed: %+v", list)
	}
	if keys, _, err := db.EABKeys(t.Context(), 0, "", 10); err != nil || len(keys) != 1 {
		t.Errorf("replayed: %v, %v", keys, err)
	}
}
