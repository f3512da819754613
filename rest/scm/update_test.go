package scm

import (
	"testing"

	"github.com/gatehouse-ca/gatehouse/ra"
)

func TestUpdate(t *testing.T) {
	w := newWorld(t)
	w.issue("rex", "tls", "a.example.com")
	const path = "/api/ssl/v2"
	w.goldens([]exchange{
		{"update", "rex", "PUT", path, `{"sslId":1,"comments":"ticket 7","externalRequester":"ann@example.com","suspendNotifications":true,` +
			`"customFields":[{"name":"cost centre","value":"4711"}],"autoRenewDetails":{"state":"Scheduled"},` +
			`"term":90,"orgId":1,"certTypeId":7,"commonName":"a.example.com","subjectAlternativeNames":["a.example.com"],"serverSoftware":"x"}`},
		{"update-nulls", "rex", "PUT", path + "/", `{"sslId":"1","comments":null,"customFields":null,"externalRequester":null,"autoRenewDetails":null,"csr":null}`},
	})
	e := w.enrollment(1)
	if e.Comments != "ticket 7" || len(e.ExternalRequesters) != 1 || !e.SuspendNotifications || e.AutoRenew != (ra.AutoRenew{On: true, Days: 30}) || len(e.CustomFields) != 1 {
		t.Errorf("it is %+v", e)
	}
	w.goldens([]exchange{
		{"update-without-id", "rex", "PUT", path, `{"comments":"x"}`},
		{"update-no-id", "rex", "PUT", path, `{"sslId":4711}`},
		{"update-foreign", "olga", "PUT", path, `{"sslId":1,"comments":"x"}`},
		{"update-auditor", "aud", "PUT", path, `{"sslId":1,"comments":"x"}`},
		{"update-term", "rex", "PUT", path, `{"sslId":1,"comments":"x","term":30}`},
		{"update-org", "rex", "PUT", path, `{"sslId":1,"comments":"x","orgId":3}`},
		{"update-type", "rex", "PUT", path, `{"sslId":1,"comments":"x","certTypeId":8}`},
		{"update-names", "rex", "PUT", path, `{"sslId":1,"comments":"x","subjectAlternativeNames":[]}`},
		{"update-common-name", "rex", "PUT", path, `{"sslId":1,"comments":"x","commonName":"b.example.com"}`},
		{"update-requester", "rex", "PUT", path, `{"sslId":1,"comments":"x","requester":"ada"}`},
		{"update-requester-id", "rex", "PUT", path, `{"sslId":1,"comments":"x","requesterAdminId":4711}`},
		{"update-approver", "rex", "PUT", path, `{"sslId":1,"comments":"x","approverAdminId":4711}`},
		{"update-long-comments", "rex", "PUT", path, `{"sslId":1,"comments":` + long(1025) + `}`},
		{"update-fields", "rex", "PUT", path, `{"sslId":1,"comments":"x","customFields":[{"name":"colour","value":"red"}]}`},
		{"update-state", "rex", "PUT", path, `{"sslId":1,"comments":"x","autoRenewDetails":{"state":"Sometimes"}}`},
		{"update-days", "rex", "PUT", path, `{"sslId":1,"comments":"x","autoRenewDetails":{"daysBeforeExpiration":7}}`},
		{"update-csr", "rex", "PUT", path, `{"sslId":1,"comments":"x","csr":` + w.jsonCSR("a.example.com") + `}`},
	})
	if again := w.enrollment(1); again.Version != e.Version {
		t.Errorf("a refused change made it %+v", again)
	}
	w.call("rex", "PUT", path, `{"sslId":1,"comments":"","externalRequester":"","autoRenewDetails":{"state":"NOT_SCHEDULED"},"customFields":[],"approverAdminId":-1}`, 200)
	if e := w.enrollment(1); e.Comments != "" || len(e.ExternalRequesters) != 0 || e.AutoRenew.On || len(e.CustomFields) != 0 {
		t.Errorf("what was cleared is %+v", e)
	}
}
