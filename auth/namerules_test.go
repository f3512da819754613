package auth_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// TestNameRules: an organisation is held to the rules of all above it, from the top, and to its own.
func TestNameRules(t *testing.T) {
	w := newWorld(t)
	w.open(auth.Org{ID: 1, Slug: "main"}, auth.Org{ID: 2, Slug: "lab", Parent: 1, DenyNames: []string{"x.example.com"}})
	top := w.add(auth.NewOrg{Slug: "top", Parent: "lab", AllowNames: []string{"*.example.com"}})
	mid := w.add(auth.NewOrg{Slug: "mid", Parent: "top"})
	low := w.add(auth.NewOrg{Slug: "low", Parent: "mid", DenyNames: []string{"a.example.com", "10.0.0.0/8"}})
	rules := func(id auth.OrgID) string {
		var parts []string
		for _, l := range w.directory.NameRules(id) {
			parts = append(parts, l.Organisation+"+"+strings.Join(l.Allow, ",")+"-"+strings.Join(l.Deny, ","))
		}
		return strings.Join(parts, " ")
	}
	for id, want := range map[auth.OrgID]string{
		1: "", 2: "lab+-x.example.com", top.ID: "lab+-x.example.com top+*.example.com-", mid.ID: "lab+-x.example.com top+*.example.com-",
		low.ID: "lab+-x.example.com top+*.example.com- low+-a.example.com,10.0.0.0/8", 99: "",
	} {
		if got := rules(id); got != want {
			t.Errorf("organisation %d is held to %q, want %q", id, got, want)
		}
	}

	// Of two edits each leaves what the other changed, and what is there survives a store that is lost.
	w.edit("low", auth.OrgEdit{AllowNames: &[]string{"www.example.com"}})
	w.edit("top", auth.OrgEdit{AllowNames: &[]string{}})
	want := "lab+-x.example.com low+www.example.com-a.example.com,10.0.0.0/8"
	if got := rules(low.ID); got != want {
		t.Errorf("after edits it is held to %q", got)
	}
	have, _, err := w.db.Orgs(t.Context())
	must(t, err)
	again, _, err := w.replayed().Orgs(t.Context())
	must(t, err)
	if len(have) != 3 || len(again) != 3 {
		t.Fatalf("%d and %d organisations", len(have), len(again))
	}
	for i := range have {
		have[i].Version, again[i].Version = [16]byte{}, [16]byte{}
		if !reflect.DeepEqual(have[i], again[i]) {
			t.Errorf("the journal gives back %+v, not %+v", again[i], have[i])
		}
	}

	for name, edit := range map[string]auth.OrgEdit{
		"allow_names: ": {AllowNames: &[]string{"a b"}},
		"deny_names: ":  {DenyNames: &[]string{"10.0.0.1/8"}},
		"101 entries":   {DenyNames: new(make([]string, 101))},
	} {
		_, err := w.tenants.Edit(t.Context(), operator, "low", edit)
		says(t, name, err, problem.Malformed, name)
	}
	_, err = w.tenants.Add(t.Context(), operator, auth.NewOrg{Slug: "x", AllowNames: []string{"*.*.example.com"}})
	says(t, "unreadable", err, problem.Malformed, "allow_names: ")
	if got := rules(low.ID); got != want {
		t.Errorf("refusals have left %q", got)
	}
}
