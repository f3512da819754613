package main

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/console"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/seal"
)

// adminOnly finds admin@ every name.
type adminOnly struct{}

func (adminOnly) EmailContacts(_ context.Context, name identifier.Identifier, _ dcv.DNSSEC) (*dcv.EmailContacts, error) {
	return &dcv.EmailContacts{Contacts: []dcv.EmailContact{{Address: "admin@" + name.Value(), Method: dcv.EmailConstructed}}}, nil
}

func (adminOnly) MailRoute(context.Context, string, dcv.DNSSEC) (bool, error) { return true, nil }

// mailHouse is a whole gateway in this process whose domains are validated by e-mail.
type mailHouse struct {
	t    *testing.T
	core *core
}

func newMailHouse(t *testing.T) *mailHouse {
	t.Helper()
	d, err := newDev(t.TempDir(), devFlags{}, slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(d.close)
	h := &mailHouse{t: t}
	h.core, err = openCore(t.Context(), d.settings, nil, nil)
	must(t, err)
	t.Cleanup(func() {
		h.core.finish(context.Background())
		h.core.close()
	})
	return h
}

// asks begins a validation that waits for a time, and gives the link's ID and code.
func (h *mailHouse) asks(domain, org string, lifetime time.Duration) (id, code string) {
	h.t.Helper()
	ctx, operator, c := h.t.Context(), ra.Operator("uid:0"), h.core
	c.domains.Email = &ra.EmailConfig{Finder: adminOnly{}, Sealer: c.settings.sealer, Tries: c.db, Page: "https://ca.example.com" + console.EmailPath, Lifetime: lifetime}
	_, err := c.domains.Add(ctx, operator, domain, org)
	must(h.t, err)
	d, err := c.domains.ValidateByEmail(ctx, operator, domain, []string{"admin@" + domain})
	must(h.t, err)
	mails, err := c.db.Mails(ctx, false, nil, 10)
	must(h.t, err)
	for _, m := range mails {
		if m.To == "admin@"+domain {
			secret, err := c.settings.sealer.Open(ctx, seal.MailSecret, m.ID, m.Sealed)
			must(h.t, err)
			return d.Email.Links[0].ID, string(secret)
		}
	}
	h.t.Fatal("no mail was recorded")
	return "", ""
}

// emailTable is the page behind links in mails. Its one credential is the code of a link; the link without it shows who asks.
func emailTable(t *testing.T) doorTable {
	h := newMailHouse(t)
	operator := ra.Operator("uid:0")
	good, _ := h.asks("good.example.com", "dev", time.Hour)
	late, lateCode := h.asks("late.example.com", "dev", time.Nanosecond)
	_, err := h.core.tenants.Add(t.Context(), operator, auth.NewOrg{Slug: "shut"})
	must(t, err)
	shut, shutCode := h.asks("shut.example.com", "shut", time.Hour)
	_, err = h.core.tenants.Edit(t.Context(), operator, "shut", auth.OrgEdit{Disabled: new(true)})
	must(t, err)

	refused := func(method, domain, id, code string, status int) trial {
		return try(func(t *testing.T) {
			r := httptest.NewRequest(method, console.EmailPath+id, strings.NewReader(url.Values{"answer": {"confirm"}, "code": {code}}.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			w := httptest.NewRecorder()
			h.core.doors.ServeHTTP(w, r)
			d, err := h.core.domains.Get(t.Context(), operator, domain)
			if w.Code != status || err != nil || d.Proof != nil || status == http.StatusNotFound && strings.Contains(w.Body.String(), "example.com") {
				t.Errorf("status %d, %+v, %v: %s", w.Code, d, err, w.Body)
			}
		})
	}
	nobody := not("a link belongs to its domain, and the page knows no callers")
	get, post := "GET "+console.EmailPath+"{id}", "POST "+console.EmailPath+"{id}"
	return doorTable{door: "email", routes: []string{get, post}, rows: map[string]map[stranger]trial{
		get: {
			none: refused("GET", "good.example.com", "", "", http.StatusNotFound), wrong: refused("GET", "good.example.com", shutCode, "", http.StatusNotFound),
			expired: refused("GET", "late.example.com", late, "", http.StatusGone), disabled: refused("GET", "shut.example.com", shut, "", http.StatusNotFound),
			otherTenant: nobody, lowerRole: nobody,
		},
		post: {
			none: refused("POST", "good.example.com", good, "", http.StatusForbidden), wrong: refused("POST", "good.example.com", good, lateCode, http.StatusForbidden),
			expired: refused("POST", "late.example.com", late, lateCode, http.StatusGone), disabled: refused("POST", "shut.example.com", shut, shutCode, http.StatusNotFound),
			otherTenant: nobody, lowerRole: nobody,
		},
	}}
}
