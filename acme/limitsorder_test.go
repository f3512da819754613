package acme

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

func (c *client) order(names ...string) answer {
	return c.post("/acme/r/new-order", identifiers(names...))
}

func TestLimitNewOrdersPerAccount(t *testing.T) {
	w := limited(t, Limits{Default: OrgLimits{AccountNewOrders: Rate{2, time.Hour, 3}}})
	c, neighbour := w.account(), w.account()
	for range 10 { // what is no order costs none
		c.order("forbidden.example.com").wantProblem(t, http.StatusForbidden, "rejectedIdentifier")
	}
	c.newOrder("a.example.com", "b.example.com")
	c.post("/acme/r/new-authz", preauthorization("c.example.com")).want(t, http.StatusCreated)
	c.newOrder("a.example.com")
	w.store.taken()
	c.order("d.example.com").wantLimited(t, LimitAccountNewOrders, "2/1h burst 3", "1800")
	c.post("/acme/r/new-authz", preauthorization("d.example.com")).wantLimited(t, LimitAccountNewOrders, "2/1h burst 3", "1800")
	if trips := w.store.taken(); !slices.Equal(trips, []string{"Admit", "UsableAuthorizations", "Admit"}) {
		t.Errorf("refusals took the trips %v", trips)
	}
	if len(w.store.orders) != 2 || len(w.store.authzs) != 4 {
		t.Errorf("%d orders, %d authorizations", len(w.store.orders), len(w.store.authzs))
	}
	neighbour.newOrder("a.example.com")
	w.clock.advance(30*time.Minute - 1)
	c.order("d.example.com").wantLimited(t, LimitAccountNewOrders, "2/1h burst 3", "1")
	w.clock.advance(1)
	c.newOrder("d.example.com")
}

func TestLimitNewOrdersPerOrganisation(t *testing.T) {
	w := limited(t, Limits{Default: OrgLimits{NewOrders: Rate{1, time.Hour, 2}},
		Organisations: map[string]OrgLimits{"other": {NewOrders: Rate{1, time.Hour, 4}}}})
	one, two, other := w.account(), w.account(), w.accountAt("/acme/r/new-account/in/other")
	one.newOrder("a.example.com")
	two.post("/acme/r/new-authz", preauthorization("c.example.com")).want(t, http.StatusCreated)
	for _, c := range []*client{one, two} {
		c.order("b.example.com").wantLimited(t, LimitOrgNewOrders, "1/1h burst 2", "3600")
	}
	for range 4 {
		other.post("/acme/r/new-order/in/other", identifiers("a.example.com")).want(t, http.StatusCreated)
	}
	other.post("/acme/r/new-order/in/other", identifiers("a.example.com")).wantLimited(t, LimitOrgNewOrders, "1/1h burst 4", "3600")
}

func TestLimitNewOrdersPerDomain(t *testing.T) {
	w := limited(t, Limits{Default: OrgLimits{DomainNewOrders: Rate{1, time.Hour, 2}, AccountNewOrders: Rate{1, time.Hour, 50}}})
	c, other := w.account(), w.accountAt("/acme/r/new-account/in/other")
	c.newOrder("a.example.com", "b.example.com", "example.com") // one domain, once
	c.newOrder("c.d.example.com", "a.example.co.uk")
	for _, names := range [][]string{{"z.example.com"}, {"a.example.org", "example.com"}} {
		c.order(names...).wantLimited(t, LimitDomainNewOrders, "1/1h burst 2", "3600")
	}
	if detail := c.order("y.example.com").decode(t)["detail"].(string); !strings.Contains(detail, "names under example.com") {
		t.Errorf("which domain? %s", detail)
	}
	// All or none: the refusals took nothing from the other domain, or from the account's limit.
	c.newOrder("a.example.org")
	c.newOrder("b.example.org")
	c.order("c.example.org").want(t, http.StatusTooManyRequests)
	c.newOrder("b.example.co.uk") // of co.uk, the next domain is another
	c.newOrder("example1.co.uk")
	other.post("/acme/r/new-order/in/other", identifiers("a.example.com")).want(t, http.StatusCreated)
	for range 5 { // what has no registered domain
		c.newOrder("db.corp", "localhost")
		c.post("/acme/r/new-order", map[string]any{"identifiers": []map[string]string{{"type": "ip", "value": "192.0.2.7"}}}).want(t, http.StatusCreated)
	}
}

// TestLimitManyNames: an order of many names asks for each limit once, also where a wildcard and its base fall together.
func TestLimitManyNames(t *testing.T) {
	w := limited(t, DefaultLimits())
	var names []string
	for i := range 100 {
		names = append(names, fmt.Sprintf("host.example%d.com", i))
	}
	w.account().newOrder(names...)
	a := w.store.accounts[w.account().id()]
	claims := w.server.orderClaims(a, namesOf(t, "example.com", "*.example.com", "www.example.com"), nil)
	var keys []string
	for _, c := range claims {
		keys = append(keys, c.key())
	}
	slices.Sort(keys)
	if len(slices.Compact(slices.Clone(keys))) != len(keys) || len(keys) != 5 {
		t.Errorf("the claims are %v", keys)
	}
}

// TestLimitExemptsRenewals (RFC 9773, 5: servers may): the first order that replaces a certificate costs nothing but for what
// it adds.
func TestLimitExemptsRenewals(t *testing.T) {
	none := Rate{1, 24 * time.Hour, 1}
	w := limited(t, Limits{Default: OrgLimits{AccountNewOrders: none, NewOrders: none, DomainNewOrders: none}})
	c := w.account()
	id := idOf(t, c.issued("a.example.com", "a.example.net"))
	c.order("a.example.com").want(t, http.StatusTooManyRequests)
	// No renewal: of no certificate, of another organisation's, or of none of its names.
	c.post("/acme/r/new-order", replacing(id, "b.example.com")).wantProblem(t, http.StatusBadRequest, "malformed")
	c.post("/acme/r/new-order", replacing(id[:len(id)-2]+"AA", "a.example.com")).want(t, http.StatusNotFound)
	// Names under other domains are not renewed.
	w.clock.advance(1) // so that the account's own limit is not what is remembered
	o := c.post("/acme/r/new-order", replacing(id, "a.example.com", "b.example.com", "a.example.org")).want(t, http.StatusCreated).order(t)
	if o := c.order("c.example.org"); o.status != http.StatusTooManyRequests {
		t.Error("a domain that was added cost nothing")
	}
	// The second, after the first became invalid, is an order like any other: else one could make any number.
	for _, authz := range o.Authorizations {
		c.to(authz, deactivate).want(t, http.StatusOK)
	}
	if status := c.read(o.url).order(t).Status; status != "invalid" {
		t.Fatalf("the order is %s", status)
	}
	c.post("/acme/r/new-order", replacing(id, "a.example.com")).want(t, http.StatusTooManyRequests)
	w.clock.advance(24 * time.Hour)
	c.post("/acme/r/new-order", replacing(id, "a.example.com")).want(t, http.StatusCreated)
}

// TestLimitExemptsRenewalsInSpite of an order that squats: it takes the exception from nobody, and gets none again.
func TestLimitExemptsRenewalsInSpite(t *testing.T) {
	none := Rate{1, 24 * time.Hour, 1}
	w := limited(t, Limits{Default: OrgLimits{AccountNewOrders: none}})
	c, squatter, another := w.account(), w.account(), w.account()
	id := idOf(t, c.issued("a.example.com"))
	squatter.post("/acme/r/new-order", replacing(id, "a.example.com")).want(t, http.StatusCreated)
	another.order("b.example.com").want(t, http.StatusCreated)
	another.post("/acme/r/new-order", replacing(id, "a.example.com")).want(t, http.StatusTooManyRequests)
	c.post("/acme/r/new-order", replacing(id, "a.example.com")).want(t, http.StatusCreated)
}

func TestLimitFailedValidations(t *testing.T) {
	for _, burst := range []int{1, 3} {
		t.Run(fmt.Sprint(burst), func(t *testing.T) {
			rate := Rate{1, time.Hour, burst}
			w := limited(t, Limits{Default: OrgLimits{FailedValidations: rate}})
			c, neighbour := w.account(), w.account()
			name := dnsName(t, "a.example.com")
			fail := func() {
				t.Helper()
				authz := c.newOrder("a.example.com").Authorizations[0]
				c.to(c.challengeOf(authz), map[string]any{})
				w.settled()
			}
			w.validator.set(func() { w.validator.errs[name] = problem.New(problem.IncorrectResponse, "wrong") })
			for range burst {
				fail()
			}
			for range 3 {
				c.order("b.example.com", "a.example.com").wantLimited(t, LimitFailedValidations, rate.String(), "3600")
			}
			detail := c.post("/acme/r/new-authz", preauthorization("a.example.com")).want(t, http.StatusTooManyRequests).decode(t)["detail"].(string)
			if !strings.Contains(detail, "failed validations by this account of a.example.com:") {
				t.Errorf("which name? %s", detail)
			}
			c.newOrder("b.example.com")
			neighbour.newOrder("a.example.com")
			w.clock.advance(time.Hour - 2*time.Microsecond) // the finest that both engines tell apart
			c.order("a.example.com").want(t, http.StatusTooManyRequests)
			w.clock.advance(2 * time.Microsecond)
			fail()
			c.order("a.example.com").wantLimited(t, LimitFailedValidations, rate.String(), "3600")
		})
	}
}

// TestLimitCountsOnlyTheNamesFaults: what is our fault costs the client nothing, and neither does a success.
func TestLimitCountsOnlyTheNamesFaults(t *testing.T) {
	w := limited(t, Limits{Default: OrgLimits{FailedValidations: Rate{1, time.Hour, 1}}})
	c := w.account()
	for range 3 {
		o := c.readyOrder("a.example.com")
		c.to(o.Authorizations[0], deactivate).want(t, http.StatusOK)
	}
	a := &Authorization{Account: c.id(), Org: 1, Identifier: dnsName(t, "a.example.com"), Challenges: []Challenge{{}}}
	for _, kind := range []problem.Kind{problem.Internal, problem.Unavailable} {
		a.Challenges[0].Failed = &Failure{Kind: kind}
		w.server.failed(t.Context(), a, 0)
	}
	c.newOrder("a.example.com")
	a.Challenges[0].Failed = &Failure{Kind: problem.DNS}
	w.server.failed(t.Context(), a, 0)
	w.server.failed(t.Context(), a, 0) // more than there is changes nothing
	c.order("a.example.com").wantLimited(t, LimitFailedValidations, "1/1h", "3600")
}

// TestGivenUpAgainIsNotJournaledAgain: repeating a request is no way to fill the journal.
func TestGivenUpAgainIsNotJournaledAgain(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	url := c.readyOrder("a.example.com").Authorizations[0]
	var bodies []string
	for range 5 {
		bodies = append(bodies, string(c.to(url, deactivate).want(t, http.StatusOK).body))
	}
	if len(slices.Compact(bodies)) != 1 {
		t.Errorf("the answers differ: %q", bodies)
	}
	var entries int
	for _, kind := range w.journal.kinds() {
		if kind == audit.AuthzGivenUp {
			entries++
		}
	}
	if entries != 1 {
		t.Errorf("%d entries", entries)
	}
}

func namesOf(t *testing.T, list ...string) (out []identifier.Identifier) {
	t.Helper()
	for _, s := range list {
		out = append(out, dnsName(t, s))
	}
	return out
}
