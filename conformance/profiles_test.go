package conformance

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// profileRows is draft-ietf-acme-profiles.
func profileRows() []row {
	return []row{
		{section: "3", name: "meta", rule: "meta has profiles, a map from names to descriptions",
			accepts: func(t *testing.T, g *gateway) {
				got, _ := g.stranger(t).directory["meta"].(map[string]any)["profiles"].(map[string]any)
				want := map[string]string{"web": "for web servers", "checked": "after a look at CAA", "dated": "with a validity that the client asks for", "names": "no addresses"}
				if !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) {
					t.Errorf("profiles are %v", got)
				}
				for name, text := range want {
					if description, _ := got[name].(string); !strings.HasPrefix(description, text) {
						t.Errorf("%s is described by %v", name, got[name])
					}
				}
			}},
		{section: "4", name: "selected", rule: "An accepted order has the profile that was asked for",
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				o := c.orderOf(t, dnsNamesIn("names", g.name()))
				if o.Profile != "names" || c.look(t, o).Profile != "names" {
					t.Errorf("the order is %+v", o)
				}
				if o := c.order(t, g.name()); o.Profile != "web" { // one is chosen where none is asked for
					t.Errorf("without one: %+v", o)
				}
			}},
		{section: "4", name: "unknown", rule: "A profile that is not offered is invalidProfile",
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				for _, profile := range []string{"nowhere", "Web", "", "reserved"} {
					c.post(t, c.url("newOrder"), dnsNamesIn(profile, g.name())).refused(t, http.StatusBadRequest, "invalidProfile")
				}
			}},
		{section: "4", name: "incompatible", rule: "A profile that does not go with the rest of the request is invalidProfile",
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				request := addresses("127.0.0.1")
				request["profile"] = "names"
				c.post(t, c.url("newOrder"), request).refused(t, http.StatusBadRequest, "invalidProfile")
			}},
		{section: "4", name: "no-longer-offered", rule: "Finalizing an order whose profile is no longer issued under is invalidProfile",
			refuses: func(t *testing.T, g *gateway) {
				c, name := g.account(t), g.name()
				o := c.proved(t, c.orderOf(t, dnsNamesIn("names", name)), "dns-01")
				// It is gone; then it has other rules than when the order was made.
				changed, err := policy.New(policy.Config{Name: "names", Issuer: "main", AllowWildcards: true, DCVMethods: []dcv.Method{dcv.DNS01}})
				must(t, err)
				for _, now := range []map[string]*policy.Profile{{"web": g.config.Profiles["web"]}, {"web": g.config.Profiles["web"], "names": changed}} {
					s := g.sibling(t, func(config *acme.Config) {
						config.Profiles = now
						registrar := *config.Registrar.(*ra.Registrar)
						registrar.Profiles = now
						config.Registrar = &registrar
					})
					c.post(t, o.Finalize, csr(t, newKey(t), name), via(g, s)).refused(t, http.StatusBadRequest, "invalidProfile")
				}
			}},
	}
}
