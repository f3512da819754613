package acme

import (
	"encoding/pem"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
)

// requiring has a default profile with a requirement, and one domain, example.com of organisation 1.
func requiring(t *testing.T, cfg policy.Config) (*world, *domains) {
	t.Helper()
	cfg.Name, cfg.Issuer, cfg.AllowWildcards = "web", "test", true
	p, err := policy.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	name, err := identifier.ParseDNS("example.com")
	if err != nil {
		t.Fatal(err)
	}
	d := &domains{proof: &policy.Proven{Proof: dcv.Proof{Method: dcv.DNSTXT, Identifier: name, At: testTime.Add(-time.Hour), Seen: "here"}, Org: 1, Owner: 1}}
	return newWorld(t, func(c *Config) { c.Profiles["web"], c.Domains = p, d }), d
}

// TestOrdersWithoutValidation: every name of the list is authorized from the beginning, with no challenge that could be met, and the
// record of that goes to the registration authority. Other names are refused as ever.
func TestOrdersWithoutValidation(t *testing.T) {
	w, d := requiring(t, policy.Config{DCV: policy.NoValidation, AllowNames: []string{"*.example.com", "192.0.2.0/24"}})
	c := w.account()
	order := c.order("www.example.com", "*.example.com").want(t, http.StatusCreated).decode(t)
	if order["status"] != "ready" {
		t.Fatalf("the order is %v", order)
	}
	for _, url := range order["authorizations"].([]any) {
		a := c.read(url.(string)).decode(t)
		if a["status"] != "valid" || len(a["challenges"].([]any)) != 0 {
			t.Errorf("authorization %v", a)
		}
		if z, err := w.server.Inspect(t.Context(), testOperator, url.(string)); err != nil || z.Given == nil || z.Given.Method != policy.NotRequired || !z.Expires.Equal(testTime.Add(w.server.AuthorizationLifetime)) {
			t.Errorf("recorded %+v, %v", z, err)
		}
	}
	c.to(order["finalize"].(string), w.csr("www.example.com", "*.example.com")).want(t, http.StatusOK)
	proofs := w.registrar.requests[0].Proofs
	if len(proofs) != 2 || proofs[0].Method != policy.NotRequired || proofs[1].Method != policy.NotRequired || proofs[0].Org != 1 || AccountID(proofs[0].Account) != c.id() {
		t.Errorf("the registration authority is given %+v", proofs)
	}
	if a := c.post("/acme/r/new-authz", preauthorization("ahead.example.com")).want(t, http.StatusCreated).decode(t); a["status"] != "valid" {
		t.Errorf("ahead of an order: %v", a)
	}
	address := map[string]any{"identifiers": []map[string]string{{"type": "ip", "value": "192.0.2.7"}}}
	if o := c.post("/acme/r/new-order", address).want(t, http.StatusCreated).decode(t); o["status"] != "ready" {
		t.Errorf("an address: %v", o)
	}
	c.order("www.example.org").wantProblem(t, http.StatusForbidden, "rejectedIdentifier")
	c.order("www.example.com", "www.example.org").wantProblem(t, http.StatusForbidden, "rejectedIdentifier")
	c.post("/acme/r/new-authz", preauthorization("www.example.org")).wantProblem(t, http.StatusForbidden, "rejectedIdentifier")
	if len(w.validator.seen()) != 0 || d.asked != 0 {
		t.Error("something was validated, or a domain looked for")
	}
}

// TestNoValidationGivesNoControl: who was authorized without a validation has not shown control of a name, and cannot revoke what
// others have for it (RFC 8555, 7.6).
func TestNoValidationGivesNoControl(t *testing.T) {
	w, _ := requiring(t, policy.Config{DCV: policy.NoValidation, AllowNames: []string{"www.example.com"}})
	c, other := w.account(), w.account()
	order := c.order("www.example.com").decode(t)
	issued := c.to(order["finalize"].(string), w.csr("www.example.com")).want(t, http.StatusOK).decode(t)
	leaf, _ := pem.Decode(c.read(issued["certificate"].(string)).want(t, http.StatusOK).body)
	other.order("www.example.com").want(t, http.StatusCreated)
	other.post("/acme/r/revoke-cert", map[string]any{"certificate": b64(leaf.Bytes)}).wantProblem(t, http.StatusForbidden, "unauthorized")
	c.post("/acme/r/revoke-cert", map[string]any{"certificate": b64(leaf.Bytes)}).want(t, http.StatusOK)
}

// TestOrdersByDomainAlone: below the organisation's domains an order is ready; for every other name it is refused before anything
// is made, with what to do about it; and so is another organisation's.
func TestOrdersByDomainAlone(t *testing.T) {
	w, d := requiring(t, policy.Config{DCV: policy.PerDomain})
	c := w.account()
	order := c.order("www.example.com", "*.example.com").want(t, http.StatusCreated).decode(t)
	if order["status"] != "ready" {
		t.Fatalf("the order is %v", order)
	}
	c.to(order["finalize"].(string), w.csr("www.example.com", "*.example.com")).want(t, http.StatusOK)
	refused := func(says string, a answer) {
		t.Helper()
		m := a.wantProblem(t, http.StatusForbidden, "rejectedIdentifier")
		if detail := m["detail"].(string); !strings.Contains(detail, says) || !strings.Contains(detail, "gatehouse domain add") {
			t.Errorf("the refusal says %q", detail)
		}
	}
	before := len(w.store.orders)
	refused("www.example.org is covered by no validated domain", c.order("www.example.com", "www.example.org"))
	refused("2 of the 2 names are covered by no validated domain", c.order("a.example.org", "b.example.org"))
	refused("www.example.org is covered by no validated domain", c.post("/acme/r/new-authz", preauthorization("www.example.org")))
	if len(w.store.orders) != before {
		t.Error("a refused order is recorded")
	}
	c.post("/acme/r/new-order", map[string]any{"identifiers": []map[string]string{{"type": "ip", "value": "192.0.2.7"}}}).
		wantProblem(t, http.StatusBadRequest, "unsupportedIdentifier")
	refused("www.example.com is covered by no", w.accountAt("/acme/r/new-account/in/other").orderIn("other", "www.example.com"))
	d.proof.At = testTime.Add(30*time.Minute - 90*24*time.Hour) // half an hour is left, less than an order needs
	refused("www.example.com is covered by no", c.order("www.example.com"))
	d.proof = nil
	refused("www.example.com is covered by no", c.order("www.example.com"))
	if len(w.validator.seen()) != 0 {
		t.Error("something was validated by request")
	}
	none, _ := requiring(t, policy.Config{DCV: policy.PerDomain})
	none.server.Domains = nil
	refused("www.example.com is covered by no", none.account().order("www.example.com"))
}

// orderIn orders at an organisation's own directory.
func (c *client) orderIn(org string, names ...string) answer {
	return c.post("/acme/r/new-order/in/"+org, identifiers(names...))
}
