package policy

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// termed offers 30, 90 and 365 days, of which 90 is the default.
func termed() Config {
	cfg := basic()
	cfg.Validity, cfg.Terms = 90*day, []time.Duration{365 * day, 30 * day, 90 * day, 30 * day}
	return cfg
}

func TestTermDecides(t *testing.T) {
	for name, tt := range map[string]struct {
		change  func(*Config)
		term    time.Duration
		want    time.Duration
		refused string
	}{
		"none asked for":                   {nil, 0, 90 * day, ""},
		"the default, by name":             {nil, 90 * day, 90 * day, ""},
		"a shorter one":                    {nil, 30 * day, 30 * day, ""},
		"a longer one":                     {nil, 365 * day, 365 * day, ""},
		"none of the profile's":            {nil, 60 * day, 0, "the term 60d is not one of the profile \"web\"; ask for one of 30d, 90d, 365d, or for none"},
		"negative":                         {nil, -day, 0, "is not one of the profile"},
		"without validity, the shortest":   {func(c *Config) { c.Validity = 0 }, 0, 30 * day, ""},
		"a profile without terms":          {func(c *Config) { c.Terms = nil }, 90 * day, 90 * day, ""},
		"none of a profile without terms":  {func(c *Config) { c.Terms = nil }, 30 * day, 0, "ask for one of 90d, or for none"},
		"backdate is part of it":           {func(c *Config) { c.Backdate = time.Hour }, 30 * day, 30 * day, ""},
		"a profile that takes validities":  {func(c *Config) { c.RequestedValidity = ClampRequested }, 365 * day, 365 * day, ""},
		"public, inside today's limit":     {func(c *Config) { *c = publicTerms() }, 180 * day, 180 * day, ""},
		"public, the default":              {func(c *Config) { *c = publicTerms() }, 0, 47 * day, ""},
		"public, none of the profile's":    {func(c *Config) { *c = publicTerms() }, 365 * day, 0, "is not one of the profile"},
		"a profile whose validity is 36 h": {func(c *Config) { c.Terms, c.Validity = nil, 36*time.Hour }, 36 * time.Hour, 36 * time.Hour, ""},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := termed()
			if tt.change != nil {
				tt.change(&cfg)
			}
			r := goodRequest(t, "www.example.com")
			r.Term = tt.term
			for i := range r.Proofs {
				r.Proofs[i].Secure = true
			}
			d, err := mustNew(t, cfg).Decide(r)
			if tt.refused != "" {
				wantProblem(t, err, problem.Malformed, tt.refused)
				if !errors.Is(err, ErrTerm) {
					t.Errorf("a door could not tell what is wrong: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := d.NotAfter.Sub(d.NotBefore) + time.Second; got != tt.want || d.Term != tt.want {
				t.Errorf("issued for %v, term %v, want %v", got, d.Term, tt.want)
			}
		})
	}
}

func publicTerms() Config {
	cfg := public()
	cfg.Validity, cfg.Terms = 47*day, []time.Duration{47 * day, 90 * day, 180 * day}
	return cfg
}

// TestTermsFollowTheDates: a gateway that runs past a day of the table goes on. What nobody asked for is shortened; what somebody
// chose is refused, because they were promised that.
func TestTermsFollowTheDates(t *testing.T) {
	cfg := publicTerms()
	cfg.Validity = 180 * day
	p := mustNew(t, cfg)
	for _, tt := range []struct {
		at      time.Time
		offered []time.Duration
		none    time.Duration // what is issued without a term
	}{
		{testNow, []time.Duration{47 * day, 90 * day, 180 * day}, 180 * day},
		{date(2027, 3, 15).Add(-time.Second), []time.Duration{47 * day, 90 * day, 180 * day}, 180 * day},
		{date(2027, 3, 15), []time.Duration{47 * day, 90 * day}, 100 * day},
		{date(2029, 3, 15), []time.Duration{47 * day}, 47 * day},
	} {
		if got := p.Terms(tt.at); !slices.Equal(got, tt.offered) {
			t.Errorf("at %v: %v", tt.at, got)
		}
		for _, term := range []time.Duration{0, 47 * day, 90 * day, 180 * day} {
			got, err := p.granted(term, tt.at)
			switch offered := slices.Contains(tt.offered, term); {
			case term == 0 && (err != nil || got != tt.none):
				t.Errorf("at %v without a term: %v, %v", tt.at, got, err)
			case term != 0 && offered && (err != nil || got != term):
				t.Errorf("at %v: %v, %v", tt.at, got, err)
			case term != 0 && !offered && (!problem.Is(err, problem.Malformed) || !errors.Is(err, ErrTerm) || !strings.Contains(err.Error(), "Baseline Requirements 6.3.2")):
				t.Errorf("at %v the term %v: %v, %v", tt.at, term, got, err)
			}
		}
	}
	cfg = publicTerms()
	cfg.Terms, cfg.Validity = []time.Duration{180 * day}, 180*day
	p = mustNew(t, cfg)
	if _, err := p.granted(180*day, date(2030, 1, 1)); !problem.Is(err, problem.Malformed) || !strings.HasSuffix(problem.From(err).Detail, "ask for none") {
		t.Errorf("when no term is left: %v", err)
	}
	p.Terms(testNow)[0] = 0
	if p.Terms(testNow)[0] != 180*day {
		t.Error("a profile changed after it was made")
	}
}

// TestTermAndRequestedValidity: with requested_validity: clamp a period lies inside the term; with refuse the term alone may be
// named.
func TestTermAndRequestedValidity(t *testing.T) {
	cfg := termed()
	refuse := mustNew(t, cfg)
	cfg.RequestedValidity = ClampRequested
	clamp := mustNew(t, cfg)
	now := testNow.Truncate(time.Second)
	for name, tt := range map[string]struct {
		term  time.Duration
		asked Period
		want  Period
	}{
		"a period inside the term":         {30 * day, Period{NotAfter: now.Add(10 * day)}, Period{now, now.Add(10 * day)}},
		"a period beyond the term":         {30 * day, Period{NotAfter: now.Add(60 * day)}, Period{now, now.Add(30*day - time.Second)}},
		"a period beyond the default":      {0, Period{NotAfter: now.Add(200 * day)}, Period{now, now.Add(90*day - time.Second)}},
		"a longer term, and a period":      {365 * day, Period{NotAfter: now.Add(200 * day)}, Period{now, now.Add(200 * day)}},
		"a term that begins later":         {30 * day, Period{NotBefore: now.Add(day)}, Period{now.Add(day), now.Add(31*day - time.Second)}},
		"a term alone, where both may be":  {365 * day, Period{}, Period{now, now.Add(365*day - time.Second)}},
		"neither, where both may be asked": {0, Period{}, Period{now, now.Add(90*day - time.Second)}},
	} {
		r := goodRequest(t, "www.example.com")
		r.Term, r.Requested = tt.term, tt.asked
		d, err := clamp.Decide(r)
		if err != nil || (Period{d.NotBefore, d.NotAfter}) != tt.want {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
		if _, err = refuse.Decide(r); (err == nil) != tt.asked.IsZero() {
			t.Errorf("%s, of a profile that takes no period: %v", name, err)
		}
	}
}

// TestRenewalTerm: a renewal that nobody chose a term for is never longer than what it renews.
func TestRenewalTerm(t *testing.T) {
	p, dated := mustNew(t, termed()), mustNew(t, publicTerms())
	for _, tt := range []struct {
		p         *Profile
		old, want time.Duration
		at        time.Time
	}{
		{p, 0, 0, testNow}, {p, 90 * day, 90 * day, testNow}, {p, 60 * day, 30 * day, testNow}, {p, 1000 * day, 365 * day, testNow}, {p, 10 * day, 10 * day, testNow},
		{dated, 180 * day, 180 * day, testNow}, {dated, 180 * day, 90 * day, date(2027, 3, 15)}, {dated, 180 * day, 47 * day, date(2029, 3, 15)},
	} {
		if got := tt.p.RenewalTerm(tt.old, tt.at); got != tt.want {
			t.Errorf("%v at %v: %v, want %v", tt.old, tt.at, got, tt.want)
		}
	}
}

func TestTermsConfig(t *testing.T) {
	many := make([]time.Duration, MaxTerms+1)
	for i := range many {
		many[i] = time.Duration(i+1) * day
	}
	for name, tt := range map[string]struct {
		change func(*Config)
		field  string
		says   string
	}{
		"half a day":              {func(c *Config) { c.Terms = append(c.Terms, 12*time.Hour) }, "terms", "whole days"},
		"nothing":                 {func(c *Config) { c.Terms = append(c.Terms, 0) }, "terms", "whole days"},
		"negative":                {func(c *Config) { c.Terms = append(c.Terms, -day) }, "terms", "whole days"},
		"too many":                {func(c *Config) { c.Terms, c.Validity = many, day }, "terms", "at most 20"},
		"without the default":     {func(c *Config) { c.Validity = 60 * day }, "validity", "not one of terms (30d, 90d, 365d)"},
		"shorter than backdating": {func(c *Config) { c.Backdate = 30 * day }, "terms", "30d is not longer than backdate"},
		"public, over the limit":  {func(c *Config) { *c = publicTerms(); c.Terms = append(c.Terms, 365*day) }, "terms", "365d is more than public trust allows"},
		"the gateway's own":       {func(c *Config) { *c = own(); c.Terms = []time.Duration{30 * day} }, "terms", "own certificate"},
	} {
		cfg := termed()
		tt.change(&cfg)
		_, err := New(cfg)
		ce, ok := errors.AsType[*ConfigError](err)
		if !ok || ce.Field != tt.field || !strings.Contains(ce.Reason, tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTermsHash: the terms are pinned where there is a choice, and are nothing to a profile that has none.
func TestTermsHash(t *testing.T) {
	hash := func(change func(*Config)) string {
		cfg := termed()
		change(&cfg)
		return mustNew(t, cfg).Hash()
	}
	same := hash(func(c *Config) {})
	if same != hash(func(c *Config) { slices.Reverse(c.Terms) }) {
		t.Error("the sequence of terms is in the hash")
	}
	if same == hash(func(c *Config) { c.Terms = append(c.Terms, 180*day) }) || same == hash(func(c *Config) { c.Validity = 30 * day }) {
		t.Error("terms or the default are not in the hash")
	}
	if hash(func(c *Config) { c.Terms = []time.Duration{90 * day} }) != hash(func(c *Config) { c.Terms = nil }) {
		t.Error("one term is another hash than none, and means the same")
	}
}

// TestApprovalsBindTheTerm: what was approved for 30 days is not approved for a year.
func TestApprovalsBindTheTerm(t *testing.T) {
	cfg := termed()
	cfg.Approvals = ApprovalRule{Required: 1}
	p := mustNew(t, cfg)
	r := goodRequest(t, "www.example.com")
	r.Term = 30 * day
	content, err := p.Content(r)
	if err != nil {
		t.Fatal(err)
	}
	r.Approvals = []Approval{{Content: content, Approver: "user:1", At: r.Now}}
	if _, err := p.Decide(r); err != nil {
		t.Fatal(err)
	}
	for _, term := range []time.Duration{0, 90 * day, 365 * day} {
		r.Term = term
		if _, err := p.Decide(r); !errors.Is(err, ErrNotApproved) {
			t.Errorf("approved for 30 days, issued for %v: %v", term, err)
		}
	}
}
