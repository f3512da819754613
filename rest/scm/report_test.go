package scm

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ra"
)

const reportPath = "/api/report/v1/ssl-certificates"

// hidesHex hides a serial number as a report has it, with and without a zero at its beginning, as one text.
func (w *world) hidesHex(e *ra.Enrollment) {
	upper, as := strings.ToUpper(string(e.Serial)), fmt.Sprintf("SERIAL%d-HEX", e.ID)
	w.hide = append([][2]string{{upper, as}, {strings.TrimLeft(upper, "0"), as}}, w.hide...)
}

// reportIDs are the numbers of the certificates in a report.
func (w *world) reportIDs(login, body string) []ra.ID {
	w.t.Helper()
	rec := w.call(login, "POST", reportPath, body, 200)
	var report struct {
		StatusCode int
		Reports    []struct{ ID ra.ID }
	}
	must(w.t, json.Unmarshal(rec.Body.Bytes(), &report))
	ids := []ra.ID{}
	for _, row := range report.Reports {
		ids = append(ids, row.ID)
	}
	return ids
}

// reportWorld has seven certificates and requests, made a day apart from each other, the first on the day of start: 1 issued, 2 revoked on the
// third day, 3 waiting, 4 issued for 30 days and expired at the end, 5 of branch, 6 imported and expired as well, and 7 of the other customer.
func reportWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	day := func() { w.wait(24 * time.Hour) }
	w.issue("ada", "tls", "www.example.com", "web.example.com")
	day()
	revoked := w.issue("rex", "tls", "mail.example.com")
	day()
	w.call("ada", "POST", fmt.Sprint("/api/ssl/v1/revoke/", revoked.ID), `{"reason":"x"}`, 204)
	w.issue("rex", "approved", "new.example.com")
	day()
	w.call("ada", "POST", "/api/ssl/v1/enroll", fmt.Sprintf(`{"orgId":1,"certType":%d,"term":30,"csr":%s,"comments":"for a month","externalRequester":"Ann@example.com",
		"customFields":[{"name":"cost centre","value":"42"}]}`, typeTLS, w.jsonCSR("short.example.com")), 200)
	day()
	w.call("ada", "POST", "/api/ssl/v1/enroll", fmt.Sprintf(`{"orgId":3,"certType":%d,"term":90,"csr":%s}`, typeTLS, w.jsonCSR("branch.example.com")), 200)
	day()
	w.call("ada", "POST", "/api/ssl/v2/import", fmt.Sprintf(`[{"orgID":1,"cert":%q}]`, w.foreign("old.example.com")), 200)
	day()
	w.issue("olga", "other", "other.example.com")
	w.wait(30 * 24 * time.Hour)
	return w
}

// TestReport: what is in a report, and how it looks.
func TestReport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sales := w.org(auth.NewOrg{Slug: "sales", Name: "Sales", ParentID: 1, Details: auth.OrgDetails{City: "Odesa", State: "Odeska oblast", Country: "UA"}}, "SALES")
	w.hidesHex(w.issue("ada", "tls", "www.example.com", "web.example.com"))
	w.issue("rex", "approved", "new.example.com")
	w.call("may", "POST", "/api/ssl/v1/approve/2", `{"message":"yes"}`, 204)
	approved, err := w.Registrar.Get(t.Context(), operator, 2)
	must(t, err)
	w.hidesSerial(approved)
	w.hidesHex(approved)
	w.call("ada", "POST", "/api/ssl/v1/enroll", fmt.Sprintf(`{"orgId":%d,"certType":%d,"term":30,"csr":%s,"comments":"for a month","externalRequester":"ann@example.com",
		"customFields":[{"name":"cost centre","value":"42"}]}`, sales.ID, typeApproved, w.jsonCSR("sales.example.com")), 200)
	w.goldens([]exchange{
		{"report-all", "aud", "POST", reportPath + "?output_type=buffered", `{"includeIpAddresses":true,"serialNumberFormat":"HEXWithLeadingZeros"}`},
		{"report-none", "olga", "POST", reportPath, `{}`},
		{"report-dateformat", "ada", "POST", reportPath + "?output_type=direct&dateFormat=ISO", `{"organizationIds":["1"],"certificateStatus":"2","commonName":"NEW","serialNumberFormat":""}`},
	})
	rec := w.call("ada", "POST", reportPath, `{}`, 200)
	if rec.Header().Get("Content-Length") != fmt.Sprint(rec.Body.Len()) {
		t.Error("the report has no length")
	}
	w.reports.buffer = 0
	if sent := w.call("ada", "POST", reportPath, `{}`, 200); sent.Body.String() != rec.Body.String() || sent.Header().Get("Content-Length") != "" {
		t.Errorf("sent row by row it is %s", sent.Body)
	}
}

// TestReportFilters: each by itself, and some together, with all pages as small as can be.
func TestReportFilters(t *testing.T) {
	t.Parallel()
	w := reportWorld(t)
	for _, page := range []int{1000, 1, 2} {
		w.reports.page = page
		for body, want := range map[string][]ra.ID{
			`{}`: {1, 2, 3, 4, 5, 6}, `{"organizationIds":[1]}`: {1, 2, 3, 4, 6}, `{"organizationIds":[3,3]}`: {5}, `{"organizationIds":[1,"3"]}`: {1, 2, 3, 4, 5, 6},
			`{"certificateStatus":0}`: {1, 2, 3, 4, 5, 6}, `{"certificateStatus":1}`: {3}, `{"certificateStatus":"2"}`: {1, 5}, `{"certificateStatus":3}`: {2},
			`{"certificateStatus":4}`: {4, 6}, `{"certificateRequestSource":4}`: {6}, `{"certificateRequestSource":2}`: {1, 2, 3, 4, 5}, `{"certificateRequestSource":0}`: {},
			`{"commonName":"EXAMPLE.com"}`: {1, 2, 3, 4, 5, 6}, `{"commonName":"mail."}`: {2}, `{"commonName":"*"}`: {},
			`{"externalRequester":"Ann@"}`: {4}, `{"externalRequester":"ann@"}`: {},
			`{"certificateDateAttribute":4,"from":"2026-03-03","to":"2026-03-04"}`: {2, 3}, `{"certificateDateAttribute":4,"to":"2026-03-02"}`: {1},
			`{"certificateDateAttribute":4,"from":"2026-03-05T23:59:59.000Z"}`: {4, 5, 6}, `{"certificateDateAttribute":4,"from":"2026-03-06T01:00:00.000+02:00"}`: {4, 5, 6},
			`{"certificateDateAttribute":5,"from":"2026-03-03"}`: {2, 4, 5}, `{"certificateDateAttribute":2,"from":"2026-03-04","to":"2026-03-04"}`: {2},
			`{"certificateDateAttribute":2,"to":"2026-03-03"}`: {}, `{"certificateDateAttribute":3,"from":"2026-04-01","to":"2026-04-10"}`: {4},
			`{"certificateDateAttribute":3,"to":"2026-05-31"}`: {1, 4, 6}, `{"certificateDateAttribute":3}`: {1, 2, 3, 4, 5, 6},
			`{"certificateDateAttribute":3,"from":"2026-04-11","certificateStatus":2,"organizationIds":[1]}`: {1},
		} {
			if got := w.reportIDs("ada", body); !slices.Equal(got, want) {
				t.Errorf("pages of %d, %s: %v, want %v", page, body, got, want)
			}
		}
	}
	if got := w.reportIDs("olga", `{}`); !slices.Equal(got, []ra.ID{7}) {
		t.Errorf("the other customer is shown %v", got)
	}
}

// TestReportOfOneExpiry: more certificates with one end of validity than a page has.
func TestReportOfOneExpiry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 5 {
		w.issue("ada", "tls", "www.example.com")
	}
	w.wait(time.Hour)
	w.issue("ada", "tls", "www.example.com")
	for _, page := range []int{1, 2, 3, 5} {
		w.reports.page = page
		if got := w.reportIDs("ada", `{"certificateDateAttribute":3,"from":"2026-03-01"}`); !slices.Equal(got, []ra.ID{1, 2, 3, 4, 5, 6}) {
			t.Errorf("pages of %d: %v", page, got)
		}
	}
}

// TestReportRefuses: SCM's number and the member, and bounds.
func TestReportRefuses(t *testing.T) {
	t.Parallel()
	w := reportWorld(t)
	for _, x := range []exchange{
		{"report-no-body", "ada", "POST", reportPath, ""},
		{"report-output-pdf", "ada", "POST", reportPath + "?output_type=pdf", `{}`},
		{"report-no-date-attribute", "ada", "POST", reportPath, `{"from":"2026-03-01"}`},
		{"report-date-attribute-unknown", "ada", "POST", reportPath, `{"certificateDateAttribute":1}`},
		{"report-date-bad", "ada", "POST", reportPath, `{"certificateDateAttribute":4,"from":"03/01/2026"}`},
		{"report-date-type", "ada", "POST", reportPath, `{"certificateDateAttribute":4,"to":20260301}`},
		{"report-dates-reversed", "ada", "POST", reportPath, `{"certificateDateAttribute":4,"from":"2026-03-02","to":"2026-03-01"}`},
		{"report-status-unknown", "ada", "POST", reportPath, `{"certificateStatus":11}`},
		{"report-source-unknown", "ada", "POST", reportPath, `{"certificateRequestSource":6}`},
		{"report-serial-format-unknown", "ada", "POST", reportPath, `{"serialNumberFormat":"DEC"}`},
		{"report-name-long", "ada", "POST", reportPath, `{"commonName":` + long(257) + `}`},
		{"report-name-characters", "ada", "POST", reportPath, `{"commonName":"<b>"}`},
		{"report-requester-long", "ada", "POST", reportPath, `{"externalRequester":` + long(513) + `}`},
		{"report-addresses-type", "ada", "POST", reportPath, `{"includeIpAddresses":"some"}`},
		{"report-organisations-type", "ada", "POST", reportPath, `{"organizationIds":1}`},
		{"report-organisation-type", "ada", "POST", reportPath, `{"organizationIds":["main"]}`},
		{"report-organisation-foreign", "ada", "POST", reportPath, `{"organizationIds":[1,2]}`},
		{"report-organisation-absent", "ada", "POST", reportPath, `{"organizationIds":[4711]}`},
	} {
		if rec := w.golden(x.name, x.login, x.method, x.path, x.body); rec.Code != 400 {
			t.Errorf("%s: status %d", x.name, rec.Code)
		}
	}
	w.call("ada", "POST", reportPath, `{"organizationIds":[1`+strings.Repeat(",1", maxReportOrgs)+`]}`, http.StatusBadRequest)
	w.reports.rows = 6
	if got := w.reportIDs("ada", `{}`); len(got) != 6 {
		t.Errorf("as many as can be are %v", got)
	}
	w.reports.rows = 5
	w.golden("report-too-many", "ada", "POST", reportPath, `{}`)
	w.reports.seen = 5
	w.golden("report-too-many-to-look-at", "ada", "POST", reportPath, `{"commonName":"mail"}`)
	if got := w.reportIDs("ada", `{"organizationIds":[1],"commonName":"mail"}`); !slices.Equal(got, []ra.ID{2}) {
		t.Errorf("as many as can be looked at give %v", got)
	}
	for range cap(w.reports.atOnce) {
		w.reports.atOnce <- struct{}{}
	}
	w.golden("report-busy", "ada", "POST", reportPath, `{}`)
	<-w.reports.atOnce
	w.call("ada", "POST", reportPath, `{"organizationIds":[3]}`, http.StatusOK)
	if n := len(w.reports.atOnce); n != cap(w.reports.atOnce)-1 {
		t.Errorf("%d places are taken", n)
	}
}

// TestReportsOfCustomers: whoever takes its reports slowly leaves room for other customers, and none for itself.
func TestReportsOfCustomers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var ends []func()
	for range 2 {
		done, err := w.reports.begin(1)
		must(t, err)
		ends = append(ends, done)
	}
	w.golden("report-busy-customer", "ada", "POST", reportPath, `{}`)
	w.golden("report-busy-customer-domains", "ada", "POST", "/api/report/v1/domains", `{}`)
	w.call("olga", "POST", reportPath, `{}`, http.StatusOK)
	for _, done := range ends {
		done()
	}
	w.call("ada", "POST", reportPath, `{}`, http.StatusOK)
	if len(w.reports.atOnce) != 0 || len(w.reports.made) != 0 {
		t.Errorf("%d places are taken, by %v", len(w.reports.atOnce), w.reports.made)
	}
}

// TestReportSerial: zeros at the beginning are what a format is about.
func TestReportSerial(t *testing.T) {
	t.Parallel()
	for hex, want := range map[string][2]string{"0a1b": {"A1B", "0A1B"}, "7f00": {"7F00", "7F00"}, "00": {"00", "00"}, "": {"", ""}} {
		plain, padded := (&reportQuery{}).serial(hex), (&reportQuery{leadingZeros: true}).serial(hex)
		if plain != want[0] || padded != want[1] {
			t.Errorf("%q is %q and %q", hex, plain, padded)
		}
	}
}

// TestReportStatuses: each status that there is has one of SCM's numbers, but those of requests that were refused.
func TestReportStatuses(t *testing.T) {
	t.Parallel()
	want := map[ra.Status]int64{
		ra.StatusValidating: 1, ra.StatusWaiting: 1, ra.StatusApproved: 1, ra.StatusRequested: 1, ra.StatusIssued: 2, ra.StatusRevoked: 3, ra.StatusExpired: 4,
		ra.StatusDeclined: 0, ra.StatusFailed: 0,
	}
	for _, s := range statuses {
		for number := range int64(5) {
			q := reportQuery{status: number}
			if got := q.hasStatus(s.status); got != (number == 0 || number == want[s.status]) {
				t.Errorf("%s is in a report of %d: %t", s.status, number, got)
			}
		}
	}
	if (&reportQuery{status: 5}).hasStatus(ra.StatusIssued) {
		t.Error("a number that is none finds something")
	}
}
