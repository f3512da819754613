package acme

import (
	"crypto/x509"
	"maps"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// replacing is a newOrder payload that replaces a certificate.
func replacing(id string, names ...string) map[string]any {
	p := identifiers(names...)
	p["replaces"] = id
	return p
}

// proven validates an order's names and gives it as it then is.
func (c *client) proven(o orderDoc) orderDoc {
	c.w.t.Helper()
	for _, authz := range o.Authorizations {
		if status := c.read(authz).decode(c.w.t)["status"]; status == "pending" {
			c.to(c.challengeOf(authz), map[string]any{}).want(c.w.t, http.StatusOK)
		}
	}
	return c.read(o.url).want(c.w.t, http.StatusOK).order(c.w.t)
}

func TestReplaces(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	old := c.issued("a.example.com", "b.example.com")
	id := idOf(t, old)
	a := c.post("/acme/r/new-order", replacing(id, "a.example.com", "c.example.com")).want(t, http.StatusCreated)
	if got := a.decode(t)["replaces"]; got != id {
		t.Errorf("RFC 9773, 5: the new order shows %v", got)
	}
	o := c.proven(a.order(t))
	if got := c.read(o.url).decode(t)["replaces"]; got != id {
		t.Errorf("RFC 9773, 5: the order shows %v afterwards", got)
	}
	done := c.to(o.Finalize, w.csr("a.example.com", "c.example.com")).want(t, http.StatusOK)
	if got := done.decode(t)["replaces"]; got != id {
		t.Errorf("RFC 9773, 5: the finalized order shows %v", got)
	}
	if e := w.store.enrollments[2]; e.Replaces != 1 {
		t.Errorf("the lineage of %+v", e)
	}
	again := c.post("/acme/r/new-order", replacing(id, "a.example.com")).wantProblem(t, http.StatusConflict, "alreadyReplaced")
	if again["detail"] != errAlreadyReplaced.Detail {
		t.Error(again)
	}
	// The new certificate has a successor of its own; another account of the organisation may make it (architecture).
	next := c.certificateOf(done.order(t))
	w.account().post("/acme/r/new-order", replacing(idOf(t, next), "c.example.com")).want(t, http.StatusCreated)
	if doc := c.newOrder("a.example.com"); c.read(doc.url).decode(t)["replaces"] != nil {
		t.Error("an order that replaces nothing says otherwise")
	}
}

func TestReplacesRefuses(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	leaf := c.issued("a.example.com")
	id := idOf(t, leaf)
	for name, text := range map[string]any{"empty": "", "no identifier": "x", "padded": id + "=", "a number": 7} {
		p := identifiers("a.example.com")
		p["replaces"] = text
		if got := c.post("/acme/r/new-order", p).wantProblem(t, http.StatusBadRequest, "malformed"); got["detail"] == "" {
			t.Error("RFC 9773, 5:", name)
		}
	}
	c.post("/acme/r/new-order", replacing(id, "b.example.com")).wantProblem(t, http.StatusBadRequest, "malformed")
	unknown := c.post("/acme/r/new-order", replacing(b64(leaf.AuthorityKeyId)+".AQ", "a.example.com")).wantProblem(t, http.StatusNotFound, "malformed")
	issuer := c.post("/acme/r/new-order", replacing(b64([]byte("nobody"))+".AQ", "a.example.com")).wantProblem(t, http.StatusNotFound, "malformed")
	// RFC 9773, 5: not another organisation's; that it exists is not said.
	stranger := w.accountAt("/acme/r/new-account/in/other")
	foreign := stranger.post("/acme/r/new-order/in/other", replacing(id, "a.example.com")).wantProblem(t, http.StatusNotFound, "malformed")
	at := CertificateID{Issuer: "test", Serial: serialOf(leaf)}
	w.store.edit(func() { w.store.certificates[at].State = ca.Abandoned })
	abandoned := c.post("/acme/r/new-order", replacing(id, "a.example.com")).wantProblem(t, http.StatusNotFound, "malformed")
	for name, got := range map[string]map[string]any{"issuer": issuer, "foreign": foreign, "abandoned": abandoned} {
		if !maps.Equal(got, unknown) {
			t.Errorf("%s: %v, but unknown: %v", name, got, unknown)
		}
	}
	w.store.edit(func() { w.store.certificates[at].State = ca.Issued })
	w.store.failing("Predecessor", problem.New(problem.Unavailable, "the store does not answer"))
	c.post("/acme/r/new-order", replacing(id, "a.example.com")).wantProblem(t, http.StatusServiceUnavailable, "serverInternal")
	w.store.failing("Predecessor", nil)
	c.post("/acme/r/new-order", replacing(id, "a.example.com")).want(t, http.StatusCreated)
}

// TestReplacedByALiveOrder: RFC 9773, 5 refuses while another order that is not invalid replaces the certificate, and no
// longer once that has become invalid, in whichever way.
func TestReplacedByALiveOrder(t *testing.T) {
	for name, spoil := range map[string]func(w *world, c *client, first orderDoc){
		"a validation failed": func(w *world, c *client, first orderDoc) {
			w.validator.set(func() {
				w.validator.errs[dnsName(w.t, "b.example.com")] = problem.New(problem.IncorrectResponse, "no")
			})
			c.to(c.challengeOf(first.Authorizations[1]), map[string]any{})
		},
		"it expired":         func(w *world, _ *client, _ orderDoc) { w.clock.advance(8 * 24 * time.Hour) },
		"its record is gone": func(w *world, _ *client, first orderDoc) { w.store.edit(func() { delete(w.store.orders, first.id()) }) },
		"its issuance failed": func(w *world, c *client, first orderDoc) {
			w.registrar.set(func() { w.registrar.fail = &ra.Failure{Kind: problem.Unauthorized, Detail: "no"} })
			c.to(c.proven(first).Finalize, w.csr("a.example.com", "b.example.com")).want(w.t, http.StatusOK)
			w.registrar.set(func() { w.registrar.fail = nil })
		},
	} {
		w := newWorld(t)
		c := w.account()
		id := idOf(t, c.issued("a.example.com"))
		first := c.post("/acme/r/new-order", replacing(id, "a.example.com", "b.example.com")).want(t, http.StatusCreated).order(t)
		c.post("/acme/r/new-order", replacing(id, "a.example.com")).wantProblem(t, http.StatusConflict, "alreadyReplaced")
		spoil(w, c, first)
		if a := c.post("/acme/r/new-order", replacing(id, "a.example.com")); a.status != http.StatusCreated {
			t.Errorf("%s: %s", name, a.body)
		}
		c.post("/acme/r/new-order", replacing(id, "a.example.com")).wantProblem(t, http.StatusConflict, "alreadyReplaced")
	}
}

// TestReplacesOnce: of two orders that read the certificate before either was made, one is.
func TestReplacesOnce(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	id := idOf(t, c.issued("a.example.com"))
	w.store.meanwhile("CreateOrder", func() {
		c.post("/acme/r/new-order", replacing(id, "a.example.com")).want(t, http.StatusCreated)
	})
	c.post("/acme/r/new-order", replacing(id, "a.example.com")).wantProblem(t, http.StatusConflict, "alreadyReplaced")
	// A conflict over anything else is not about the certificate.
	w.store.failing("CreateOrder", errConflict)
	c.post("/acme/r/new-order", identifiers("a.example.com")).wantProblem(t, http.StatusConflict, "malformed")
}

// TestReplacesLost: an order whose certificate became another order's, because it looked invalid to a gateway with a faster
// clock, is not finalized.
func TestReplacesLost(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	id := idOf(t, c.issued("a.example.com"))
	first := c.proven(c.post("/acme/r/new-order", replacing(id, "a.example.com")).order(t))
	w.store.meanwhile("begin", func() {
		w.store.edit(func() {
			for at := range w.store.replacements {
				w.store.replacements[at] = replacement{"another", newVersion()}
			}
		})
	})
	if a := c.to(first.Finalize, w.csr("a.example.com")); a.status == http.StatusOK || w.registrar.issued != 1 {
		t.Errorf("%d certificates, %s", w.registrar.issued, a.body)
	}
}

// TestReplacesIsNoSquatting: an order of another account, which has proven nothing, is in nobody's way; one that has proven its
// names is, and so is one of the account that the certificate was issued to.
func TestReplacesIsNoSquatting(t *testing.T) {
	w := newWorld(t)
	c, other, third := w.account(), w.account(), w.account()
	id := idOf(t, c.issued("a.example.com"))
	squat := other.post("/acme/r/new-order", replacing(id, "a.example.com")).want(t, http.StatusCreated).order(t)
	other.post("/acme/r/new-order", replacing(id, "a.example.com")).wantProblem(t, http.StatusConflict, "alreadyReplaced")
	ready := third.proven(third.post("/acme/r/new-order", replacing(id, "a.example.com")).want(t, http.StatusCreated).order(t))
	c.post("/acme/r/new-order", replacing(id, "a.example.com")).wantProblem(t, http.StatusConflict, "alreadyReplaced")
	// What gave way has lost the certificate to the other for good.
	squat = other.proven(squat)
	if a := other.to(squat.Finalize, w.csr("a.example.com")); a.status == http.StatusOK || w.registrar.issued != 1 {
		t.Errorf("%d certificates, %s", w.registrar.issued, a.body)
	}
	third.to(ready.Authorizations[0], deactivate).want(t, http.StatusOK)
	c.post("/acme/r/new-order", replacing(id, "a.example.com")).want(t, http.StatusCreated)
	other.post("/acme/r/new-order", replacing(id, "a.example.com")).wantProblem(t, http.StatusConflict, "alreadyReplaced")
}

func TestCertifies(t *testing.T) {
	leaf := &x509.Certificate{DNSNames: []string{"*.example.com", "a.example.net"}, IPAddresses: []net.IP{{192, 0, 2, 1}}}
	for value, want := range map[string]bool{
		"*.example.com": true, "a.example.net": true, "b.example.com": false, "example.com": false, "192.0.2.1": true, "192.0.2.2": false,
	} {
		kind := "dns"
		if value[0] == '1' {
			kind = "ip"
		}
		name, err := identifier.Parse(kind, value)
		if err != nil {
			t.Fatal(err)
		}
		if certifies(leaf, name) != want {
			t.Errorf("%s: %v", value, !want)
		}
	}
}
