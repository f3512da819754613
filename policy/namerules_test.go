package policy

import (
	"slices"
	"testing"

	"github.com/gatehouse-ca/gatehouse/problem"
)

func TestNameRulesNarrowFromAbove(t *testing.T) {
	top := NameRules{Organisation: "top", Allow: []string{"*.example.com", "*.a.example.com", "example.com", "10.0.0.0/8"}, Deny: []string{"secret.example.com", "10.1.0.0/16"}}
	below := NameRules{Organisation: "below", Allow: []string{"*.a.example.com", "www.example.com", "www.example.org", "10.1.2.3", "secret.example.com", "*.example.com"}, Deny: []string{"*.a.example.com"}}
	for name, tt := range map[string]struct {
		levels []NameRules
		asked  []string
		says   string // of each refused one, in order; empty: allowed
	}{
		"no rules":                        {nil, []string{"anything.example.net"}, ""},
		"empty rules":                     {[]NameRules{{Organisation: "top"}}, []string{"anything.example.net"}, ""},
		"allowed above":                   {[]NameRules{top}, []string{"www.example.com", "10.0.0.1"}, ""},
		"not allowed above":               {[]NameRules{top}, []string{"www.example.org"}, `www.example.org is not among what the organisation "top" allows`},
		"address outside":                 {[]NameRules{top}, []string{"192.0.2.1"}, `not among what the organisation "top" allows`},
		"denied wins over allowed":        {[]NameRules{top}, []string{"secret.example.com"}, `denied by the organisation "top"`},
		"denied range in an allowed one":  {[]NameRules{top}, []string{"10.1.0.7"}, `denied by the organisation "top"`},
		"a wildcard that covers a denied": {[]NameRules{top}, []string{"*.example.com"}, `would also cover secret.example.com, which the organisation "top" denies`},
		"a wildcard that covers none":     {[]NameRules{top}, []string{"*.a.example.com"}, ""},
		"a wildcard beside one of its":    {[]NameRules{{Organisation: "o", Allow: []string{"www.example.com"}}}, []string{"*.example.com"}, "not among"},
		"two labels below a pattern":      {[]NameRules{top}, []string{"x.y.example.com"}, "not among"},
		"both allow":                      {[]NameRules{top, below}, []string{"www.example.com"}, ""},
		"below cannot widen":              {[]NameRules{top, below}, []string{"www.example.org"}, `not among what the organisation "top" allows`},
		"below cannot undo a denial":      {[]NameRules{top, below}, []string{"secret.example.com"}, `denied by the organisation "top"`},
		"nor that of an address":          {[]NameRules{top, below}, []string{"10.1.2.3"}, `denied by the organisation "top"`},
		"below narrows":                   {[]NameRules{top, below}, []string{"example.com"}, `not among what the organisation "below" allows`},
		"below denies":                    {[]NameRules{top, below}, []string{"x.a.example.com"}, `denied by the organisation "below"`},
		"below alone has rules":           {[]NameRules{{Organisation: "top"}, below}, []string{"example.net"}, `the organisation "below"`},
	} {
		t.Run(name, func(t *testing.T) {
			err := CheckNames(tt.levels, names(t, tt.asked...))
			if tt.says == "" {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			if p := wantProblem(t, err, problem.RejectedIdentifier, tt.says); len(p.Parts) != 1 {
				t.Errorf("%d parts", len(p.Parts))
			}
		})
	}
	// Every refused name has one part, in the request's sequence, whichever level refuses it.
	p := wantProblem(t, CheckNames([]NameRules{top, below}, names(t, "example.com", "www.example.org", "www.example.com")), problem.RejectedIdentifier, "2 of the 3 names")
	var refused []string
	for _, part := range p.Parts {
		refused = append(refused, part.Identifier.Value())
	}
	if !slices.Equal(refused, []string{"example.com", "www.example.org"}) {
		t.Errorf("parts for %q", refused)
	}
}

func TestNameRulesThatCannotBeRead(t *testing.T) {
	for says, rules := range map[string]NameRules{
		"allow_names: ": {Organisation: "o", Allow: []string{"www.example.com", "not a name"}},
		"deny_names: ":  {Organisation: "o", Deny: []string{"10.0.0.1/8"}},
	} {
		if err := rules.Check(); err == nil || !containsAll(err.Error(), says) {
			t.Errorf("Check: %v", err)
		}
		// Whoever wrote them was told. Should they be met in force, nothing is allowed.
		wantProblem(t, CheckNames([]NameRules{rules}, names(t, "www.example.com")), problem.Internal, "")
	}
	if err := (NameRules{Allow: []string{"*.example.com"}, Deny: []string{"192.0.2.0/24"}}).Check(); err != nil {
		t.Error(err)
	}
}

func TestDecideHoldsToNameRules(t *testing.T) {
	rules := []NameRules{{Organisation: "top", Deny: []string{"www.example.com"}}}
	p := mustNew(t, basic())
	r := goodRequest(t, "www.example.com")
	r.NameRules = rules
	_, err := p.Decide(r)
	wantProblem(t, err, problem.RejectedIdentifier, `denied by the organisation "top"`)
	r.NameRules = nil
	if _, err := p.Decide(r); err != nil {
		t.Fatal(err)
	}
	// The gateway's own names are the operator's.
	mine := ownRequest(t, "ca.example.com")
	mine.NameRules = []NameRules{{Organisation: "top", Allow: []string{"example.org"}}}
	if _, err := mustNew(t, own()).Decide(mine); err != nil {
		t.Fatal(err)
	}
}
