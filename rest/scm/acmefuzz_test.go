package scm

import (
	"net/url"
	"testing"
	"unicode/utf8"

	"github.com/gatehouse-ca/gatehouse/auth"
)

// FuzzACMEFilters: whatever a query says, the filters are bounded, and of an organisation that the caller may view.
func FuzzACMEFilters(f *testing.F) {
	directory, err := auth.NewDirectory([]auth.Org{{ID: 1, Slug: "main"}, {ID: 2, Slug: "other"}})
	if err != nil {
		f.Fatal(err)
	}
	s := &Server{Config: Config{Organisations: directory}}
	caller := auth.Caller{Principal: "user:1", Org: 1, Roles: []auth.Grant{{Org: 1, Role: auth.Auditor}}}
	for _, seed := range []string{"", "organizationId=1&name=web&status=Valid", "organizationId=0", "organizationId=2", "organizationId=1&certValidationType=ov&acmeServer=main"} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, raw string, v2 bool) {
		query, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		got, err := s.acmeFilters(&call{s: s, caller: caller, query: query, v2: v2})
		switch {
		case err != nil:
		case got.org != 1:
			t.Errorf("%q is about organisation %d", raw, got.org)
		case utf8.RuneCountInString(got.name) > 128 || utf8.RuneCountInString(got.server) > 1024:
			t.Errorf("%q gives %d and %d octets", raw, len(got.name), len(got.server))
		case got.status != "" && got.status != acmePending && got.status != acmeValid && got.status != acmeDeactivated:
			t.Errorf("%q gives the status %q", raw, got.status)
		case !v2 && !query.Has("organizationId"):
			t.Errorf("%q names no organisation", raw)
		}
	})
}
