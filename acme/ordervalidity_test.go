package acme

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/policy"
)

func newClampWorld(t *testing.T) *world {
	t.Helper()
	return newWorld(t, func(c *Config) {
		p, err := policy.New(policy.Config{Name: "web", Description: "for web servers", Issuer: "test", Validity: 24 * time.Hour, RequestedValidity: policy.ClampRequested})
		if err != nil {
			t.Fatal(err)
		}
		c.Profiles["web"] = p
	})
}

func ordering(name string, ends ...string) map[string]any {
	in := identifiers(name)
	for i, field := range []string{"notBefore", "notAfter"} {
		if i < len(ends) && ends[i] != "" {
			in[field] = ends[i]
		}
	}
	return in
}

// TestRequestedValidity: RFC 8555, 7.4 and 7.1.3: the order shows what was asked for, and that reaches whoever issues.
func TestRequestedValidity(t *testing.T) {
	w := newClampWorld(t)
	c := w.account()
	a := c.post("/acme/r/new-order", ordering("a.example.com", "2026-05-04T14:30:00+02:00", "2026-05-04T18:00:00Z")).want(t, http.StatusCreated)
	o, doc := a.order(t), a.decode(t)
	if doc["notBefore"] != "2026-05-04T12:30:00Z" || doc["notAfter"] != "2026-05-04T18:00:00Z" {
		t.Errorf("%s", a.body)
	}
	// It cannot be finalized when what it asks for is over.
	if want := time.Date(2026, 5, 4, 18, 0, 0, 0, time.UTC); !o.Expires.Equal(want) {
		t.Error("expires", o.Expires)
	}
	for _, authz := range o.Authorizations {
		c.to(c.challengeOf(authz), map[string]any{}).want(t, http.StatusOK)
	}
	c.to(o.Finalize, w.csr("a.example.com")).want(t, http.StatusOK)
	got := w.registrar.requests[0].Requested
	if !got.NotBefore.Equal(testTime.Add(30*time.Minute)) || !got.NotAfter.Equal(testTime.Add(6*time.Hour)) {
		t.Errorf("the registrar is asked for %+v", got)
	}
	if doc := c.read(o.url).want(t, http.StatusOK).decode(t); doc["notBefore"] != "2026-05-04T12:30:00Z" || doc["notAfter"] != "2026-05-04T18:00:00Z" {
		t.Errorf("after the issuance: %v", doc)
	}
	for _, zero := range []string{"2026-05-05T00:00:00+00:00", "2026-05-05T00:00:00-00:00"} { // RFC 3339, 4.3
		if doc := c.post("/acme/r/new-order", ordering("c.example.com", "", zero)).want(t, http.StatusCreated).decode(t); doc["notAfter"] != "2026-05-05T00:00:00Z" {
			t.Errorf("%s: %v", zero, doc)
		}
	}
	one := c.post("/acme/r/new-order", ordering("b.example.com", "", "2027-05-04T18:00:00Z")).want(t, http.StatusCreated).decode(t)
	if _, there := one["notBefore"]; there || one["notAfter"] != "2027-05-04T18:00:00Z" {
		t.Errorf("%v", one)
	}
	if text := w.profilesAt("/acme/directory")["web"]; !strings.HasPrefix(text, "for web servers") || !strings.Contains(text, "notAfter") {
		t.Errorf("the directory does not say so: %q", text)
	}
}

func TestRequestedValidityRefuses(t *testing.T) {
	w := newClampWorld(t)
	c := w.account()
	for name, tt := range map[string]struct {
		ends []string
		says string
	}{
		"RFC 3339: a day":                {[]string{"", "2026-05-05"}, `"notAfter" must be a time`},
		"RFC 3339: no zone":              {[]string{"2026-05-05T00:00:00"}, `"notBefore" must be a time`},
		"RFC 3339: a space":              {[]string{"", "2026-05-05 00:00:00Z"}, "must be a time"},
		"RFC 3339: one digit":            {[]string{"", "2026-05-05T0:00:00Z"}, "must be a time"},
		"RFC 3339: a day that is none":   {[]string{"", "2026-02-30T00:00:00Z"}, "must be a time"},
		"RFC 3339: an hour that is none": {[]string{"", "2026-05-05T24:00:00Z"}, "must be a time"},
		"RFC 3339: words":                {[]string{"", "tomorrow"}, "must be a time"},
		"RFC 5280, 4.1.2.5: a fraction":  {[]string{"", "2026-05-05T00:00:00.5Z"}, "whole seconds"},
		"a fraction of nothing":          {[]string{"", "2026-05-05T00:00:00.000Z"}, "whole seconds"},
		"a comma":                        {[]string{"", "2026-05-05T00:00:00,5Z"}, "must be a time"},
		"an offset that is none":         {[]string{"", "2026-05-05T00:00:00+01:99"}, "must be a time"},
		"no time of a certificate":       {[]string{"0001-01-01T00:00:00Z"}, "before 1970"},
		"the year 10000, by its offset":  {[]string{"", "9999-12-31T23:59:59-00:01"}, "year 9999"},
		"over":                           {[]string{"", "2026-05-04T12:00:00Z"}, "has passed"},
		"ends first":                     {[]string{"2026-05-05T12:00:00Z", "2026-05-05T11:00:00Z"}, "after"},
		"far ahead":                      {[]string{"2026-05-07T12:00:00Z"}, "48 hours"},
	} {
		got := c.post("/acme/r/new-order", ordering("a.example.com", tt.ends...)).wantProblem(t, http.StatusBadRequest, "malformed")
		if !strings.Contains(got["detail"].(string), tt.says) {
			t.Errorf("%s: %v", name, got["detail"])
		}
	}
	if doc := c.post("/acme/r/new-order", map[string]any{"identifiers": identifiers("a.example.com")["identifiers"], "notAfter": 5}).want(t, http.StatusBadRequest); doc.status != 400 {
		t.Error("a number is taken")
	}
}
