package auth_test

import (
	"slices"
	"testing"

	"github.com/gatehouse-ca/gatehouse/auth"
)

// TestBelow: an organisation with all below it, disabled or not, and no other.
func TestBelow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	top := w.add(auth.NewOrg{Slug: "top", Name: "Top"})
	mid := w.add(auth.NewOrg{Slug: "mid", Parent: "top"})
	low := w.add(auth.NewOrg{Slug: "low", Parent: "mid"})
	side := w.add(auth.NewOrg{Slug: "side", Parent: "top"})
	w.edit("mid", auth.OrgEdit{Disabled: new(true)})
	for id, want := range map[auth.OrgID][]auth.OrgID{
		1: {1}, 2: {2}, top.ID: {top.ID, mid.ID, low.ID, side.ID}, mid.ID: {mid.ID, low.ID}, low.ID: {low.ID}, 0: nil, 4711: nil, -1: nil,
	} {
		slices.Sort(want)
		if got := w.directory.Below(id); !slices.Equal(got, want) {
			t.Errorf("below %d are %v, want %v", id, got, want)
		}
	}
}

// TestByLogin finds logins of the caller's own customer, and tells nobody else of any.
func TestByLogin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.add(auth.NewOrg{Slug: "branch", Parent: "main"})
	people, err := auth.NewPrincipals(auth.PrincipalsConfig{Directory: w.directory, Store: w.db, Journal: w.journal, Argon2: auth.Argon2{Memory: 8, Passes: 1, Threads: 1}})
	must(t, err)
	callers, ids := map[string]auth.Caller{}, map[string]auth.PrincipalID{}
	for _, p := range [][2]string{{"main", "ada"}, {"branch", "bob"}, {"lab", "eve"}, {"lab", "ada"}} {
		made, err := people.Add(t.Context(), operator, auth.NewPrincipal{Org: p[0], Login: p[1], Grants: []auth.NamedGrant{{Role: auth.Requester}}})
		must(t, err)
		name := p[0] + "/" + p[1]
		ids[name] = made.ID
		callers[name], err = people.Acting(t.Context(), operator, auth.Ref{ID: made.ID})
		must(t, err)
	}
	for _, tt := range []struct{ caller, login, want string }{
		{"main/ada", "ada", "main/ada"}, {"main/ada", "BOB", "branch/bob"}, {"branch/bob", "ada", "main/ada"}, {"lab/eve", "ada", "lab/ada"},
		{"main/ada", "eve", ""}, {"lab/eve", "bob", ""}, {"main/ada", "", ""}, {"main/ada", "user:1", ""}, {"main/ada", "a b", ""}, {"main/ada", "nobody", ""},
	} {
		id, ok, err := people.ByLogin(t.Context(), callers[tt.caller], tt.login)
		if err != nil || ok != (tt.want != "") || id != ids[tt.want] {
			t.Errorf("%s finds %q: %d, %t, %v, want %q", tt.caller, tt.login, id, ok, err, tt.want)
		}
	}
	for name, c := range map[string]auth.Caller{"operator": operator, "nobody": {}, "an account": {Principal: "acme:x", Org: 1}, "one that is gone": {Principal: "user:1", Org: 1}} {
		if id, ok, err := people.ByLogin(t.Context(), c, "ada"); err != nil || ok || id != 0 {
			t.Errorf("%s: %d, %t, %v", name, id, ok, err)
		}
	}
}
