package auth_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
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
