package policy

import (
	"crypto/ed25519"
	"crypto/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
)

// TestEveryRuleExplainsItself: each rule has a request that it alone refuses, or finds incomplete, and says then which rule it is,
// what it looked at, why that does not pass and what would. A rule that is added must be added here.
func TestEveryRuleExplainsItself(t *testing.T) {
	cfg := fielded(t)
	cfg.MandatoryFields = nil
	cfg.Terms, cfg.Validity, cfg.RequestedValidity = []time.Duration{30 * day, 90 * day}, 90*day, ClampRequested
	cfg.Approvals = ApprovalRule{Required: 1}
	cfg.DenyNames, cfg.SubjectFromCSR = []string{"denied.example.com"}, []SubjectField{Organization}
	p := mustNew(t, cfg)
	good := func(values ...string) Request {
		r := goodRequest(t, values...)
		r.NameRules = []NameRules{{Organisation: "main", Deny: []string{"vpn.example.com"}}}
		r.Approvals = []Approval{{Content: content(t, p, r), Approver: "user:9", At: r.Now}}
		return r
	}
	explained := map[string]bool{}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rareKey, err := ParseCSR(x509CSR(t, ed, "www.example.com"))
	if err != nil {
		t.Fatal(err)
	}
	plain := good("www.example.com")
	for rule, tt := range map[string]struct {
		change  func(*Request)
		outcome Outcome
		found   string
		detail  string
		wanted  string
	}{
		"requester":          {func(r *Request) { r.Requester.Org = 0 }, Fail, "organisation 0", "belongs to nobody", "a caller"},
		"pinned-profile":     {func(r *Request) { r.ProfileHash = "00" }, Fail, "profile hash 00", "make a new request", p.Hash()},
		"account-binding":    {func(r *Request) { r.Restriction.Names = []string{"example.org"} }, Fail, "www.example.com", "www.example.com", "names example.org"},
		"organisation-names": {func(r *Request) { *r = good("vpn.example.com") }, Fail, "vpn.example.com", "denied by the organisation", "none of vpn.example.com"},
		"custom-fields":      {func(r *Request) { r.CustomFields = given("Colour", "red") }, Fail, `"Colour"`, `no custom field "Colour"`, `"Cost centre" (3 to 8 characters on one line)`},
		"csr":                {func(r *Request) { r.CSR = csrFor(t, "a.example.com") }, Fail, "a CSR for a.example.com", "other names", "a CSR for exactly www.example.com"},
		"names":              {func(r *Request) { *r = good("denied.example.com") }, Fail, "denied.example.com", "denied by the profile", "none of denied.example.com"},
		"key":                {func(r *Request) { r.CSR = rareKey }, Fail, "ed25519", "does not allow", "ecdsa-p256"},
		"subject":            {func(r *Request) { r.CSR.Subject.Organization = strings.Repeat("x", 65) }, Fail, "organization=", "subject", "of the CSR"},
		"proofs":             {func(r *Request) { r.Proofs = nil }, Open, "0 of 1", "validate it", "http-01"},
		"term":               {func(r *Request) { r.Term = 60 * day }, Fail, "60d", "not one of the profile", "one of 30d, 90d; none is 90d"},
		"validity":           {func(r *Request) { r.Requested.NotAfter = testNow.Add(-time.Hour) }, Fail, "a requested validity", "has passed", "at most 90d"},
		"approvals":          {func(r *Request) { r.Approvals = nil }, Open, "0 approvals", "needs the consent of 1", "1 of other people"},
	} {
		r := plain
		csr := *plain.CSR
		r.CSR, r.Proofs = &csr, slices.Clone(plain.Proofs)
		tt.change(&r)
		c := p.Explain(r).find(t, rule)
		if c.Outcome != tt.outcome || !strings.Contains(c.Found, tt.found) || !strings.Contains(c.Detail, tt.detail) || !strings.Contains(c.Wanted, tt.wanted) {
			t.Errorf("%s: %+v", rule, c)
		}
		if c := p.Explain(plain).find(t, rule); c.Outcome != Pass || c.Detail != "" || c.Found == "" || c.Wanted == "" {
			t.Errorf("%s, of a request that passes: %+v", rule, c)
		}
		explained[rule] = true
	}
	for _, rule := range rules {
		if !explained[rule.name] {
			t.Errorf("the rule %s has no row here", rule.name)
		}
	}
}

// TestRulesSayWhatPasses: whatever the profile is, each of its rules says what passes it.
func TestRulesSayWhatPasses(t *testing.T) {
	for name, cfg := range map[string]Config{
		"plain": basic(), "public": publicTerms(), "terms": termed(), "fields": fielded(t), "none": unvalidated(), "domain": byDomain(), "own": own(),
	} {
		p := mustNew(t, cfg)
		for _, c := range p.Rules(testNow) {
			if c.Wanted == "" || c.Outcome != Skip {
				t.Errorf("%s: %+v", name, c)
			}
		}
		r := goodRequest(t, "www.example.com")
		for _, c := range p.Explain(r) {
			if c.Wanted == "" || c.Found == "" && c.Outcome != Skip {
				t.Errorf("%s: %+v", name, c)
			}
		}
	}
	for name, tt := range map[string]struct {
		cfg  Config
		rule string
		says []string
	}{
		"terms":         {termed(), "term", []string{"one of 30d, 90d, 365d; none is 90d"}},
		"no terms":      {basic(), "term", []string{"90d, or none, which is the same"}},
		"later":         {publicTerms(), "term", []string{"one of 47d, 90d, 180d; none is 47d"}},
		"fields":        {fielded(t), "custom-fields", []string{`"Owner" (a plain e-mail address of 1 to 256 characters)`, `perhaps "Cost centre" (3 to 8 characters on one line), mandatory at console, scm`, `"Environment" (one of test, production)`}},
		"no fields":     {basic(), "custom-fields", []string{"none: no custom fields are configured"}},
		"no validation": {unvalidated(), "names", []string{"one of *.example.com, 10.0.0.0/8"}},
	} {
		i := slices.IndexFunc(mustNew(t, tt.cfg).Rules(testNow), func(c Check) bool { return c.Rule == tt.rule })
		if c := mustNew(t, tt.cfg).Rules(testNow)[i]; !containsAll(c.Wanted, tt.says...) {
			t.Errorf("%s: %q", name, c.Wanted)
		}
	}
	for name, tt := range map[string]struct {
		cfg     Config
		proofs  []Proven
		outcome Outcome
		found   string
		wanted  string
	}{
		"no validation":     {unvalidated(), mustNew(t, unvalidated()).Unvalidated(Requester{Org: 1, Principal: "acme:7"}, names(t, "www.example.com"), testNow), Pass, "no validation", "no validation: the profile requires none"},
		"a domain":          {byDomain(), []Proven{domainProof(t, dcv.DNSTXT, "example.com")}, Pass, "1 of 1", "a domain of the organisation that covers it, validated at most 90d ago"},
		"no domain":         {byDomain(), nil, Open, "0 of 1", "for each of www.example.com a domain of the organisation that covers it"},
		"a domain, perhaps": {delegated(), nil, Open, "0 of 1", "; or a domain of the organisation that covers it"},
	} {
		r := goodRequest(t, "www.example.com")
		r.Proofs = tt.proofs
		if c := mustNew(t, tt.cfg).Explain(r).find(t, "proofs"); c.Outcome != tt.outcome || !strings.Contains(c.Found, tt.found) || !strings.Contains(c.Wanted, tt.wanted) {
			t.Errorf("%s: %+v", name, c)
		}
	}
}
