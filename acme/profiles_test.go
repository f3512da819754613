package acme

import (
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/auth"
)

// profilesAt are the profiles in a directory's meta.
func (w *world) profilesAt(path string) map[string]string {
	w.t.Helper()
	meta := w.get(http.MethodGet, path).want(w.t, http.StatusOK).decode(w.t)["meta"].(map[string]any)
	out := map[string]string{}
	for name, text := range meta["profiles"].(map[string]any) {
		out[name] = text.(string)
	}
	return out
}

// TestProfilesInDirectories: draft-ietf-acme-profiles, 3: every profile that may be asked for, and no other.
func TestProfilesInDirectories(t *testing.T) {
	w := newWorld(t)
	for path, want := range map[string]map[string]string{
		"/acme/directory":                 {"web": "for web servers", "second": "second"},
		"/acme/in/main/directory":         {"web": "for web servers", "second": "second"},
		"/acme/in/other/directory":        {"web": "for web servers", "second": "second", "secret": "secret"},
		"/acme/in/main/second/directory":  {"second": "second"},
		"/acme/in/other/secret/directory": {"secret": "secret"},
	} {
		if got := w.profilesAt(path); !maps.Equal(got, want) {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
}

// TestProfileOfAnOrder: draft-ietf-acme-profiles, 4.
func TestProfileOfAnOrder(t *testing.T) {
	w := newWorld(t)
	main, other := w.account(), w.accountAt("/acme/r/new-account/in/other")
	asking := func(profile any) map[string]any {
		p := identifiers("a.example.com")
		p["profile"] = profile
		return p
	}
	for _, tt := range []struct {
		c       *client
		path    string
		payload map[string]any
		want    string
	}{
		{main, "/acme/r/new-order", identifiers("a.example.com"), "web"},
		{main, "/acme/r/new-order", asking(nil), "web"},
		{main, "/acme/r/new-order", asking("web"), "web"},
		{main, "/acme/r/new-order", asking("second"), "second"},
		{main, "/acme/r/new-order/in/main", asking("second"), "second"},
		{main, "/acme/r/new-order/in/main/second", identifiers("a.example.com"), "second"},
		{main, "/acme/r/new-order/in/main/second", asking("second"), "second"},
		{other, "/acme/r/new-order/in/other", asking("secret"), "secret"},
	} {
		a := tt.c.post(tt.path, tt.payload).want(t, http.StatusCreated)
		o := a.order(t)
		if got := a.decode(t)["profile"]; got != tt.want || w.store.orders[o.id()].Profile != tt.want {
			t.Errorf("%s, %v: %v, want %s", tt.path, tt.payload["profile"], got, tt.want)
		}
		if stored := w.store.orders[o.id()]; stored.ProfileHash != w.server.Profiles[tt.want].Hash() {
			t.Errorf("%s: another profile's hash is pinned", tt.want)
		}
		if got := tt.c.read(o.url).decode(t)["profile"]; got != tt.want {
			t.Errorf("later the order shows %v, want %s", got, tt.want)
		}
	}
	for _, tt := range []struct {
		c       *client
		path    string
		profile string
	}{
		{main, "/acme/r/new-order", "nothing"},
		{main, "/acme/r/new-order", ""},
		{main, "/acme/r/new-order", "Web"},
		{main, "/acme/r/new-order", "secret"}, // another organisation's
		{main, "/acme/r/new-order/in/main/second", "web"},
		{other, "/acme/r/new-order/in/other/secret", "web"},
	} {
		got := tt.c.post(tt.path, asking(tt.profile)).wantProblem(t, http.StatusBadRequest, "invalidProfile")
		if detail := got["detail"].(string); tt.c == main && strings.Contains(detail, "secret") {
			t.Errorf("%s: a profile of others is named: %s", tt.path, detail)
		}
	}
	main.post("/acme/r/new-order", asking(7)).wantProblem(t, http.StatusBadRequest, "malformed")
}

// TestProfileDecidesTheNames: the rules are those of the profile that was asked for, and not the directory's.
func TestProfileDecidesTheNames(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	p := identifiers("forbidden.example.com")
	c.post("/acme/r/new-order", p).wantProblem(t, http.StatusForbidden, "rejectedIdentifier")
	p["profile"] = "second"
	c.post("/acme/r/new-order", p).want(t, http.StatusCreated)
}

// TestProfileOfAnOrderThatIsGone: draft-ietf-acme-profiles, 4: an order under a profile that is gone, that its organisation may not use
// any more, or that has other rules by now is not finalized, and stays as it was.
func TestProfileOfAnOrderThatIsGone(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	o := c.readyOrder("a.example.com")
	was, allowed := w.server.Profiles["web"], w.server.Allowed
	for name, change := range map[string]func(){
		"gone":          func() { delete(w.server.Profiles, "web") },
		"other rules":   func() { w.server.Profiles["web"] = w.server.Profiles["second"] },
		"not for these": func() { w.server.Allowed = func(auth.OrgID, string) bool { return false } },
	} {
		change()
		if a := c.to(o.Finalize, w.csr("a.example.com")); a.status != http.StatusBadRequest || !strings.Contains(string(a.body), "invalidProfile") {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
		w.server.Profiles["web"], w.server.Allowed = was, allowed
	}
	if got := c.to(o.Finalize, w.csr("a.example.com")).want(t, http.StatusOK).order(t); got.Status != "valid" {
		t.Errorf("the order is %s", got.Status)
	}
}
