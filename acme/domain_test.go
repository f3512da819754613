package acme

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
)

// domains has one domain, of organisation 1.
type domains struct {
	proof *policy.Proven
	err   error
	asked int
}

func (d *domains) Proofs(_ context.Context, p *policy.Profile, r policy.Requester, names []identifier.Identifier, at time.Time) ([]*policy.Proven, error) {
	d.asked++
	out := make([]*policy.Proven, len(names))
	for i, n := range names {
		if d.proof != nil && p.Suffices(*d.proof, r, n, at) {
			out[i] = d.proof
		}
	}
	return out, d.err
}

func domainWorld(t *testing.T) (*world, *domains) {
	t.Helper()
	d := &domains{}
	w := newWorld(t, func(c *Config) {
		p, err := policy.New(policy.Config{Name: "web", Issuer: "test", DelegatedDomains: true, AllowWildcards: true, DCVMethods: []dcv.Method{dcv.HTTP01, dcv.DNS01}})
		if err != nil {
			t.Fatal(err)
		}
		c.Profiles["web"], c.Domains = p, d
	})
	name, err := identifier.ParseDNS("example.com")
	if err != nil {
		t.Fatal(err)
	}
	d.proof = &policy.Proven{Proof: dcv.Proof{Method: dcv.DNSTXT, Identifier: name, At: testTime.Add(-time.Hour), Seen: "here"}, Org: 1, Owner: 1}
	return w, d
}

// TestAuthorizationsAreBornValid under a domain: the order is ready, and no challenge is there to be met.
func TestAuthorizationsAreBornValid(t *testing.T) {
	w, d := domainWorld(t)
	c := w.account()
	order := c.order("www.example.com", "*.example.com").decode(t)
	if order["status"] != "ready" {
		t.Fatalf("the order is %v", order)
	}
	for _, url := range order["authorizations"].([]any) {
		a := c.read(url.(string)).decode(t)
		if a["status"] != "valid" || len(a["challenges"].([]any)) != 0 || a["expires"] == "" {
			t.Errorf("authorization %v", a)
		}
	}
	if e := c.to(order["finalize"].(string), w.csr("www.example.com", "*.example.com")); e.status != http.StatusOK || e.decode(t)["status"] != "valid" {
		t.Errorf("finalize: %d %s", e.status, e.body)
	}
	// A name that no domain covers is validated as ever.
	if o := c.order("www.example.com", "www.example.org").decode(t); o["status"] != "pending" {
		t.Errorf("the order is %v", o)
	}
	a := c.post("/acme/r/new-authz", preauthorization("ahead.example.com")).want(t, http.StatusCreated).decode(t)
	if a["status"] != "valid" {
		t.Errorf("ahead of an order: %v", a)
	}
	// Without the domain new orders lose it.
	d.proof = nil
	if o := c.order("www.example.com").decode(t); o["status"] != "pending" {
		t.Errorf("the order is %v", o)
	}
}

// TestBornValidUnderOtherRules: a profile without delegated domains does not ask, and a store that does not answer is no proof.
func TestBornValidUnderOtherRules(t *testing.T) {
	w, d := domainWorld(t)
	c := w.account()
	d.proof.Org = 2
	if o := c.order("www.example.com").decode(t); o["status"] != "pending" {
		t.Errorf("under another's domain the order is %v", o)
	}
	d.proof.Org, d.err = 1, errors.New("the store does not answer")
	if a := c.order("www.example.com"); a.status != http.StatusInternalServerError {
		t.Errorf("%d %s", a.status, a.body)
	}
	d.err, d.asked = nil, 0
	d.proof.At = testTime.Add(30*time.Minute - 90*24*time.Hour) // half an hour is left, less than an order needs
	if o := c.order("www.example.com").decode(t); o["status"] != "pending" || d.asked != 1 {
		t.Errorf("with a proof that ends, the order is %v", o)
	}
	plain := newWorld(t, func(c *Config) { c.Domains = d })
	if o := plain.account().order("www.example.com").decode(t); o["status"] != "pending" || d.asked != 1 {
		t.Errorf("a profile without delegated domains: %v, asked %d times", o, d.asked)
	}
}
