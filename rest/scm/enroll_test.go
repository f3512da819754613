package scm

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/ra"
)

func (w *world) enrollment(id ra.ID) *ra.Enrollment {
	w.t.Helper()
	e, err := w.db.Enrollment(w.t.Context(), id)
	must(w.t, err)
	return e
}

// total is how many enrollments there are.
func (w *world) total() int64 {
	w.t.Helper()
	found, err := w.db.Search(w.t.Context(), ra.Query{Limit: 1}, w.clock())
	must(w.t, err)
	return found.Total
}

func TestEnroll(t *testing.T) {
	w := newWorld(t)
	w.golden("enroll", "rex", "POST", "/api/ssl/v2/enroll", fmt.Sprintf(`{"orgId":1,"csr":%s,"certType":7,"term":30,`+
		`"subjAltNames":"a.example.com, b.example.com","comments":"ticket 7","externalRequester":"ann@example.com, bob@example.com",`+
		`"customFields":[{"name":"cost centre","value":"4711"}],"dcvMode":"CNAME","dcvEmail":null,"serverType":-1}`, w.jsonCSR("a.example.com", "b.example.com")))
	e := w.enrollment(1)
	if e.Phase != ra.Issued || e.Org != 1 || e.Door != ra.DoorSCM || e.Profile != "tls" || len(e.Names) != 2 || e.Comments != "ticket 7" ||
		len(e.ExternalRequesters) != 2 || len(e.CustomFields) != 1 || e.CustomFields[0].Number != 54 || e.Term.Hours() != 30*24 {
		t.Errorf("it is %+v", e)
	}
	// As clients send it: numbers as strings, an old path, no armour, nulls.
	der := w.csr("c.example.com")
	der = strings.TrimSuffix(strings.TrimPrefix(der, "-----BEGIN CERTIFICATE REQUEST-----\n"), "-----END CERTIFICATE REQUEST-----\n")
	w.golden("enroll-v1-approved", "rex", "POST", "/api/ssl/v1/enroll/", fmt.Sprintf(`{"orgId":"1","csr":%s,"certType":"8","subjAltNames":null,`+
		`"customFields":null,"externalRequester":null,"dcvMode":null,"comments":""}`, quote(t, der)))
	if e := w.enrollment(2); e.Phase != ra.Waiting || len(e.ExternalRequesters) != 0 {
		t.Errorf("it is %+v", e)
	}
	// In an organisation below one's own.
	w.call("ada", "POST", "/api/ssl/v1/enroll", fmt.Sprintf(`{"orgId":3,"csr":%s,"certType":7}`, w.jsonCSR("d.example.com")), 200)
	if e := w.enrollment(3); e.Org != 3 {
		t.Errorf("it is organisation %d's", e.Org)
	}
}

// TestNamesBesideCSR: a CSR with a CN alone is for the names beside it too.
func TestNamesBesideCSR(t *testing.T) {
	w := newWorld(t)
	w.golden("enroll-names-beside-csr", "rex", "POST", "/api/ssl/v2/enroll", fmt.Sprintf(
		`{"orgId":1,"csr":%s,"certType":7,"subjAltNames":"b.example.com"}`, w.jsonCSR("a.example.com")))
	if e := w.enrollment(1); e.Phase != ra.Issued || len(e.Names) != 2 {
		t.Errorf("it is %+v", e)
	}
}

// TestBlankIsAbsent: what is required is not there if it is blank.
func TestBlankIsAbsent(t *testing.T) {
	w := newWorld(t)
	w.issue("rex", "tls", "a.example.com")
	w.issue("rex", "approved", "b.example.com")
	for _, x := range []struct{ path, body, member string }{
		{"enroll", `{"orgId":1,"csr":" \n","certType":7}`, "csr"},
		{"replace/1", `{"csr":"\t","reason":"x"}`, "csr"},
		{"enroll-keygen", `{"orgId":1,"commonName":" ","certType":7,"algorithm":"EC","keyParam":"P-256"}`, "commonName"},
		{"revoke/1", `{"reason":" "}`, "reason"},
		{"approve/2", `{"message":" "}`, "message"},
	} {
		rec := w.call("ada", "POST", "/api/ssl/v2/"+x.path, x.body, 400)
		if want := fmt.Sprintf(`{"code":-7,"description":"%s is missing"}`, x.member); rec.Body.String() != want {
			t.Errorf("%s: %s", x.path, rec.Body)
		}
	}
	if n := w.total(); n != 2 {
		t.Errorf("there are %d requests", n)
	}
}

func TestEnrollRefuses(t *testing.T) {
	w := newWorld(t)
	good := fmt.Sprintf(`{"orgId":1,"csr":%s,"certType":7,"term":30}`, w.jsonCSR("a.example.com"))
	const path = "/api/ssl/v2/enroll"
	w.goldens([]exchange{
		{"enroll-not-json", "rex", "POST", path, `{"orgId":1,`},
		{"enroll-empty", "rex", "POST", path, ``},
		{"enroll-without-csr", "rex", "POST", path, with(t, good, "csr", "")},
		{"enroll-without-org", "rex", "POST", path, with(t, good, "orgId", "null")},
		{"enroll-foreign-org", "rex", "POST", path, with(t, good, "orgId", "2")},
		{"enroll-no-org", "rex", "POST", path, with(t, good, "orgId", "4711")},
		{"enroll-foreign-profile", "rex", "POST", path, with(t, good, "certType", "9")},
		{"enroll-no-profile", "rex", "POST", path, with(t, good, "certType", "4711")},
		{"enroll-term", "rex", "POST", path, with(t, good, "term", "365")},
		{"enroll-term-type", "rex", "POST", path, with(t, good, "term", `"a year"`)},
		{"enroll-no-base64", "rex", "POST", path, with(t, good, "csr", `"&&&&"`)},
		{"enroll-no-csr", "rex", "POST", path, with(t, good, "csr", `"AAAA"`)},
		{"enroll-long-csr", "rex", "POST", path, with(t, good, "csr", long(32_768))},
		{"enroll-bad-name", "rex", "POST", path, with(t, good, "subjAltNames", `"b.example.com, -"`)},
		{"enroll-forbidden-name", "rex", "POST", path, with(t, good, "csr", w.jsonCSR("www.example.net"))},
		{"enroll-long-comments", "rex", "POST", path, with(t, good, "comments", long(1025))},
		{"enroll-bad-requester", "rex", "POST", path, with(t, good, "externalRequester", `"ann"`)},
		{"enroll-no-field", "rex", "POST", path, with(t, good, "customFields", `[{"name":"colour","value":"red"}]`)},
		{"enroll-field-twice", "rex", "POST", path, with(t, good, "customFields", `[{"name":"owner","value":"a@example.com"},{"name":"owner","value":"b@example.com"}]`)},
		{"enroll-field-value", "rex", "POST", path, with(t, good, "customFields", `[{"name":"owner","value":"nobody"}]`)},
		{"enroll-field-name", "rex", "POST", path, with(t, good, "customFields", `[{"value":"x"}]`)},
		{"enroll-fields-type", "rex", "POST", path, with(t, good, "customFields", `"x"`)},
		{"enroll-dcvmode", "rex", "POST", path, with(t, good, "dcvMode", `"PIGEON"`)},
		{"enroll-dcvemail", "rex", "POST", path, with(t, good, "dcvMode", `"EMAIL"`)},
		{"enroll-approver", "may", "POST", path, good},
		{"enroll-auditor", "aud", "POST", path, good},
		{"enroll-foreign", "olga", "POST", path, good},
	})
	if n := w.total(); n != 0 {
		t.Errorf("%d enrollments came of it", n)
	}
}

// TestEnrollWithoutField: a field that is mandatory is asked for, and a quota has its number.
func TestEnrollWithoutField(t *testing.T) {
	w := newWorld(t)
	p, err := policy.New(policy.Config{
		Name: "strict", Number: 11, Issuer: "main", Validity: 24 * time.Hour, DCV: policy.NoValidation, AllowNames: []string{"*.example.com"},
		Fields: w.Fields, MandatoryFields: []string{"owner"}, Quota: policy.Quota{Certificates: 1},
	})
	must(t, err)
	c := w.Registrar.Config
	c.Profiles["strict"], c.Allowed = p, func(auth.OrgID, string) bool { return true }
	w.Registrar = ra.New(c)
	body := fmt.Sprintf(`{"orgId":1,"csr":%s,"certType":11}`, w.jsonCSR("a.example.com"))
	w.golden("enroll-without-field", "rex", "POST", "/api/ssl/v2/enroll", body)
	body = with(t, body, "customFields", `[{"name":"owner","value":"ann@example.com"}]`)
	w.call("rex", "POST", "/api/ssl/v2/enroll", body, 200)
	w.golden("enroll-quota", "rex", "POST", "/api/ssl/v2/enroll", with(t, body, "csr", w.jsonCSR("b.example.com")))
	if n := w.total(); n != 1 {
		t.Errorf("there are %d enrollments", n)
	}
}

func TestEnrollKeygen(t *testing.T) {
	w := newWorld(t)
	const path = "/api/ssl/v2/enroll-keygen"
	good := `{"orgId":1,"certType":7,"commonName":"k.example.com","subjAltNames":"l.example.com,k.example.com","algorithm":"EC","keyParam":"P-256"}`
	w.golden("keygen", "rex", "POST", path, good)
	e := w.enrollment(1)
	if e.Phase != ra.Issued || e.KeyStored.IsZero() || e.CommonName != "k.example.com" || len(e.Names) != 2 {
		t.Errorf("it is %+v", e)
	}
	w.goldens([]exchange{
		{"keygen-agent", "rex", "POST", path, with(t, good, "keyGenerationMethod", `"PK_AGENT"`, "passPhrase", `"longer than 8"`)},
		{"keygen-vault", "rex", "POST", path, with(t, good, "keyGenerationMethod", `"AZURE_KEY_VAULT"`)},
		{"keygen-hsm", "rex", "POST", path, with(t, good, "hsmOnly", `true`)},
		{"keygen-passphrase", "rex", "POST", path, with(t, good, "passPhrase", `"longer than 8"`)},
		{"keygen-without-name", "rex", "POST", path, with(t, good, "commonName", ``)},
		{"keygen-long-name", "rex", "POST", path, with(t, good, "commonName", long(65))},
		{"keygen-algorithm", "rex", "POST", path, with(t, good, "algorithm", `"DSA"`)},
		{"keygen-param", "rex", "POST", path, with(t, good, "keyParam", `"1024"`)},
		{"keygen-size", "rex", "POST", path, with(t, good, "algorithm", `"RSA"`, "keyParam", "", "keySize", `1024`)},
		{"keygen-auditor", "aud", "POST", path, good},
	})
	if n := w.total(); n != 1 {
		t.Errorf("there are %d enrollments", n)
	}
}
