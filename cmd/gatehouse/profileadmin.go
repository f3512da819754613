package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

func (a *admin) profileList(caller auth.Caller, r *http.Request) (any, error) {
	list := make([]profileView, 0, len(a.profiles))
	for _, name := range slices.Sorted(maps.Keys(a.profiles)) {
		v, err := a.viewProfile(r.Context(), caller, a.profiles[name])
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

func (a *admin) profileGet(caller auth.Caller, r *http.Request) (any, error) {
	p, err := a.profile(r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	v, err := a.viewProfile(r.Context(), caller, p)
	if err != nil {
		return nil, err
	}
	for _, rule := range p.Rules(a.now()) {
		v.Rules = append(v.Rules, ruleView{rule.Rule, rule.Wanted})
	}
	return v, nil
}

// profile finds a configured profile; the default one without a name.
func (a *admin) profile(name string) (*policy.Profile, error) {
	if name == "" {
		name = a.defaultProfile
	}
	p := a.profiles[name]
	if p == nil {
		return nil, problem.New(problem.NotFound, "there is no profile %q; gatehouse profile list shows them", name)
	}
	return p, nil
}

func (a *admin) viewProfile(ctx context.Context, caller auth.Caller, p *policy.Profile) (profileView, error) {
	v := profileView{
		Name: p.Name(), Number: p.Number(), Description: p.Description(), Default: p.Name() == a.defaultProfile, Issuer: p.Issuer(),
		Mode: policy.Private, Validity: wholeDays(p.Validity()), Terms: []string{}, DCV: string(p.Requirement()), DCVMethods: []string{}, Lint: string(p.Lint()), Hash: p.Hash(), ServerKeys: p.ServerKeys(), Organisations: []string{},
	}
	if p.Public() {
		v.Mode = policy.Public
	}
	for _, t := range p.Terms(a.now()) {
		v.Terms = append(v.Terms, wholeDays(t))
	}
	for _, m := range p.Methods() {
		v.DCVMethods = append(v.DCVMethods, string(m))
	}
	if q := p.Quota(); !q.IsZero() {
		v.Quota = &quotaView{q.Certificates, q.PerName}
	}
	orgs, err := a.tenants.List(ctx, caller)
	if err != nil {
		return v, err
	}
	for _, o := range orgs {
		if a.organisations.Allowed(o.ID, p.Name()) {
			v.Organisations = append(v.Organisations, o.Slug)
		}
	}
	return v, nil
}

// wholeDays is a duration in days if it is that, as the configuration writes it.
func wholeDays(d time.Duration) string {
	if day := 24 * time.Hour; d > 0 && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	return d.String()
}

// profileTest says what would become of a CSR. It reads the store and changes nothing.
func (a *admin) profileTest(caller auth.Caller, r *http.Request) (any, error) {
	var in profileTest
	if err := readBody(r, &in); err != nil {
		return nil, err
	}
	p, err := a.profile(in.Profile)
	if err != nil {
		return nil, err
	}
	org, err := a.tenants.Get(r.Context(), caller, in.Org)
	if err != nil {
		return nil, err
	}
	csr, err := policy.ParseCSR(in.CSR)
	if err != nil {
		return nil, err
	}
	door, who, err := in.door()
	if err != nil {
		return nil, err
	}
	req := policy.Request{
		Requester: policy.Requester{Org: int32(org.ID), Door: string(door), Principal: who},
		Names:     csr.Names, CSR: csr, NameRules: a.nameRules(org.ID), Now: a.now(), Term: time.Duration(in.Term) * time.Second,
	}
	for _, f := range in.Fields {
		req.CustomFields = append(req.CustomFields, policy.FieldValue{Name: f.Name, Value: f.Value})
	}
	explanation := policy.Explanation{a.checkAvailable(org, p)}
	if in.Account != "" {
		account, err := a.acme.Account(r.Context(), caller, acme.AccountID(in.Account))
		if err == nil && account.Org != org.ID {
			err = problem.New(problem.NotFound, "the organisation %s has no ACME account %q", org.Slug, in.Account)
		}
		if err != nil {
			return nil, err
		}
		req.Requester.Principal = account.Principal()
		if req.Restriction, err = a.acme.Restriction(r.Context(), account); err != nil {
			return nil, err
		}
		explanation = append(explanation, checkAccount(account))
	}
	req.Proofs = p.Unvalidated(req.Requester, req.Names, req.Now)
	explanation = append(explanation, p.Explain(req)...)
	quota, err := a.explainQuota(r.Context(), org.ID, p, req)
	if err != nil {
		return nil, err
	}
	return viewTest(in, p, req, append(explanation, quota)), nil
}

// door is the door that the request would come in by, and who would ask there. An ACME order has no place for a term and custom
// fields, so a request that has some is none.
func (in profileTest) door() (ra.Door, string, error) {
	switch more := in.Term != 0 || len(in.Fields) > 0; {
	case in.Door == string(ra.DoorACME) && more:
		return "", "", problem.New(problem.Malformed, "an ACME order names neither a term nor custom fields; leave them out, or ask for the door console")
	case in.Door == string(ra.DoorConsole) || in.Door == "" && more:
		if in.Account != "" {
			return "", "", problem.New(problem.Malformed, "an ACME account asks by ACME alone, without a term and custom fields; name the organisation without an account")
		}
		return ra.DoorConsole, "a principal", nil
	case in.Door == string(ra.DoorACME) || in.Door == "":
		return ra.DoorACME, "an ACME account", nil
	default:
		return "", "", problem.New(problem.Malformed, "there is no door %q; it is acme or console", in.Door)
	}
}

// checkAvailable is the rule that is asked before the profile's own: whether the organisation works and may use it.
func (a *admin) checkAvailable(org auth.OrgState, p *policy.Profile) policy.Check {
	c := policy.Check{Rule: "organisation", Outcome: policy.Pass, Found: org.Slug, Wanted: "an organisation that works and may use the profile " + p.Name()}
	switch err := a.organisations.Works(org.ID); {
	case err != nil:
		c.Outcome, c.Detail = policy.Fail, err.Error()
	case !a.organisations.Allowed(org.ID, p.Name()):
		c.Outcome = policy.Fail
		c.Detail = fmt.Sprintf("the profile %q is not available to the organisation %s, by its own list of profiles or by that of one above it", p.Name(), org.Slug)
	}
	return c
}

// checkAccount is the rule that an account which was given up asks for nothing (RFC 8555, 7.3.6).
func checkAccount(account *acme.Account) policy.Check {
	c := policy.Check{Rule: "account", Outcome: policy.Pass, Found: "an account that is " + string(account.Status()), Wanted: "a valid account"}
	if account.Status() != acme.StatusValid {
		c.Outcome, c.Detail = policy.Fail, "the account was deactivated, for which there is no way back; make another"
	}
	return c
}

// explainQuota is the rule that is asked after the profile's own.
func (a *admin) explainQuota(ctx context.Context, org auth.OrgID, p *policy.Profile, req policy.Request) (policy.Check, error) {
	use, err := a.registrar.QuotaUse(ctx, org, p, req.Names)
	if err != nil {
		return policy.Check{}, err
	}
	return p.Quota().Explain(p.Name(), use), nil
}

func viewTest(in profileTest, p *policy.Profile, req policy.Request, e policy.Explanation) profileTestView {
	v := profileTestView{Profile: p.Name(), Org: in.Org, Account: in.Account, Names: []string{}, Verdict: "issues", Checks: []checkView{}}
	for _, id := range req.Names {
		v.Names = append(v.Names, id.Value())
	}
	for _, c := range e {
		view := checkView{Rule: c.Rule, Outcome: string(c.Outcome), Found: c.Found, Wanted: c.Wanted, Detail: c.Detail}
		for _, part := range c.Parts {
			view.Parts = append(view.Parts, partView{part.Identifier.Value(), part.Detail})
		}
		v.Checks = append(v.Checks, view)
		if c.Outcome == policy.Open {
			v.Verdict = "open"
		}
	}
	if e.Refused() {
		v.Verdict = "refused"
	}
	return v
}
