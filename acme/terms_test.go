package acme

import (
	"net/http"
	"strings"
	"testing"
)

// TestChangedTerms: RFC 8555, 7.3.3: 403 userActionRequired with the link and an instance, for what asks for new authority.
func TestChangedTerms(t *testing.T) {
	const before, after = "https://example.com/terms/1", "https://example.com/terms/2"
	w := newWorld(t, func(c *Config) { c.TermsURL = before })
	c := w.account()
	ready := c.readyOrder("a.example.com")
	der := c.issue("b.example.com")
	w.server.TermsURL = after
	for path, in := range map[string]any{"/acme/r/new-order": identifiers("a.example.com"), newAuthzPath: preauthorization("a.example.com")} {
		a := c.post(path, in)
		p := a.wantProblem(t, http.StatusForbidden, "userActionRequired")
		if links := strings.Join(a.header.Values("Link"), ", "); p["instance"] != after || !strings.Contains(links, `<`+after+`>;rel="terms-of-service"`) {
			t.Errorf("%s: %v, %s", path, p, links)
		}
	}
	// Whatever an account has, it can still read, finish, revoke and give up.
	c.read(c.kid).want(t, 200)
	c.to(ready.Finalize, w.csr("a.example.com")).want(t, 200)
	c.post(revokePath, map[string]any{"certificate": b64(der)}).want(t, 200)
	c.to(ready.Authorizations[0], deactivate).want(t, 200)
	// RFC 8555, 7.3.2: an update does not agree; nor does a lookup, or a newAccount that does not say so.
	key := &client{w: w, key: c.key}
	c.to(c.kid, map[string]any{"termsOfServiceAgreed": true}).want(t, 200)
	key.post("/acme/r/new-account", map[string]any{"termsOfServiceAgreed": true, "onlyReturnExisting": true}).want(t, 200)
	key.post("/acme/r/new-account", map[string]any{"termsOfServiceAgreed": false}).want(t, 200)
	c.post("/acme/r/new-order", identifiers("a.example.com")).wantProblem(t, 403, "userActionRequired")
	a := key.post("/acme/r/new-account", map[string]any{"termsOfServiceAgreed": true, "contact": []string{"mailto:x@example.com"}}).want(t, 200)
	if m := a.decode(t); a.header.Get("Location") != c.kid || m["contact"] != nil || m["termsOfServiceAgreed"] != true {
		t.Errorf("RFC 8555, 7.3.1: %v %s", a.header, a.body)
	}
	c.post("/acme/r/new-order", identifiers("a.example.com")).want(t, 201)
	w.sameAfterReplay()
}

// TestTermsThatCameLater: an account that agreed to nothing is asked; where there are no terms, nobody is.
func TestTermsThatCameLater(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	c.newOrder("a.example.com")
	w.server.TermsURL = "https://example.com/terms"
	c.post("/acme/r/new-order", identifiers("a.example.com")).wantProblem(t, 403, "userActionRequired")
	w.server.TermsURL = ""
	c.newOrder("a.example.com")
}

// TestAgreementIsNotAcknowledgedBeforeItIsJournaled holds for it as for any change of an account.
func TestAgreementIsNotAcknowledgedBeforeItIsJournaled(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	w.server.TermsURL = "https://example.com/terms"
	w.journal.fails(errDisk)
	key := &client{w: w, key: c.key}
	for range 2 {
		key.post("/acme/r/new-account", map[string]any{"termsOfServiceAgreed": true}).wantUnrecorded(t)
	}
	w.journal.fails(nil)
	key.post("/acme/r/new-account", map[string]any{"termsOfServiceAgreed": true}).want(t, 200)
	w.sameAfterReplay()
}
