package acme

import (
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/identifier"
)

const newAuthzPath = "/acme/r/new-authz"

func preauthorization(name string) map[string]any {
	return map[string]any{"identifier": map[string]string{"type": "dns", "value": name}}
}

// TestNewAuthz: RFC 8555, 7.4.1: a pending authorization ahead of any order, which serves orders once it is valid.
func TestNewAuthz(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	a := c.post(newAuthzPath, preauthorization("A.example.com")).want(t, http.StatusCreated)
	url, doc := a.header.Get("Location"), a.decode(t)
	if doc["status"] != "pending" || doc["expires"] == nil || doc["identifier"].(map[string]any)["value"] != "a.example.com" || doc["wildcard"] != nil {
		t.Errorf("%s", a.body)
	}
	if read := c.read(url).want(t, http.StatusOK); string(read.body) != string(a.body) {
		t.Errorf("%s, made as %s", read.body, a.body)
	}
	// Pending ones are not shared.
	if o := c.newOrder("a.example.com"); slices.Contains(o.Authorizations, url) || o.Status != "pending" {
		t.Errorf("%+v", o)
	}
	c.to(c.challengeOf(url), map[string]any{}).want(t, http.StatusOK)
	o := c.newOrder("a.example.com")
	if o.Status != "ready" || !slices.Equal(o.Authorizations, []string{url}) {
		t.Errorf("%+v", o)
	}
	c.to(o.Finalize, w.csr("a.example.com")).want(t, http.StatusOK)
	// A usable one is the answer; near its end it is not.
	again := c.post(newAuthzPath, preauthorization("a.example.com")).want(t, http.StatusCreated)
	if again.header.Get("Location") != url || again.decode(t)["status"] != "valid" {
		t.Errorf("%v %s", again.header, again.body)
	}
	w.clock.advance(w.store.authz(AuthzID(url[len(url)-idLength:])).Expires.Sub(w.clock.now()) - 30*time.Minute)
	if late := c.post(newAuthzPath, preauthorization("a.example.com")).want(t, http.StatusCreated); late.header.Get("Location") == url {
		t.Error("an authorization is given that lapses while the client works")
	}
}

// TestNewAuthzIsTheProfiles: each directory's authorizations follow its profile, and serve no other.
func TestNewAuthzIsTheProfiles(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	url := c.post(newAuthzPath+"/in/main/second", preauthorization("a.example.com")).want(t, http.StatusCreated).header.Get("Location")
	c.to(c.challengeOf(url), map[string]any{}).want(t, http.StatusOK)
	if o := c.newOrder("a.example.com"); slices.Contains(o.Authorizations, url) {
		t.Error("another profile's authorization serves an order")
	}
	o := c.post("/acme/r/new-order/in/main/second", identifiers("a.example.com")).want(t, http.StatusCreated).order(t)
	if !slices.Equal(o.Authorizations, []string{url}) {
		t.Errorf("%+v", o)
	}
	// Another account has its own.
	other := w.account()
	if a := other.post(newAuthzPath+"/in/main/second", preauthorization("a.example.com")).want(t, http.StatusCreated); a.header.Get("Location") == url ||
		a.decode(t)["status"] != "pending" {
		t.Errorf("%s", a.body)
	}
	other.read(url).wantProblem(t, http.StatusNotFound, "malformed")
}

func TestNewAuthzRefusals(t *testing.T) {
	w := newWorld(t)
	c, foreign := w.account(), w.accountAt("/acme/r/new-account/in/other")
	id := func(kind, value string) map[string]any {
		return map[string]any{"identifier": map[string]any{"type": kind, "value": value}}
	}
	for _, tc := range []struct {
		name   string
		who    *client
		path   string
		in     any
		status int
		word   string
	}{
		{"RFC 8555, 7.4.1: a wildcard", c, newAuthzPath, id("dns", "*.example.com"), 403, "rejectedIdentifier"},
		{"RFC 8555, 7.4.1: a name that the profile denies", c, newAuthzPath, id("dns", "forbidden.example.com"), 403, "rejectedIdentifier"},
		{"an unknown type", c, newAuthzPath, id("email", "a@example.com"), 400, "unsupportedIdentifier"},
		{"no name", c, newAuthzPath, id("dns", "a..example.com"), 400, "malformed"},
		{"an empty name", c, newAuthzPath, id("dns", ""), 400, "malformed"},
		{"no identifier", c, newAuthzPath, map[string]any{}, 400, "malformed"},
		{"identifiers of an order", c, newAuthzPath, identifiers("a.example.com"), 400, "malformed"},
		{"a list", c, newAuthzPath, map[string]any{"identifier": []any{}}, 400, "malformed"},
		{"POST-as-GET", c, newAuthzPath, nil, 400, "malformed"},
		{"an account of another organisation", foreign, newAuthzPath + "/in/main", id("dns", "a.example.com"), 400, "accountDoesNotExist"},
		{"a profile that is not offered", c, newAuthzPath + "/in/main/secret", id("dns", "a.example.com"), 404, "malformed"},
		{"a key in place of an account", w.client(), newAuthzPath, id("dns", "a.example.com"), 400, "malformed"},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.who.post(tc.path, tc.in).wantProblem(t, tc.status, tc.word) })
	}
	if n := len(w.store.authzs); n != 0 {
		t.Errorf("%d authorizations were made", n)
	}
}

// statusOf reads the status of an object.
func (c *client) statusOf(url string) any {
	return c.read(url).want(c.w.t, http.StatusOK).decode(c.w.t)["status"]
}

var deactivate = map[string]any{"status": "deactivated"}

// TestDeactivateAuthorization: RFC 8555, 7.5.2 and 7.1.6: what was given up serves no order, and takes its orders with it.
func TestDeactivateAuthorization(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	done := c.readyOrder("a.example.com")
	c.to(done.Finalize, w.csr("a.example.com")).want(t, http.StatusOK)
	ready, mixed := c.newOrder("a.example.com"), c.newOrder("a.example.com", "b.example.com")
	if ready.Status != "ready" || ready.Authorizations[0] != done.Authorizations[0] {
		t.Fatalf("%+v", ready)
	}
	for range 2 { // a client that lost the answer gets it again
		a := c.to(ready.Authorizations[0], deactivate).want(t, http.StatusOK)
		if a.decode(t)["status"] != "deactivated" {
			t.Errorf("%s", a.body)
		}
	}
	if got := c.statusOf(ready.Authorizations[0]); got != "deactivated" {
		t.Errorf("it is %v", got)
	}
	for url, want := range map[string]string{done.url: "valid", ready.url: "invalid", mixed.url: "invalid"} {
		if got := c.statusOf(url); got != want {
			t.Errorf("an order is %v, want %s", got, want)
		}
	}
	if e := c.read(ready.url).order(t).Error; e["type"] != urn+"unauthorized" {
		t.Errorf("RFC 8555, 7.1.3: the order's error is %v", e)
	}
	c.to(ready.Finalize, w.csr("a.example.com")).wantProblem(t, http.StatusForbidden, "orderNotReady")
	if o := c.newOrder("a.example.com"); o.Status != "pending" || o.Authorizations[0] == ready.Authorizations[0] {
		t.Errorf("RFC 8555, 7.5.2: it serves a new order: %+v", o)
	}
	w.clock.advance(400 * 24 * time.Hour)
	if got := w.store.authz(AuthzID(ready.Authorizations[0][len(ready.Authorizations[0])-idLength:])).Status(w.clock.now()); got != StatusDeactivated {
		t.Errorf("after its expiry it is %s", got)
	}
}

// TestDeactivatePendingAuthorization: its challenges cannot be begun, and a validation that is under way changes nothing.
func TestDeactivatePendingAuthorization(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.ChallengeWait = time.Nanosecond })
	c := w.account()
	idle, busy := c.newOrder("a.example.com"), c.newOrder("b.example.com")
	challenge := c.challengeOf(idle.Authorizations[0])
	c.to(idle.Authorizations[0], deactivate).want(t, http.StatusOK)
	c.to(challenge, map[string]any{}).wantProblem(t, http.StatusBadRequest, "malformed")
	if n := len(w.validator.seen()); n != 0 {
		t.Errorf("%d validations of what was given up", n)
	}
	gate := make(chan struct{})
	w.validator.set(func() { w.validator.gate = gate })
	c.to(c.challengeOf(busy.Authorizations[0]), map[string]any{}).want(t, http.StatusOK)
	c.to(busy.Authorizations[0], deactivate).want(t, http.StatusOK)
	close(gate)
	w.settled()
	if due, err := w.store.DueChallenges(t.Context(), w.clock.now().Add(time.Hour), 10); err != nil || len(due) != 0 {
		t.Errorf("%d validations are still due, %v", len(due), err)
	}
	for _, o := range []orderDoc{idle, busy} {
		if got := c.statusOf(o.Authorizations[0]); got != "deactivated" {
			t.Errorf("it is %v", got)
		}
		if got := c.statusOf(o.url); got != "invalid" {
			t.Errorf("its order is %v", got)
		}
	}
}

// TestDeactivateAuthorizationWhileFinalizing: whichever is recorded first holds.
func TestDeactivateAuthorizationWhileFinalizing(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	o := c.readyOrder("a.example.com")
	w.store.meanwhile("begin", func() { c.to(o.Authorizations[0], deactivate).want(t, http.StatusOK) })
	c.to(o.Finalize, w.csr("a.example.com")).wantProblem(t, http.StatusConflict, "malformed")
	if got := c.statusOf(o.url); got != "invalid" || w.registrar.issued != 0 {
		t.Errorf("the order is %v, %d were issued", got, w.registrar.issued)
	}
}

func TestDeactivateAuthorizationRefusals(t *testing.T) {
	w := newWorld(t)
	c, other := w.account(), w.account()
	url := c.readyOrder("a.example.com").Authorizations[0]
	w.validator.set(func() { w.validator.errs[dnsName(t, "b.example.com")] = errDisk })
	lapsing := c.newOrder("c.example.com").Authorizations[0]
	for name, in := range map[string]any{
		"nothing": map[string]any{}, "another status": map[string]any{"status": "valid"}, "in capitals": map[string]any{"status": "DEACTIVATED"},
		"no text": map[string]any{"status": 1}, "twice": []any{deactivate},
	} {
		t.Run(name, func(t *testing.T) { c.to(url, in).wantProblem(t, http.StatusBadRequest, "malformed") })
	}
	other.to(url, deactivate).wantProblem(t, http.StatusNotFound, "malformed")
	if got := c.statusOf(url); got != "valid" {
		t.Errorf("it is %v", got)
	}
	w.clock.advance(8 * 24 * time.Hour)
	c.to(lapsing, deactivate).wantProblem(t, http.StatusBadRequest, "malformed")
	if got := c.statusOf(lapsing); got != "invalid" {
		t.Errorf("RFC 8555, 7.1.6: it is %v", got)
	}
}

// TestRevokeByAuthorizations: RFC 8555, 7.6: an account with valid authorizations for all names, and no other.
func TestRevokeByAuthorizations(t *testing.T) {
	hold := func(c *client, names ...string) { c.readyOrder(names...) }
	for name, tc := range map[string]struct {
		other func(w *world) *client
		ok    bool
	}{
		"all names": {func(w *world) *client { c := w.account(); hold(c, "a.example.com", "b.example.com"); return c }, true},
		"from several orders": {func(w *world) *client {
			c := w.account()
			hold(c, "a.example.com")
			hold(c, "b.example.com")
			return c
		}, true},
		"one of two names": {func(w *world) *client { c := w.account(); hold(c, "a.example.com"); return c }, false},
		"a name above":     {func(w *world) *client { c := w.account(); hold(c, "example.com"); return c }, false},
		"only pending":     {func(w *world) *client { c := w.account(); c.newOrder("a.example.com", "b.example.com"); return c }, false},
		"lapsed": {func(w *world) *client {
			c := w.account()
			hold(c, "a.example.com", "b.example.com")
			w.clock.advance(400 * 24 * time.Hour)
			return c
		}, false},
		"given up": {func(w *world) *client {
			c := w.account()
			o := c.readyOrder("a.example.com", "b.example.com")
			c.to(o.Authorizations[1], deactivate).want(w.t, 200)
			return c
		}, false},
		"under another profile": {func(w *world) *client {
			c := w.account()
			o := c.post("/acme/r/new-order/in/main/second", identifiers("a.example.com", "b.example.com")).want(w.t, 201).order(w.t)
			for _, url := range o.Authorizations {
				c.to(c.challengeOf(url), map[string]any{}).want(w.t, 200)
			}
			return c
		}, false},
		"in another organisation": {func(w *world) *client {
			c := w.accountAt("/acme/r/new-account/in/other")
			o := c.post("/acme/r/new-order/in/other/web", identifiers("a.example.com", "b.example.com")).want(w.t, 201).order(w.t)
			for _, url := range o.Authorizations {
				c.to(c.challengeOf(url), map[string]any{}).want(w.t, 200)
			}
			return c
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c := w.account()
			o := c.readyOrder("a.example.com", "b.example.com")
			done := c.to(o.Finalize, w.csr("a.example.com", "b.example.com")).want(t, 200).order(t)
			der := w.chainOf(c.read(done.Certificate).want(t, 200).body, "b.example.com")[0].Raw
			a := tc.other(w).post(revokePath, map[string]any{"certificate": b64(der), "reason": 4})
			if tc.ok {
				a.want(t, 200)
			} else {
				a.wantProblem(t, 403, "unauthorized")
			}
			for _, cert := range w.store.certificates {
				if (cert.Revocation != nil) != tc.ok {
					t.Errorf("revoked: %+v", cert.Revocation)
				}
			}
		})
	}
}

// TestRevokeByAuthorizationsFailsClosed: RFC 8555, 7.6 with a store that fails.
func TestRevokeByAuthorizationsFailsClosed(t *testing.T) {
	w := newWorld(t)
	der := w.account().issue("a.example.com")
	other := w.account()
	other.readyOrder("a.example.com")
	w.store.failing("UsableAuthorizations", errDisk)
	other.post(revokePath, map[string]any{"certificate": b64(der)}).wantProblem(t, 500, "serverInternal")
	for _, cert := range w.store.certificates {
		if cert.Revocation != nil {
			t.Error("revoked although nobody could look")
		}
	}
}

// TestControlsFailsClosed: what a certificate's names are proven by is its profile's to say, and all its names count, also
// those that nothing here can prove.
func TestControlsFailsClosed(t *testing.T) {
	w := newWorld(t)
	der := w.account().issue("a.example.com")
	other := w.account()
	other.readyOrder("a.example.com")
	account := w.store.accounts[other.id()]
	recorded := func(change func(*x509.Certificate)) *ca.Certificate {
		tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: testTime, NotAfter: testTime.Add(time.Hour), DNSNames: []string{"a.example.com"}}
		change(tmpl)
		made, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, w.key.Public(), w.key)
		if err != nil {
			t.Fatal(err)
		}
		return &ca.Certificate{Intent: ca.Intent{Profile: "web"}, DER: made}
	}
	if err := w.server.controls(t.Context(), account, recorded(func(*x509.Certificate) {})); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*x509.Certificate){
		"no names":            func(c *x509.Certificate) { c.DNSNames = nil },
		"a mail address":      func(c *x509.Certificate) { c.EmailAddresses = []string{"admin@a.example.com"} },
		"a URI":               func(c *x509.Certificate) { c.URIs = []*url.URL{{Scheme: "https", Host: "a.example.com"}} },
		"an address":          func(c *x509.Certificate) { c.IPAddresses = []net.IP{{192, 0, 2, 1}} },
		"a name that is none": func(c *x509.Certificate) { c.DNSNames = append(c.DNSNames, "a_b.example.com") },
	} {
		if err := w.server.controls(t.Context(), account, recorded(change)); err == nil {
			t.Errorf("%s: the account controls it", name)
		}
	}
	delete(w.server.Profiles, "web")
	other.post(revokePath, map[string]any{"certificate": b64(der)}).wantProblem(t, http.StatusForbidden, "unauthorized")
}

// TestAuthorizationNeverServesAnother: of the facts that validFor looks at, each alone refuses.
func TestAuthorizationNeverServesAnother(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	url := c.readyOrder("a.example.com").Authorizations[0]
	a, account := w.store.authz(AuthzID(url[len(url)-idLength:])), w.store.accounts[c.id()]
	name, profile, now := dnsName(t, "a.example.com"), w.server.Profiles["web"], w.clock.now()
	if !a.validFor(name, account, profile, now) {
		t.Fatal("it is not even valid for its own account")
	}
	for what, spoil := range map[string]func(a *Authorization){
		"account": func(a *Authorization) { a.Account = AccountID(newID()) }, "organisation": func(a *Authorization) { a.Org = 2 },
		"profile": func(a *Authorization) { a.Profile = "second" }, "wildcard": func(a *Authorization) { a.Wildcard = true },
		"name":   func(a *Authorization) { a.Identifier = identifier.Identifier{} },
		"expiry": func(a *Authorization) { a.Expires = now }, "deactivation": func(a *Authorization) { a.Deactivated = now },
	} {
		b := a.clone()
		if spoil(b); b.validFor(name, account, profile, now) {
			t.Errorf("another %s does not matter", what)
		}
	}
}

// TestGivenUpIsNotAcknowledgedBeforeItIsJournaled: what a client is told survives the loss of the store.
func TestGivenUpIsNotAcknowledgedBeforeItIsJournaled(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	o := c.readyOrder("a.example.com")
	order, url := strings.TrimSuffix(o.Finalize, "/finalize"), o.Authorizations[0]
	before := w.store.authz(AuthzID(url[len(url)-idLength:]))
	w.journal.fails(errDisk)
	for range 2 {
		c.to(url, deactivate).wantUnrecorded(t)
	}
	// Nor does anybody hear of it who only looks.
	c.read(url).wantUnrecorded(t)
	c.read(order).wantUnrecorded(t)
	w.journal.fails(nil)
	c.to(url, deactivate).want(t, http.StatusOK)
	events := w.journal.all()
	read := func(AuthzID) (*Authorization, error) { return before, nil }
	got, err := ReplayedAuthz(events[len(events)-1], read)
	if err != nil || got == nil || got.Status(w.clock.now()) != StatusDeactivated {
		t.Errorf("the journal gives back %+v, %v", got, err)
	}
	for _, bad := range []string{"", "{}", `{"authz":"x"}`, "[]"} {
		if got, err := ReplayedAuthz(audit.Event{Kind: audit.AuthzGivenUp, Data: []byte(bad)}, read); err == nil {
			t.Errorf("the entry %q gives %+v", bad, got)
		}
	}
}

// TestGivenUpIsJournaledOnce: what a client repeats costs no entry; what another process did costs one.
func TestGivenUpIsJournaledOnce(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	o := c.readyOrder("a.example.com")
	url := o.Authorizations[0]
	entries := func() (n int) {
		for _, e := range w.journal.all() {
			if e.Kind == audit.AuthzGivenUp {
				n++
			}
		}
		return n
	}
	ask := func() {
		for range 3 {
			c.to(url, deactivate).want(t, http.StatusOK)
			c.read(url).want(t, http.StatusOK)
			c.read(strings.TrimSuffix(o.Finalize, "/finalize")).want(t, http.StatusOK)
		}
	}
	if ask(); entries() != 1 {
		t.Errorf("%d entries", entries())
	}
	w.server.givenUpHere.init(journaledKept) // as after a start
	if ask(); entries() != 2 {
		t.Errorf("%d entries after a start", entries())
	}
}
