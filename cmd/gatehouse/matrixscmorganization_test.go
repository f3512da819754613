package main

import (
	"fmt"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// organizationRoutes are what is asked of the routes of organisations, custom fields and reports, about an organisation and one below it.
func (h *scmHouse) organizationRoutes(org auth.OrgID) map[string]scmRoute {
	below, err := h.core.tenants.Add(h.t.Context(), ra.Operator("uid:0"), auth.NewOrg{Slug: "below", Name: "Below", ParentID: org})
	must(h.t, err)
	top, _ := h.core.organisations.ByID(org)
	const base, fields = "/api/organization/v1", "/api/customField/v2"
	its, absent := fmt.Sprint(base, "/", below.ID), base+"/4711"
	add := `{"parentOrgName":%q,"name":"x","address1":"x","city":"x","country":"DE","clientCertificate":{}}`
	const name, report = `{"name":"x"}`, `{"organizationIds":[%d]}`
	return map[string]scmRoute{
		"GET /api/organization/{v}":                    {path: base},
		"POST /api/organization/{v}":                   {base, fmt.Sprintf(add, top.Name), base, fmt.Sprintf(add, "Nobody"), true},
		"GET /api/organization/{v}/{id}":               {its, "", absent, "", false},
		"PUT /api/organization/{v}/{id}":               {its, name, absent, name, true},
		"DELETE /api/organization/{v}/{id}":            {its, "", absent, "", true},
		"GET /api/organization/{v}/managedBy/{role}":   {path: base + "/managedBy/MRAO"},
		"GET /api/organization/{v}/managed-by/{role}":  {path: base + "/managed-by/DRAO_SSL"},
		"GET /api/organization/{v}/report-type/{type}": {path: base + "/report-type/SSL"},
		"GET /api/customField/{v}":                     {path: fields},
		"GET /api/customField/{v}/{id}":                {path: fields + "/1"},
		"POST /api/customField/{v}":                    {path: fields, body: "{}", writes: true},
		"PUT /api/customField/{v}":                     {path: fields, body: "{}", writes: true},
		"DELETE /api/customField/{v}/{id}":             {path: fields + "/1", writes: true},
		"POST /api/report/{v}/ssl-certificates":        {"/api/report/v1/ssl-certificates", fmt.Sprintf(report, org), "/api/report/v1/ssl-certificates", fmt.Sprintf(report, 4711), false},
	}
}
