package auth_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/auth"
)

// TestSees: an organisation sees its own, an operator all, and whoever has none sees nothing.
func TestSees(t *testing.T) {
	for _, tt := range []struct {
		name   string
		caller auth.Caller
		org    auth.OrgID
		want   bool
	}{
		{"own", auth.Caller{Principal: "acme:a", Org: 1}, 1, true},
		{"another", auth.Caller{Principal: "acme:a", Org: 1}, 2, false},
		{"nobody", auth.Caller{}, 1, false},
		{"nobody, and an object without an organisation", auth.Caller{}, 0, false},
		{"a principal without an organisation", auth.Caller{Principal: "acme:a"}, 1, false},
		{"a negative organisation", auth.Caller{Org: -1}, -1, false},
		{"operator", auth.Caller{Principal: "uid:0", Operator: true}, 1, true},
		{"operator, and an object without an organisation", auth.Caller{Operator: true}, 0, true},
	} {
		if got := tt.caller.Sees(tt.org); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}

func TestDirectory(t *testing.T) {
	main, other := auth.Org{ID: 7, Slug: "main", Name: "Main"}, auth.Org{ID: 2, Slug: "other", Name: "Main"}
	given := []auth.Org{main, other}
	d, err := auth.NewDirectory(given)
	if err != nil {
		t.Fatal(err)
	}
	given[0].Slug = "changed"
	for _, o := range []*auth.Org{&main, &other} {
		o.Configured, o.EAB = true, auth.EABOff
	}
	if !reflect.DeepEqual(d.Default(), main) {
		t.Errorf("the first is %+v", d.Default())
	}
	for _, o := range []auth.Org{main, other} {
		if got, ok := d.ByID(o.ID); !ok || !reflect.DeepEqual(got, o) {
			t.Errorf("by number %d: %+v, %t", o.ID, got, ok)
		}
		if got, ok := d.BySlug(o.Slug); !ok || !reflect.DeepEqual(got, o) {
			t.Errorf("by slug %s: %+v, %t", o.Slug, got, ok)
		}
	}
	if got, ok := d.ByID(1); ok || !reflect.DeepEqual(got, auth.Org{}) {
		t.Errorf("a number that nobody has: %+v", got)
	}
	for _, slug := range []string{"", "changed", "Main", "main "} {
		if got, ok := d.BySlug(slug); ok || !reflect.DeepEqual(got, auth.Org{}) {
			t.Errorf("slug %q: %+v", slug, got)
		}
	}
}

func TestNewDirectoryRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		orgs []auth.Org
		says string
	}{
		{"none", nil, "at least one"},
		{"no number", []auth.Org{{Slug: "main"}}, "above zero"},
		{"a negative number", []auth.Org{{ID: -1, Slug: "main"}}, "above zero"},
		{"no slug", []auth.Org{{ID: 1}}, "slug"},
		{"a number twice", []auth.Org{{ID: 1, Slug: "a"}, {ID: 1, Slug: "b"}}, "id 1 is given twice"},
		{"a slug twice", []auth.Org{{ID: 1, Slug: "a"}, {ID: 2, Slug: "a"}}, `slug "a" is given twice`},
		{"the second is wrong", []auth.Org{{ID: 1, Slug: "a"}, {ID: 2, Slug: "B"}}, `slug "B" of id 2`},
	} {
		if d, err := auth.NewDirectory(tt.orgs); err == nil || d != nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want it to say %q", tt.name, err, tt.says)
		}
	}
}

// TestSlugs stand in URLs: nothing that would need escaping, no word that a door's paths use, nothing longer than a label.
func TestSlugs(t *testing.T) {
	for slug, want := range map[string]bool{
		"main": true, "a": true, "0": true, "a-b": true, "a--b": true, "42": true, "new-york": true, strings.Repeat("a", 63): true,
		"": false, strings.Repeat("a", 64): false, "-a": false, "a-": false, "-": false, "A": false, "a_b": false, "a.b": false,
		"a/b": false, "a b": false, "ä": false, "a\n": false, "%61": false,
		"in": false, "directory": false, "new": false, "all": false, "console": false, "admin": false,
	} {
		if _, err := auth.NewDirectory([]auth.Org{{ID: 1, Slug: slug}}); (err == nil) != want {
			t.Errorf("slug %q: %v", slug, err)
		}
	}
}
