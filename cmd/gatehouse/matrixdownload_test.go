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
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// keyHouse is a whole gateway in this process under whose profile keys are made for anybody.
type keyHouse struct {
	t    *testing.T
	core *core
}

func newKeyHouse(t *testing.T) *keyHouse {
	t.Helper()
	d, err := newDev(t.TempDir(), devFlags{}, slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(d.close)
	d.settings.profiles["dev"], err = policy.New(policy.Config{
		Name: "dev", Issuer: "dev", Validity: 12 * time.Hour, Backdate: time.Minute, ServerKeys: policy.ServerKeysOn, DCV: policy.NoValidation,
		AllowNames: []string{"*.example.com"},
	})
	must(t, err)
	h := &keyHouse{t: t}
	h.core, err = openCore(t.Context(), d.settings, nil, nil)
	must(t, err)
	t.Cleanup(func() {
		h.core.finish(context.Background())
		h.core.close()
	})
	return h
}

// link is a link to a key that a new requester has had made.
func (h *keyHouse) link(login string) (id auth.PrincipalID, path string) {
	h.t.Helper()
	operator := ra.Operator("uid:0")
	p, err := h.core.principals.Add(h.t.Context(), operator, auth.NewPrincipal{
		Org: "dev", Login: login, Grants: []auth.NamedGrant{{Org: "dev", Role: auth.Requester}},
	})
	must(h.t, err)
	caller, err := h.core.principals.Acting(h.t.Context(), operator, auth.Ref{ID: p.ID})
	must(h.t, err)
	name, err := identifier.ParseDNS(login + ".example.com")
	must(h.t, err)
	e, err := h.core.registrar.Submit(h.t.Context(), caller, ra.Request{
		Door: ra.DoorConsole, Profile: "dev", Names: []identifier.Identifier{name}, Key: policy.ECDSAP256,
	})
	must(h.t, err)
	offer, err := console.ParseOffer("", "", false)
	must(h.t, err)
	secret, _, err := h.core.registrar.OfferDownload(h.t.Context(), caller, e.ID, offer)
	must(h.t, err)
	return p.ID, console.DownloadPath + secret
}

func (h *keyHouse) do(method, path string) *httptest.ResponseRecorder {
	h.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(url.Values{"password": {"correct-horse"}}.Encode()))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	w := httptest.NewRecorder()
	h.core.doors.ServeHTTP(w, r)
	return w
}

// downloadTable is the page behind links to private keys. Its one credential is the link, which is as good as who made it.
func downloadTable(t *testing.T) doorTable {
	h := newKeyHouse(t)
	operator := ra.Operator("uid:0")
	_, good := h.link("good")
	_, used := h.link("used")
	if w := h.do(http.MethodPost, used); w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	gone, ofDisabled := h.link("disabled")
	yes := true
	_, err := h.core.principals.Edit(t.Context(), operator, auth.Ref{ID: gone}, auth.PrincipalEdit{Disabled: &yes})
	must(t, err)
	lowered, ofLowered := h.link("lowered")
	_, err = h.core.principals.Edit(t.Context(), operator, auth.Ref{ID: lowered}, auth.PrincipalEdit{
		Withdraw: []auth.NamedGrant{{Org: "dev", Role: auth.Requester}}, Grant: []auth.NamedGrant{{Org: "dev", Role: auth.Auditor}},
	})
	must(t, err)
	table := doorTable{door: "download", rows: map[string]map[stranger]trial{}}
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		route := method + " " + console.DownloadPath + "{secret}"
		refused := func(path string) trial {
			return try(func(t *testing.T) {
				if w := h.do(method, path); w.Code != http.StatusNotFound || w.Header().Get("Content-Disposition") != "" || strings.Contains(w.Body.String(), "example.com") {
					t.Errorf("status %d: %s", w.Code, w.Body)
				}
			})
		}
		table.routes = append(table.routes, route)
		table.rows[route] = map[stranger]trial{
			none: refused(console.DownloadPath), wrong: refused(absentDownload(good)), expired: refused(used), disabled: refused(ofDisabled),
			otherTenant: not("a link names nobody: whoever holds it may use it"), lowerRole: refused(ofLowered),
		}
	}
	return table
}

// absentDownload is a link of the same form as another, which nobody has made.
func absentDownload(path string) string {
	last := path[len(console.DownloadPath):]
	if strings.HasPrefix(last, "A") {
		return console.DownloadPath + "B" + last[1:]
	}
	return console.DownloadPath + "A" + last[1:]
}

// TestActing: a link is as good as the principal it is of, and nobody but who the kernel named is an operator.
func TestActing(t *testing.T) {
	h := newKeyHouse(t)
	for principal, operator := range map[string]bool{"uid:0": true, "acme:7": false, "user:1": false, "system": false, "user:x": false, "": false} {
		caller, err := h.core.acting(t.Context(), principal)
		if operator != (err == nil) || operator != caller.Operator {
			t.Errorf("%q: %+v, %v", principal, caller, err)
		}
	}
}
