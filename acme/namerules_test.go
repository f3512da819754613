package acme

import (
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/policy"
)

// TestNameRulesOfAnOrganisation: what an account's organisation may not ask for is refused before anything is validated,
// at newOrder and at newAuthz, and the rule is named. Another organisation's rules are nothing to it.
func TestNameRulesOfAnOrganisation(t *testing.T) {
	rules := []policy.NameRules{
		{Organisation: "top", Allow: []string{"*.example.com", "192.0.2.0/24"}},
		{Organisation: "main", Deny: []string{"secret.example.com"}},
	}
	w := newWorld(t, func(c *Config) {
		c.NameRules = func(org auth.OrgID) []policy.NameRules {
			if org == 1 {
				return rules
			}
			return nil
		}
	})
	c := w.account()
	for _, tc := range []struct {
		path string
		in   map[string]any
		says string // empty: allowed
	}{
		{"/acme/r/new-order", identifiers("www.example.com", "a.example.com"), ""},
		{"/acme/r/new-order", identifiers("www.example.com", "example.com"), `example.com is not among what the organisation "top" allows`},
		{"/acme/r/new-order", identifiers("www.example.net"), `the organisation "top"`},
		{"/acme/r/new-order", identifiers("secret.example.com"), `denied by the organisation "main"`},
		{newAuthzPath, preauthorization("www.example.com"), ""},
		{newAuthzPath, preauthorization("secret.example.com"), `denied by the organisation "main"`},
		{newAuthzPath, preauthorization("example.net"), `the organisation "top"`},
	} {
		a := c.post(tc.path, tc.in)
		if tc.says == "" {
			a.want(t, 201)
			continue
		}
		if p := a.wantProblem(t, 403, "rejectedIdentifier"); !strings.Contains(p["detail"].(string), tc.says) {
			t.Errorf("%v: %v", tc.in, p["detail"])
		}
	}
	rules = nil // they are asked for each time
	c.post("/acme/r/new-order", identifiers("secret.example.com")).want(t, 201)
}
