package auth_test

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/storage"
)

// TestTree: a child may use at most what its parent may, whatever it names, and a disable stops all below.
func TestTree(t *testing.T) {
	w := newWorld(t)
	top := w.add(auth.NewOrg{Slug: "top", Name: "Top", Profiles: []string{"tls", "short"}, EAB: auth.EABRequired})
	mid := w.add(auth.NewOrg{Slug: "mid", Parent: "top"})
	low := w.add(auth.NewOrg{Slug: "low", Parent: "mid", Profiles: []string{"short"}, EAB: auth.EABOff})
	under := w.add(auth.NewOrg{Slug: "under-lab", Parent: "lab"})
	if mid.EAB != auth.EABRequired || low.EAB != auth.EABOff || under.EAB != auth.EABOptional {
		t.Errorf("modes are %s, %s and %s", mid.EAB, low.EAB, under.EAB)
	}
	allowed := func(want map[string]string) {
		t.Helper()
		for slug, list := range want {
			for _, o := range []auth.Org{top, mid, low, under} {
				if o.Slug != slug {
					continue
				}
				for _, p := range []string{"tls", "short", "none"} {
					if got := w.directory.Allowed(o.ID, p); got != strings.Contains(list, p) {
						t.Errorf("%s may use %s: %t", slug, p, got)
					}
				}
				if _, ok := w.directory.BySlug(slug); ok != (list != "-") {
					t.Errorf("%s is found: %t", slug, ok)
				}
				if err := w.directory.Works(o.ID); (err == nil) != (list != "-") {
					t.Errorf("%s works: %v", slug, err)
				}
			}
		}
	}
	allowed(map[string]string{"top": "tls short", "mid": "tls short", "low": "short", "under-lab": "tls"})

	only := []string{"tls"}
	w.edit("top", auth.OrgEdit{Profiles: &only})
	allowed(map[string]string{"top": "tls", "mid": "tls", "low": "", "under-lab": "tls"})
	w.edit("top", auth.OrgEdit{Profiles: new([]string)}) // all
	allowed(map[string]string{"top": "tls short", "mid": "tls short", "low": "short"})
	w.edit("top", auth.OrgEdit{Profiles: &[]string{}}) // none
	allowed(map[string]string{"top": "", "mid": "", "low": ""})
	w.edit("top", auth.OrgEdit{Profiles: new([]string)})

	w.edit("mid", auth.OrgEdit{Disabled: new(true)})
	allowed(map[string]string{"top": "tls short", "mid": "-", "low": "-", "under-lab": "tls"})
	if o, ok := w.directory.ByID(low.ID); !ok || o.Slug != "low" {
		t.Error("its number is lost")
	}
	since := w.edit("mid", auth.OrgEdit{Disabled: new(true)}).Disabled
	w.now = w.now.Add(time.Hour)
	if again := w.edit("mid", auth.OrgEdit{Disabled: new(true)}).Disabled; !again.Equal(since) {
		t.Error("it is disabled since the second time")
	}
	w.edit("mid", auth.OrgEdit{Disabled: new(false)})
	allowed(map[string]string{"top": "tls short", "mid": "tls short", "low": "short"})
	if w.directory.Works(4711) == nil || w.directory.Allowed(4711, "tls") || w.directory.Allowed(0, "tls") {
		t.Error("an organisation that there is not may do something")
	}
}

// TestTenantsRefuse: what is wrong is said with what to change, and leaves neither a record nor an entry.
func TestTenantsRefuse(t *testing.T) {
	w := newWorld(t)
	w.add(auth.NewOrg{Slug: "sales"})
	parent := ""
	for depth := 1; depth <= auth.MaxDepth; depth++ {
		slug := fmt.Sprintf("depth-%d", depth)
		w.add(auth.NewOrg{Slug: slug, Parent: parent})
		parent = slug
	}
	before := len(w.journal.all())
	for _, tt := range []struct {
		name string
		in   auth.NewOrg
		kind problem.Kind
		says string
	}{
		{"no slug", auth.NewOrg{}, problem.Malformed, "slug"},
		{"a slug for no URL", auth.NewOrg{Slug: "Sales"}, problem.Malformed, "lower-case"},
		{"a reserved slug", auth.NewOrg{Slug: "directory"}, problem.Malformed, "reserved"},
		{"a stored slug", auth.NewOrg{Slug: "sales"}, problem.Conflict, "choose another"},
		{"a configured slug", auth.NewOrg{Slug: "main"}, problem.Conflict, "organisation 1"},
		{"no such parent", auth.NewOrg{Slug: "x", Parent: "none"}, problem.Malformed, "parent"},
		{"too deep", auth.NewOrg{Slug: "x", Parent: parent}, problem.Malformed, "depth 8"},
		{"no such profile", auth.NewOrg{Slug: "x", Profiles: []string{"none"}}, problem.Malformed, `"none" is not configured`},
		{"a profile twice", auth.NewOrg{Slug: "x", Profiles: []string{"tls", "tls"}}, problem.Malformed, "twice"},
		{"beyond its parent", auth.NewOrg{Slug: "x", Parent: "lab", Profiles: []string{"tls", "short"}}, problem.Malformed, `"short": the organisation above`},
		{"no mode", auth.NewOrg{Slug: "x", EAB: 9}, problem.Malformed, "eab"},
		{"two lines", auth.NewOrg{Slug: "x", Name: "a\nb"}, problem.Malformed, "name"},
		{"a long name", auth.NewOrg{Slug: "x", Name: strings.Repeat("ä", 201)}, problem.Malformed, "200 characters"},
	} {
		_, err := w.tenants.Add(t.Context(), operator, tt.in)
		says(t, tt.name, err, tt.kind, tt.says)
	}
	beyond, none := []string{"short"}, auth.EABMode(0)
	for _, tt := range []struct {
		name, slug string
		edit       auth.OrgEdit
		kind       problem.Kind
		says       string
	}{
		{"none", "none", auth.OrgEdit{}, problem.NotFound, "org list"},
		{"configured", "main", auth.OrgEdit{Disabled: new(true)}, problem.Conflict, "configuration file"},
		{"no mode", "sales", auth.OrgEdit{EAB: &none}, problem.Malformed, "eab"},
		{"no profile", "sales", auth.OrgEdit{Profiles: &[]string{"none"}}, problem.Malformed, "not configured"},
		{"two lines", "sales", auth.OrgEdit{Name: new("a\x00")}, problem.Malformed, "name"},
	} {
		_, err := w.tenants.Edit(t.Context(), operator, tt.slug, tt.edit)
		says(t, tt.name, err, tt.kind, tt.says)
	}
	w.add(auth.NewOrg{Slug: "under-lab", Parent: "lab"})
	_, err := w.tenants.Edit(t.Context(), operator, "under-lab", auth.OrgEdit{Profiles: &beyond})
	says(t, "beyond its parent", err, problem.Malformed, "above")
	for _, caller := range []auth.Caller{{}, {Principal: "acme:a", Org: 1}, {Operator: true}} {
		_, err := w.tenants.Add(t.Context(), caller, auth.NewOrg{Slug: "x"})
		says(t, "no operator adds", err, problem.Unauthorized, "operator")
		_, err = w.tenants.Edit(t.Context(), caller, "sales", auth.OrgEdit{Disabled: new(true)})
		says(t, "no operator edits", err, problem.Unauthorized, "operator")
		_, err = w.tenants.List(t.Context(), caller)
		says(t, "no operator lists", err, problem.Unauthorized, "operator")
	}
	if n := len(w.journal.all()) - before; n != 1 {
		t.Errorf("refusals left %d entries", n-1)
	}
}

// TestNumbers: each is new, below 2^31, and at least as many minutes after the first one could be given.
func TestNumbers(t *testing.T) {
	w := newWorld(t)
	seen := map[auth.OrgID]bool{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			o := w.add(auth.NewOrg{Slug: fmt.Sprintf("at-once-%d", i)})
			mu.Lock()
			defer mu.Unlock()
			if seen[o.ID] || o.ID <= 0 {
				t.Errorf("number %d", o.ID)
			}
			seen[o.ID] = true
		})
	}
	all.Wait()
	least := auth.OrgID(time.Since(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)) / time.Minute)
	for id := range seen {
		if id < least {
			t.Errorf("number %d could have been given before", id)
		}
	}
}

// TestOneSlugTwiceAtOnce: of two who want one slug at once one gets it.
func TestOneSlugTwiceAtOnce(t *testing.T) {
	w := newWorld(t)
	for round := range 5 {
		errs := make([]error, 4)
		var all sync.WaitGroup
		for i := range errs {
			all.Go(func() {
				_, errs[i] = w.tenants.Add(t.Context(), operator, auth.NewOrg{Slug: fmt.Sprintf("slug-%d", round)})
			})
		}
		all.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			} else {
				says(t, "the loser", err, problem.Conflict, "choose another")
			}
		}
		if won != 1 {
			t.Errorf("%d won", won)
		}
	}
}

// TestConfigurationAndStoreCollide: a start fails and says what to do; one whose parent went is there and does nothing.
func TestConfigurationAndStoreCollide(t *testing.T) {
	w := newWorld(t)
	o := w.add(auth.NewOrg{Slug: "sales", Parent: "lab"})
	for _, c := range []auth.Org{{ID: 7, Slug: "sales"}, {ID: o.ID, Slug: "renamed"}} {
		d, err := auth.NewDirectory(append([]auth.Org{c}, configured...))
		must(t, err)
		if _, err := d.Open(t.Context(), w.db, nil); err == nil || !strings.Contains(err.Error(), "give the configured one another number and slug") {
			t.Errorf("%+v: %v", c, err)
		}
	}
	w.open(configured[0])
	if _, ok := w.directory.BySlug("sales"); ok || w.directory.Works(o.ID) == nil || w.directory.Allowed(o.ID, "tls") {
		t.Error("an organisation without its parent works")
	}
	if orphans := w.directory.Orphans(); len(orphans) != 1 || orphans[0].ID != o.ID {
		t.Errorf("orphans are %v", orphans)
	}
	list, err := w.tenants.List(t.Context(), operator)
	if err != nil || len(list) != 2 || list[1].Obstacle == "" {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestCollisionAtAGatewayThatRuns: a command at a gateway with another file takes a slug that is configured here. Neither is
// taken for the other, and what else changes is seen all the same.
func TestCollisionAtAGatewayThatRuns(t *testing.T) {
	w := newWorld(t)
	here := w.directory
	w.open(configured[0])
	taken, sales := w.add(auth.NewOrg{Slug: "lab"}), w.add(auth.NewOrg{Slug: "sales"})
	must(t, here.Refresh(t.Context()))
	if o, ok := here.BySlug("lab"); !ok || o.ID != 2 || here.Works(taken.ID) == nil || here.Allowed(taken.ID, "tls") || here.Works(sales.ID) != nil {
		t.Errorf("lab is %+v; the other works: %v; sales: %v", o, here.Works(taken.ID), here.Works(sales.ID))
	}
	w.edit("sales", auth.OrgEdit{Disabled: new(true)})
	must(t, here.Refresh(t.Context()))
	if here.Works(sales.ID) == nil {
		t.Error("an organisation that was disabled works here")
	}
	// With one number neither works: whose the accounts are cannot be told.
	d, err := auth.NewDirectory([]auth.Org{configured[0], {ID: taken.ID, Slug: "renamed"}})
	must(t, err)
	d, err = d.Open(t.Context(), w.db, nil)
	if _, ok := d.BySlug("renamed"); err == nil || ok || d.Works(taken.ID) == nil {
		t.Errorf("%v, %t", err, ok)
	}
}

// TestNewDirectoryTree: what is wrong with parents in a configuration.
func TestNewDirectoryTree(t *testing.T) {
	deep := []auth.Org{{ID: 1, Slug: "o1"}}
	for i := 2; i <= auth.MaxDepth+1; i++ {
		deep = append(deep, auth.Org{ID: auth.OrgID(i), Slug: fmt.Sprintf("o%d", i), Parent: auth.OrgID(i - 1)})
	}
	if _, err := auth.NewDirectory(deep[:auth.MaxDepth]); err != nil {
		t.Error(err)
	}
	for name, tt := range map[string]struct {
		orgs []auth.Org
		says string
	}{
		"too deep":          {deep, "deeper than 8"},
		"its own parent":    {[]auth.Org{{ID: 1, Slug: "a", Parent: 1}}, "circle"},
		"a circle":          {[]auth.Org{{ID: 1, Slug: "a", Parent: 2}, {ID: 2, Slug: "b", Parent: 1}}, "circle"},
		"no such parent":    {[]auth.Org{{ID: 1, Slug: "a", Parent: 2}}, "parent"},
		"beyond its parent": {[]auth.Org{{ID: 1, Slug: "a", Profiles: []string{"x"}}, {ID: 2, Slug: "b", Parent: 1, Profiles: []string{"y"}}}, `"y"`},
	} {
		if _, err := auth.NewDirectory(tt.orgs); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want it to say %q", name, err, tt.says)
		}
	}
	d, err := auth.NewDirectory([]auth.Org{{ID: 2, Slug: "b", Parent: 1}, {ID: 1, Slug: "a", EAB: auth.EABRequired}, {ID: 3, Slug: "c"}})
	must(t, err)
	for slug, want := range map[string]auth.EABMode{"a": auth.EABRequired, "b": auth.EABRequired, "c": auth.EABOff} {
		if o, _ := d.BySlug(slug); o.EAB != want {
			t.Errorf("%s has the mode %s", slug, o.EAB)
		}
	}
	if d.Default().EAB != auth.EABRequired {
		t.Error("the first has another mode than by its slug")
	}
}

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

// TestAnotherGatewaySees: a hint, or without one two seconds, and the other gateway's directory knows.
func TestAnotherGatewaySees(t *testing.T) {
	w := newWorld(t)
	fixed, err := auth.NewDirectory(configured)
	must(t, err)
	other, err := fixed.Open(t.Context(), w.db, nil)
	must(t, err)
	w.add(auth.NewOrg{Slug: "sales"})
	if _, ok := other.BySlug("sales"); ok {
		t.Error("it reads the store for every lookup")
	}
	must(t, other.Refresh(t.Context()))
	if _, ok := other.BySlug("sales"); !ok {
		t.Error("it does not see it")
	}

	synctest.Test(t, func(t *testing.T) {
		store := &hintless{orgs: []*auth.Org{{ID: 9, Slug: "nine", EAB: auth.EABOff}}, version: [16]byte{1}}
		d, err := fixed.Open(t.Context(), store, nil)
		must(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { d.Run(ctx) })
		synctest.Wait()
		store.set(&auth.Org{ID: 9, Slug: "nine", EAB: auth.EABOff, Disabled: time.Now()})
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if _, ok := d.BySlug("nine"); ok {
			t.Error("two seconds later it is not known that it was disabled")
		}
		loads := store.read()
		time.Sleep(time.Minute)
		if store.read() != loads {
			t.Error("what did not change is read again")
		}
		store.fail()
		store.set(&auth.Org{ID: 9, Slug: "nine", EAB: auth.EABOff})
		time.Sleep(time.Minute)
		if _, ok := d.BySlug("nine"); ok || d.Works(1) != nil {
			t.Error("a store that does not answer changes what is known")
		}
		cancel()
		running.Wait()
	})
}

// hintless is a store of organisations that gives no hints.
type hintless struct {
	storage.DB // only for the methods that are not called
	mu         sync.Mutex
	orgs       []*auth.Org
	version    [16]byte
	broken     bool
	loads      int
}

func (h *hintless) set(o *auth.Org) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.orgs = []*auth.Org{o}
	h.version[0]++
}

func (h *hintless) read() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.loads
}

func (h *hintless) fail() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.broken = true
}

func (h *hintless) OrgsVersion(context.Context) ([16]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.broken {
		return [16]byte{}, problem.New(problem.Unavailable, "broken")
	}
	return h.version, nil
}

func (h *hintless) Orgs(context.Context) ([]*auth.Org, [16]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.loads++
	return h.orgs, h.version, nil
}

func (h *hintless) WatchOrgs(ctx context.Context) <-chan string {
	c := make(chan string)
	go func() { <-ctx.Done(); close(c) }()
	return c
}
