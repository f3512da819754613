package acme

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/auth"
)

func TestDirectories(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.TermsURL, c.Website = "https://example.com/terms", "https://example.com" })
	for path, want := range map[string][2]string{
		"/acme/directory":                 {"/acme/r/new-account", "/acme/r/new-order"},
		"/acme/in/other/directory":        {"/acme/r/new-account/in/other", "/acme/r/new-order/in/other"},
		"/acme/in/other/secret/directory": {"/acme/r/new-account/in/other", "/acme/r/new-order/in/other/secret"},
	} {
		a := w.get(http.MethodGet, path).want(t, http.StatusOK)
		d := a.decode(t)
		if d["newAccount"] != base+want[0] || d["newOrder"] != base+want[1] || d["newNonce"] != base+"/acme/r/new-nonce" ||
			d["newAuthz"] != base+strings.Replace(want[1], "new-order", "new-authz", 1) ||
			d["revokeCert"] != base+"/acme/r/revoke-cert" || d["keyChange"] != base+"/acme/r/key-change" {
			t.Errorf("RFC 8555, 7.1.1: %s: %s", path, a.body)
		}
		meta := d["meta"].(map[string]any)
		if meta["termsOfService"] != "https://example.com/terms" || meta["website"] != "https://example.com" {
			t.Error(meta)
		}
		if a.header.Get("Content-Type") != "application/json" || a.header.Get("Link") != "" {
			t.Error(a.header)
		}
	}
	if a := w.get(http.MethodHead, "/acme/directory").want(t, http.StatusOK); len(a.body) != 0 {
		t.Error("HEAD has a body")
	}
	// What does not exist and what is not offered look the same.
	nothing := w.get(http.MethodGet, "/acme/in/nobody/directory").wantProblem(t, http.StatusNotFound, "malformed")
	for _, path := range []string{"/acme/in/main/nothing/directory", "/acme/in/main/secret/directory"} {
		if d := w.get(http.MethodGet, path).wantProblem(t, http.StatusNotFound, "malformed"); d["detail"] != nothing["detail"] {
			t.Errorf("%s: %v", path, d)
		}
	}
}

// TestPostAsGetOfOpenResources: RFC 8555, 6.3 demands POST-as-GET of directory and newNonce besides GET, and of a
// POST-as-GET that its sender is authenticated.
func TestPostAsGetOfOpenResources(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	for path, status := range map[string]int{
		"/acme/directory": http.StatusOK, "/acme/in/other/directory": http.StatusOK, "/acme/r/new-nonce": http.StatusNoContent,
	} {
		got, plain := c.post(path, nil).want(t, status), w.get(http.MethodGet, path).want(t, status)
		if !bytes.Equal(got.body, plain.body) || got.header.Get("Replay-Nonce") == "" || got.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v %s", path, got.header, got.body)
		}
		used := c.prepare(path, nil)
		c.send(used).want(t, status)
		c.send(used).wantProblem(t, http.StatusBadRequest, "badNonce")
		forged := c.prepare(path, nil)
		(&client{w: w, key: w.client().key}).send(forged).wantProblem(t, http.StatusBadRequest, "malformed")
		c.post(path, map[string]any{}).wantProblem(t, http.StatusBadRequest, "malformed")
		w.client().post(path, nil).wantProblem(t, http.StatusBadRequest, "malformed") // a key is no account
		w.get(http.MethodPost, path).wantProblem(t, http.StatusUnsupportedMediaType, "malformed")
		if put := w.get(http.MethodPut, path); put.header.Get("Allow") != "GET, HEAD, POST" {
			t.Errorf("RFC 9110, 15.5.6: %s: %v", path, put.header)
		} else {
			put.wantProblem(t, http.StatusMethodNotAllowed, "malformed")
		}
	}
	c.post("/acme/in/nobody/directory", nil).wantProblem(t, http.StatusNotFound, "malformed")
	c.to(c.kid, map[string]any{"status": "deactivated"}).want(t, http.StatusOK)
	c.post("/acme/directory", nil).wantProblem(t, http.StatusUnauthorized, "unauthorized")
}

func TestIndexLink(t *testing.T) {
	w := newWorld(t)
	for path, directory := range map[string]string{
		"/acme/r/new-nonce":                 "/acme/directory",
		"/acme/r/new-order/in/other/secret": "/acme/in/other/secret/directory",
		"/acme/nothing":                     "/acme/directory",
	} {
		// RFC 8555, 7.1
		if got, want := w.get(http.MethodGet, path).header.Get("Link"), `<`+base+directory+`>;rel="index"`; got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func TestOrganisationsAreApart(t *testing.T) {
	w := newWorld(t)
	c := w.accountAt("/acme/r/new-account/in/other")
	// An account of one organisation does not exist in another's directories.
	unknown := w.client()
	unknown.kid = w.server.links.account(AccountID(newID()))
	want := unknown.post("/acme/r/new-order", identifiers("a.example.com")).wantProblem(t, http.StatusBadRequest, "accountDoesNotExist")
	for _, path := range []string{"/acme/r/new-order/in/main", "/acme/r/new-order/in/main/web"} {
		if got := c.post(path, identifiers("a.example.com")).wantProblem(t, http.StatusBadRequest, "accountDoesNotExist"); got["detail"] != want["detail"] {
			t.Errorf("%s: %v", path, got)
		}
	}
	c.post("/acme/r/new-order/in/nobody", identifiers("a.example.com")).wantProblem(t, http.StatusNotFound, "malformed")
	o := c.post("/acme/r/new-order/in/other/secret", identifiers("a.example.com")).want(t, http.StatusCreated).order(t)
	if stored := w.store.orders[OrderID(o.url[strings.LastIndexByte(o.url, '/')+1:])]; stored.Org != 2 || stored.Profile != "secret" {
		t.Errorf("%+v", stored)
	}
	// The key has its account; another organisation's directory neither makes a second nor passes the first for its own.
	key := &client{w: w, key: c.key}
	key.post("/acme/r/new-account/in/main", map[string]any{}).wantProblem(t, http.StatusForbidden, "unauthorized")
	key.post("/acme/r/new-account/in/main", map[string]any{"onlyReturnExisting": true}).wantProblem(t, http.StatusBadRequest, "accountDoesNotExist")
	key.post("/acme/r/new-account/in/nobody", map[string]any{}).wantProblem(t, http.StatusNotFound, "malformed")
}

// TestTheDefaultDirectoryIsEverybodys: there an account acts in its own organisation, by what that may use, whichever directory
// it was made in.
func TestTheDefaultDirectoryIsEverybodys(t *testing.T) {
	w := newWorld(t)
	c := w.accountAt("/acme/r/new-account/in/other")
	secret := identifiers("a.example.com")
	secret["profile"] = "secret" // which the default organisation may not use
	o := c.post("/acme/r/new-order", secret).want(t, http.StatusCreated).order(t)
	if stored := w.store.orders[o.id()]; stored.Org != 2 || stored.Profile != "secret" {
		t.Errorf("%+v", stored)
	}
	a := c.post(newAuthzPath, preauthorization("a.example.com")).want(t, http.StatusCreated)
	for _, authz := range w.store.authzs {
		if authz.Org != 2 {
			t.Errorf("%s: %+v", a.header.Get("Location"), authz)
		}
	}
	for _, in := range []map[string]any{{}, {"onlyReturnExisting": true}} {
		again := (&client{w: w, key: c.key}).post("/acme/r/new-account", in).want(t, http.StatusOK)
		if again.header.Get("Location") != c.kid {
			t.Error(again.header)
		}
	}
	w.account().post("/acme/r/new-order", secret).wantProblem(t, http.StatusBadRequest, "invalidProfile")
}

// TestOrganisationWithoutTheDefaultProfile: a directory is there if its organisation may use any profile, and where that is one
// alone nobody has to name it.
func TestOrganisationWithoutTheDefaultProfile(t *testing.T) {
	allowed := []string{"second"}
	w := newWorld(t, func(c *Config) {
		c.Allowed = func(org auth.OrgID, profile string) bool { return org == 1 || slices.Contains(allowed, profile) }
	})
	c := w.accountAt("/acme/r/new-account/in/other")
	for _, path := range []string{"/acme/r/new-order", "/acme/r/new-order/in/other"} {
		o := c.post(path, identifiers("a.example.com")).want(t, http.StatusCreated).order(t)
		if got := w.store.orders[o.id()].Profile; got != "second" {
			t.Errorf("%s: %s", path, got)
		}
	}
	allowed = []string{"second", "secret"}
	for path, in := range map[string]map[string]any{"/acme/r/new-order": identifiers("a.example.com"), newAuthzPath + "/in/other": preauthorization("a.example.com")} {
		p := c.post(path, in).wantProblem(t, http.StatusBadRequest, "invalidProfile")
		if detail := p["detail"].(string); !strings.Contains(detail, "second, secret") {
			t.Errorf("%s: %s", path, detail)
		}
	}
	c.post(newAuthzPath+"/in/other/secret", preauthorization("a.example.com")).want(t, http.StatusCreated)
	allowed = nil
	w.get(http.MethodGet, "/acme/in/other/directory").wantProblem(t, http.StatusNotFound, "malformed")
	c.post("/acme/r/new-order", identifiers("a.example.com")).wantProblem(t, http.StatusNotFound, "malformed")
}
