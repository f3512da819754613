package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// TestRequestedValidity: a wish narrows, and never widens, what profile and issuer permit (RFC 8555, 7.4).
func TestRequestedValidity(t *testing.T) {
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) time.Time { return now.Add(d) }
	const back, whole = 5 * time.Minute, time.Hour
	never := time.Time{}
	for name, tt := range map[string]struct {
		asked, within, want Period
		refused             string
	}{
		"nothing":                         {want: Period{at(-back), at(whole - back - time.Second)}},
		"nothing, a shorter issuer":       {within: Period{at(0), at(time.Minute)}, want: Period{at(-back), at(whole - back - time.Second)}},
		"inside":                          {asked: Period{at(0), at(10 * time.Minute)}, want: Period{at(0), at(10 * time.Minute)}},
		"an end alone":                    {asked: Period{never, at(10 * time.Minute)}, want: Period{at(-back), at(10 * time.Minute)}},
		"a beginning alone":               {asked: Period{at(time.Hour), never}, want: Period{at(time.Hour), at(time.Hour + whole - time.Second)}},
		"too early":                       {asked: Period{at(-time.Hour), never}, want: Period{at(-back), at(whole - back - time.Second)}},
		"too late":                        {asked: Period{never, at(1000 * time.Hour)}, want: Period{at(-back), at(whole - back - time.Second)}},
		"both too far":                    {asked: Period{at(-time.Hour), at(1000 * time.Hour)}, want: Period{at(-back), at(whole - back - time.Second)}},
		"ahead, as far as may be":         {asked: Period{at(48 * time.Hour), never}, want: Period{at(48 * time.Hour), at(48*time.Hour + whole - time.Second)}},
		"the issuer ends first":           {asked: Period{never, at(50 * time.Minute)}, within: Period{at(-whole), at(20 * time.Minute)}, want: Period{at(-back), at(20 * time.Minute)}},
		"the issuer begins later":         {asked: Period{at(-back), never}, within: Period{at(-time.Minute), at(1000 * time.Hour)}, want: Period{at(-time.Minute), at(whole - time.Minute - time.Second)}},
		"another zone":                    {asked: Period{never, at(10 * time.Minute).In(time.FixedZone("", 7200))}, want: Period{at(-back), at(10 * time.Minute)}},
		"too far ahead":                   {asked: Period{at(48*time.Hour + time.Second), never}, refused: "48 hours ahead"},
		"over already":                    {asked: Period{never, at(0)}, refused: "has passed"},
		"ends before it begins":           {asked: Period{at(2 * time.Hour), at(time.Hour)}, refused: "must be after"},
		"ends as it begins":               {asked: Period{at(time.Hour), at(time.Hour)}, refused: "must be after"},
		"begins when the issuer is over":  {asked: Period{at(time.Hour), never}, within: Period{at(-whole), at(time.Hour)}, refused: "must be after"},
		"of an issuer that has ended now": {asked: Period{never, at(time.Hour)}, within: Period{at(-whole), at(0)}, refused: "must be after"},
	} {
		cfg := basic()
		cfg.Validity, cfg.Backdate, cfg.RequestedValidity = whole, back, ClampRequested
		p := mustNew(t, cfg)
		got, err := p.period(Request{Requested: tt.asked, Within: tt.within, Now: now})
		switch {
		case tt.refused != "":
			if !problem.Is(err, problem.Malformed) || !strings.Contains(err.Error(), tt.refused) {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
		case err != nil || got != tt.want:
			t.Errorf("%s: %+v, want %+v (%v)", name, got, tt.want, err)
		}
	}
}

// TestRequestedValidityInDecision: the gate sees the wish as part of the request, and a profile that takes none refuses it.
func TestRequestedValidityInDecision(t *testing.T) {
	profile := func(rule RequestedRule) *Profile {
		cfg := basic()
		cfg.Validity, cfg.RequestedValidity = time.Hour, rule
		return mustNew(t, cfg)
	}
	refuse, clamp := profile(""), profile(ClampRequested)
	if refuse.Hash() == clamp.Hash() {
		t.Error("the rule is no part of the hash that requests pin")
	}
	if profile(RefuseRequested).Hash() != refuse.Hash() {
		t.Error("the default, spelled out, changes the hash")
	}
	r := goodRequest(t, "www.example.com")
	r.Requested = Period{NotAfter: r.Now.Truncate(time.Second).Add(7 * time.Minute)}
	d, err := clamp.Decide(r)
	if err != nil || !d.NotAfter.Equal(r.Requested.NotAfter) || !d.NotBefore.Equal(r.Now.Truncate(time.Second)) {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := refuse.Decide(r); !problem.Is(err, problem.Malformed) {
		t.Errorf("a profile that takes no requested validity: %v", err)
	}
	if err := refuse.CheckRequested(r.Requested, r.Now); !problem.Is(err, problem.Malformed) {
		t.Errorf("a profile that takes no requested validity: %v", err)
	}
	r.Now = r.Now.Add(8 * time.Minute) // an attempt that comes too late for what was asked
	if _, err := clamp.Decide(r); !problem.Is(err, problem.Malformed) {
		t.Errorf("the requested end has passed: %v", err)
	}
}

func TestRequestedValidityConfig(t *testing.T) {
	_, err := New(Config{Name: "web", Issuer: "main", RequestedValidity: "sometimes"})
	if err == nil || !strings.Contains(err.Error(), "requested_validity") {
		t.Error(err)
	}
	_, err = New(Config{Name: "own", Issuer: "main", Own: true, AllowNames: []string{"ca.example.com"}, RequestedValidity: ClampRequested})
	if err == nil || !strings.Contains(err.Error(), "requested_validity") {
		t.Error(err)
	}
}
