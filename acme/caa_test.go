package acme

import (
	"net/http"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// asksCAA gives the default profile CAA.
func asksCAA(t *testing.T) func(*Config) {
	return func(c *Config) {
		p, err := policy.New(policy.Config{Name: "web", Issuer: "test", CAA: policy.CAAOn})
		if err != nil {
			t.Fatal(err)
		}
		c.Profiles["web"], c.CAAIdentities = p, []string{"ca.example.com", "ca.example.org"}
	}
}

func TestCAAIdentitiesInDirectory(t *testing.T) {
	w := newWorld(t, asksCAA(t))
	meta := w.get(http.MethodGet, "/acme/directory").want(t, http.StatusOK).decode(t)["meta"].(map[string]any)
	if got, _ := meta["caaIdentities"].([]any); !slices.Equal(got, []any{"ca.example.com", "ca.example.org"}) { // RFC 8555, 7.1.1
		t.Errorf("meta %v", meta)
	}
	meta = newWorld(t).get(http.MethodGet, "/acme/directory").want(t, http.StatusOK).decode(t)["meta"].(map[string]any)
	if _, named := meta["caaIdentities"]; named {
		t.Errorf("meta %v", meta)
	}
}

func TestValidationAsksCAA(t *testing.T) { synctest.Test(t, testValidationAsksCAA) }

func testValidationAsksCAA(t *testing.T) {
	w := newWorld(t, asksCAA(t))
	c := w.account()
	o := c.newOrder("a.example.com")
	w.validator.set(func() {
		w.validator.errs[dnsName(t, "a.example.com")] = problem.New(problem.CAA, "a.example.com: forbidden").After(1)
	})
	got := c.to(c.challengeOf(o.Authorizations[0]), map[string]any{}).want(t, http.StatusOK).decode(t)
	if e, _ := got["error"].(map[string]any); got["status"] != "invalid" || e["type"] != urn+"caa" || e["detail"] != "a.example.com: forbidden" { // RFC 8555, 6.7
		t.Errorf("challenge %v", got)
	}
	asked := w.validator.seen()[0].CAA
	id := AccountID(c.kid[len(base+"/acme/r/account/"):])
	want := []string{base + "/acme/r/account/" + string(id), "https://old.example.com/acme/r/account/" + string(id)}
	if asked == nil || asked.Identifier.Value() != "a.example.com" || !slices.Equal(asked.Accounts, want) {
		t.Errorf("asked %+v, want accounts %v", asked, want)
	}
	requester := policy.Requester{Org: 1, Door: "acme", Principal: "acme:" + string(id)}
	if got := AccountURLs(w.server.PublicURLs, requester); !slices.Equal(got, want) {
		t.Errorf("AccountURLs: %v", got)
	}
	for _, nobody := range []string{"", "acme:", "system", "uid:0", "acme:x", string(id), "acme:" + string(id) + "/orders"} {
		if got := AccountURLs(w.server.PublicURLs, policy.Requester{Principal: nobody}); got != nil {
			t.Errorf("%q has the URLs %v", nobody, got)
		}
	}
}

func TestWhatValidationAsksCAA(t *testing.T) {
	w := newWorld(t, asksCAA(t))
	asks, silent := w.server.Profiles["web"], w.server.Profiles["second"]
	wildcard := &Authorization{Account: "x", Identifier: dnsName(t, "example.com"), Wildcard: true}
	if got := w.server.caaFor(wildcard, asks); got == nil || got.Identifier.Value() != "*.example.com" {
		t.Errorf("of a wildcard: %+v", got)
	}
	if got := w.server.caaFor(wildcard, silent); got != nil {
		t.Errorf("of a profile that does not ask: %+v", got)
	}
}
