package policy

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
)

func withCAA(cfg Config, lifetime time.Duration) Config {
	cfg.CAA, cfg.CAALifetime = CAAOn, lifetime
	return cfg
}

func TestCAARule(t *testing.T) {
	for name, row := range map[string]struct {
		cfg   Config
		asks  bool
		fault string
	}{
		"private":           {cfg: basic()},
		"private, off":      {cfg: func() Config { c := basic(); c.CAA = CAAOff; return c }()},
		"private, on":       {cfg: withCAA(basic(), 0), asks: true},
		"private, long":     {cfg: withCAA(basic(), 240*time.Hour), asks: true},
		"public":            {cfg: public(), asks: true},
		"public, on":        {cfg: withCAA(public(), time.Hour), asks: true},
		"public, off":       {cfg: func() Config { c := public(); c.CAA = CAAOff; return c }(), fault: "caa: public trust requires"},
		"public, long":      {cfg: withCAA(public(), 8*time.Hour+time.Second), fault: "caa_lifetime: 8h0m1s is more than"},
		"another word":      {cfg: func() Config { c := basic(); c.CAA = "yes"; return c }(), fault: `caa: "yes" is none of`},
		"negative":          {cfg: withCAA(basic(), -time.Second), fault: "caa_lifetime"},
		"no whole seconds":  {cfg: withCAA(basic(), time.Second+1), fault: "caa_lifetime"},
		"lifetime in vain":  {cfg: func() Config { c := basic(); c.CAALifetime = time.Hour; return c }(), fault: "caa_lifetime: CAA is not asked"},
		"gateway's own":     {cfg: Config{Name: "own", Issuer: "local", Own: true, AllowNames: []string{"ca.example.com"}, CAA: CAAOn}, fault: "caa: the gateway's own"},
		"gateway's own off": {cfg: Config{Name: "own", Issuer: "local", Own: true, AllowNames: []string{"ca.example.com"}}},
	} {
		p, err := New(row.cfg)
		switch {
		case row.fault != "" && (err == nil || !strings.Contains(err.Error(), row.fault)):
			t.Errorf("%s: %v", name, err)
		case row.fault == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case row.fault == "" && p.ChecksCAA() != row.asks:
			t.Errorf("%s: asks: %v", name, p.ChecksCAA())
		}
	}
	// A profile that says nothing is the one it was before the release that knows CAA.
	hashes := []string{
		mustNew(t, basic()).Hash(), mustNew(t, withCAA(basic(), 0)).Hash(), mustNew(t, withCAA(basic(), time.Hour)).Hash(),
	}
	if slices.Sort(hashes); len(slices.Compact(hashes)) != 3 {
		t.Error("CAA is no part of the hash")
	}
	if mustNew(t, withCAA(basic(), 0)).Hash() != mustNew(t, withCAA(basic(), DefaultCAALifetime)).Hash() {
		t.Error("the default lifetime has a hash of its own")
	}
}

func TestDecideCAA(t *testing.T) {
	permitted := func(r *Request, i int, age time.Duration) {
		r.Proofs[i].CAA = dcv.CAA{Identifier: r.Proofs[i].Identifier, At: testNow.Add(-age), Seen: "none"}
	}
	decide := func(p *Profile, change func(*Request)) []CAA {
		t.Helper()
		r := goodRequest(t, "b.example.com", "a.example.com", "192.0.2.1")
		change(&r)
		d, err := p.Decide(r)
		if err != nil {
			t.Fatal(err)
		}
		return d.CAA
	}
	if all := decide(mustNew(t, basic()), func(*Request) {}); all != nil {
		t.Errorf("not asked: %+v", all)
	}
	p := mustNew(t, withCAA(basic(), 2*time.Hour))
	all := decide(p, func(r *Request) { permitted(r, 0, time.Minute) })
	if len(all) != 2 || all[0].Identifier.Value() != "a.example.com" || !all[0].Permission.At.IsZero() ||
		!slices.Equal(all[0].Methods, []dcv.Method{dcv.HTTP01}) || all[1].Permission.Identifier.Value() != "b.example.com" {
		t.Errorf("one permission of two: %+v", all)
	}
	for name, row := range map[string]struct {
		change func(*Request)
		young  bool
	}{
		"just young enough":  {func(r *Request) { permitted(r, 0, 2*time.Hour-caaMargin-time.Nanosecond) }, true},
		"just too old":       {func(r *Request) { permitted(r, 0, 2*time.Hour-caaMargin) }, false},
		"from another clock": {func(r *Request) { permitted(r, 0, -maxSkew) }, true},
		"from the future":    {func(r *Request) { permitted(r, 0, -maxSkew-time.Second) }, false},
		"for the wildcard":   {func(r *Request) { permitted(r, 0, 0); r.Proofs[0].CAA.Identifier = dnsName(t, "*.b.example.com") }, false},
		"for another name":   {func(r *Request) { permitted(r, 0, 0); r.Proofs[0].CAA.Identifier = dnsName(t, "a.example.com") }, false},
		"of a proof that is no good": {func(r *Request) {
			r.Proofs = append(r.Proofs, r.Proofs[0])
			permitted(r, 3, 0)
			r.Proofs[3].Account = "8"
		}, false},
		"of a second proof": {func(r *Request) { r.Proofs = append(r.Proofs, r.Proofs[0]); permitted(r, 3, 0) }, true},
	} {
		if got := decide(p, row.change)[1]; got.Permission.At.IsZero() == row.young {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
