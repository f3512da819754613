package ra_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

func (w *world) renewal(e *ra.Enrollment) *ca.Renewal {
	w.t.Helper()
	c, err := w.db.Certificate(w.t.Context(), e.Issuer, e.Serial)
	must(w.t, err)
	return c.Renewal
}

func TestSuggestRenewalIsTheOperators(t *testing.T) {
	w := newWorld(t)
	e := w.issue(alice, "a.example.com")
	word := ra.RenewalWord{From: start, By: start.Add(time.Hour)}
	if err := w.SuggestRenewal(t.Context(), alice, e, word); !problem.Is(err, problem.Unauthorized) {
		t.Error(err)
	}
	if _, err := w.SuggestRenewals(t.Context(), alice, ra.RenewalFilter{}, word, false); !problem.Is(err, problem.Unauthorized) {
		t.Error(err)
	}
	must(t, w.SuggestRenewal(t.Context(), operator, e, word))
	if r := w.renewal(e); !r.Stands() || !r.Start.Equal(word.From) || !r.End.Equal(word.By) {
		t.Errorf("%+v", r)
	}
	must(t, w.SuggestRenewal(t.Context(), operator, e, ra.RenewalWord{Clear: true}))
	if r := w.renewal(e); r.Stands() {
		t.Errorf("taken back, it is %+v", r)
	}
	unfinished := w.postponed(alice, "b.example.com")
	if err := w.SuggestRenewal(t.Context(), operator, unfinished, word); !problem.Is(err, problem.Conflict) {
		t.Errorf("of an enrollment without a certificate: %v", err)
	}
}

// TestSuggestRenewals: batch by batch, what the filter selects and still matters, each with a window of its own.
func TestSuggestRenewals(t *testing.T) {
	w := newWorld(t)
	var own []*ra.Enrollment
	for i := range 8 {
		own = append(own, w.issue(alice, fmt.Sprintf("h%d.example.com", i)))
	}
	foreign := w.issue(eve, "eve.example.com")
	must(t, w.Revoke(t.Context(), alice, ra.Revocation{Issuer: "main", Serial: own[0].Serial}))
	w.clock.add(time.Minute)
	late := w.issue(alice, "late.example.com")

	word := ra.RenewalWord{From: w.clock.now(), By: w.clock.now().Add(8 * time.Hour), Spread: true, Explanation: "https://status.example.com/7"}
	all := func(f ra.RenewalFilter, word ra.RenewalWord, trial bool) ra.RenewalBatch {
		t.Helper()
		b, err := w.SuggestRenewals(t.Context(), operator, f, word, trial)
		must(t, err)
		return b
	}
	f := ra.RenewalFilter{Org: 1, Profile: "tls", Issuer: "main", IssuedBefore: w.clock.now()}
	if b := all(f, word, true); b != (ra.RenewalBatch{Looked: 9, Changed: 7}) || w.renewal(own[1]) != nil {
		t.Errorf("a trial: %+v, %+v", b, w.renewal(own[1]))
	}
	if b := all(f, word, false); b != (ra.RenewalBatch{Looked: 9, Changed: 7}) {
		t.Errorf("%+v", b)
	}
	starts := map[time.Time]bool{}
	for _, e := range own[1:] {
		r := w.renewal(e)
		if !r.Stands() || r.Start.Before(word.From) || r.End.After(word.By) || r.End.Sub(r.Start) != 2*time.Hour || r.Explanation != word.Explanation {
			t.Errorf("enrollment %d: %+v", e.ID, r)
		}
		starts[r.Start] = true
	}
	if len(starts) < 5 {
		t.Errorf("seven windows begin at %d moments only", len(starts))
	}
	for _, e := range []*ra.Enrollment{own[0], foreign, late} {
		if r := w.renewal(e); r != nil {
			t.Errorf("enrollment %d was not selected: %+v", e.ID, r)
		}
	}
	// Said again, the windows are the same.
	before := *w.renewal(own[3])
	all(f, word, false)
	if after := w.renewal(own[3]); !after.Start.Equal(before.Start) || !after.End.Equal(before.End) {
		t.Errorf("%+v, then %+v", before, after)
	}
	for name, f := range map[string]ra.RenewalFilter{"profile": {Profile: "inner"}, "issuer": {Issuer: "other"}, "time": {IssuedBefore: start}, "behind all": {After: 1000}} {
		if b := all(f, word, true); b.Changed != 0 {
			t.Errorf("%s: %+v", name, b)
		}
	}
	if b := all(ra.RenewalFilter{}, ra.RenewalWord{Clear: true}, false); b.Changed != 9 || w.renewal(own[3]).Stands() {
		t.Errorf("%+v", b)
	}
	// A certificate that ends earlier has its window before that.
	short := ra.RenewalWord{From: w.clock.now(), By: w.clock.now().Add(1000 * time.Hour), Spread: true}
	all(ra.RenewalFilter{}, short, false)
	if r := w.renewal(own[3]); r.End.After(own[3].NotAfter) {
		t.Errorf("%+v of a certificate that ends at %v", r, own[3].NotAfter)
	}
}

// TestRequestedValidityIsKept: an attempt in the background asks for what the first one asked for.
func TestRequestedValidityIsKept(t *testing.T) {
	w := newWorld(t)
	p, err := policy.New(policy.Config{Name: "tls", Issuer: "main", Validity: 24 * time.Hour, RequestedValidity: policy.ClampRequested})
	must(t, err)
	r := w.registrar(func(c *ra.Config) { c.Profiles["tls"] = p })
	req := w.request(alice, newKey(t), "a.example.com")
	req.Requested = policy.Period{NotBefore: start.Add(time.Minute), NotAfter: start.Add(time.Hour)}
	w.signer.down.Store(true)
	e, err := r.Submit(t.Context(), alice, req)
	must(t, err)
	if e.Phase != ra.Requested {
		t.Fatalf("enrollment %d is in phase %d", e.ID, e.Phase)
	}
	w.signer.down.Store(false)
	w.clock.add(10 * time.Second)
	must(t, r.Sweep(t.Context()))
	e, err = r.Get(t.Context(), alice, e.ID)
	must(t, err)
	if e.Phase != ra.Issued || !e.NotBefore.Equal(req.Requested.NotBefore) || !e.NotAfter.Equal(req.Requested.NotAfter) {
		t.Errorf("phase %d, valid from %v to %v", e.Phase, e.NotBefore, e.NotAfter)
	}
	// A profile that takes none refuses.
	if e, err := w.Submit(t.Context(), alice, req); !problem.Is(err, problem.Malformed) {
		t.Errorf("%+v, %v", e, err)
	}
}
