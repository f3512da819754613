package policy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

func parsed(t *testing.T, names ...string) (list []identifier.Identifier) {
	t.Helper()
	for _, name := range names {
		kind := "dns"
		if strings.HasPrefix(name, "192.") {
			kind = "ip"
		}
		id, err := identifier.Parse(kind, name)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, id)
	}
	return list
}

// TestRestrictionByDomains is the table of what domains let pass.
func TestRestrictionByDomains(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		domains string // with blanks between
		name    string
		allowed bool
	}{
		{"", "example.com", false},
		{"example.com", "example.com", true},
		{"example.com", "www.example.com", true},
		{"example.com", "a.b.example.com", true},
		{"example.com", "*.example.com", true},
		{"example.com", "*.b.example.com", true},
		{"example.com", "badexample.com", false},
		{"example.com", "example.net", false},
		{"www.example.com", "example.com", false},
		{"www.example.com", "*.example.com", false}, // it stands for more than www
		{"*.example.com", "example.com", false},
		{"*.example.com", "www.example.com", true},
		{"*.example.com", "a.b.example.com", true},
		{"*.example.com", "*.example.com", true},
		{"*.example.com", "badexample.com", false},
		{"example.net example.com", "www.example.com", true},
		{"example.com", "192.0.2.1", false},
		{"*.", "www.example.com", false},
	} {
		r := Restriction{ByDomains: true, Domains: strings.Fields(tc.domains)}
		err := r.CheckNames(parsed(t, tc.name))
		if tc.allowed != (err == nil) || err != nil && !problem.Is(err, problem.RejectedIdentifier) {
			t.Errorf("%q under %q: %v", tc.name, tc.domains, err)
		}
		if narrow := r.For(parsed(t, tc.name)); tc.allowed != (narrow.CheckNames(parsed(t, tc.name)) == nil) || len(narrow.Domains) > 1 || !narrow.ByDomains {
			t.Errorf("%q under %q: narrowed to %+v", tc.name, tc.domains, narrow)
		}
	}
}

// TestRestrictionByDomainsAndNames: both must let a name pass, and each name has its reason.
func TestRestrictionByDomainsAndNames(t *testing.T) {
	t.Parallel()
	r := Restriction{ByDomains: true, Domains: []string{"example.com"}, Names: []string{"*.example.com"}}
	if err := r.CheckNames(parsed(t, "www.example.com")); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"a.b.example.com", "www.example.net"} {
		if err := r.CheckNames(parsed(t, name)); !problem.Is(err, problem.RejectedIdentifier) {
			t.Errorf("%s: %v", name, err)
		}
	}
	many := Restriction{ByDomains: true}
	for i := range 12 {
		many.Domains = append(many.Domains, fmt.Sprintf("d%d.example.com", i))
	}
	p := problem.From(many.CheckNames(parsed(t, "d1.example.com", "x.example.com", "y.example.com")))
	if p == nil || len(p.Parts) != 2 || !strings.Contains(p.Parts[0].Detail, "and 2 more") {
		t.Errorf("%+v", p)
	}
	if (Restriction{ByDomains: true}).IsZero() || !(Restriction{}).IsZero() {
		t.Error("a restriction to no domain restricts, the zero one does not")
	}
	if r.Equal(Restriction{Domains: r.Domains, Names: r.Names}) || r.Equal(Restriction{ByDomains: true, Names: r.Names}) {
		t.Error("what restricts otherwise is equal")
	}
	if got := (Restriction{Profiles: []string{"a"}}).For(parsed(t, "x.example.com")); got.ByDomains || len(got.Profiles) != 1 {
		t.Errorf("%+v", got)
	}
	text := wantedRestriction(nil, Request{Restriction: Restriction{ByDomains: true}})
	if !strings.Contains(text, "it has none") {
		t.Error(text)
	}
}
