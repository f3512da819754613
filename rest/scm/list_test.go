package scm

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/ra"
)

func TestList(t *testing.T) {
	w := newWorld(t)
	a := w.issue("ada", "tls", "a.example.com", "b.example.com")
	w.issue("rex", "tls", "c.example.com")
	w.issue("olga", "other", "a.example.com")
	w.issue("ada", "approved", "d.example.com")
	serial := string(a.Serial)
	for name, q := range map[string]string{
		"list": "", "list-page": "?position=1&size=1", "list-beyond": "?position=10", "list-first": "?position=-1&size=0", "list-large": "?size=201",
		"list-name": "?commonName=A.example.com", "list-name-other": "?commonName=b.example.com", "list-san": "?subjectAlternativeName=a.example.com", "list-two-names": "?commonName=a.example.com&subjectAlternativeName=b.example.com",
		"list-status": "?status=issued", "list-status-requested": "?status=Requested&sslTypeId=8", "list-status-never": "?status=SA%20Approved",
		"list-status-unknown": "?status=fine", "list-type": "?sslTypeId=7&position=1", "list-type-unknown": "?sslTypeId=4711",
		"list-organisation": "?orgId=1", "list-organisation-foreign": "?orgId=2", "list-organisation-absent": "?orgId=4711", "list-organisation-below": "?orgId=3",
		"list-serial": "?serialNumber=" + serial, "list-serial-colons": "?serialNumber=" + colons(serial), "list-serial-other-name": "?commonName=c.example.com&serialNumber=" + serial,
		"list-serial-bad": "?serialNumber=xyz", "list-serial-absent": "?serialNumber=4711", "list-filters": "?issuer=x&keyAlgorithm=EC", "list-unknown-ignored": "?expiresBefore=2026-01-01&size=1",
	} {
		w.golden(name, "ada", "GET", "/api/ssl/v2"+q, "")
	}
	w.golden("list-other-tenant", "olga", "GET", "/api/ssl/v1/?serialNumber="+serial, "")
	w.golden("count", "ada", "HEAD", "/api/ssl/v1", "")
	w.golden("count-filtered", "ada", "HEAD", "/api/ssl/v2?status=Issued", "")
}

// TestListOfAllOrganisations: without orgId a list has what the caller's roles reach, at its home and below, and nothing else.
func TestListOfAllOrganisations(t *testing.T) {
	w := newWorld(t)
	w.issue("ada", "tls", "a.example.com")
	below := w.issueIn("ada", 3, "tls", "b.example.com")
	w.issue("rex", "tls", "c.example.com")
	w.issue("olga", "other", "a.example.com")
	w.bea()
	for name, q := range map[string]string{
		"list-below": "", "list-below-page": "?position=1&size=1", "list-below-status": "?status=Issued", "list-below-name": "?subjectAlternativeName=B.example.com",
		"list-below-home": "?orgId=1", "list-below-below": "?orgId=3",
	} {
		w.golden(name, "ada", "GET", "/api/ssl/v2"+q, "")
	}
	w.golden("count-below", "ada", "HEAD", "/api/ssl/v2", "")
	w.golden("list-below-only", "bea", "GET", "/api/ssl/v2", "")
	w.golden("list-below-only-serial", "bea", "GET", "/api/ssl/v2?serialNumber="+string(below.Serial), "")
	w.golden("list-below-none", "nil", "GET", "/api/ssl/v2?status=Invalid", "")
}

// bea adds two principals without a role at their home main: bea has one below, at branch, and nil none at all.
func (w *world) bea() {
	w.t.Helper()
	for login, grants := range map[string][]auth.NamedGrant{"bea": {{Org: "branch", Role: auth.Requester}}, "nil": nil} {
		p, err := w.people.Add(w.t.Context(), operator, auth.NewPrincipal{Org: "main", Login: login, Grants: grants})
		must(w.t, err)
		_, err = w.people.SetPassword(w.t.Context(), operator, auth.Ref{ID: p.ID}, password(login))
		must(w.t, err)
	}
}

// issueIn has a certificate issued in an organisation.
func (w *world) issueIn(login string, org auth.OrgID, profile, name string) *ra.Enrollment {
	w.t.Helper()
	id, err := identifier.ParseDNS(name)
	must(w.t, err)
	e, err := w.Registrar.Submit(w.t.Context(), w.callers[login], ra.Request{Door: ra.DoorSCM, Org: org, Profile: profile, Names: []identifier.Identifier{id}, CSR: w.csrDER(name)})
	must(w.t, err)
	w.hidesSerial(e)
	return e
}

// TestRolesBelowHome: who has roles only in an organisation below is shown nothing of its own.
func TestRolesBelowHome(t *testing.T) {
	w := newWorld(t)
	w.issue("ada", "tls", "a.example.com")
	w.bea()
	for _, query := range []string{"", "?status=Invalid", "?commonName=a.example.com", "?issuer=x"} {
		if rec := w.call("bea", "GET", "/api/ssl/v2"+query, "", 200); rec.Body.String() != "[]" {
			t.Errorf("%s: %s", query, rec.Body)
		}
		if rec := w.call("nil", "GET", "/api/ssl/v2"+query, "", 400); !strings.Contains(rec.Body.String(), `"code":-3,`) {
			t.Errorf("%s: %s", query, rec.Body)
		}
	}
	if rec := w.call("bea", "GET", "/api/ssl/v2/types", "", 400); !strings.Contains(rec.Body.String(), `"code":-3,`) {
		t.Errorf("types: %s", rec.Body)
	}
	for _, path := range []string{"/api/ssl/v2?orgId=1", "/api/ssl/v2/types?organizationId=1"} {
		if rec := w.call("bea", "GET", path, "", 400); !strings.Contains(rec.Body.String(), `"code":-639,`) {
			t.Errorf("%s: %s", path, rec.Body)
		}
	}
	w.call("bea", "GET", "/api/ssl/v2?orgId=3", "", 200)
	w.call("bea", "GET", "/api/ssl/v2/types?organizationId=3", "", 200)
}

// TestNoFilterIsLost: what cannot be read, or is there twice, is refused as well.
func TestNoFilterIsLost(t *testing.T) {
	w := newWorld(t)
	w.issue("ada", "tls", "a.example.com")
	for q, member := range map[string]string{
		"commonName=%zz": "query", "size=5;commonName=b.example.com": "query", "commonName=a.example.com&commonName=b.example.com": "commonName",
		"status=&status=Revoked": "status", "issuer=&issuer=x": "issuer",
		"subjectAlternativeName=%00%00%00a.example.com": "subjectAlternativeName",
	} {
		for _, method := range []string{"GET", "HEAD"} {
			r := w.as("ada", method, "/api/ssl/v2", "")
			r.URL.RawQuery = q
			rec := w.do(r)
			if body := rec.Body.String(); rec.Code != 400 || !strings.Contains(body, `"code":-1601,`) || !strings.Contains(body, member) {
				t.Errorf("%s %s: status %d: %s", method, q, rec.Code, body)
			}
		}
	}
}

// TestStatuses: each status has a word of its own, which finds it again.
func TestStatuses(t *testing.T) {
	seen := map[string]ra.Status{}
	for _, status := range []ra.Status{
		ra.StatusRequested, ra.StatusIssued, ra.StatusExpired, ra.StatusRevoked, ra.StatusFailed, ra.StatusWaiting, ra.StatusApproved, ra.StatusDeclined, ra.StatusValidating,
	} {
		label := statusLabel(status)
		if other, twice := seen[label]; twice {
			t.Errorf("%s is %s as %s is", status, label, other)
		}
		seen[label] = status
		if got, none, err := parseStatus(strings.ToUpper(label)); got != status || none || err != nil {
			t.Errorf("%s is read as %q, %t, %v", label, got, none, err)
		}
	}
	if len(seen) != len(statuses) {
		t.Errorf("the table has %d statuses, and there are %d", len(statuses), len(seen))
	}
	if got := statusLabel("new"); got != "Rejected" {
		t.Errorf("an unknown status is %s", got)
	}
	for _, word := range neverHad {
		if _, none, err := parseStatus(word); !none || err != nil {
			t.Errorf("%s: %t, %v", word, none, err)
		}
	}
	if _, _, err := parseStatus("Downloaded"); err == nil {
		t.Error("an unknown word is taken")
	}
}

func TestDetails(t *testing.T) {
	w := newWorld(t)
	e := w.issue("ada", "tls", "a.example.com", "b.example.com")
	waiting := w.issue("rex", "approved", "d.example.com")
	path := func(id ra.ID) string { return fmt.Sprintf("/api/ssl/v2/%d", id) }
	w.golden("details", "aud", "GET", path(e.ID), "")
	w.golden("details-dates", "ada", "GET", path(e.ID)+"?dateFormat=iso_hms", "")
	w.golden("details-dates-unknown", "ada", "GET", path(e.ID)+"?dateFormat=soon", "")
	w.golden("details-waiting", "ada", "GET", path(waiting.ID), "")
	w.golden("details-foreign", "olga", "GET", path(e.ID), "")
	w.golden("details-absent", "olga", "GET", path(e.ID+100), "")
	w.golden("details-no-number", "ada", "GET", "/api/ssl/v2/4294967297", "")
	if _, err := w.Registrar.Decline(t.Context(), w.callers["may"], waiting.ID, "not now"); err != nil {
		t.Fatal(err)
	}
	w.golden("details-declined", "ada", "GET", path(waiting.ID), "")
	w.wait(200 * 24 * time.Hour)
	w.golden("details-expired", "ada", "GET", path(e.ID), "")
}

func TestDates(t *testing.T) {
	for asked, want := range map[string]string{
		"": "03/02/2026", "ISO": "2026-03-02", "eu": "02.03.2026", "US": "03/02/2026", "uk": "02/03/2026", "JP": "2026/03/02", "ISO_HMS": "2026-03-02T12:00:00.000Z",
		"EU_HMS": "02.03.2026 12:00:00", "us_hms": "03/02/2026 12:00:00", "UK_HMS": "02/03/2026 12:00:00", "JP_HMS": "2026/03/02 12:00:00",
		"yyyy-MM-dd": "2026-03-02", "YYYY-mm-DD'T'HH:mm:ss.SSS'z'": "2026-03-02T12:00:00.000Z",
	} {
		layout, err := dateForm(asked)
		c := &call{dates: layout}
		if got := c.date(start); err != nil || got != want {
			t.Errorf("%q: %s, %v, want %s", asked, got, err, want)
		}
		if c.date(time.Time{}) != "" {
			t.Error("there is a date of nothing")
		}
	}
}
