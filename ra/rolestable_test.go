package ra_test

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// deniedWorld has objects of organisation 2, of each kind that is there: an issued enrollment with a kept key, one that waits for
// people, one that waits for validation, and one that was imported.
type deniedWorld struct {
	*keyWorld
	issued, waiting, validating, imported *ra.Enrollment
	location                              ra.Location
}

func newDeniedWorld(t *testing.T) *deniedWorld {
	t.Helper()
	w := &deniedWorld{keyWorld: newKeyWorld(t)}
	w.clock.set(time.Now().UTC().Truncate(time.Second))
	net := &pendingWorld{world: w.world, net: &outside{now: w.clock.now, there: map[string]string{}, broken: map[string]error{}}}
	w.Registrar = w.keeping(sealer(t, 1), func(c *ra.Config) {
		c.Profiles["published"] = net.profile("published", policy.ApprovalRule{})
		c.Validation = ra.RequestValidation{Validator: net.net, Target: "dcv.example.net", Suffix: "ca.example.net"}
	})
	w.issued = w.made("a.example.com")
	w.waiting = w.own("kept-approved", newKey(t), "b.example.com")
	w.validating = w.submit(kim, net.wants("published", dcv.DNSTXT, "c.example.com"), ra.Validating)
	x := newElsewhere(t)
	w.imported = w.world.imported(kim, ra.ImportItem{Certificate: x.leaf(nil, "d.example.com")})
	var err error
	w.location, err = w.Locate(t.Context(), kim, w.issued.ID, ra.Location{Name: "here"})
	must(t, err)
	return w
}

// The kinds of callers that something may be for. Whoever is not among them is refused.
const (
	byRequester = 1 << iota // kim, who asked
	byColleague             // kai, who asks for others
	byApprover
	byAuditor
	byAdministrator
	byAccount  // of the organisation, which asked for something else
	bySomebody = byRequester | byColleague | byApprover | byAuditor | byAdministrator | byAccount
	byAsker    = byRequester | byColleague | byAdministrator
	byKeeper   = byRequester | byAdministrator
	byNobody   = 0
)

// TestEveryMethodIsDenied: every method that takes a caller is NotFound for those who may not know of the object, and Unauthorized
// for those whose roles do not reach; and whoever was refused has changed nothing. A method that is added tomorrow is missed here.
func TestEveryMethodIsDenied(t *testing.T) {
	w := newDeniedWorld(t)
	ctx := t.Context()
	comment, name := "x", ids(t, "a.example.com")
	rev := ra.Revocation{Issuer: w.issued.Issuer, Serial: w.issued.Serial, Reason: ca.Superseded}
	csr := w.validating.CSR
	key := newKey(t)
	elsewhere := newElsewhere(t).leaf(nil, "e.example.com")
	one := func(_ any, err error) error { return err }
	calls := map[string]struct {
		may  int
		call func(c auth.Caller) error
	}{
		"Get":      {bySomebody, func(c auth.Caller) error { return one(w.Get(ctx, c, w.issued.ID)) }},
		"BySerial": {bySomebody, func(c auth.Caller) error { return one(w.BySerial(ctx, c, w.issued.Serial)) }},
		"Lineage":  {bySomebody, func(c auth.Caller) error { return one(w.Lineage(ctx, c, w.issued.ID)) }},
		"Current":  {bySomebody, func(c auth.Caller) error { return one(w.Current(ctx, c, w.issued.ID)) }},
		"Location": {bySomebody, func(c auth.Caller) error { return one(w.Location(ctx, c, w.issued.ID, w.location.ID)) }},
		"Waiting":  {bySomebody, func(c auth.Caller) error { _, _, err := w.Waiting(ctx, c, 2, 0, 10); return err }},
		"Search":   {bySomebody, func(c auth.Caller) error { return one(w.Search(ctx, c, ra.Query{Org: 2, Limit: 10})) }},
		"Approve":  {byApprover, func(c auth.Caller) error { return one(w.Approve(ctx, c, w.waiting.ID, "")) }},
		"Decline":  {byApprover, func(c auth.Caller) error { return one(w.Decline(ctx, c, w.waiting.ID, "no")) }},
		"Revoke":   {byAsker | byApprover, func(c auth.Caller) error { return w.Revoke(ctx, c, rev) }},
		"Submit": {byAsker | byAccount, func(c auth.Caller) error {
			r := w.wanted("kept", policy.ECDSAP256, "f.example.com")
			r.Org = 2
			return one(w.Submit(ctx, c, r))
		}},
		"Renew": {byAsker, func(c auth.Caller) error {
			return one(w.Renew(ctx, c, ra.RenewRequest{Door: ra.DoorConsole, ID: w.issued.ID, CSR: csr}))
		}},
		"Replace": {byAsker, func(c auth.Caller) error {
			return one(w.Replace(ctx, c, ra.ReplaceRequest{Door: ra.DoorConsole, ID: w.issued.ID, CSR: csr, Names: name}))
		}},
		"Remove":      {byKeeper, func(c auth.Caller) error { return w.Remove(ctx, c, w.issued.ID) }},
		"Update":      {byAsker, func(c auth.Caller) error { return one(w.Update(ctx, c, w.issued.ID, ra.Changes{Comments: &comment})) }},
		"Locate":      {byAsker, func(c auth.Caller) error { return one(w.Locate(ctx, c, w.issued.ID, ra.Location{Name: "there"})) }},
		"Unlocate":    {byAsker, func(c auth.Caller) error { return w.Unlocate(ctx, c, w.issued.ID, w.location.ID) }},
		"MarkRenewed": {byAsker, func(c auth.Caller) error { return one(w.MarkRenewed(ctx, c, w.issued.ID, 0)) }},
		"MarkRevoked": {byAsker | byApprover, func(c auth.Caller) error {
			return one(w.MarkRevoked(ctx, c, w.imported.ID, time.Time{}, ca.Superseded, ""))
		}},
		"RevokeEnrollment": {byAsker | byApprover, func(c auth.Caller) error { return one(w.RevokeEnrollment(ctx, c, w.issued.ID, ca.Superseded, "")) }},
		"Import": {byAsker, func(c auth.Caller) error {
			list, err := w.Import(ctx, c, ra.DoorConsole, []ra.ImportItem{{Org: 2, Certificate: elsewhere}})
			if err != nil {
				return err
			}
			return list[0].Err
		}},
		"KeyOf":         {byKeeper, func(c auth.Caller) error { return one(w.KeyOf(ctx, c, w.issued.ID)) }},
		"OfferDownload": {byKeeper, func(c auth.Caller) error { _, _, err := w.OfferDownload(ctx, c, w.issued.ID, inClear); return err }},
		"UploadKey":     {byKeeper, func(c auth.Caller) error { return one(w.UploadKey(ctx, c, w.issued.ID, key)) }},
		"DestroyKey":    {byKeeper, func(c auth.Caller) error { return one(w.DestroyKey(ctx, c, w.issued.ID)) }},
		"Challenges":    {bySomebody, func(c auth.Caller) error { return one(w.Challenges(ctx, c, w.validating.ID)) }},
		"Validate":      {byKeeper, func(c auth.Caller) error { return one(w.Validate(ctx, c, w.validating.ID, ra.Validation{})) }},
		"Cancel":        {byKeeper, func(c auth.Caller) error { return one(w.Cancel(ctx, c, w.waiting.ID)) }},
		"RewrapKeys":    {byNobody, func(c auth.Caller) error { return one(w.RewrapKeys(ctx, c)) }},
		"SuggestRenewal": {byNobody, func(c auth.Caller) error {
			return w.SuggestRenewal(ctx, c, w.issued, ra.RenewalWord{Clear: true})
		}},
		"SuggestRenewals": {byNobody, func(c auth.Caller) error {
			return one(w.SuggestRenewals(ctx, c, ra.RenewalFilter{}, ra.RenewalWord{Clear: true}, false))
		}},
		"RevokeByControl": {bySomebody, func(c auth.Caller) error {
			return w.RevokeByControl(ctx, c, rev, func(context.Context, *ca.Certificate) error { return problem.New(problem.Unauthorized, "not proven") })
		}},
	}
	caller := reflect.TypeFor[auth.Caller]()
	for m := range reflect.TypeFor[*ra.Registrar]().Methods() {
		if m.Type.NumIn() > 2 && m.Type.In(2) == caller {
			if _, ok := calls[m.Name]; !ok {
				t.Errorf("%s takes a caller, and is not tried here", m.Name)
			}
		}
	}
	// What nobody may is nobody's object: what is refused then says nothing of one.
	operators := []string{"RewrapKeys", "SuggestRenewal", "SuggestRenewals"}
	strangers := map[string]auth.Caller{
		"all roles elsewhere": mallet, "an account elsewhere": {Principal: "acme:eve", Org: 9}, "no role": person("user:30", 2), "nobody": {},
		"a role of another organisation": {Principal: "user:31", Org: 9, Roles: []auth.Grant{{Org: 2, Role: auth.Administrator}}},
		"below":                          {Principal: "user:32", Org: 3, Roles: []auth.Grant{{Org: 3, Role: auth.Administrator}}},
	}
	people := map[int]auth.Caller{byRequester: kim, byColleague: kai, byApprover: judge, byAuditor: reader, byAdministrator: admin, byAccount: {Principal: "acme:kit", Org: 2}}
	writes, entries := w.engine.Trips().Durable, len(w.journal.events)
	for name, m := range calls {
		for who, c := range strangers {
			err := m.call(c)
			if problem.Is(err, problem.NotFound) || problem.Is(err, problem.Unauthorized) && (slices.Contains(operators, name) || name == "Search" || c.Principal == "") {
				continue
			}
			if name == "Import" && !c.IsPrincipal() && problem.Is(err, problem.Unauthorized) {
				continue
			}
			if name == "RevokeByControl" && c.Org == 2 && problem.Is(err, problem.Unauthorized) {
				continue // it is for accounts, and what counts is what they prove
			}
			t.Errorf("%s by %s: %v", name, who, err)
		}
		for kind, c := range people {
			if m.may&kind != 0 {
				continue
			}
			err := m.call(c)
			if !problem.Is(err, problem.Unauthorized) && !(slices.Contains(operators, name) && problem.Is(err, problem.NotFound)) {
				t.Errorf("%s by %s: %v", name, c.Principal, err)
			}
		}
	}
	if n := w.engine.Trips().Durable - writes; n != 0 || len(w.journal.events) != entries {
		t.Errorf("what was refused made %d writes and %d entries", n, len(w.journal.events)-entries)
	}
	for _, name := range []string{"Get", "Current", "BySerial", "Lineage", "Location", "Waiting", "Search", "Challenges", "KeyOf", "OfferDownload"} {
		for kind, c := range people {
			if calls[name].may&kind == 0 {
				continue
			}
			if err := calls[name].call(c); err != nil {
				t.Errorf("%s by %s, who may: %v", name, c.Principal, err)
			}
		}
	}
}

// TestEveryDomainMethodIsDenied is the same of domains: that of organisation 3, which is delegated to 4 below it.
func TestEveryDomainMethodIsDenied(t *testing.T) {
	w := newEmailWorld(t)
	ctx := t.Context()
	const domain = "example.com"
	w.confirms(w.asked(domain, "below", "admin@example.com")[0])
	_, err := w.ValidateByEmail(ctx, operator, domain, []string{"admin@example.com"})
	must(t, err)
	delegated, err := w.Delegate(ctx, operator, domain, "far")
	must(t, err)
	number := delegated.Number
	one := func(_ any, err error) error { return err }
	const byOwner, byLooker, byBelow, byBelowLooker = 1, 2, 4, 8
	calls := map[string]struct {
		may  int
		call func(c auth.Caller) error
	}{
		"Add":      {byOwner, func(c auth.Caller) error { return one(w.Domains.Add(ctx, c, "example.org", "below")) }},
		"Remove":   {byOwner, func(c auth.Caller) error { return one(w.Domains.Remove(ctx, c, domain)) }},
		"Delegate": {byOwner | byBelow, func(c auth.Caller) error { return one(w.Delegate(ctx, c, domain, "far")) }},
		"Approve":  {byOwner, func(c auth.Caller) error { return one(w.Domains.Approve(ctx, c, domain, "far")) }},
		"Reject":   {byOwner, func(c auth.Caller) error { return one(w.Reject(ctx, c, domain, "far")) }},
		"Get":      {byOwner | byLooker | byBelow | byBelowLooker, func(c auth.Caller) error { return one(w.Domains.Get(ctx, c, domain)) }},
		"List":     {byOwner | byLooker, func(c auth.Caller) error { return one(w.List(ctx, c, "below", "", 10)) }},
		"Search": {byOwner | byLooker, func(c auth.Caller) error {
			return one(w.Domains.Search(ctx, c, ra.DomainQuery{Org: 3, Limit: 10}))
		}},
		"GetNumbered": {byOwner | byLooker | byBelow | byBelowLooker, func(c auth.Caller) error { return one(w.GetNumbered(ctx, c, number)) }},
		"Create": {byOwner, func(c auth.Caller) error {
			return one(w.Create(ctx, c, ra.NewDomain{Name: "example.org", Grants: []ra.NewGrant{{Org: 3}}}))
		}},
		"Suspend":          {byOwner, func(c auth.Caller) error { return one(w.Suspend(ctx, c, domain)) }},
		"Activate":         {byOwner, func(c auth.Caller) error { return one(w.Activate(ctx, c, domain)) }},
		"DelegateFor":      {byOwner | byBelow, func(c auth.Caller) error { return one(w.DelegateFor(ctx, c, domain, "far", nil)) }},
		"Refuse":           {byOwner, func(c auth.Caller) error { return one(w.Refuse(ctx, c, domain, "far")) }},
		"Grant":            {byOwner | byBelow, func(c auth.Caller) error { return one(w.Grant(ctx, c, domain, 4)) }},
		"GrantAll":         {byOwner | byBelow, func(c auth.Caller) error { return w.GrantAll(ctx, c, []ra.DomainNumber{number}, 4) }},
		"Ungrant":          {byOwner | byBelow, func(c auth.Caller) error { return one(w.Ungrant(ctx, c, domain, 4)) }},
		"Validate":         {byOwner, func(c auth.Caller) error { return one(w.Domains.Validate(ctx, c, domain, dcv.DNSTXT)) }},
		"Check":            {byOwner, func(c auth.Caller) error { return one(w.Check(ctx, c, domain)) }},
		"Begin":            {byOwner, func(c auth.Caller) error { return one(w.Begin(ctx, c, domain, dcv.DNSTXT, "")) }},
		"Submit":           {byOwner, func(c auth.Caller) error { return one(w.Domains.Submit(ctx, c, domain, dcv.DNSTXT, true)) }},
		"Recheck":          {byOwner, func(c auth.Caller) error { return one(w.Recheck(ctx, c, domain)) }},
		"CancelValidation": {byOwner, func(c auth.Caller) error { return one(w.CancelValidation(ctx, c, domain)) }},
		"Invalidate":       {byOwner, func(c auth.Caller) error { return one(w.Invalidate(ctx, c, domain)) }},
		"EmailAddresses":   {byOwner, func(c auth.Caller) error { return one(w.EmailAddresses(ctx, c, domain)) }},
		"ValidateByEmail": {byOwner, func(c auth.Caller) error {
			return one(w.ValidateByEmail(ctx, c, domain, []string{"admin@example.com"}))
		}},
		"ResendEmail": {byOwner, func(c auth.Caller) error { return one(w.ResendEmail(ctx, c, domain, nil)) }},
	}
	caller := reflect.TypeFor[auth.Caller]()
	for m := range reflect.TypeFor[*ra.Domains]().Methods() {
		if m.Type.NumIn() > 2 && m.Type.In(2) == caller {
			if _, ok := calls[m.Name]; !ok {
				t.Errorf("%s takes a caller, and is not tried here", m.Name)
			}
		}
	}
	callers := map[int]auth.Caller{
		byOwner: person("user:1", 3, auth.Administrator), byLooker: person("user:2", 3, auth.Requester, auth.Approver, auth.Auditor),
		byBelow: person("user:3", 4, auth.Administrator), byBelowLooker: person("user:4", 4, auth.Requester, auth.Approver, auth.Auditor),
	}
	strangers := []auth.Caller{person("user:5", 2, auth.Requester, auth.Approver, auth.Administrator, auth.Auditor), person("user:6", 3), {Principal: "acme:eve", Org: 2}, {}}
	writes, entries := w.engine.Trips().Durable, len(w.journal.events)
	for name, m := range calls {
		for _, c := range strangers {
			if err := m.call(c); !problem.Is(err, problem.NotFound) {
				t.Errorf("%s by %q of organisation %d: %v", name, c.Principal, c.Org, err)
			}
		}
		for kind, c := range callers {
			if m.may&kind != 0 {
				continue
			}
			below := kind == byBelow || kind == byBelowLooker // who may not know who owns it
			if err := m.call(c); !problem.Is(err, problem.Unauthorized) && !(below && problem.Is(err, problem.NotFound)) {
				t.Errorf("%s by %s: %v", name, c.Principal, err)
			}
		}
	}
	if n := w.engine.Trips().Durable - writes; n != 0 || len(w.journal.events) != entries {
		t.Errorf("what was refused made %d writes and %d entries", n, len(w.journal.events)-entries)
	}
	// Whom a domain is delegated to is not told whom the owner had mail sent to, and where that was answered from.
	d, err := w.Domains.Get(ctx, callers[byBelowLooker], domain)
	must(t, err)
	if d.Proof == nil || d.Proof.Seen != "" || d.Email != nil || d.Validation != nil {
		t.Errorf("below, it is seen as %+v, %+v", d, d.Proof)
	}
	if d, err = w.Domains.Get(ctx, callers[byLooker], domain); err != nil || d.Proof == nil || d.Proof.Seen == "" {
		t.Errorf("the owner's see %+v, %v", d, err)
	}
}

// TestForeignSlugIsAbsent: nobody learns from a domain's commands which organisations there are elsewhere.
func TestForeignSlugIsAbsent(t *testing.T) {
	w := newDomainWorld(t)
	ctx := t.Context()
	_, err := w.Add(ctx, operator, "example.com", "below")
	must(t, err)
	boss := person("user:1", 3, auth.Administrator)
	for what, call := range map[string]func(slug string) error{
		"add":      func(slug string) error { _, err := w.Add(ctx, boss, "example.org", slug); return err },
		"delegate": func(slug string) error { _, err := w.Delegate(ctx, boss, "example.com", slug); return err },
		"of none":  func(slug string) error { _, err := w.Delegate(ctx, boss, "example.net", slug); return err },
		"list":     func(slug string) error { _, err := w.List(ctx, boss, slug, "", 10); return err },
	} {
		foreign, none := call("other"), call("xxxxx")
		if !problem.Is(foreign, problem.NotFound) || !problem.Is(none, problem.NotFound) ||
			strings.ReplaceAll(foreign.Error(), "other", "xxxxx") != none.Error() {
			t.Errorf("%s: %v, but %v", what, foreign, none)
		}
	}
}
