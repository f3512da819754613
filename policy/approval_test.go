package policy

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// guarded is a profile that wants two approvals.
func guarded(change func(*ApprovalRule)) Config {
	cfg := basic()
	cfg.Approvals = ApprovalRule{Required: 2}
	if change != nil {
		change(&cfg.Approvals)
	}
	return cfg
}

func content(t *testing.T, p *Profile, r Request) string {
	t.Helper()
	c, err := p.Content(r)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestApprovalRuleIsChecked(t *testing.T) {
	for _, c := range []struct {
		name string
		rule ApprovalRule
		says string
	}{
		{"nobody required", ApprovalRule{Role: ByApprover}, "required is missing"},
		{"negative", ApprovalRule{Required: -1}, "give 1 to 5"},
		{"too many", ApprovalRule{Required: 6}, "give 1 to 5"},
		{"role", ApprovalRule{Required: 1, Role: "auditor"}, `"auditor" is none`},
		{"renewals", ApprovalRule{Required: 1, Renewals: "never"}, `"never" is none`},
		{"short", ApprovalRule{Required: 1, Lifetime: time.Second}, "from a minute"},
		{"long", ApprovalRule{Required: 1, Lifetime: 31 * day}, "from a minute"},
		{"fraction", ApprovalRule{Required: 1, Lifetime: time.Hour + time.Millisecond}, "whole seconds"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := basic()
			cfg.Approvals = c.rule
			_, err := New(cfg)
			ce, ok := errors.AsType[*ConfigError](err)
			if !ok || ce.Field != "approvals" || !strings.Contains(ce.Reason, c.says) {
				t.Errorf("got %v, want a fault in approvals that says %q", err, c.says)
			}
		})
	}
	got := mustNew(t, guarded(nil)).Approvals()
	if want := (ApprovalRule{Required: 2, Role: ByApprover, Lifetime: 7 * day, Renewals: RenewFreely}); got != want {
		t.Errorf("the defaults are %+v, want %+v", got, want)
	}
}

// TestApprovalsChangeTheHash: every part of the rule, and none of it where there is no rule.
func TestApprovalsChangeTheHash(t *testing.T) {
	seen := map[string]string{mustNew(t, basic()).Hash(): "none"}
	for name, change := range map[string]func(*ApprovalRule){
		"required": func(a *ApprovalRule) {}, "one": func(a *ApprovalRule) { a.Required = 1 }, "role": func(a *ApprovalRule) { a.Role = ByAdministrator },
		"lifetime": func(a *ApprovalRule) { a.Lifetime = day }, "key": func(a *ApprovalRule) { a.BindKey = true },
		"renewals": func(a *ApprovalRule) { a.Renewals = ApproveRenewals },
	} {
		h := mustNew(t, guarded(change)).Hash()
		if before, ok := seen[h]; ok {
			t.Errorf("%s has the hash of %s", name, before)
		}
		seen[h] = name
	}
}

func TestDecideWantsApprovals(t *testing.T) {
	p := mustNew(t, guarded(nil))
	good := goodRequest(t, "www.example.com")
	c := content(t, p, good)
	by := func(who string, age time.Duration) Approval {
		return Approval{Content: c, Approver: who, At: testNow.Add(-age)}
	}
	for _, test := range []struct {
		name string
		list []Approval
		ok   bool
	}{
		{"none", nil, false},
		{"one", []Approval{by("uid:1", 0)}, false},
		{"two", []Approval{by("uid:1", 0), by("user:2", time.Hour)}, true},
		{"one person twice", []Approval{by("uid:1", 0), by("uid:1", time.Hour)}, false},
		{"the requester", []Approval{by("uid:1", 0), by(good.Requester.Principal, 0)}, false},
		{"nobody", []Approval{by("uid:1", 0), by("", 0)}, false},
		{"at the last moment", []Approval{by("uid:1", 0), by("uid:2", 7*day-time.Second)}, true},
		{"lapsed", []Approval{by("uid:1", 0), by("uid:2", 7*day)}, false},
		{"from the future", []Approval{by("uid:1", 0), by("uid:2", -31*time.Second)}, false},
		{"without a time", []Approval{by("uid:1", 0), {Content: c, Approver: "uid:2"}}, false},
		{"of something else", []Approval{by("uid:1", 0), {Content: "ff", Approver: "uid:2", At: testNow}}, false},
		{"of nothing", []Approval{by("uid:1", 0), {Approver: "uid:2", At: testNow}}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := good
			r.Approvals = test.list
			d, err := p.Decide(r)
			switch {
			case !test.ok:
				wantProblem(t, err, problem.Unauthorized, "the consent of 2 other people with the role approver")
				if !errors.Is(err, ErrNotApproved) || d != nil {
					t.Errorf("the refusal is %v with %v", err, d)
				}
			case err != nil:
				t.Fatal(err)
			case d.Content != c || !slices.Equal(d.Approvers, []string{test.list[0].Approver, test.list[1].Approver}):
				t.Errorf("the decision names %q and %v", d.Content, d.Approvers)
			}
		})
	}
}

// TestApprovalsAreLast: what else is wrong is said first, so that nobody is asked about what could never be issued.
func TestApprovalsAreLast(t *testing.T) {
	p := mustNew(t, guarded(nil))
	for name, change := range map[string]func(*Request){
		"proof": func(r *Request) { r.Proofs = nil }, "CSR": func(r *Request) { r.CSR = csrFor(t, "b.example.com") },
		"validity": func(r *Request) { r.Requested.NotAfter = testNow.Add(time.Hour) }, "hash": func(r *Request) { r.ProfileHash = "00" },
	} {
		r := goodRequest(t, "www.example.com")
		change(&r)
		if _, err := p.Decide(r); err == nil || errors.Is(err, ErrNotApproved) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFreeRenewals: of the very content, unless the profile says otherwise.
func TestFreeRenewals(t *testing.T) {
	for _, rule := range []RenewalRule{RenewFreely, ApproveRenewals} {
		p := mustNew(t, guarded(func(a *ApprovalRule) { a.Renewals = rule }))
		r := goodRequest(t, "www.example.com")
		r.Renews = content(t, p, r)
		d, err := p.Decide(r)
		if (err == nil) != (rule == RenewFreely) {
			t.Errorf("renewals: %s: %v", rule, err)
		}
		if err == nil && (d.Content != r.Renews || len(d.Approvers) > 0) {
			t.Errorf("the decision names %q and %v", d.Content, d.Approvers)
		}
		r.Renews = content(t, p, goodRequest(t, "b.example.com"))
		if _, err := p.Decide(r); !errors.Is(err, ErrNotApproved) {
			t.Errorf("what was approved for another content renews this: %v", err)
		}
	}
}

// TestContentBinds what an approver sees, and the key where the client keeps one.
func TestContentBinds(t *testing.T) {
	cfg := guarded(nil)
	cfg.RequestedValidity, cfg.SubjectFromCSR, cfg.CommonName = ClampRequested, []SubjectField{"organization"}, CommonNameFromCSR
	p := mustNew(t, cfg)
	good := goodRequest(t, "a.example.com", "b.example.com")
	same := goodRequest(t, "b.example.com", "a.example.com") // in another sequence, with another key
	same.Requester = good.Requester
	if content(t, p, good) != content(t, p, same) {
		t.Error("sequence or key changes the content of an ACME request")
	}
	changes := map[string]func(*Request){
		"organisation": func(r *Request) { r.Requester.Org++ },
		"requester":    func(r *Request) { r.Requester.Principal += "1" },
		"door":         func(r *Request) { r.Requester.Door = "other" },
		"names":        func(r *Request) { r.Names = r.Names[:1] },
		"notBefore":    func(r *Request) { r.Requested.NotBefore = testNow },
		"notAfter":     func(r *Request) { r.Requested.NotAfter = testNow },
		"subject":      func(r *Request) { c := *r.CSR; c.Subject.Organization = "Example"; r.CSR = &c },
		"CN":           func(r *Request) { c := *r.CSR; c.CommonName = "b.example.com"; r.CSR = &c },
	}
	seen := map[string]string{content(t, p, good): "the first"}
	for name, change := range changes {
		r := good
		change(&r)
		c := content(t, p, r)
		if before, ok := seen[c]; ok {
			t.Errorf("%s has the content of %s", name, before)
		}
		seen[c] = name
	}
	if content(t, mustNew(t, guarded(nil)), good) == content(t, p, good) {
		t.Error("another profile has the same content")
	}

	bound := mustNew(t, guarded(func(a *ApprovalRule) { a.BindKey = true }))
	if content(t, bound, good) == content(t, bound, same) {
		t.Error("bind_key: another key has the same content")
	}
	good.Requester.Principal, same.Requester.Principal = "user:1", "user:1"
	if content(t, p, good) == content(t, p, same) {
		t.Error("not over ACME: another key has the same content")
	}
	good.CSR = nil
	if _, err := p.Content(good); !problem.Is(err, problem.BadCSR) {
		t.Errorf("without a CSR: %v", err)
	}
}
