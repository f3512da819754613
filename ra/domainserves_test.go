package ra_test

import (
	"fmt"
	"testing"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// TestServes is the table of which names are in domains that an organisation may use.
func TestServes(t *testing.T) {
	t.Parallel()
	w := newDomainWorld(t)
	ctx := t.Context()
	for name, slug := range map[string]string{"example.com": "below", "example.net": "other", "shop.example.org": "main"} {
		_, err := w.Add(ctx, operator, name, slug)
		must(t, err)
	}
	names := ids(t, "example.com", "a.b.example.com", "*.example.com", "badexample.com", "example.net", "shop.example.org", "example.org")
	says := func(what string, org auth.OrgID, want string) {
		t.Helper()
		got, err := w.Serves(ctx, org, names)
		must(t, err)
		if text := fmt.Sprint(got); text != want {
			t.Errorf("%s: %s, want %s", what, text, want)
		}
	}
	const nothing = "[false false false false false false false]"
	says("the owner", 3, "[true true true false false false false]")
	says("who is above", 1, "[false false false false false true false]")
	says("another", 2, "[false false false false true false false]")
	says("who is below", 4, nothing)
	says("nobody", 0, nothing)
	_, err := w.Delegate(ctx, auth.Caller{Principal: "user:1", Org: 4, Roles: []auth.Grant{{Org: 4, Role: auth.Administrator}}}, "example.com", "far")
	must(t, err)
	says("who has asked", 4, nothing)
	_, err = w.Grant(ctx, operator, "example.com", 4, ra.PrivilegeDomain)
	must(t, err)
	says("for its own name", 4, "[true false false false false false false]")
	_, err = w.Grant(ctx, operator, "example.com", 4)
	must(t, err)
	says("for all", 4, "[true true true false false false false]")
	_, err = w.Suspend(ctx, operator, "example.com")
	must(t, err)
	says("suspended", 3, nothing)
	says("suspended, below", 4, nothing)
	_, err = w.Activate(ctx, operator, "example.com")
	must(t, err)
	_, err = w.Remove(ctx, operator, "example.com")
	must(t, err)
	says("removed", 3, nothing)
}
