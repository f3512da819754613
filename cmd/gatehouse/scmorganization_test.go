package main

import (
	"bytes"
	"fmt"
	"net/http"
	"path"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// TestOrganizationOverSCM: what an administrator makes over this door the operator sees by command, it is not deleted while it has
// a certificate, and the operator takes a deletion back.
func TestOrganizationOverSCM(t *testing.T) {
	t.Parallel()
	h := newSCMHouse(t)
	h.person("ada", "dev", auth.Administrator)
	token, _ := h.token(h.clients["ada"])
	do := func(method, path, body string, status int) http.Header {
		t.Helper()
		w := h.do(method, path, body, token)
		if w.Code != status {
			t.Fatalf("%s %s: status %d: %s", method, path, w.Code, w.Body)
		}
		return w.Header()
	}
	top, _ := h.core.organisations.BySlug("dev")
	location := do("POST", "/api/organization/v1", fmt.Sprintf(`{"parentOrgName":%q,"name":"Sales","address1":"Street 1","city":"Town","postalCode":"12345","country":"DE",
		"alias":"sales","contactEmails":"ann@example.com","clientCertificate":{}}`, top.Name), 201).Get("Location")
	at := "/api/organization/v1/" + path.Base(location)
	shown := func() string {
		t.Helper()
		o, err := h.core.tenants.Get(t.Context(), ra.Operator("uid:0"), "dev-sales")
		must(t, err)
		var b bytes.Buffer
		must(t, (&adminFlags{}).print(&b, viewOrg(o)))
		return strings.Join(strings.Fields(b.String()), " ")
	}
	for _, want := range []string{"slug dev-sales", "status enabled", "alias sales", "contacts ann@example.com", "address Street 1, 12345 Town, DE"} {
		if text := shown(); !strings.Contains(text, want) {
			t.Errorf("org show says %q, and not %q", text, want)
		}
	}
	enroll := fmt.Sprintf(`{"orgId":%s,"certType":%d,"term":1,"csr":%s}`, path.Base(at), scmProfile, scmCSR(t, "www.example.com"))
	w := h.do("POST", "/api/ssl/v2/enroll", enroll, token)
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	scmRefused(t, "DELETE", h.do("DELETE", at, "", token), 400, -1021)
	id, _, _ := strings.Cut(strings.TrimPrefix(w.Body.String(), `{"sslId":`), ",")
	do("POST", "/api/ssl/v2/revoke/"+id, `{"reason":"x"}`, 204)
	do("DELETE", at, "", 204)
	scmRefused(t, "GET", h.do("GET", at, "", token), 404, -1023)
	if text := shown(); !strings.Contains(text, "status deleted") {
		t.Errorf("org show says %q", text)
	}
	_, err := h.core.tenants.Edit(t.Context(), ra.Operator("uid:0"), "dev-sales", auth.OrgEdit{Disabled: new(false)})
	must(t, err)
	do("GET", at, "", 200)
	if text := shown(); !strings.Contains(text, "status enabled") {
		t.Errorf("org show says %q", text)
	}
}
