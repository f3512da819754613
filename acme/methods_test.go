package acme

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// methods gives the default profile some methods, and wildcards if one of them proves them.
func methods(t *testing.T, list ...dcv.Method) func(*Config) {
	t.Helper()
	p, err := policy.New(policy.Config{
		Name: "web", Issuer: "test", DCVMethods: list, AllowWildcards: slices.Contains(list, dcv.DNS01),
		DenyNames: []string{"forbidden.example.net", "198.51.100.0/24"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return func(c *Config) { c.Profiles["web"] = p }
}

// ids are an order's identifiers; what is an address is sent as one.
func ids(values ...string) map[string]any {
	list := []map[string]string{}
	for _, value := range values {
		typ := "dns"
		if _, err := identifier.ParseIP(value); err == nil {
			typ = "ip"
		}
		list = append(list, map[string]string{"type": typ, "value": value})
	}
	return map[string]any{"identifiers": list}
}

// challenges are an authorization's as a client reads them: type to URL.
func (c *client) challenges(authz string) map[string]string {
	c.w.t.Helper()
	found := map[string]string{}
	for _, entry := range c.read(authz).want(c.w.t, http.StatusOK).decode(c.w.t)["challenges"].([]any) {
		m := entry.(map[string]any)
		if m["token"] == "" || m["url"] == "" {
			c.w.t.Errorf("challenge %v", m)
		}
		found[m["type"].(string)] = m["url"].(string)
	}
	return found
}

// TestOfferedChallenges reads the authorizations of every kind of identifier under every choice of methods (RFC 8555, 7.1.4
// and 7.5; RFC 8737, 3; RFC 8738, section 7).
func TestOfferedChallenges(t *testing.T) {
	all := []dcv.Method{dcv.HTTP01, dcv.DNS01, dcv.TLSALPN01}
	for _, row := range []struct {
		methods    []dcv.Method
		identifier string
		want       string // the types of challenges, or the error
	}{
		{all, "a.example.com", "dns-01 http-01 tls-alpn-01"},
		{all, "*.example.com", "dns-01"},
		{all, "192.0.2.1", "http-01 tls-alpn-01"},
		{all, "2001:db8::1", "http-01 tls-alpn-01"},
		{[]dcv.Method{dcv.DNS01}, "a.example.com", "dns-01"},
		{[]dcv.Method{dcv.DNS01}, "192.0.2.1", "400 unsupportedIdentifier"},
		{[]dcv.Method{dcv.TLSALPN01}, "a.example.com", "tls-alpn-01"},
		{[]dcv.Method{dcv.TLSALPN01}, "2001:db8::1", "tls-alpn-01"},
		{[]dcv.Method{dcv.HTTP01, dcv.TLSALPN01}, "*.example.com", "403 rejectedIdentifier"},
		{[]dcv.Method{dcv.HTTP01}, "192.0.2.1", "http-01"},
		{all, "*.com", "403 rejectedIdentifier"},
		{all, "198.51.100.7", "403 rejectedIdentifier"},
		{all, "224.0.0.1", "403 rejectedIdentifier"},
		// A wildcard would cover what is denied.
		{all, "*.example.net", "403 rejectedIdentifier"},
		{all, "*.forbidden.example.net", "dns-01"},
		{all, "forbidden.example.net", "403 rejectedIdentifier"},
	} {
		t.Run(fmt.Sprint(row.methods, row.identifier), func(t *testing.T) {
			c := newWorld(t, methods(t, row.methods...)).account()
			a := c.post("/acme/r/new-order", ids(row.identifier))
			if word, refused := strings.CutPrefix(row.want, "400 "); refused {
				a.wantProblem(t, http.StatusBadRequest, word)
				return
			}
			if word, refused := strings.CutPrefix(row.want, "403 "); refused {
				a.wantProblem(t, http.StatusForbidden, word)
				return
			}
			a.want(t, http.StatusCreated)
			authz := a.order(t).Authorizations[0]
			offered := c.challenges(authz)
			var types, urls []string
			for typ, url := range offered {
				types, urls = append(types, typ), append(urls, url)
			}
			slices.Sort(types)
			if got := strings.Join(types, " "); got != row.want {
				t.Errorf("offered are %s, want %s", got, row.want)
			}
			slices.Sort(urls)
			if len(slices.Compact(urls)) != len(types) {
				t.Errorf("two challenges have one URL: %v", urls)
			}
			doc := c.read(authz).decode(t)
			base, wildcard := strings.CutPrefix(row.identifier, "*.")
			id := doc["identifier"].(map[string]any)
			if _, told := doc["wildcard"]; told != wildcard || id["value"] != base { // RFC 8555, 7.1.4
				t.Errorf("the authorization is %v", doc)
			}
		})
	}
}

// prove answers one challenge of an authorization.
func (c *client) prove(authz string, method dcv.Method) {
	c.w.t.Helper()
	url, ok := c.challenges(authz)[string(method)]
	if !ok {
		c.w.t.Fatalf("%s is not offered", method)
	}
	if doc := c.to(url, map[string]any{}).want(c.w.t, http.StatusOK).decode(c.w.t); doc["status"] != "valid" || doc["type"] != string(method) {
		c.w.t.Fatalf("the challenge is %v", doc)
	}
}

// TestWildcardAndBaseAreProvedApart: an order of both has two authorizations of one name (RFC 8555, 7.1.3).
func TestWildcardAndBaseAreProvedApart(t *testing.T) {
	w := newWorld(t, methods(t, dcv.HTTP01, dcv.DNS01))
	c := w.account()
	o := c.post("/acme/r/new-order", ids("example.com", "*.example.com")).want(t, http.StatusCreated).order(t)
	if len(o.Authorizations) != 2 || o.Authorizations[0] == o.Authorizations[1] {
		t.Fatalf("authorizations %v", o.Authorizations)
	}
	slices.SortFunc(o.Authorizations, func(a, b string) int { return len(c.challenges(a)) - len(c.challenges(b)) })
	c.prove(o.Authorizations[1], dcv.HTTP01)
	if got := c.read(o.url).order(t); got.Status != "pending" {
		t.Fatalf("with its base proved, the order is %s", got.Status)
	}
	c.to(o.Finalize, w.csr("example.com", "*.example.com")).wantProblem(t, http.StatusForbidden, "orderNotReady")
	c.prove(o.Authorizations[0], dcv.DNS01)
	if got := c.read(o.url).order(t); got.Status != "ready" {
		t.Fatalf("the order is %s", got.Status)
	}
	// RFC 8555, 8.4: dns-01 is asked about the base, by the challenge's own method.
	last := w.validator.seen()[1]
	if last.Method != dcv.DNS01 || last.Identifier != dnsName(t, "example.com") {
		t.Errorf("validated %+v", last)
	}
	if doc := c.to(o.Finalize, w.csr("example.com", "*.example.com")).want(t, http.StatusOK).order(t); doc.Status != "valid" {
		t.Errorf("the order is %s", doc.Status)
	}
}

// TestReuseKeepsWildcardsApart: a proof serves again for what it was made for, and a wildcard for nothing else, nor
// anything else for a wildcard, also where the method would prove both.
func TestReuseKeepsWildcardsApart(t *testing.T) {
	for _, row := range []struct {
		first  string
		method dcv.Method
		then   string
		reuse  bool
	}{
		{"example.com", dcv.DNS01, "example.com", true},
		{"*.example.com", dcv.DNS01, "*.example.com", true},
		{"192.0.2.1", dcv.TLSALPN01, "192.0.2.1", true},
		{"2001:db8::1", dcv.HTTP01, "2001:db8::1", true},
		{"example.com", dcv.HTTP01, "*.example.com", false},
		{"example.com", dcv.DNS01, "*.example.com", false},
		{"example.com", dcv.TLSALPN01, "*.example.com", false},
		{"*.example.com", dcv.DNS01, "example.com", false},
		{"*.example.com", dcv.DNS01, "www.example.com", false},
		{"*.example.com", dcv.DNS01, "*.www.example.com", false},
		{"192.0.2.1", dcv.TLSALPN01, "192.0.2.2", false},
		{"192.0.2.1", dcv.TLSALPN01, "1.2.0.192.in-addr.arpa", false},
	} {
		c := newWorld(t, methods(t, dcv.HTTP01, dcv.DNS01, dcv.TLSALPN01)).account()
		o := c.post("/acme/r/new-order", ids(row.first)).want(t, http.StatusCreated).order(t)
		c.prove(o.Authorizations[0], row.method)
		again := c.post("/acme/r/new-order", ids(row.then)).want(t, http.StatusCreated).order(t)
		if got := again.Authorizations[0] == o.Authorizations[0]; got != row.reuse {
			t.Errorf("%s by %s serves %s: %v, want %v", row.first, row.method, row.then, got, row.reuse)
		}
		if want := map[bool]string{true: "ready", false: "pending"}[row.reuse]; again.Status != want {
			t.Errorf("%s by %s, then %s: %s", row.first, row.method, row.then, again.Status)
		}
	}
}

// A stored proof that a store gives for the wrong name serves nothing, whatever the store's key said.
func TestStoredProofIsHeldToItsName(t *testing.T) {
	w := newWorld(t, methods(t, dcv.HTTP01, dcv.DNS01))
	c := w.account()
	o := c.post("/acme/r/new-order", ids("example.com")).want(t, http.StatusCreated).order(t)
	c.prove(o.Authorizations[0], dcv.HTTP01)
	w.store.edit(func() {
		for _, a := range w.store.authzs {
			a.Wildcard = true // as if it were the wildcard's: http-01 proves none
		}
	})
	again := c.post("/acme/r/new-order", ids("*.example.com")).want(t, http.StatusCreated).order(t)
	if again.Status != "pending" || again.Authorizations[0] == o.Authorizations[0] {
		t.Errorf("http-01 proved a wildcard: %+v", again)
	}
}

// TestOutcomeOfOneChallenge: the one that decided is shown alone (RFC 8555, 7.1.4), and a failed one ends the
// authorization whatever others it has (RFC 8555, 7.1.6).
func TestOutcomeOfOneChallenge(t *testing.T) {
	w := newWorld(t, methods(t, dcv.HTTP01, dcv.DNS01, dcv.TLSALPN01))
	c := w.account()
	o := c.post("/acme/r/new-order", ids("a.example.com", "b.example.com")).want(t, http.StatusCreated).order(t)
	before := c.challenges(o.Authorizations[0])
	c.prove(o.Authorizations[0], dcv.TLSALPN01)
	if left := c.challenges(o.Authorizations[0]); len(left) != 1 || left["tls-alpn-01"] == "" {
		t.Errorf("shown are %v", left)
	}
	c.to(before["http-01"], map[string]any{}).wantProblem(t, http.StatusBadRequest, "malformed")

	w.validator.set(func() {
		w.validator.errs[dnsName(t, "b.example.com")] = problem.New(problem.IncorrectResponse, "none of 1 TXT records is right")
	})
	before = c.challenges(o.Authorizations[1])
	if doc := c.to(before["dns-01"], map[string]any{}).want(t, http.StatusOK).decode(t); doc["status"] != "invalid" {
		t.Errorf("the challenge is %v", doc)
	}
	c.to(before["http-01"], map[string]any{}).wantProblem(t, http.StatusBadRequest, "malformed")
	if got := c.read(o.url).order(t); got.Status != "invalid" {
		t.Errorf("the order is %s", got.Status)
	}
}

// TestOneChallengeAtATime: while one is under way, another of the same authorization waits for its outcome.
func TestOneChallengeAtATime(t *testing.T) { synctest.Test(t, testOneChallengeAtATime) }

func testOneChallengeAtATime(t *testing.T) {
	w := newWorld(t, methods(t, dcv.HTTP01, dcv.DNS01), slow)
	gate := make(chan struct{})
	w.validator.set(func() { w.validator.gate = gate })
	c := w.account()
	o := c.post("/acme/r/new-order", ids("a.example.com")).want(t, http.StatusCreated).order(t)
	offered := c.challenges(o.Authorizations[0])
	if doc := c.to(offered["dns-01"], map[string]any{}).want(t, http.StatusOK).decode(t); doc["status"] != "processing" {
		t.Fatalf("the first is %v", doc)
	}
	if doc := c.to(offered["http-01"], map[string]any{}).want(t, http.StatusOK).decode(t); doc["status"] != "pending" {
		t.Errorf("the second is %v", doc)
	}
	close(gate)
	w.settled()
	seen := w.validator.seen()
	if len(seen) != 1 || seen[0].Method != dcv.DNS01 {
		t.Errorf("validated %+v", seen)
	}
	if got := c.read(o.url).order(t); got.Status != "ready" || got.Expires.Before(testTime.Add(time.Hour)) {
		t.Errorf("the order is %+v", got)
	}
}
