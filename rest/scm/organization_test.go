package scm

import (
	"fmt"
	"path"
	"strconv"
	"testing"

	"github.com/gatehouse-ca/gatehouse/auth"
)

const orgPath = "/api/organization/v1"

// newOrgBody is as SCM's clients send it.
const newOrgBody = `{"parentOrgName":"Main","name":"Sales & Support","address1":"First street, 123","address2":"Block 2","address3":"Office 34","city":"Odesa",
	"stateProvince":"Odeska oblast","postalCode":"65000","country":"ua","clientCertificate":{"allowKeyRecoveryByMasterAdmins":false,"allowKeyRecoveryByOrgAdmins":false,
	"allowKeyRecoveryByDepartmentAdmins":false},"sslCertsApiEnabled":true,"clientCertsApiEnabled":true,"alternativeName":"S&S","alias":"sales",
	"contactEmails":"ann@example.com, ben@example.com"}`

// TestOrganizationLists: who sees what, in two levels.
func TestOrganizationLists(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	deep := w.org(auth.NewOrg{Slug: "deep", Name: "Deep", ParentID: 3}, "DEEP")
	gone := w.org(auth.NewOrg{Slug: "gone", Name: "Gone", ParentID: 1}, "GONE")
	_, err := w.Tenants.Close(t.Context(), operator, gone.ID)
	must(t, err)
	w.person("ben", "branch", auth.Administrator)
	w.goldens([]exchange{
		{"organization-list", "ada", "GET", orgPath, ""},
		{"organization-list-other", "olga", "GET", orgPath + "/", ""},
		{"organization-list-report-type", "ada", "GET", orgPath + "/report-type/SSL", ""},
		{"organization-list-report-type-client", "ada", "GET", orgPath + "/report-type/Client", ""},
		{"organization-list-report-type-unknown", "ada", "GET", orgPath + "/report-type/TLS", ""},
		{"organization-list-mrao", "ada", "GET", orgPath + "/managedBy/MRAO", ""},
		{"organization-list-drao", "ada", "GET", orgPath + "/managed-by/DRAO_SSL", ""},
		{"organization-list-rao-smime", "ada", "GET", orgPath + "/managed-by/RAO_SMIME", ""},
		{"organization-list-role-not-held", "rex", "GET", orgPath + "/managed-by/RAO_SSL", ""},
		{"organization-list-role-unknown", "ada", "GET", orgPath + "/managedBy/BOSS", ""},
		{"organization-get", "aud", "GET", orgPath + "/1", ""},
		{"organization-get-department", "ada", "GET", orgPath + "/3", ""},
		{"organization-get-foreign", "ada", "GET", orgPath + "/2", ""},
		{"organization-get-absent", "ada", "GET", orgPath + "/4711", ""},
		{"organization-get-no-number", "ada", "GET", orgPath + "/main", ""},
		{"organization-get-deleted", "ada", "GET", fmt.Sprint(orgPath, "/", gone.ID), ""},
		{"organization-get-deep", "ada", "GET", fmt.Sprint(orgPath, "/", deep.ID), ""},
	})
	// Who sees a part is shown that as the whole.
	r := w.as("ben", "GET", orgPath, "")
	w.goldenRequest("organization-list-part", r, "")
	w.goldenRequest("organization-get-part", w.as("ben", "GET", orgPath+"/3", ""), "")
	w.goldenRequest("organization-get-above", w.as("ben", "GET", orgPath+"/1", ""), "")
}

// TestOrganizationLife: what was put is read back, until it is deleted.
func TestOrganizationLife(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	location := w.call("ada", "POST", orgPath, newOrgBody, 201).Header().Get("Location")
	w.hides(path.Base(location), "SALES")
	at := orgPath + "/" + path.Base(location)
	w.golden("organization-added", "rex", "GET", at, "")
	number, err := strconv.ParseInt(path.Base(location), 10, 32)
	must(t, err)
	o, _ := w.Organisations.ByID(auth.OrgID(number))
	if location != "https://ca.example.com"+at || o.Slug != "main-sales-support" || o.Parent != 1 {
		t.Errorf("it is at %s: %+v", location, o)
	}
	w.goldens([]exchange{
		{"organization-set", "ada", "PUT", at, `{"name":"Sales","city":"","country":"AT","contactEmails":"","alternativeName":null,"schacHomeOrganization":"example.com","sslCertsApiEnabled":true}`},
		{"organization-set-nothing", "ada", "PUT", at, `{"name":"","parentOrgName":"Other","clientCertificate":{}}`},
		{"organization-list-more", "ada", "GET", orgPath, ""},
	})
	// Two of one name can be made, and then nothing below them by that name.
	again := path.Base(w.call("ada", "POST", orgPath, with(t, newOrgBody, "name", `"Sales"`), 201).Header().Get("Location"))
	w.hides(again, "SALES2")
	w.refusals(t, []exchange{
		{"organization-add-parent-ambiguous", "ada", "POST", orgPath, with(t, newOrgBody, "parentOrgName", `"Sales"`)},
		{"organization-delete-configured", "ada", "DELETE", orgPath + "/3", ""},
		{"organization-delete-no-right", "rex", "DELETE", at, ""},
		{"organization-delete-foreign", "olga", "DELETE", at, ""},
	})
	w.golden("organization-delete", "ada", "DELETE", at, "")
	w.refusals(t, []exchange{
		{"organization-delete-deleted", "ada", "DELETE", at, ""},
		{"organization-set-deleted", "ada", "PUT", at, `{"name":"x"}`},
	})
	w.golden("organization-list-after-delete", "ada", "GET", orgPath, "")
}

// TestOrganizationInUse: nothing ends by a deletion that nobody has thought of, and what a deleted one has stays revocable.
func TestOrganizationInUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	used := w.org(auth.NewOrg{Slug: "used", Name: "Used", ParentID: 1}, "USED")
	waits := w.org(auth.NewOrg{Slug: "waits", Name: "Waits", ParentID: 1}, "WAITS")
	above := w.org(auth.NewOrg{Slug: "above", Name: "Above", ParentID: 1}, "ABOVE")
	w.org(auth.NewOrg{Slug: "below", Name: "Below", ParentID: above.ID}, "BELOW")
	enroll := func(org auth.OrgID, profile int) string {
		o := object(t, w.call("ada", "POST", "/api/ssl/v1/enroll", fmt.Sprintf(`{"orgId":%d,"certType":%d,"term":90,"csr":%s}`, org, profile, w.jsonCSR("www.example.com")), 200).Body.Bytes())
		return fmt.Sprint(o["sslId"])
	}
	id := enroll(used.ID, typeTLS)
	enroll(waits.ID, typeApproved)
	at := fmt.Sprint(orgPath, "/", used.ID)
	w.refusals(t, []exchange{
		{"organization-delete-in-use", "ada", "DELETE", at, ""},
		{"organization-delete-request", "ada", "DELETE", fmt.Sprint(orgPath, "/", waits.ID), ""},
		{"organization-delete-department", "ada", "DELETE", fmt.Sprint(orgPath, "/", above.ID), ""},
	})
	w.call("ada", "POST", "/api/ssl/v1/revoke/"+id, `{"reason":"x"}`, 204)
	w.call("ada", "DELETE", at, "", 204)
	w.call("ada", "GET", "/api/ssl/v1/"+id, "", 200)
	rec := w.call("ada", "GET", fmt.Sprint("/api/ssl/v1?orgId=", used.ID), "", 200)
	if rec.Header().Get("X-Total-Count") != "1" {
		t.Errorf("the certificates of a deleted organisation are not listed: %s", rec.Body)
	}
	w.golden("organization-enroll-deleted", "ada", "POST", "/api/ssl/v1/enroll", fmt.Sprintf(`{"orgId":%d,"certType":%d,"term":90,"csr":%s}`, used.ID, typeTLS, w.jsonCSR("www.example.com")))
}

// TestOrganizationRefusals: SCM's number and the member's name, and nothing changes.
func TestOrganizationRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.org(auth.NewOrg{Slug: "sales", Name: "Sales", ParentID: 1}, "SALES")
	off := w.org(auth.NewOrg{Slug: "off", Name: "Off", ParentID: 1}, "OFF")
	_, err := w.Tenants.Edit(t.Context(), operator, "off", auth.OrgEdit{Disabled: new(true)})
	must(t, err)
	w.person("ben", "branch", auth.Administrator)
	at := fmt.Sprint(orgPath, "/", o.ID)
	list := []exchange{
		{"organization-add-no-right", "rex", "POST", orgPath, newOrgBody},
		{"organization-add-top", "ada", "POST", orgPath, with(t, newOrgBody, "parentOrgName", "")},
		{"organization-add-parent-unknown", "ada", "POST", orgPath, with(t, newOrgBody, "parentOrgName", `"Nobody"`)},
		{"organization-add-parent-foreign", "ada", "POST", orgPath, with(t, newOrgBody, "parentOrgName", `"Other"`)},
		{"organization-add-parent-disabled", "ada", "POST", orgPath, with(t, newOrgBody, "parentOrgName", `"Off"`)},
		{"organization-add-no-city", "ada", "POST", orgPath, with(t, newOrgBody, "city", `" "`, "stateProvince", "")},
		{"organization-add-no-body", "ada", "POST", orgPath, ""},
		{"organization-set-no-body", "ada", "PUT", at, "[]"},
		{"organization-set-no-right", "rex", "PUT", at, `{"name":"x"}`},
		{"organization-set-top", "ada", "PUT", orgPath + "/1", `{"name":"x"}`},
		{"organization-set-configured", "ada", "PUT", orgPath + "/3", `{"name":"x"}`},
		{"organization-set-own", "ben", "PUT", orgPath + "/3", `{"name":"x"}`},
		{"organization-set-foreign", "olga", "PUT", at, `{"name":"x"}`},
		{"organization-set-absent", "ada", "PUT", orgPath + "/4711", `{"name":"x"}`},
		{"organization-set-disabled", "ada", "PUT", fmt.Sprint(orgPath, "/", off.ID), `{"sslCertsApiEnabled":true}`},
		{"organization-delete-top", "ada", "DELETE", orgPath + "/1", ""},
		{"organization-delete-absent", "ada", "DELETE", orgPath + "/4711", ""},
	}
	for _, name := range []string{"name", "address1", "country", "clientCertificate"} {
		list = append(list, exchange{"organization-add-no-" + name, "ada", "POST", orgPath, with(t, newOrgBody, name, "")})
	}
	for _, m := range []struct{ name, value, what string }{
		{"name", long(129), "long"}, {"name", `"a\nb"`, "lines"}, {"name", "7", "type"}, {"parentOrgName", long(129), "long"}, {"alternativeName", long(1025), "long"},
		{"alias", long(1025), "long"}, {"schacHomeOrganization", `"other"`, "other"}, {"address1", long(129), "long"}, {"address2", long(129), "long"},
		{"address3", long(129), "long"}, {"city", long(33), "long"}, {"stateProvince", long(33), "long"}, {"postalCode", long(11), "long"}, {"country", `"UKR"`, "long"},
		{"country", `"4A"`, "letters"}, {"contactEmails", long(513), "long"}, {"contactEmails", `"ann@example.com,nobody"`, "form"},
		{"contactWebhook", `"https://example.com/hook"`, "set"}, {"contactSlack", `"https://example.com/hook"`, "set"}, {"contactTeams", `"https://example.com/hook"`, "set"},
		{"clientCertificate", `{"allowKeyRecoveryByOrgAdmins":true}`, "recovery"}, {"clientCertificate", `[]`, "type"}, {"sslCertsApiEnabled", "false", "off"},
		{"clientCertsApiEnabled", `"maybe"`, "type"},
	} {
		list = append(list, exchange{"organization-add-" + m.name + "-" + m.what, "ada", "POST", orgPath, with(t, newOrgBody, m.name, m.value)})
		if m.name != "parentOrgName" && m.name != "schacHomeOrganization" {
			body := fmt.Sprintf(`{%q:%s}`, m.name, m.value)
			if rec := w.call("ada", "PUT", at, body, 400); int(object(t, rec.Body.Bytes())["code"].(float64)) != codeValue {
				t.Errorf("PUT of %s: %s", body, rec.Body)
			}
		}
	}
	w.refusals(t, list)
}
