package main

import (
	"fmt"
	"strings"

	"github.com/gatehouse-ca/gatehouse/auth"
)

// acmeRoutes are what is asked of the routes of ACME accounts, about one of an organisation.
func (h *scmHouse) acmeRoutes(org auth.OrgID) map[string]scmRoute {
	h.t.Helper()
	o, _ := h.core.organisations.ByID(org)
	k, mac, err := h.core.external.Add(h.t.Context(), h.callers["owner"], auth.NewEABKey{Org: o.Slug, Label: "web", ByDomains: true, Reusable: true})
	must(h.t, err)
	clear(mac)
	const domains = `{"domains":[{"name":"example.com"}]}`
	routes := map[string]scmRoute{"GET /api/acme/{v}/server": {path: "/api/acme/v1/server"}}
	for _, base := range []string{"/api/acme/{v}/account", "/api/acme/{v}/pca/account"} {
		at := strings.Replace(base, "{v}", "v1", 1)
		create := func(org auth.OrgID) string {
			return fmt.Sprintf(`{"name":"web","acmeServer":"dev","organizationId":%d,"profileName":"dev"}`, org)
		}
		routes["GET "+base] = scmRoute{path: fmt.Sprintf("%s?organizationId=%d", at, org), absent: at + "?organizationId=4711"}
		routes["POST "+base] = scmRoute{path: at, body: create(org), absent: at, absentBody: create(4711), writes: true}
		for _, r := range []struct {
			method, pattern, body string
			writes                bool
		}{
			{"GET", "", "", false}, {"PUT", "", `{"name":"x"}`, true}, {"DELETE", "", "", true}, {"GET", "/domain", "", false},
			{"POST", "/domain", domains, true}, {"DELETE", "/domain", domains, true}, {"POST", "/domains", domains, true}, {"DELETE", "/domains", domains, true},
			{"GET", "/client", "", false}, {"PUT", "/client/{clientId}", "", true},
		} {
			path := func(number int32) string {
				return fmt.Sprintf("%s/%d%s", at, number, strings.Replace(r.pattern, "{clientId}", "77", 1))
			}
			routes[r.method+" "+base+"/{id}"+r.pattern] = scmRoute{path: path(k.Number), body: r.body, absent: path(4711), absentBody: r.body, writes: r.writes}
		}
	}
	return routes
}
