package main

import (
	"fmt"

	"github.com/gatehouse-ca/gatehouse/auth"
)

// domainRoutes are what is asked of the routes of domains, about one that an organisation owns.
func (h *scmHouse) domainRoutes(org auth.OrgID) map[string]scmRoute {
	h.t.Helper()
	o, _ := h.core.organisations.ByID(org)
	d, err := h.core.domains.Add(h.t.Context(), h.callers["owner"], "matrix.example.net", o.Slug)
	must(h.t, err)
	const base, pattern = "/api/domain/v1", "/api/domain/{v}"
	grant := func(org auth.OrgID) string { return fmt.Sprintf(`{"orgId":%d,"certTypes":["SSL"]}`, org) }
	create := func(org auth.OrgID) string {
		return fmt.Sprintf(`{"name":"new.example.net","delegations":[%s]}`, grant(org))
	}
	several := func(number int32, org auth.OrgID) string {
		return fmt.Sprintf(`{"domainIds":[%d],"orgId":%d,"certTypes":["SSL"]}`, number, org)
	}
	ours := fmt.Sprintf("?orgId=%d", org)
	routes := map[string]scmRoute{
		"GET " + pattern:                  {path: base + ours, absent: base + "?orgId=4711"},
		"GET " + pattern + "/count":       {path: base + "/count" + ours, absent: base + "/count?orgId=4711"},
		"POST " + pattern:                 {path: base, body: create(org), absent: base, absentBody: create(4711), writes: true},
		"POST " + pattern + "/delegation": {path: base + "/delegation", body: several(int32(d.Number), org), absent: base + "/delegation", absentBody: several(4711, 4711), writes: true},
	}
	for _, r := range []struct {
		method, end, body string
		writes            bool
	}{
		{"GET", "", "", false}, {"DELETE", "", "", true}, {"PUT", "/activate", "", true}, {"PUT", "/suspend", "", true},
		{"PUT", "/monitoring", `{"enabled":false}`, true}, {"POST", "/delegation", grant(org), true}, {"DELETE", "/delegation", grant(org), true},
		{"POST", "/delegation/approve", grant(org), true}, {"POST", "/delegation/reject", grant(org), true},
	} {
		routes[r.method+" "+pattern+"/{id}"+r.end] = scmRoute{
			path: fmt.Sprintf("%s/%d%s", base, d.Number, r.end), body: r.body, absent: base + "/4711" + r.end, absentBody: r.body, writes: r.writes,
		}
	}
	return routes
}
