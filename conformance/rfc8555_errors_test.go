package conformance

import (
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme"
)

// rfc8555Errors is sections 6.6 to 6.7.1: rate limits, and how errors look.
func rfc8555Errors() []row {
	return []row{
		{section: "6.6", name: "rate-limited", rule: "What exceeds a rate limit is answered with rateLimited (and Retry-After, after which it succeeds)",
			refuses: func(t *testing.T, _ *gateway) {
				const help = "https://ca.example.com/limits"
				g := newGateway(t, func(c *acme.Config) {
					c.Limits = acme.Limits{Help: help, Default: acme.OrgLimits{AccountNewOrders: acme.Rate{Count: 2, Per: time.Hour, Burst: 2}}}
				})
				c, other := g.account(t), g.account(t)
				c.order(t, g.name())
				c.order(t, g.name())
				a := c.post(t, c.url("newOrder"), dnsNames(g.name())).refused(t, http.StatusTooManyRequests, "rateLimited")
				wait, err := strconv.Atoi(a.header.Get("Retry-After"))
				if err != nil || wait < 1 || !slices.Contains(a.links("help"), help) {
					t.Fatalf("Retry-After %q, links %v", a.header.Get("Retry-After"), a.header.Values("Link"))
				}
				other.order(t, g.name())
				c.later(time.Duration(wait) * time.Second)
				c.order(t, g.name())
			}},
		{section: "6.7", name: "types", rule: "Types in the ACME namespace are registered ones",
			// Every test of this package looks at every answer (answer.check). Here are some kinds that others do not make.
			accepts: func(t *testing.T, g *gateway) {
				s := g.with(t, rsaKey(t, 1024))
				s.post(t, s.url("newAccount"), map[string]any{"termsOfServiceAgreed": true}).refused(t, http.StatusBadRequest, "badPublicKey")
				c := g.account(t)
				c.post(t, g.base+"/acme/nowhere", nil).refused(t, http.StatusNotFound, "malformed")
				c.post(t, c.url("newOrder"), map[string]any{"identifiers": []ident{{"dns", "under_score.example.com"}, {"email", "a@example.com"}}}).refused(t, http.StatusBadRequest, "compound")
			}},
		{section: "6.7.1", name: "identifier", rule: "identifier stands in subproblems, as an ACME identifier, and never at the top level",
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				p := c.post(t, c.url("newOrder"), dnsNames("forbidden.example.com", g.name(), "denied.example.com")).refused(t, http.StatusForbidden, "rejectedIdentifier").problem()
				named := map[ident]bool{}
				for _, sub := range p.Subproblems {
					if sub.Identifier != nil {
						named[*sub.Identifier] = true
					}
				}
				if len(named) != 2 || !named[ident{"dns", "forbidden.example.com"}] || !named[ident{"dns", "denied.example.com"}] || p.Identifier != nil {
					t.Errorf("the document is %+v", p)
				}
			}},
	}
}
