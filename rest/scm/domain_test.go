package scm

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/rest"
)

const domainPath = "/api/domain/v1"

// domainWorld has the domains example.com (1), validated, of main, delegated to branch for names below it; example.net (2) of
// main, suspended; example.org (3) of other; and sub.example.com (4) of branch. bea administers branch and sees nothing above it.
func domainWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.person("bea", "branch", auth.Administrator)
	ctx := t.Context()
	w.validated("example.com", "main", dcv.DNSTXT)
	_, err := w.Domains.Grant(ctx, operator, "example.com", 3, ra.PrivilegeSubdomains)
	must(t, err)
	w.domain("example.net", "main")
	_, err = w.Domains.Suspend(ctx, operator, "example.net")
	must(t, err)
	w.domain("example.org", "other")
	w.domain("sub.example.com", "branch")
	return w
}

// unchanged demands that a change was refused without any effect on the domains that the operator sees.
func (w *world) unchanged(do func()) {
	w.t.Helper()
	all := func() string {
		found, err := w.Domains.Search(w.t.Context(), operator, ra.DomainQuery{Limit: 100})
		must(w.t, err)
		text, err := json.Marshal(found)
		must(w.t, err)
		return string(text)
	}
	before := all()
	do()
	if after := all(); after != before {
		w.t.Errorf("what was refused made\n%s\nof\n%s", after, before)
	}
}

// TestDomainLists are of all that the caller may view, or of one organisation, with totals.
func TestDomainLists(t *testing.T) {
	t.Parallel()
	w := domainWorld(t)
	must(t, func() error {
		_, err := w.Domains.Delegate(t.Context(), operator, "example.net", "branch")
		return err
	}())
	w.goldens([]exchange{
		{"domain-list", "ada", "GET", domainPath, ""},
		{"domain-list-page", "aud", "GET", domainPath + "?size=1&position=1", ""},
		{"domain-list-size-0", "rex", "GET", domainPath + "?position=0&size=0", ""},
		{"domain-list-behind", "ada", "GET", domainPath + "?position=9", ""},
		{"domain-list-name", "ada", "GET", domainPath + "?name=EXAMPLE.C", ""},
		{"domain-list-inactive", "ada", "GET", domainPath + "?state=inactive", ""},
		{"domain-list-requested", "ada", "GET", domainPath + "?status=requested&orgId=3&state=&name=", ""},
		{"domain-list-approved", "bea", "GET", domainPath + "?status=approved", ""},
		{"domain-list-org", "ada", "GET", domainPath + "?orgId=3", ""},
		{"domain-list-other", "olga", "GET", domainPath, ""},
		{"domain-list-foreign-org", "ada", "GET", domainPath + "?orgId=2", ""},
		{"domain-list-absent-org", "ada", "GET", domainPath + "?orgId=4711", ""},
		{"domain-list-bad-org", "ada", "GET", domainPath + "?orgId=x", ""},
		{"domain-list-bad-size", "ada", "GET", domainPath + "?size=201", ""},
		{"domain-list-bad-state", "ada", "GET", domainPath + "?state=asleep", ""},
		{"domain-list-bad-status", "ada", "GET", domainPath + "?status=rejected", ""},
		{"domain-list-short-name", "ada", "GET", domainPath + "?name=e", ""},
		{"domain-list-long-name", "ada", "GET", domainPath + "?name=" + strings.Repeat("x", 257), ""},
		{"domain-list-twice", "ada", "GET", domainPath + "?name=example&name=other", ""},
		{"domain-list-unknown-parameter", "ada", "GET", domainPath + "?colour=red&size=1", ""},
		{"domain-count", "ada", "GET", domainPath + "/count?size=1&position=2", ""},
		{"domain-count-filtered", "ada", "GET", domainPath + "/count?name=example.com&state=active", ""},
		{"domain-count-bad-state", "ada", "GET", domainPath + "/count?state=asleep", ""},
		{"domain-count-foreign-org", "ada", "GET", domainPath + "/count?orgId=2", ""},
	})
}

// TestDomainDetails as its owner sees it, as whom it is delegated to does, and others not at all.
func TestDomainDetails(t *testing.T) {
	t.Parallel()
	w := domainWorld(t)
	w.goldens([]exchange{
		{"domain-get", "aud", "GET", domainPath + "/1", ""},
		{"domain-get-delegated", "bea", "GET", domainPath + "/1", ""},
		{"domain-get-suspended", "ada", "GET", domainPath + "/2", ""},
		{"domain-get-other", "olga", "GET", domainPath + "/3", ""},
		{"domain-get-date-form", "ada", "GET", domainPath + "/1?dateFormat=EU", ""},
		{"domain-get-foreign", "ada", "GET", domainPath + "/3", ""},
		{"domain-get-absent", "ada", "GET", domainPath + "/4711", ""},
		{"domain-get-bad-id", "ada", "GET", domainPath + "/example.com", ""},
		{"domain-get-large-id", "ada", "GET", domainPath + "/2147483648", ""},
	})
	w.wait(91 * 24 * time.Hour)
	w.golden("domain-get-expired", "ada", "GET", domainPath+"/1", "")
	for method, word := range map[dcv.Method]string{
		dcv.HTTPFile: "HTTP_CSR_HASH", dcv.HTTPSFile: "HTTPS_CSR_HASH", dcv.DNSCNAME: "CNAME_CSR_HASH", dcv.DNSTXT: "DNSTXT_RANDOM_VALUE",
		dcv.EmailConstructed: "EMAIL", dcv.EmailCAA: "EMAIL", dcv.EmailTXT: "EMAIL", dcv.HTTP01: "",
	} {
		if got := validationMethod(method); got != word {
			t.Errorf("%s is %s", method, got)
		}
	}
}

// TestDomainCreation by the clients' bodies, with Location as they read it.
func TestDomainCreation(t *testing.T) {
	t.Parallel()
	w := domainWorld(t)
	const ssl = `"certTypes":["SSL"]`
	body := func(name, more, org string) string {
		return `{"name":"` + name + `"` + more + `,"delegations":[{"orgId":` + org + `,` + ssl + `}]}`
	}
	w.goldens([]exchange{
		{"domain-create", "ada", "POST", domainPath, body("a.example.net", `,"description":"for us","active":true`, "1")},
		{"domain-create-below", "ada", "POST", domainPath + "/", `{"name":"B.example.net","active":"false","ctLogMonitoring":{"enabled":false},"delegations":[{"orgId":"3","certTypes":["SMIME","SSL"],"domainCertificateRequestPrivileges":["SUBDOMAIN","DOMAIN"]}]}`},
		{"domain-create-nulls", "ada", "POST", domainPath, `{"name":"c.example.net","description":null,"active":"true","ctLogMonitoring":null,"delegations":[{"orgId":1,"certTypes":["SSL"],"domainCertificateRequestPrivileges":[],"status":null}]}`},
		{"domain-created", "ada", "GET", domainPath + "/5", ""},
		{"domain-created-below", "ada", "GET", domainPath + "/6", ""},
		// What is an organisation's above, which bea does not see, is asked for.
		{"domain-create-requested", "bea", "POST", domainPath, body("a.example.net", "", "3")},
		{"domain-created-requested", "bea", "GET", domainPath + "/5", ""},
	})
	w.unchanged(func() {
		w.goldens([]exchange{
			{"domain-create-exists", "ada", "POST", domainPath, body("example.com", "", "1")},
			{"domain-create-exists-elsewhere", "ada", "POST", domainPath, body("example.org", "", "1")},
			{"domain-create-no-right", "rex", "POST", domainPath, body("d.example.net", "", "1")},
			{"domain-create-foreign-org", "ada", "POST", domainPath, body("d.example.net", "", "2")},
			{"domain-create-absent-org", "ada", "POST", domainPath, body("d.example.net", "", "4711")},
			{"domain-create-no-name", "ada", "POST", domainPath, `{"delegations":[{"orgId":1,` + ssl + `}]}`},
			{"domain-create-name-type", "ada", "POST", domainPath, `{"name":7,"delegations":[{"orgId":1,` + ssl + `}]}`},
			{"domain-create-short-name", "ada", "POST", domainPath, body("a.b", "", "1")},
			{"domain-create-long-name", "ada", "POST", domainPath, body(strings.Repeat("x", 252)+".com", "", "1")},
			{"domain-create-no-dot", "ada", "POST", domainPath, body("example", "", "1")},
			{"domain-create-wildcard", "ada", "POST", domainPath, body("*.example.net", "", "1")},
			{"domain-create-public-suffix", "ada", "POST", domainPath, body("co.uk", "", "1")},
			{"domain-create-no-delegations", "ada", "POST", domainPath, `{"name":"d.example.net"}`},
			{"domain-create-empty-delegations", "ada", "POST", domainPath, `{"name":"d.example.net","delegations":[]}`},
			{"domain-create-delegations-type", "ada", "POST", domainPath, `{"name":"d.example.net","delegations":{"orgId":1}}`},
			{"domain-create-twice", "ada", "POST", domainPath, `{"name":"d.example.net","delegations":[{"orgId":1,` + ssl + `},{"orgId":1,` + ssl + `}]}`},
			{"domain-create-no-org", "ada", "POST", domainPath, `{"name":"d.example.net","delegations":[{` + ssl + `}]}`},
			{"domain-create-no-types", "ada", "POST", domainPath, `{"name":"d.example.net","delegations":[{"orgId":1}]}`},
			{"domain-create-other-types", "ada", "POST", domainPath, `{"name":"d.example.net","delegations":[{"orgId":1,"certTypes":["SMIME","CodeSign"]}]}`},
			{"domain-create-unknown-type", "ada", "POST", domainPath, `{"name":"d.example.net","delegations":[{"orgId":1,"certTypes":["SSL","PAPER"]}]}`},
			{"domain-create-unknown-privilege", "ada", "POST", domainPath, `{"name":"d.example.net","delegations":[{"orgId":1,` + ssl + `,"domainCertificateRequestPrivileges":["ALL"]}]}`},
			{"domain-create-monitored", "ada", "POST", domainPath, body("d.example.net", `,"ctLogMonitoring":{"enabled":true,"bucketId":"x"}`, "1")},
			{"domain-create-active-type", "ada", "POST", domainPath, body("d.example.net", `,"active":"perhaps"`, "1")},
			{"domain-create-long-description", "ada", "POST", domainPath, body("d.example.net", `,"description":`+long(256), "1")},
			{"domain-create-no-body", "ada", "POST", domainPath, ""},
			{"domain-create-unreadable", "ada", "POST", domainPath, `{"name":`},
		})
	})
	many := strings.Repeat(`{"orgId":1,`+ssl+`},`, 201)
	if rec := w.call("ada", "POST", domainPath, `{"name":"d.example.net","delegations":[`+strings.TrimSuffix(many, ",")+`]}`, 400); !strings.Contains(rec.Body.String(), `"code":-1601,`) {
		t.Errorf("%s", rec.Body)
	}
}

// TestDomainStates are suspension, its end, monitoring and deletion.
func TestDomainStates(t *testing.T) {
	t.Parallel()
	w := domainWorld(t)
	w.unchanged(func() {
		var list []exchange
		for _, call := range []struct{ name, method, end, body string }{
			{"delete", "DELETE", "", ""}, {"suspend", "PUT", "/suspend", ""}, {"activate", "PUT", "/activate", ""}, {"monitoring", "PUT", "/monitoring", `{"enabled":false}`},
		} {
			list = append(list,
				exchange{"domain-" + call.name + "-no-right", "rex", call.method, domainPath + "/1" + call.end, call.body},
				exchange{"domain-" + call.name + "-delegated", "bea", call.method, domainPath + "/1" + call.end, call.body},
				exchange{"domain-" + call.name + "-foreign", "ada", call.method, domainPath + "/3" + call.end, call.body},
				exchange{"domain-" + call.name + "-absent", "ada", call.method, domainPath + "/4711" + call.end, call.body},
			)
		}
		w.goldens(append(list,
			exchange{"domain-monitoring-on", "ada", "PUT", domainPath + "/1/monitoring", `{"enabled":true,"includeSubdomains":true,"bucketId":"x"}`},
			exchange{"domain-monitoring-type", "ada", "PUT", domainPath + "/1/monitoring", `{"enabled":1}`},
			exchange{"domain-monitoring-missing", "ada", "PUT", domainPath + "/1/monitoring", `{}`},
			exchange{"domain-monitoring", "ada", "PUT", domainPath + "/1/monitoring", `{"enabled":false}`},
		))
	})
	w.goldens([]exchange{
		{"domain-suspend", "ada", "PUT", domainPath + "/4/suspend", ""},
		{"domain-suspend-again", "ada", "PUT", domainPath + "/4/suspend", ""},
		{"domain-suspended", "ada", "GET", domainPath + "/4", ""},
	})
	body := fmt.Sprintf(`{"orgId":3,"certType":%d,"csr":%s,"term":30}`, typeTLS, w.jsonCSR("www.sub.example.com"))
	w.golden("domain-suspended-enroll", "ada", "POST", "/api/ssl/v1/enroll", body)
	w.goldens([]exchange{
		{"domain-activate", "ada", "PUT", domainPath + "/4/activate", ""},
		{"domain-activate-again", "ada", "PUT", domainPath + "/4/activate", ""},
		{"domain-activated", "ada", "GET", domainPath + "/4", ""},
		{"domain-delete", "ada", "DELETE", domainPath + "/4", ""},
		{"domain-delete-again", "ada", "DELETE", domainPath + "/4", ""},
	})
}

// TestDomainDelegations are made, narrowed, taken back, asked for and decided.
func TestDomainDelegations(t *testing.T) {
	t.Parallel()
	w := domainWorld(t)
	const at, ssl = domainPath + "/1/delegation", `,"certTypes":["SSL"]`
	w.unchanged(func() {
		var list []exchange
		for _, call := range []struct{ name, method, end, body string }{
			{"delegate", "POST", "", `{"orgId":3` + ssl + `}`}, {"undelegate", "DELETE", "", `{"orgId":3` + ssl + `}`},
			{"approve", "POST", "/approve", `{"orgId":3}`}, {"reject", "POST", "/reject", `{"orgId":3}`},
		} {
			list = append(list,
				exchange{"domain-" + call.name + "-no-right", "rex", call.method, at + call.end, call.body},
				exchange{"domain-" + call.name + "-foreign", "ada", call.method, domainPath + "/3/delegation" + call.end, call.body},
				exchange{"domain-" + call.name + "-absent", "ada", call.method, domainPath + "/4711/delegation" + call.end, call.body},
				exchange{"domain-" + call.name + "-foreign-org", "ada", call.method, at + call.end, strings.Replace(call.body, "3", "2", 1)},
				exchange{"domain-" + call.name + "-absent-org", "ada", call.method, at + call.end, strings.Replace(call.body, "3", "4711", 1)},
				exchange{"domain-" + call.name + "-no-org", "ada", call.method, at + call.end, `{"certTypes":["SSL"]}`},
				exchange{"domain-" + call.name + "-org-type", "ada", call.method, at + call.end, strings.Replace(call.body, "3", "[3]", 1)},
				exchange{"domain-" + call.name + "-no-body", "ada", call.method, at + call.end, ""},
			)
		}
		w.goldens(append(list,
			exchange{"domain-delegate-no-types", "ada", "POST", at, `{"orgId":3}`},
			exchange{"domain-delegate-other-types", "ada", "POST", at, `{"orgId":3,"certTypes":["SMIME"]}`},
			exchange{"domain-delegate-unknown-privilege", "ada", "POST", at, `{"orgId":3,"certTypes":["SSL"],"domainCertificateRequestPrivileges":["ALL"]}`},
			exchange{"domain-delegate-privilege-twice", "ada", "POST", at, `{"orgId":3,"certTypes":["SSL"],"domainCertificateRequestPrivileges":["DOMAIN","domain"]}`},
			exchange{"domain-delegate-upwards", "ada", "POST", domainPath + "/4/delegation", `{"orgId":1` + ssl + `}`},
			exchange{"domain-delegate-wider", "bea", "POST", at, `{"orgId":3` + ssl + `}`},
			exchange{"domain-delegate-same", "bea", "POST", at, `{"orgId":3` + ssl + `,"domainCertificateRequestPrivileges":["SUBDOMAIN"]}`},
			exchange{"domain-undelegate-owner", "ada", "DELETE", at, `{"orgId":1` + ssl + `}`},
			exchange{"domain-undelegate-none", "ada", "DELETE", domainPath + "/2/delegation", `{"orgId":3` + ssl + `}`},
			exchange{"domain-approve-active", "ada", "POST", at + "/approve", `{"orgId":3}`},
			exchange{"domain-approve-none", "ada", "POST", domainPath + "/2/delegation/approve", `{"orgId":3}`},
			exchange{"domain-approve-own", "ada", "POST", at + "/approve", `{"orgId":1}`},
			exchange{"domain-approve-delegated", "bea", "POST", at + "/approve", `{"orgId":3}`},
			exchange{"domain-reject-active", "ada", "POST", at + "/reject", `{"orgId":3}`},
			exchange{"domain-reject-none", "ada", "POST", domainPath + "/2/delegation/reject", `{"orgId":3}`},
		))
	})
	_, err := w.Domains.Delegate(t.Context(), operator, "example.net", "branch")
	must(t, err)
	w.goldens([]exchange{
		{"domain-delegate", "ada", "POST", at, `{"orgId":3,"certTypes":["SSL","SMIME"],"domainCertificateRequestPrivileges":["SUBDOMAIN","DOMAIN","WILDCARD_1ST_LEVEL"]}`},
		{"domain-delegated", "bea", "GET", domainPath + "/1", ""},
		{"domain-undelegate-part", "ada", "DELETE", at, `{"orgId":3` + ssl + `,"domainCertificateRequestPrivileges":["DOMAIN","SUBDOMAIN"]}`},
		{"domain-undelegated-part", "bea", "GET", domainPath + "/1", ""},
		{"domain-undelegate", "bea", "DELETE", at, `{"orgId":3` + ssl + `}`},
		{"domain-undelegated", "ada", "GET", domainPath + "/1", ""},
		{"domain-delegate-owner", "ada", "POST", at, `{"orgId":1` + ssl + `,"domainCertificateRequestPrivileges":["DOMAIN"]}`},
		{"domain-delegated-owner", "ada", "GET", domainPath + "/1", ""},
		{"domain-get-requested", "bea", "GET", domainPath + "/2", ""},
		{"domain-reject", "ada", "POST", domainPath + "/2/delegation/reject", `{"orgId":3}`},
		{"domain-rejected", "bea", "GET", domainPath + "/2", ""},
	})
	_, err = w.Domains.Delegate(t.Context(), operator, "example.net", "branch")
	must(t, err)
	w.goldens([]exchange{
		{"domain-approve", "ada", "POST", domainPath + "/2/delegation/approve", `{"orgId":"3"}`},
		{"domain-approved", "bea", "GET", domainPath + "/2", ""},
	})
}

// TestSeveralDomainsAreDelegated, or none.
func TestSeveralDomainsAreDelegated(t *testing.T) {
	t.Parallel()
	w := domainWorld(t)
	const at, to = domainPath + "/delegation", `,"orgId":3,"certTypes":["SSL"]}`
	w.unchanged(func() {
		w.goldens([]exchange{
			{"domain-delegate-all-foreign", "ada", "POST", at, `{"domainIds":[1,2,3]` + to},
			{"domain-delegate-all-absent", "ada", "POST", at, `{"domainIds":[1,4711,2]` + to},
			{"domain-delegate-all-no-right", "rex", "POST", at, `{"domainIds":[1,2]` + to},
			{"domain-delegate-all-none", "ada", "POST", at, `{"domainIds":[]` + to},
			{"domain-delegate-all-missing", "ada", "POST", at, `{"orgId":3,"certTypes":["SSL"]}`},
			{"domain-delegate-all-twice", "ada", "POST", at, `{"domainIds":[1,1]` + to},
			{"domain-delegate-all-type", "ada", "POST", at, `{"domainIds":["x"]` + to},
			{"domain-delegate-all-foreign-org", "ada", "POST", at, `{"domainIds":[1],"orgId":2,"certTypes":["SSL"]}`},
			{"domain-delegate-all-other-types", "ada", "POST", at, `{"domainIds":[1],"orgId":3,"certTypes":["CodeSign"]}`},
		})
		var ids []string
		for i := range ra.MaxGrants + 1 {
			ids = append(ids, fmt.Sprint(i+1))
		}
		if rec := w.call("ada", "POST", at, `{"domainIds":[`+strings.Join(ids, ",")+`]`+to, 400); !strings.Contains(rec.Body.String(), `"code":-1601,`) {
			t.Errorf("%s", rec.Body)
		}
	})
	w.golden("domain-delegate-all", "ada", "POST", at, `{"domainIds":[2,1],"orgId":3,"certTypes":["SMIME","SSL"],"domainCertificateRequestPrivileges":["SUBDOMAIN","DOMAIN"]}`)
	w.golden("domain-delegated-all", "ada", "GET", domainPath+"/2", "")
}

// FuzzDelegation: whatever a delegation looks like, it is read or refused, and never for more than it says.
func FuzzDelegation(f *testing.F) {
	for _, text := range []string{`["SSL"]`, `["ssl","SMIME"]`, `null`, `7`, `[null]`, `["DOMAIN","SUBDOMAIN"]`, `["WILDCARD_2ND_LEVEL"]`} {
		f.Add(text, text)
	}
	f.Fuzz(func(t *testing.T, types, privileges string) {
		body := `{"certTypes":` + types + `,"domainCertificateRequestPrivileges":` + privileges + `}`
		o, err := rest.ReadObject(httptest.NewRequest(http.MethodPost, domainPath, strings.NewReader(body)), maxBody)
		if err != nil {
			return
		}
		readCertTypes(o)
		list := readPrivileges(o)
		if o.Err() != nil {
			return
		}
		if !strings.Contains(strings.ToUpper(types), "SSL") && !strings.Contains(types, `\`) {
			t.Errorf("%s is taken for SSL", types)
		}
		if err := ra.CheckPrivileges(list); err != nil {
			t.Errorf("%s: %v", privileges, err)
		}
	})
}
