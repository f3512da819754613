package auth_test

import (
	"bytes"
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/seal"
)

// by is a principal with a role in one organisation.
func by(org auth.OrgID, role auth.Role) auth.Caller {
	return auth.Caller{Principal: "user:7", Org: org, Roles: []auth.Grant{{Org: org, Role: role}}}
}

var keeper = by(1, auth.Administrator)

// serving is a world whose organisation 1 may use names that end in example.com.
func serving(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.serve()
	return w
}

func (w *world) serve() {
	c := w.external.ExternalAccountsConfig
	c.Serves = func(_ context.Context, org auth.OrgID, names []identifier.Identifier) ([]bool, error) {
		list := make([]bool, len(names))
		for i, n := range names {
			list[i] = org == 1 && strings.HasSuffix("."+n.Value(), ".example.com")
		}
		return list, nil
	}
	w.external = auth.NewExternalAccounts(c)
}

// domainsKey is one that an administrator made.
func (w *world) domainsKey(label string) *auth.EABKey {
	w.t.Helper()
	k, mac, err := w.external.Add(w.t.Context(), keeper, auth.NewEABKey{Org: "main", Label: label, ByDomains: true, Reusable: true})
	must(w.t, err)
	shown, err := w.external.MACKey(w.t.Context(), keeper, k)
	if err != nil || !bytes.Equal(mac, shown) {
		w.t.Errorf("made with %x, and shown is %x, %v", mac, shown, err)
	}
	return k
}

// TestKeyByDomains: it begins with none, gets those that the organisation may use, loses them, and is renamed; all of it is in the
// journal.
func TestKeyByDomains(t *testing.T) {
	t.Parallel()
	w := serving(t)
	ctx := t.Context()
	k := w.domainsKey("web")
	if k.Number == 0 || !k.ByDomains || len(k.Domains) != 0 {
		t.Fatalf("%+v", k)
	}
	refused, err := w.external.AddDomains(ctx, keeper, k.Number, []string{"b.example.com", "example.net", "Example.com", "*.c.example.com", "", "a b", "example.com"})
	must(t, err)
	if !slices.Equal(refused, []string{"example.net", "", "a b"}) {
		t.Errorf("refused are %q", refused)
	}
	refused, err = w.external.RemoveDomains(ctx, keeper, k.Number, []string{"B.example.com", "c.example.com", "a b"})
	must(t, err)
	if !slices.Equal(refused, []string{"c.example.com", "a b"}) {
		t.Errorf("refused are %q", refused)
	}
	must(t, w.external.Rename(ctx, keeper, k.Number, "servers"))
	w.open(configured...) // another gateway
	s, err := w.external.ByNumber(ctx, by(1, auth.Auditor), k.Number)
	must(t, err)
	if !slices.Equal(s.Domains, []string{"*.c.example.com", "example.com"}) || s.Label != "servers" || s.OrgSlug != "main" || s.Edits != 3 {
		t.Errorf("%+v", s.EABKey)
	}
	if refused, err := w.external.AddDomains(ctx, keeper, k.Number, []string{"a.example.com"}); err != nil || len(refused) != 1 {
		t.Errorf("where nobody knows what the organisation may use: %v, %v", refused, err)
	}
	db := w.replayed()
	if got, want := readKey(t, db, k.ID), readKey(t, w.db, k.ID); !reflect.DeepEqual(got, want) {
		t.Errorf("replayed %+v, want %+v", got, want)
	}
	if got, err := db.EABKeyOfNumber(ctx, k.Number); err != nil || got.ID != k.ID {
		t.Errorf("by its number: %v", err)
	}
	for name, do := range map[string]func() error{
		"too long a name": func() error { return w.external.Rename(ctx, keeper, k.Number, strings.Repeat("x", 201)) },
		"two lines":       func() error { return w.external.Rename(ctx, keeper, k.Number, "a\nb") },
	} {
		says(t, name, do(), problem.Malformed, "one line")
	}
}

// TestManyDomains: a key has a bounded number of them, and what is refused changes nothing.
func TestManyDomains(t *testing.T) {
	t.Parallel()
	w := serving(t)
	k := w.domainsKey("web")
	var names []string
	for i := range auth.MaxEABDomains {
		names = append(names, fmt.Sprintf("a%d.example.com", i))
	}
	refused, err := w.external.AddDomains(t.Context(), keeper, k.Number, names)
	if err != nil || len(refused) != 0 {
		t.Fatal(refused, err)
	}
	_, err = w.external.AddDomains(t.Context(), keeper, k.Number, []string{"example.com"})
	says(t, "one too many", err, problem.Conflict, "at most 1000")
	if got := readKey(t, w.db, k.ID); len(got.Domains) != auth.MaxEABDomains || got.Edits != 1 {
		t.Errorf("%d domains after %d edits", len(got.Domains), got.Edits)
	}
}

// TestRemoveKey: it is gone for its organisation, revoked, and stays so whatever the journal says before or after.
func TestRemoveKey(t *testing.T) {
	t.Parallel()
	w := serving(t)
	ctx := t.Context()
	k, other := w.domainsKey("web"), w.domainsKey("other")
	w.journal.broken = true
	if err := w.external.Remove(ctx, keeper, k.Number); !problem.Is(err, problem.Unavailable) {
		t.Errorf("without the journal: %v", err)
	}
	w.journal.broken = false
	says(t, "once more", w.external.Remove(ctx, keeper, k.Number), problem.NotFound, "no external account binding key")
	must(t, w.external.Remove(ctx, keeper, other.Number))
	_, err := w.external.ByNumber(ctx, keeper, k.Number)
	says(t, "shown", err, problem.NotFound, "no external account binding key")
	says(t, "renamed", w.external.Rename(ctx, keeper, k.Number, "x"), problem.NotFound, "no external")
	_, err = w.external.AddDomains(ctx, keeper, k.Number, []string{"example.com"})
	says(t, "given domains", err, problem.NotFound, "no external")
	_, _, err = w.external.Clients(ctx, keeper, k.Number, 0, 10)
	says(t, "asked for clients", err, problem.NotFound, "no external")
	found, err := w.external.Search(ctx, keeper, auth.EABQuery{Org: 1, Limit: 10})
	if err != nil || found.Total != 0 || len(found.Keys) != 0 {
		t.Errorf("listed are %+v, %v", found, err)
	}
	now, err := w.external.Key(ctx, k.ID)
	must(t, err)
	says(t, "used", now.Usable(w.now), problem.Unauthorized, "revoked")
	if mac, err := w.external.MACKey(ctx, keeper, now); err != nil || mac != nil {
		t.Errorf("its MAC key is shown: %v", err)
	}
	db := w.replayed() // the journal has it, although the call that took it away failed
	for _, id := range []string{k.ID, other.ID} {
		if got := readKey(t, db, id); got.Removed.IsZero() || got.Revoked.IsZero() {
			t.Errorf("replayed %+v", got)
		}
	}
	if list, total, err := db.EABKeysOf(ctx, 1, 0, 10); err != nil || total != 0 || len(list) != 0 {
		t.Errorf("listed after the replay are %v, %d, %v", list, total, err)
	}
	if n := w.replay(db); n != 0 {
		t.Errorf("a second replay changed %d", n)
	}
	events := w.journal.all()
	slices.Reverse(events)
	w.journal.events = events
	if got := readKey(t, w.replayed(), other.ID); got.Removed.IsZero() {
		t.Error("an older entry took a removal back")
	}
}

// TestNumbersOfOldKeys: a key from before there were numbers gets one when it is listed, for good, and one alone.
func TestNumbersOfOldKeys(t *testing.T) {
	t.Parallel()
	w := serving(t)
	ctx := t.Context()
	sealed, err := w.sealer.Seal(ctx, seal.EABKey, "old", []byte("x"))
	must(t, err)
	_, err = w.db.CreateEABKey(ctx, &auth.EABKey{ID: "old", Org: 1, Label: "old", Created: w.now, Sealed: sealed, Reusable: true})
	must(t, err)
	numbers := make([]int32, 4)
	var all sync.WaitGroup
	for i := range numbers {
		all.Go(func() {
			found, err := w.external.Search(ctx, by(1, auth.Auditor), auth.EABQuery{Org: 1, Limit: 10})
			if err != nil || len(found.Keys) != 1 {
				t.Error(found, err)
				return
			}
			numbers[i] = found.Keys[0].Number
		})
	}
	all.Wait()
	if numbers[0] == 0 || slices.Min(numbers) != slices.Max(numbers) {
		t.Fatalf("the numbers are %v", numbers)
	}
	s, err := w.external.ByNumber(ctx, keeper, numbers[0])
	if err != nil || s.EABKey.ID != "old" {
		t.Errorf("%+v, %v", s, err)
	}
	if mac, err := w.external.MACKey(ctx, keeper, s.EABKey); err != nil || mac != nil {
		t.Errorf("the MAC key of an operator's key is shown: %v", err)
	}
	_, err = w.external.AddDomains(ctx, keeper, numbers[0], []string{"example.com"})
	says(t, "of the operator's", err, problem.Conflict, "gatehouse eab add")
	if got := readKey(t, w.replayed(), "old"); got.Number != numbers[0] {
		t.Errorf("replayed with the number %d", got.Number)
	}
}

// TestNumbersAfterTheStoreWentBack: a number that another key has by now is not given to the one that comes back, and none of a
// journal is given anew.
func TestNumbersAfterTheStoreWentBack(t *testing.T) {
	t.Parallel()
	w := serving(t)
	ctx := t.Context()
	k := w.domainsKey("first")
	db := newStore(t)
	taken := *k
	taken.ID, taken.Version = "taken", [16]byte{}
	_, err := db.CreateEABKey(ctx, &taken)
	must(t, err)
	w.replay(db)
	got := readKey(t, db, k.ID)
	if got.Number == k.Number || got.Number == 0 {
		t.Errorf("it came back with the number %d", got.Number)
	}
	for number, id := range map[int32]string{k.Number: "taken", got.Number: k.ID} {
		if found, err := db.EABKeyOfNumber(ctx, number); err != nil || found.ID != id {
			t.Errorf("%d is %v, %v", number, found, err)
		}
	}
	notes, err := db.Unjournaled(ctx, w.now.AddDate(1, 0, 0), 10)
	if err != nil || !slices.ContainsFunc(notes, func(n auth.Note) bool { return n.EABKey == k.ID }) {
		t.Errorf("the journal will not hear of the new number: %v, %v", notes, err)
	}
	if next, err := w.replayed().NextEABNumber(ctx); err != nil || next <= k.Number {
		t.Errorf("%d is given after %d: %v", next, k.Number, err)
	}
}

// TestEABSearch: pages by their places, and what is kept.
func TestEABSearch(t *testing.T) {
	t.Parallel()
	w := serving(t)
	ctx := t.Context()
	for i := range 5 {
		w.now = w.now.Add(1e9)
		w.domainsKey(fmt.Sprint(i))
	}
	w.key(auth.NewEABKey{Org: "lab", Label: "lab's"})
	labels := func(q auth.EABQuery) string {
		t.Helper()
		q.Org = 1
		found, err := w.external.Search(ctx, keeper, q)
		must(t, err)
		text := fmt.Sprint(found.Total, ":")
		for _, k := range found.Keys {
			text += k.Label
		}
		return text
	}
	odd := func(k auth.EABState) bool { return k.Label == "1" || k.Label == "3" }
	for want, q := range map[string]auth.EABQuery{
		"5:01234": {Limit: 10}, "5:23": {Offset: 2, Limit: 2}, "5:": {Offset: 5, Limit: 1}, "2:13": {Limit: 10, Keep: odd}, "2:3": {Offset: 1, Limit: 1, Keep: odd, Bound: true},
	} {
		if got := labels(q); got != want {
			t.Errorf("%+v: %s, want %s", q, got, want)
		}
	}
	for _, q := range []auth.EABQuery{{Org: 1}, {Org: 1, Limit: auth.MaxEABPage + 1}, {Org: 1, Limit: 1, Offset: -1}} {
		_, err := w.external.Search(ctx, keeper, q)
		says(t, "a bad page", err, problem.Malformed, "limit")
	}
}

// counts is a store that counts what is asked for about accounts of keys.
type counts struct {
	auth.Store
	asked int
}

func (c *counts) EABAccounts(ctx context.Context, id string, limit int) ([]string, int64, error) {
	c.asked++
	return c.Store.EABAccounts(ctx, id, limit)
}

// TestEABSearchCountsThePage: a filter that does not need them has no accounts counted but those of keys on the page.
func TestEABSearchCountsThePage(t *testing.T) {
	t.Parallel()
	w := serving(t)
	for i := range 5 {
		w.now = w.now.Add(1e9)
		w.domainsKey(fmt.Sprint(i))
	}
	store := &counts{Store: w.db}
	c := w.external.ExternalAccountsConfig
	c.Store = store
	external := auth.NewExternalAccounts(c)
	for want, q := range map[int]auth.EABQuery{
		1: {Limit: 5, Bound: true, Keep: func(k auth.EABState) bool { return k.Label == "3" }},
		2: {Limit: 2, Bound: true, Keep: func(auth.EABState) bool { return true }},
		5: {Limit: 5, Bound: true, KeepBound: true, Keep: func(k auth.EABState) bool { return k.Bound == 0 }},
		0: {Limit: 5, Keep: func(auth.EABState) bool { return true }},
	} {
		store.asked, q.Org = 0, 1
		_, err := external.Search(t.Context(), keeper, q)
		must(t, err)
		if store.asked != want {
			t.Errorf("%+v: the accounts of %d keys were counted, want %d", q, store.asked, want)
		}
	}
}

// full is a store in which every organisation has as many keys as it can.
type full struct{ auth.Store }

func (full) EABKeysOf(context.Context, auth.OrgID, int, int) ([]*auth.EABKey, int64, error) {
	return nil, auth.MaxEABKeys, nil
}

func TestTooManyKeys(t *testing.T) {
	t.Parallel()
	w := serving(t)
	c := w.external.ExternalAccountsConfig
	c.Store = full{w.db}
	_, _, err := auth.NewExternalAccounts(c).Add(t.Context(), keeper, auth.NewEABKey{Org: "main", ByDomains: true})
	says(t, "one too many", err, problem.Conflict, "remove some")
}

// TestEABRoles is the table of who may do what to keys: whoever may not view the organisation hears that there is nothing.
func TestEABRoles(t *testing.T) {
	t.Parallel()
	w := serving(t)
	ctx := t.Context()
	k := w.domainsKey("web")
	calls := map[string]struct {
		all  bool // every role of the organisation may
		call func(c auth.Caller) error
	}{
		"Add": {false, func(c auth.Caller) error {
			_, _, err := w.external.Add(ctx, c, auth.NewEABKey{Org: "main", ByDomains: true})
			return err
		}},
		"ByNumber": {true, func(c auth.Caller) error { _, err := w.external.ByNumber(ctx, c, k.Number); return err }},
		"Search": {true, func(c auth.Caller) error {
			_, err := w.external.Search(ctx, c, auth.EABQuery{Org: 1, Limit: 1})
			return err
		}},
		"Clients": {true, func(c auth.Caller) error { _, _, err := w.external.Clients(ctx, c, k.Number, 0, 1); return err }},
		"Client":  {false, func(c auth.Caller) error { _, _, err := w.external.Client(ctx, c, k.Number, "x"); return err }},
		"MACKey":  {false, func(c auth.Caller) error { _, err := w.external.MACKey(ctx, c, k); return err }},
		"Rename":  {false, func(c auth.Caller) error { return w.external.Rename(ctx, c, k.Number, "web") }},
		"AddDomains": {false, func(c auth.Caller) error {
			_, err := w.external.AddDomains(ctx, c, k.Number, []string{"example.com"})
			return err
		}},
		"RemoveDomains": {false, func(c auth.Caller) error {
			_, err := w.external.RemoveDomains(ctx, c, k.Number, []string{"example.com"})
			return err
		}},
		"Remove": {false, func(c auth.Caller) error {
			if c.Operator || slices.ContainsFunc(c.Roles, func(g auth.Grant) bool { return g.Org == 1 && g.Role == auth.Administrator }) {
				return nil // TestRemoveKey
			}
			return w.external.Remove(ctx, c, k.Number)
		}},
	}
	before, events := readKey(t, w.db, k.ID), len(w.journal.all())
	for name, m := range calls {
		for _, c := range []auth.Caller{by(2, auth.Administrator), {}, {Principal: "user:9", Org: 1}, {Principal: "acme:a", Org: 2}} {
			if err := m.call(c); !problem.Is(err, problem.NotFound) && !(name == "Add" && problem.Is(err, problem.Unauthorized)) {
				t.Errorf("%s by a stranger: %v", name, err)
			}
		}
		for _, role := range []auth.Role{auth.Requester, auth.Approver, auth.Auditor} {
			err := m.call(by(1, role))
			if m.all && err != nil || !m.all && !problem.Is(err, problem.Unauthorized) {
				t.Errorf("%s by %s: %v", name, role, err)
			}
		}
	}
	if after := readKey(t, w.db, k.ID); !reflect.DeepEqual(before, after) || len(w.journal.all()) != events {
		t.Errorf("who was refused has changed something: %+v", after)
	}
	for name, m := range calls {
		for _, c := range []auth.Caller{keeper, operator} {
			if err := m.call(c); err != nil {
				t.Errorf("%s by %s: %v", name, c.Principal, err)
			}
		}
	}
	for name, in := range map[string]auth.NewEABKey{
		"without domains": {Org: "main"}, "with patterns": {Org: "main", ByDomains: true, Names: []string{"*.example.com"}},
	} {
		_, _, err := w.external.Add(ctx, keeper, in)
		says(t, name, err, problem.Unauthorized, "only an operator")
	}
	_, _, err := w.external.Add(ctx, keeper, auth.NewEABKey{Org: "lab", ByDomains: true})
	says(t, "another's", err, problem.NotFound, "org list")
	for _, e := range w.journal.all() {
		if e.Kind == audit.EABKeyMade && e.Actor == "" {
			t.Error("nobody made a key")
		}
	}
}

// TestClientNumber follows from the id alone.
func TestClientNumber(t *testing.T) {
	t.Parallel()
	seen := map[int32]bool{}
	for i := range 1000 {
		n := auth.EABClient{ID: fmt.Sprint("account", i)}.Number()
		if n <= 0 || n != (auth.EABClient{ID: fmt.Sprint("account", i)}).Number() {
			t.Fatalf("%d", n)
		}
		seen[n] = true
	}
	if len(seen) < 999 {
		t.Errorf("%d numbers of 1000", len(seen))
	}
}
