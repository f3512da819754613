package conformance

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gatehouse-ca/gatehouse/testca"
)

// checked asks for a name under the profile that looks at CAA, and gives the authorization after its validation.
func (c *client) checked(t *testing.T, kind, name string) authz {
	t.Helper()
	a := c.authz(t, c.orderOf(t, dnsNamesIn("checked", name)).Authorizations[0])
	c.answers(t, a, a.of(t, kind))
	return c.validate(t, a.URL, kind)
}

// caa tries records on a name, in which NAME is the name and OWN this gateway, and holds the outcome to what is wanted.
func caa(wanted string, sets ...[]string) func(*testing.T, *gateway) {
	return func(t *testing.T, g *gateway) {
		c := g.account(t)
		for _, set := range sets {
			c.caa(t, wanted, "http-01", g.name(), set...)
		}
	}
}

func (c *client) caa(t *testing.T, wanted, kind, name string, records ...string) {
	t.Helper()
	base := strings.TrimPrefix(name, "*.")
	for _, record := range records {
		c.g.addHost(t, base, strings.NewReplacer("NAME", base, "OWN", caaName, "ACCOUNT", c.kid).Replace(record))
	}
	a := c.checked(t, kind, name)
	if a.Status != wanted {
		t.Errorf("%s with %q is %s: %+v", name, records, a.Status, a.of(t, kind).Error)
	}
	if wanted != "invalid" {
		return
	}
	if e := a.of(t, kind).Error; e == nil || e.Type != urn+"caa" {
		t.Errorf("%s with %q: %+v", name, records, e)
	}
}

func rfc8659() []row {
	return []row{
		{section: "3", name: "before-issuance", rule: "CAA is looked up before a certificate is issued", elsewhere: []string{"ca.TestIssueAsksCAA"},
			accepts: caa("valid", nil, []string{`NAME. CAA 0 issue "OWN"`}),
			refuses: func(t *testing.T, _ *gateway) { // what was permitted at validation is asked again once that is too old
				g := newGateway(t)
				c, name := g.account(t), g.name()
				o := c.proved(t, c.orderOf(t, dnsNamesIn("checked", name)), "http-01")
				g.addHost(t, name, name+`. CAA 0 issue "other.example.net"`)
				c.later(9 * time.Hour)
				c.post(t, o.Finalize, csr(t, newKey(t), name)).refused(t, http.StatusForbidden, "caa")
				g.dns.Remove(name)
				c.finalized(t, o, csr(t, newKey(t), name))
			}},
		{section: "3", name: "consistent", rule: "Nothing is issued that the records do not permit",
			accepts: caa("valid",
				[]string{`NAME. CAA 0 issue "other.example.net"`, `NAME. CAA 0 issue "OWN"`},
				[]string{`NAME. CAA 0 iodef "mailto:security@example.com"`},
				[]string{`NAME. CAA 0 unknown "x"`}),
			refuses: caa("invalid",
				[]string{`NAME. CAA 0 issue "other.example.net"`},
				[]string{`NAME. CAA 0 issue ";"`},
				[]string{`NAME. CAA 0 issue ""`},
				[]string{`NAME. CAA 0 issue "sub.OWN"`})},
		{section: "3", name: "every-name", rule: "Every name of a request is looked up, wherever it stands",
			refuses: func(t *testing.T, _ *gateway) {
				for k := range 4 {
					g := newGateway(t)
					c := g.account(t)
					var names []string
					for range 4 {
						names = append(names, g.name())
					}
					o := c.proved(t, c.orderOf(t, dnsNamesIn("checked", names...)), "http-01")
					c.later(9 * time.Hour)
					g.addDNS(t, names[k]+`. CAA 0 issue ";"`)
					p := c.post(t, o.Finalize, csr(t, newKey(t), names...)).refused(t, http.StatusForbidden, "caa").problem()
					if len(p.Subproblems) != 1 || *p.Subproblems[0].Identifier != (ident{"dns", names[k]}) {
						t.Errorf("name %d is forbidden; the document is %+v", k, p)
					}
				}
			}},
		{section: "3", name: "relevant-set", rule: "The records of the name count, or else those of the nearest name above that has some; aliases are followed at each",
			accepts: func(t *testing.T, g *gateway) {
				c, above := g.account(t), g.name()
				g.addDNS(t, above+`. CAA 0 issue ";"`)
				c.caa(t, "valid", "http-01", "www."+above, `NAME. CAA 0 issue "OWN"`) // the nearer ones
				alias, target := g.name(), "permits."+g.name()
				g.addDNS(t, alias+`. CNAME `+target+`.`, target+`. CAA 0 issue "`+caaName+`"`, target+`. A 127.0.0.1`)
				c.caa(t, "valid", "http-01", alias)
				// What is above the target of an alias does not count.
				parent := g.name()
				alias = g.name()
				g.addDNS(t, alias+`. CNAME www.`+parent+`.`, parent+`. CAA 0 issue ";"`, `www.`+parent+`. A 127.0.0.1`)
				c.caa(t, "valid", "http-01", alias)
			},
			refuses: func(t *testing.T, g *gateway) {
				c, above := g.account(t), g.name()
				g.addDNS(t, above+`. CAA 0 issue "other.example.net"`)
				c.caa(t, "invalid", "http-01", "www."+above)
				c.caa(t, "invalid", "http-01", "a.b.c."+above)
				c.caa(t, "invalid", "dns-01", "*."+above)
				alias, target := g.name(), "forbids."+g.name()
				g.addDNS(t, alias+`. CNAME `+target+`.`, target+`. CAA 0 issue ";"`, target+`. A 127.0.0.1`)
				c.caa(t, "invalid", "http-01", alias)
				c.caa(t, "invalid", "http-01", "www."+alias)
			}},
		{section: "3", name: "no-answer", rule: "Where the records cannot be had nothing is issued: only their absence is one",
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				for _, kind := range []testca.DNSFaultKind{testca.DNSServFail, testca.DNSRefused, testca.DNSFormErr, testca.DNSTruncatedTCP, testca.DNSMalformed, testca.DNSAliasLoop, testca.DNSReferral} {
					name := g.name()
					g.dns.Break(name, dns.TypeCAA, testca.DNSFault{Kind: kind})
					c.caa(t, "invalid", "http-01", name)
				}
			}},
		{section: "4.1", name: "critical", rule: "A critical property that is not known forbids issuance",
			accepts: caa("valid", []string{`NAME. CAA 128 issue "OWN"`}, []string{`NAME. CAA 128 iodef "mailto:a@example.com"`}),
			refuses: caa("invalid",
				[]string{`NAME. CAA 128 tbs "x"`},
				[]string{`NAME. CAA 0 issue "OWN"`, `NAME. CAA 128 tbs "x"`},
				[]string{`NAME. CAA 255 tbs "x"`})},
		{section: "4.1", name: "reserved-flags", rule: "The other bits of the flags are ignored",
			accepts: caa("valid", []string{`NAME. CAA 127 tbs "x"`}, []string{`NAME. CAA 1 issue "OWN"`}),
			refuses: caa("invalid", []string{`NAME. CAA 127 issue "other.example.net"`})},
		{section: "4.1", name: "tags", rule: "Tags are compared without regard to letter case; one that is not of letters and digits is none",
			accepts: caa("valid", []string{`NAME. CAA 0 ISSUE "OWN"`}),
			refuses: func(t *testing.T, g *gateway) {
				caa("invalid", []string{`NAME. CAA 0 Issue "other.example.net"`})(t, g)
				c, name := g.account(t), g.name()
				// is-sue, and a tag of no octets, in the form of RFC 3597.
				c.caa(t, "invalid", "http-01", name, fmt.Sprintf(`NAME. TYPE257 \# 9 0006%x61`, "is-sue"))
				c.caa(t, "invalid", "http-01", g.name(), `NAME. TYPE257 \# 3 000061`)
			}},
		{section: "4.2", name: "malformed", rule: "A value that does not match the grammar names nobody",
			accepts: caa("valid",
				[]string{`NAME. CAA 0 issue " OWN ; policy = ev "`},
				[]string{`NAME. CAA 0 issue "OWN;"`},
				[]string{`NAME. CAA 0 issue "%%%%%"`, `NAME. CAA 0 issue "OWN"`}),
			refuses: caa("invalid",
				[]string{`NAME. CAA 0 issue "%%%%%"`},
				[]string{`NAME. CAA 0 issue "OWN policy=ev"`},
				[]string{`NAME. CAA 0 issue "OWN; policy"`},
				[]string{`NAME. CAA 0 issue "OWN; policy=e v"`},
				[]string{`NAME. CAA 0 issue "OWN; -a=b"`},
				[]string{`NAME. CAA 0 issue "OWN."`})},
		{section: "4.3", name: "issuewild-not-for-others", rule: "issuewild is ignored for a name that is no wildcard",
			accepts: caa("valid", []string{`NAME. CAA 0 issuewild ";"`}, []string{`NAME. CAA 0 issuewild ";"`, `NAME. CAA 0 issue "OWN"`}),
			refuses: caa("invalid", []string{`NAME. CAA 0 issuewild "OWN"`, `NAME. CAA 0 issue ";"`})},
		{section: "4.3", name: "issuewild-alone", rule: "Where there is an issuewild, issue is ignored for wildcards",
			accepts: func(t *testing.T, g *gateway) {
				c := g.account(t)
				c.caa(t, "valid", "dns-01", "*."+g.name(), `NAME. CAA 0 issuewild "OWN"`, `NAME. CAA 0 issue ";"`)
				c.caa(t, "valid", "dns-01", "*."+g.name(), `NAME. CAA 0 issue "OWN"`)
			},
			refuses: func(t *testing.T, g *gateway) {
				c := g.account(t)
				c.caa(t, "invalid", "dns-01", "*."+g.name(), `NAME. CAA 0 issuewild ";"`, `NAME. CAA 0 issue "OWN"`)
				c.caa(t, "invalid", "dns-01", "*."+g.name(), `NAME. CAA 0 issue "other.example.net"`)
				c.caa(t, "invalid", "dns-01", "*."+g.name(), `NAME. CAA 0 issuewild "%%%%%"`, `NAME. CAA 0 issue "OWN"`)
			}},
		{section: "5.1", name: "unsigned", rule: "Records count whether the zone is signed or not",
			refuses: caa("invalid", []string{`NAME. CAA 0 issue "other.example.net"`})},
	}
}
