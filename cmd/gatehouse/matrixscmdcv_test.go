package main

import (
	"fmt"
	"strings"

	"github.com/gatehouse-ca/gatehouse/auth"
)

// dcvRoutes are what is asked of the routes of domain control validation, about a domain of an organisation.
func (h *scmHouse) dcvRoutes(org auth.OrgID) map[string]scmRoute {
	h.t.Helper()
	o, _ := h.core.organisations.ByID(org)
	_, err := h.core.domains.Add(h.t.Context(), h.callers["owner"], "aa.example.com", o.Slug)
	must(h.t, err)
	const base = "/api/dcv/{v}/validation"
	at := strings.Replace(base, "{v}", "v2", 1)
	routes := map[string]scmRoute{
		"GET " + base: {path: fmt.Sprintf("%s?org=%d", at, org), absent: at + "?org=4711"}, "POST /api/report/{v}/domains": {path: "/api/report/v1/domains"},
	}
	post := func(path, query, body string, writes bool) {
		routes["POST "+base+path] = scmRoute{
			path: at + path + query, body: body, absent: at + path + query, absentBody: strings.Replace(body, "aa.example.com", "bb.example.com", 1), writes: writes,
		}
	}
	const itself = `{"domain":"aa.example.com"}`
	post("/status", "", itself, false)
	post("/sync", "?force=true", itself, true)
	post("/clear", "", itself, true)
	post("/delete", "", itself, true)
	for _, method := range []string{"http", "https", "cname", "txt", "email"} {
		post("/start/domain/"+method, "", itself, method != "txt")
		if method != "email" {
			post("/submit/domain/"+method, "", itself, true)
		}
	}
	post("/submit/domain/email", "", `{"domain":"aa.example.com","email":"admin@example.com"}`, true)
	post("/submit-bulk/domain/email", "", `{"domains":["aa.example.com"],"email":"admin@example.com"}`, true)
	return routes
}
