package policy

import (
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

func TestQuota(t *testing.T) {
	a, b := dnsName(t, "a.example.com"), dnsName(t, "b.example.com")
	use := func(all, ofA, ofB int64) QuotaUse {
		return QuotaUse{Certificates: all, Names: []NameUse{{a, ofA}, {b, ofB}}}
	}
	for name, tt := range map[string]struct {
		quota Quota
		use   QuotaUse
		says  string // empty: room
		parts []identifier.Identifier
	}{
		"none":                   {Quota{}, use(1000, 1000, 1000), "", nil},
		"room for one":           {Quota{Certificates: 3}, use(2, 2, 2), "", nil},
		"used up":                {Quota{Certificates: 3}, use(3, 0, 0), `holds 3 certificates of the profile "web" that are neither expired nor revoked, and its quota is 3`, nil},
		"lowered below its use":  {Quota{Certificates: 3}, use(7, 0, 0), "holds 7 certificates", nil},
		"room for one of a name": {Quota{Certificates: 9, PerName: 2}, use(4, 1, 1), "", nil},
		"a name is used up":      {Quota{PerName: 2}, use(4, 1, 2), "2 certificates of the profile \"web\" for b.example.com", []identifier.Identifier{b}},
		"both names are":         {Quota{PerName: 2}, use(4, 2, 2), "2 of the names have as many", []identifier.Identifier{a, b}},
		"all before names":       {Quota{Certificates: 4, PerName: 2}, use(4, 2, 2), "its quota is 4", nil},
	} {
		t.Run(name, func(t *testing.T) {
			err := tt.quota.Check("web", tt.use)
			c := tt.quota.Explain("web", tt.use)
			if tt.says == "" {
				if err != nil || c.Outcome != Pass {
					t.Fatalf("refused: %v, %+v", err, c)
				}
				return
			}
			p := wantProblem(t, err, problem.RateLimited, tt.says)
			if c.Outcome != Fail || c.Detail != p.Detail {
				t.Errorf("it explains %+v", c)
			}
			if len(p.Parts) != len(tt.parts) {
				t.Fatalf("parts: %+v", p.Parts)
			}
			for i, part := range p.Parts {
				if part.Identifier != tt.parts[i] {
					t.Errorf("part %d is for %v", i, part.Identifier)
				}
			}
		})
	}
}

func TestNumbersOfAProfile(t *testing.T) {
	cfg := basic()
	cfg.Number, cfg.Quota = 7, Quota{Certificates: 10, PerName: 2}
	p := mustNew(t, cfg)
	if p.Number() != 7 || p.Quota() != cfg.Quota {
		t.Errorf("number %d, quota %+v", p.Number(), p.Quota())
	}
	// An operator can change both while orders are open.
	if p.Hash() != mustNew(t, basic()).Hash() {
		t.Error("number or quota are in the hash")
	}
	for says, change := range map[string]func(*Config){
		"number: -1 is not from 1 to 2147483647":             func(c *Config) { c.Number = -1 },
		"quota.certificates: -3 is not from 1 to 1000000":    func(c *Config) { c.Quota.Certificates = -3 },
		"quota.per_name: 1000001 is not from 1 to 1000000":   func(c *Config) { c.Quota.PerName = MaxQuota + 1 },
		"quota.per_name: 5 for one name is more than the 4 ": func(c *Config) { c.Quota = Quota{Certificates: 4, PerName: 5} },
	} {
		cfg := basic()
		change(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", says, err)
		}
	}
}
