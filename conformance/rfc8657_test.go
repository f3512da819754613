package conformance

import (
	"testing"
)

func rfc8657() []row {
	return []row{
		{section: "3", name: "accounturi", rule: "A property with accounturi permits only the account of that URI",
			accepts: caa("valid",
				[]string{`NAME. CAA 0 issue "OWN; accounturi=ACCOUNT"`},
				[]string{`NAME. CAA 0 issue "OWN; AccountURI=ACCOUNT"`},
				[]string{`NAME. CAA 0 issue "OWN; accounturi=https://elsewhere.example.com/1"`, `NAME. CAA 0 issue "OWN; accounturi=ACCOUNT"`}),
			refuses: func(t *testing.T, g *gateway) {
				other := g.account(t)
				caa("invalid",
					[]string{`NAME. CAA 0 issue "OWN; accounturi=` + other.kid + `"`},
					[]string{`NAME. CAA 0 issue "OWN; accounturi=https://elsewhere.example.com/1"`},
				)(t, g)
			}},
		{section: "3", name: "unsatisfiable", rule: "An accounturi that is invalid or not recognised, or more than one, permits nobody",
			refuses: caa("invalid",
				[]string{`NAME. CAA 0 issue "OWN; accounturi="`},
				[]string{`NAME. CAA 0 issue "OWN; accounturi=1234"`},
				[]string{`NAME. CAA 0 issue "OWN; accounturi=ACCOUNT/"`},
				[]string{`NAME. CAA 0 issue "OWN; accounturi=ACCOUNT; accounturi=ACCOUNT"`})},
		{section: "3", name: "domain-too", rule: "The issuer's domain name is looked at all the same",
			refuses: caa("invalid",
				[]string{`NAME. CAA 0 issue "other.example.net; accounturi=ACCOUNT"`},
				[]string{`NAME. CAA 0 issue "; accounturi=ACCOUNT"`})},
		{section: "3.1", name: "acme-accounts", rule: "The URL of an ACME account is recognised",
			accepts: caa("valid", []string{`NAME. CAA 0 issue "OWN; accounturi=ACCOUNT"`})},
		{section: "4", name: "validationmethods", rule: "A property with validationmethods permits only the methods in its list, which is one of labels",
			accepts: func(t *testing.T, g *gateway) {
				caa("valid",
					[]string{`NAME. CAA 0 issue "OWN; validationmethods=http-01"`},
					[]string{`NAME. CAA 0 issue "OWN; validationmethods=dns-01,http-01,ca-mail"`},
				)(t, g)
				c := g.account(t)
				c.caa(t, "valid", "dns-01", g.name(), `NAME. CAA 0 issue "OWN; validationmethods=dns-01"`)
				c.caa(t, "valid", "tls-alpn-01", g.name(), `NAME. CAA 0 issue "OWN; validationmethods=tls-alpn-01"`)
				c.caa(t, "valid", "dns-01", "*."+g.name(), `NAME. CAA 0 issuewild "OWN; validationmethods=dns-01"`)
			},
			refuses: func(t *testing.T, g *gateway) {
				caa("invalid",
					[]string{`NAME. CAA 0 issue "OWN; validationmethods=dns-01"`},
					[]string{`NAME. CAA 0 issue "OWN; validationmethods="`},
					[]string{`NAME. CAA 0 issue "OWN; validationmethods=http-01,"`},
					[]string{`NAME. CAA 0 issue "OWN; validationmethods=http-01,dns_01"`},
					[]string{`NAME. CAA 0 issue "OWN; validationmethods=http-01; validationmethods=http-01"`},
				)(t, g)
				c := g.account(t)
				c.caa(t, "invalid", "dns-01", "*."+g.name(), `NAME. CAA 0 issuewild "OWN; validationmethods=http-01"`)
			}},
		{section: "5.3", name: "consistent", rule: "The parameters mean the same wherever the CA issues under one domain name: one gate looks at them for every door",
			elsewhere: []string{"ca.TestIssueAsksCAA"},
			refuses:   caa("invalid", []string{`NAME. CAA 0 issue "OWN; accounturi=ACCOUNT; validationmethods=dns-01"`})},
		{section: "5.4", name: "unique-uris", rule: "An account's URI is no other account's",
			accepts: func(t *testing.T, g *gateway) {
				if a, b := g.account(t).kid, g.account(t).kid; a == b {
					t.Errorf("two accounts have the URL %s", a)
				}
			}},
		{section: "5.6", name: "dnssec", rule: "CAA with these parameters is looked up through a trusted resolver that validates DNSSEC",
			elsewhere: []string{"dcv.TestDNSSECRequired", "dcv.TestDNSSECUntrustedResolver"}, departs: "| RFC 8657, 5.6 |"},
	}
}
