package acme

import (
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/policy"
)

// A validation wants of the DNS what the profile says.
func TestValidationAsksDNSSEC(t *testing.T) {
	for _, mode := range []dcv.DNSSEC{dcv.DNSSECOff, dcv.DNSSECOpportunistic, dcv.DNSSECRequire} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, func(c *Config) {
				p, err := policy.New(policy.Config{Name: "web", Issuer: "test", DNSSEC: mode})
				if err != nil {
					t.Fatal(err)
				}
				c.Profiles["web"] = p
			})
			c := w.account()
			o := c.newOrder("a.example.com")
			c.to(c.challengeOf(o.Authorizations[0]), map[string]any{}).want(t, http.StatusOK)
			if got := w.validator.seen()[0].DNSSEC; got != mode {
				t.Errorf("asked with %q, want %q", got, mode)
			}
		})
	}
}
