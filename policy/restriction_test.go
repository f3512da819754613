package policy

import (
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

func TestRestrictionOfNames(t *testing.T) {
	for _, tc := range []struct {
		names   []string
		allowed []string
		refused []string
	}{
		{nil, []string{"example.com", "*.example.com", "db.corp", "192.0.2.1", "2001:db8::1"}, nil},
		{
			[]string{"example.com"},
			[]string{"example.com"},
			[]string{"www.example.com", "*.example.com", "example.com.example.net", "notexample.com", "com", "192.0.2.1", "2001:db8::1"},
		},
		{
			[]string{"*.example.com"},
			[]string{"www.example.com", "*.example.com"},
			[]string{"example.com", "a.b.example.com", "*.b.example.com", "*.com", "*.example.net", "wwwexample.com", "192.0.2.1"},
		},
		// An entry for a name that a wildcard covers is no entry for the wildcard.
		{[]string{"www.example.com", "*.lab.example.com"}, []string{"www.example.com", "*.lab.example.com"}, []string{"*.example.com", "*.www.example.com", "lab.example.com"}},
		{[]string{"192.0.2.0/24"}, []string{"192.0.2.1"}, []string{"192.0.3.1", "2001:db8::1", "example.com", "*.example.com"}},
		{[]string{"2001:db8::1", "example.com"}, []string{"2001:db8::1", "example.com"}, []string{"2001:db8::2", "192.0.2.1", "www.example.com"}},
	} {
		r := Restriction{Names: tc.names}
		if err := r.Check(); err != nil {
			t.Errorf("%v: %v", tc.names, err)
		}
		for _, id := range names(t, tc.allowed...) {
			if err := r.CheckNames([]identifier.Identifier{id}); err != nil {
				t.Errorf("%v refuses %s: %v", tc.names, id.Value(), err)
			}
		}
		for _, id := range names(t, tc.refused...) {
			err := r.CheckNames([]identifier.Identifier{id})
			if p := problem.From(err); p == nil || p.Kind != problem.RejectedIdentifier || len(p.Parts) != 1 || p.Parts[0].Identifier != id {
				t.Errorf("%v and %s: %v", tc.names, id.Value(), err)
			} else if !strings.Contains(p.Detail, tc.names[0]) {
				t.Errorf("it does not name the rule: %s", p.Detail)
			}
		}
	}
	// RFC 8555, 6.7.1: each name that is refused has its part, wherever it stands.
	ids := names(t, "a.example.net", "www.example.com", "b.example.net")
	p := problem.From(Restriction{Names: []string{"*.example.com"}}.CheckNames(ids))
	if p == nil || len(p.Parts) != 2 || p.Parts[0].Identifier != ids[0] || p.Parts[1].Identifier != ids[2] {
		t.Error(p)
	}
}

// TestUnreadableRestriction: what cannot be read allows nothing, also where another entry would allow the name.
func TestUnreadableRestriction(t *testing.T) {
	r := Restriction{Names: []string{"www.example.com", "w*.example.com"}}
	if err := r.CheckNames(names(t, "www.example.com")); !problem.Is(err, problem.Internal) {
		t.Error(err)
	}
	if err := r.Check(); err == nil || !strings.Contains(err.Error(), `w*.example.com`) || !strings.HasPrefix(err.Error(), "names: ") {
		t.Error(err)
	}
	if err := (Restriction{Profiles: []string{"a b"}}).Check(); err == nil || !strings.Contains(err.Error(), `"a b"`) {
		t.Error(err)
	}
}

func TestRestrictionOfProfiles(t *testing.T) {
	if !(Restriction{}).IsZero() || (Restriction{Profiles: []string{"web"}}).IsZero() || (Restriction{Names: []string{"example.com"}}).IsZero() {
		t.Error("zero")
	}
	r := Restriction{Profiles: []string{"web", "mail"}}
	for name, want := range map[string]bool{"web": true, "mail": true, "Web": false, "we": false, "": false} {
		if r.AllowsProfile(name) != want {
			t.Errorf("%q: %t", name, !want)
		}
	}
	if !(Restriction{}).AllowsProfile("web") {
		t.Error("nothing is restricted, and a profile is refused")
	}
}

// TestDecideHoldsToTheRestriction: the signing gate's own decision refuses what a requester may not have, whatever a door
// has let through.
func TestDecideHoldsToTheRestriction(t *testing.T) {
	p := mustNew(t, basic())
	for name, tc := range map[string]struct {
		restriction Restriction
		want        problem.Kind // Internal: accepted
	}{
		"none":                   {Restriction{}, 0},
		"both":                   {Restriction{Profiles: []string{"web"}, Names: []string{"*.example.com"}}, 0},
		"another profile":        {Restriction{Profiles: []string{"mail"}}, problem.Unauthorized},
		"another name":           {Restriction{Names: []string{"example.net", "a.example.com"}}, problem.RejectedIdentifier},
		"one of two names alone": {Restriction{Names: []string{"b.example.com"}}, problem.RejectedIdentifier},
	} {
		r := goodRequest(t, "a.example.com", "b.example.com")
		r.Restriction = tc.restriction
		_, err := p.Decide(r)
		if tc.want == 0 && err != nil || tc.want != 0 && !problem.Is(err, tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
