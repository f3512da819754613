package policy

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
)

func containsAll(text string, parts ...string) bool {
	return !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(text, p) })
}

// find is the check of one rule.
func (e Explanation) find(t testing.TB, rule string) Check {
	t.Helper()
	i := slices.IndexFunc(e, func(c Check) bool { return c.Rule == rule })
	if i < 0 {
		t.Fatalf("no rule %q in %+v", rule, e)
	}
	return e[i]
}

// TestExplainAgreesWithDecide: whatever a request is, the first rule that is not passed is the one that Decide refuses by,
// and there is one exactly if it refuses.
func TestExplainAgreesWithDecide(t *testing.T) {
	good := func(t *testing.T) Request { return goodRequest(t, "www.example.com", "example.com") }
	for name, tt := range map[string]struct {
		change func(*testing.T, *Request)
		rule   string // that refuses; empty: none
		found  string
		wanted string
	}{
		"good":                   {func(*testing.T, *Request) {}, "", "", ""},
		"nobody":                 {func(_ *testing.T, r *Request) { r.Requester.Org = 0 }, "requester", "of organisation 0", "a caller of an organisation"},
		"another profile's hash": {func(_ *testing.T, r *Request) { r.ProfileHash = "00" }, "pinned-profile", "profile hash 00", "profile hash "},
		"binding for others":     {func(_ *testing.T, r *Request) { r.Restriction.Profiles = []string{"other"} }, "account-binding", "profile web", "profiles other"},
		"binding for other names": {func(_ *testing.T, r *Request) { r.Restriction.Names = []string{"example.org"} }, "account-binding",
			"names www.example.com, example.com", "names example.org"},
		"organisation's rules": {func(_ *testing.T, r *Request) {
			r.NameRules = []NameRules{{Organisation: "top", Allow: []string{"*.example.com"}, Deny: []string{"x.example.com"}}}
		}, "organisation-names", "www.example.com", "top: one of *.example.com and none of x.example.com"},
		"no CSR":            {func(_ *testing.T, r *Request) { r.CSR = nil }, "csr", "no CSR", "a CSR for exactly"},
		"other names":       {func(t *testing.T, r *Request) { r.CSR = csrFor(t, "www.example.com") }, "csr", "a CSR for www.example.com", "example.com"},
		"a forbidden name":  {func(t *testing.T, r *Request) { *r = goodRequest(t, "*.example.com") }, "names", "*.example.com", "no wildcards"},
		"no proofs":         {func(_ *testing.T, r *Request) { r.Proofs = nil }, "proofs", "usable proofs for 0 of 2 names", "by http-01, each at most 1d old"},
		"one proof":         {func(_ *testing.T, r *Request) { r.Proofs = r.Proofs[:1] }, "proofs", "usable proofs for 1 of 2 names", "http-01"},
		"a validity of its": {func(_ *testing.T, r *Request) { r.Requested.NotAfter = r.Now.Add(time.Hour) }, "validity", "a requested validity", "at most 90d"},
	} {
		t.Run(name, func(t *testing.T) {
			p := mustNew(t, basic())
			r := good(t)
			tt.change(t, &r)
			_, refusal := p.Decide(r)
			e := p.Explain(r)
			first := slices.IndexFunc(e, func(c Check) bool { return c.Outcome != Pass })
			if (refusal == nil) != (first < 0) || (refusal == nil) != (tt.rule == "") {
				t.Fatalf("Decide says %v, Explain %+v", refusal, e)
			}
			if len(e) != len(rules) {
				t.Errorf("%d of %d rules are told of", len(e), len(rules))
			}
			if refusal == nil {
				return
			}
			c := e[first]
			if c.Rule != tt.rule || !strings.Contains(c.Found, tt.found) || !strings.Contains(c.Wanted, tt.wanted) {
				t.Errorf("refused by %+v", c)
			}
			if detail := problem.From(refusal).Detail; c.Detail != detail {
				t.Errorf("Explain says %q, Decide %q", c.Detail, detail)
			}
			if missing := tt.rule == "proofs"; e.Refused() == missing {
				t.Errorf("Refused is %v: %+v", e.Refused(), c)
			}
		})
	}
}

func TestExplainTellsOfEveryFault(t *testing.T) {
	r := goodRequest(t, "*.example.com")
	r.Requester.Org = 0
	r.Proofs = nil
	cfg := basic()
	cfg.KeyTypes = []KeyType{RSA4096}
	e := mustNew(t, cfg).Explain(r)
	for rule, want := range map[string]Outcome{"requester": Fail, "csr": Pass, "names": Fail, "key": Fail, "proofs": Open, "validity": Pass} {
		if c := e.find(t, rule); c.Outcome != want {
			t.Errorf("%s: %+v", rule, c)
		}
	}
	if c := e.find(t, "proofs"); !strings.Contains(c.Wanted, "*.example.com by no method of this profile") {
		t.Errorf("proofs: %+v", c)
	}
	r.CSR = nil
	for _, rule := range []string{"key", "subject"} {
		if c := mustNew(t, cfg).Explain(r).find(t, rule); c.Outcome != Skip || c.Wanted == "" {
			t.Errorf("without a CSR: %+v", c)
		}
	}
}

// TestExplainPublicDates: the text follows the dates of trust.
func TestExplainPublicDates(t *testing.T) {
	p := mustNew(t, public())
	for at, says := range map[string][]string{
		"2026-11-25": {"public trust allows 200 days, and from 2027-03-15 100 days"},
		"2027-03-14": {"200 days, and from 2027-03-15 100 days"},
		"2027-03-15": {"100 days, and from 2029-03-15 47 days"},
		"2029-03-15": {"public trust allows 47 days"},
	} {
		now, err := time.Parse(time.DateOnly, at)
		if err != nil {
			t.Fatal(err)
		}
		r := goodRequest(t, "www.example.com")
		r.Now = now
		if c := p.Explain(r).find(t, "validity"); !containsAll(c.Wanted, says...) || strings.Contains(c.Wanted, "from") != (at != "2029-03-15") {
			t.Errorf("%s: %q", at, c.Wanted)
		}
	}
	for _, rule := range p.Rules(testNow) {
		if rule.Wanted == "" {
			t.Errorf("%s says nothing", rule.Rule)
		}
	}
}
