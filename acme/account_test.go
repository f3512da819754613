package acme

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/problem"
)

func TestNewAccount(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	in := map[string]any{"contact": []string{"mailto:b@example.com", "mailto:a@example.com"}, "termsOfServiceAgreed": true, "other": 1}
	a := c.post("/acme/r/new-account", in).want(t, http.StatusCreated) // RFC 8555, 7.3
	c.kid = a.header.Get("Location")
	want := map[string]any{
		"status": "valid", "contact": []any{"mailto:b@example.com", "mailto:a@example.com"}, "termsOfServiceAgreed": true,
		"orders": c.kid + "/orders",
	}
	if diff := cmp.Diff(want, a.decode(t)); diff != "" {
		t.Error(diff)
	}
	// RFC 8555, 7.3.1: the same key again finds the account, and changes nothing in it.
	key := &client{w: w, key: c.key}
	for _, in := range []map[string]any{{"contact": []string{"mailto:c@example.com"}}, {"onlyReturnExisting": true}} {
		again := key.post("/acme/r/new-account", in).want(t, http.StatusOK)
		if again.header.Get("Location") != c.kid {
			t.Error("another account:", again.header.Get("Location"))
		}
		if diff := cmp.Diff(want, again.decode(t)); diff != "" {
			t.Error(diff)
		}
	}
	// RFC 8555, 7.3.1: an unknown key, if the account must exist.
	w.client().post("/acme/r/new-account", map[string]any{"onlyReturnExisting": true}).wantProblem(t, http.StatusBadRequest, "accountDoesNotExist")
	if kinds := w.journal.kinds(); !slices.Equal(kinds, []audit.Kind{audit.AccountMade}) {
		t.Error("journal:", kinds)
	}
}

func TestNewAccountMustAgreeToTheTerms(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.TermsURL = "https://example.com/terms" })
	for _, in := range []map[string]any{{}, {"termsOfServiceAgreed": false}} {
		a := w.client().post("/acme/r/new-account", in) // RFC 8555, 7.3 and 7.3.3
		a.wantProblem(t, http.StatusForbidden, "userActionRequired")
		if !slices.Contains(a.header.Values("Link"), `<https://example.com/terms>;rel="terms-of-service"`) {
			t.Error(a.header.Values("Link"))
		}
	}
	w.client().post("/acme/r/new-account", map[string]any{"termsOfServiceAgreed": "yes"}).wantProblem(t, http.StatusBadRequest, "malformed")
	w.account()
}

func TestNewAccountRace(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	var wg sync.WaitGroup
	locations := make(chan string, 20)
	for range 20 {
		wg.Go(func() {
			a := c.post("/acme/r/new-account", map[string]any{})
			if a.status != http.StatusCreated && a.status != http.StatusOK {
				t.Errorf("%d %s", a.status, a.body)
			}
			locations <- a.header.Get("Location")
		})
	}
	wg.Wait()
	close(locations)
	first := <-locations
	for l := range locations {
		if l != first {
			t.Errorf("RFC 8555, 7.3.1: one key has two accounts, %s and %s", l, first)
		}
	}
	if len(w.store.accounts) != 1 {
		t.Errorf("%d accounts", len(w.store.accounts))
	}
}

func TestNewAccountLate(t *testing.T) {
	for name, path := range map[string]string{"same directory": "/acme/r/new-account", "another organisation's": "/acme/r/new-account/in/other"} { // of the late one
		w := newWorld(t)
		c := w.client()
		var first answer
		elsewhere := c.elsewhere()
		w.store.meanwhile("CreateAccount", func() { first = elsewhere.post("/acme/r/new-account", map[string]any{}) })
		a := c.post(path, map[string]any{})
		if path == "/acme/r/new-account" {
			if a.want(t, http.StatusOK).header.Get("Location") != first.header.Get("Location") {
				t.Errorf("%s: %s", name, a.body)
			}
		} else {
			a.wantProblem(t, http.StatusForbidden, "unauthorized")
		}
		first.want(t, http.StatusCreated)
	}
}

func TestAccountUpdateLate(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	there := c.elsewhere()
	w.store.meanwhile("UpdateAccount", func() {
		there.to(c.kid, map[string]any{"contact": []string{"mailto:a@example.com"}}).want(t, http.StatusOK)
	})
	got := c.to(c.kid, map[string]any{"contact": []string{"mailto:b@example.com"}}).want(t, http.StatusOK).decode(t)
	if diff := cmp.Diff([]any{"mailto:b@example.com"}, got["contact"]); diff != "" {
		t.Error(diff)
	}
	w.store.meanwhile("UpdateAccount", func() { there.to(c.kid, map[string]any{"status": "deactivated"}).want(t, http.StatusOK) })
	c.to(c.kid, map[string]any{"contact": []string{}}).wantProblem(t, http.StatusUnauthorized, "unauthorized") // RFC 8555, 7.3.6
	if w.store.accounts[c.id()].Deactivated.IsZero() {
		t.Error("an update brought a deactivated account back")
	}
}

func TestContacts(t *testing.T) {
	long := strings.Repeat("a", 65)
	for _, tc := range []struct {
		name, contact string
		want          problem.Kind // Internal: accepted
	}{
		{"RFC 8555, 7.3", "mailto:admin@example.com", 0},
		{"RFC 3986, 3.1: scheme in capitals", "MAILTO:admin@example.com", 0},
		{"RFC 5322, 3.2.3: atext", "mailto:a.b+c-d_e/f=g@example.com", 0},
		{"internal domain", "mailto:root@localhost", 0},
		{"RFC 8555, 7.3: tel", "tel:+15551234", problem.UnsupportedContact},
		{"no scheme", "admin@example.com", problem.UnsupportedContact},
		{"empty", "", problem.UnsupportedContact},
		{"RFC 8555, 7.3: hfields", "mailto:admin@example.com?subject=x", problem.InvalidContact},
		{"RFC 8555, 7.3: two addresses", "mailto:a@example.com,b@example.com", problem.InvalidContact},
		{"no address", "mailto:", problem.InvalidContact},
		{"no @", "mailto:admin", problem.InvalidContact},
		{"no local part", "mailto:@example.com", problem.InvalidContact},
		{"no domain", "mailto:admin@", problem.InvalidContact},
		{"domain is an address", "mailto:admin@192.0.2.1", problem.InvalidContact},
		{"domain literal", "mailto:admin@[192.0.2.1]", problem.InvalidContact},
		{"domain is a wildcard", "mailto:admin@*.example.com", problem.InvalidContact},
		{"quoted", `mailto:"a b"@example.com`, problem.InvalidContact},
		{"escaped", "mailto:a%0d%0ab@example.com", problem.InvalidContact},
		{"line break", "mailto:a\r\nb@example.com", problem.InvalidContact},
		{"angle brackets", "mailto:<a@example.com>", problem.InvalidContact},
		{"not ASCII", "mailto:ä@example.com", problem.InvalidContact},
		{"domain not ASCII", "mailto:a@exämple.com", problem.InvalidContact},
		{"two dots", "mailto:a..b@example.com", problem.InvalidContact},
		{"dot in front", "mailto:.a@example.com", problem.InvalidContact},
		{"two @", "mailto:a@b@example.com", problem.InvalidContact},
		{"RFC 5321, 4.5.3.1.1: long local part", "mailto:" + long + "@example.com", problem.InvalidContact},
		{"RFC 5321, 4.5.3.1.3: long", "mailto:a@" + strings.Repeat(long[:60]+".", 4) + "example.com", problem.InvalidContact},
	} {
		err := checkContacts([]string{tc.contact})
		if tc.want == 0 && err != nil || tc.want != 0 && !problem.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
	ten := slices.Repeat([]string{"mailto:a@example.com"}, maxContacts)
	if err := checkContacts(ten); err != nil {
		t.Error(err)
	}
	if err := checkContacts(append(ten, ten[0])); !problem.Is(err, problem.InvalidContact) {
		t.Error("eleven contacts:", err)
	}
}

func TestContactErrorsReachTheClient(t *testing.T) {
	w := newWorld(t)
	w.client().post("/acme/r/new-account", map[string]any{"contact": []string{"tel:1"}}).wantProblem(t, http.StatusBadRequest, "unsupportedContact")
	w.client().post("/acme/r/new-account", map[string]any{"contact": []string{"mailto:x"}}).wantProblem(t, http.StatusBadRequest, "invalidContact")
	c := w.account()
	c.to(c.kid, map[string]any{"contact": []string{"mailto:x"}}).wantProblem(t, http.StatusBadRequest, "invalidContact")
}

func TestAccountUpdate(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	update := func(in map[string]any) map[string]any {
		t.Helper()
		return c.to(c.kid, in).want(t, http.StatusOK).decode(t)
	}
	got := update(map[string]any{"contact": []string{"mailto:a@example.com"}}) // RFC 8555, 7.3.2
	if diff := cmp.Diff([]any{"mailto:a@example.com"}, got["contact"]); diff != "" {
		t.Error(diff)
	}
	// Clients send the whole object back, with whatever they added to it.
	whole := c.read(c.kid).want(t, http.StatusOK).decode(t)
	whole["key"], whole["orders"] = c.jwk(), "https://example.com/elsewhere"
	w.store.taken()
	if diff := cmp.Diff(got, update(whole)); diff != "" {
		t.Error(diff)
	}
	if slices.Contains(w.store.taken(), "UpdateAccount") {
		t.Error("an update that changes nothing was written")
	}
	whole["contact"] = []string{"mailto:b@example.com"}
	if diff := cmp.Diff([]any{"mailto:b@example.com"}, update(whole)["contact"]); diff != "" {
		t.Error(diff)
	}
	if got := update(map[string]any{"status": "valid"}); got["contact"] == nil {
		t.Error("contacts that were not sent are gone")
	}
	if got := update(map[string]any{"contact": []string{}}); got["contact"] != nil {
		t.Error("contacts cannot be removed:", got)
	}
	// RFC 8555, 7.3.2: an update of "status" other than 7.3.6 allows is ignored, the rest of it is not.
	for _, status := range []string{"revoked", "pending", "valid", ""} {
		got := update(map[string]any{"status": status})
		if got["status"] != "valid" {
			t.Errorf("%q: %v", status, got)
		}
	}
	if got := update(map[string]any{"status": "revoked", "contact": []string{"mailto:c@example.com"}}); got["contact"] == nil || got["status"] != "valid" {
		t.Error(got)
	}
	c.to(c.kid, map[string]any{"status": 1}).wantProblem(t, http.StatusBadRequest, "malformed")
	want := []audit.Kind{audit.AccountMade, audit.AccountEdited, audit.AccountEdited, audit.AccountEdited, audit.AccountEdited}
	if kinds := w.journal.kinds(); !slices.Equal(kinds, want) {
		t.Error("journal:", kinds)
	}
}

// TestAgreementIsNotUpdated: RFC 8555, 7.3.2 has a server ignore "termsOfServiceAgreed" in an update.
func TestAgreementIsNotUpdated(t *testing.T) {
	w := newWorld(t)
	c := w.client()
	c.kid = c.post("/acme/r/new-account", map[string]any{}).want(t, http.StatusCreated).header.Get("Location")
	w.store.taken()
	for _, agreed := range []any{true, false, "yes"} {
		if got := c.to(c.kid, map[string]any{"termsOfServiceAgreed": agreed}).want(t, http.StatusOK).decode(t); got["termsOfServiceAgreed"] != nil {
			t.Errorf("%v: %v", agreed, got)
		}
	}
	if slices.Contains(w.store.taken(), "UpdateAccount") {
		t.Error("an update that is ignored was written")
	}
}

func TestAccountDeactivation(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	o := c.newOrder("a.example.com")
	// With a contact that would be refused: whatever else the object holds, the account ends.
	in := map[string]any{"status": "deactivated", "contact": []string{"tel:1"}}
	if got := c.to(c.kid, in).want(t, http.StatusOK).decode(t); got["status"] != "deactivated" || got["contact"] != nil {
		t.Error(got)
	}
	// RFC 8555, 7.3.6: 401 for everything from now on.
	for _, url := range []string{c.kid, o.url, o.Authorizations[0]} {
		c.read(url).wantProblem(t, http.StatusUnauthorized, "unauthorized")
	}
	c.to(c.kid, map[string]any{"status": "valid"}).wantProblem(t, http.StatusUnauthorized, "unauthorized")
	key := &client{w: w, key: c.key}
	key.post("/acme/r/new-account", map[string]any{}).wantProblem(t, http.StatusUnauthorized, "unauthorized")
}

func TestAccountUpdatesAtTheSameTime(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	var wg sync.WaitGroup
	for _, address := range []string{"mailto:a@example.com", "mailto:b@example.com"} {
		wg.Go(func() {
			if a := c.to(c.kid, map[string]any{"contact": []string{address}}); a.status != http.StatusOK {
				t.Errorf("a conflict reached the client: %d %s", a.status, a.body)
			}
		})
	}
	wg.Wait()
}
