package ca

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// TestShortLived: certificates of minutes to seven days pass the lints of both levels, name their list and can be revoked
// to their last second.
func TestShortLived(t *testing.T) {
	for name, change := range map[string]func(c *policy.Config){
		"five minutes, private": func(c *policy.Config) { c.Validity, c.Backdate = 5*time.Minute, time.Minute },
		"an hour, private":      func(c *policy.Config) { c.Validity, c.Backdate = time.Hour, 0 },
		"six days, private":     func(c *policy.Config) { c.Validity = 6 * 24 * time.Hour },
		"an hour, public": func(c *policy.Config) {
			c.Mode, c.Now, c.KeyTypes, c.Validity = policy.Public, time.Now(), nil, time.Hour
		},
		"seven days, public": func(c *policy.Config) { // Baseline Requirements 1.6.1: short-lived
			c.Mode, c.Now, c.KeyTypes, c.Validity, c.Backdate = policy.Public, time.Now(), nil, 7*24*time.Hour, time.Hour
		},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Now()
			w := newWorld(t, func(w *world) {
				w.profile = newProfile(t, change)
				w.config.Now = func() time.Time { return now }
			})
			w.authority.caa = &fakeCAA{}
			c := w.issue(t, "www.example.com")
			cert, err := x509.ParseCertificate(c.DER)
			if err != nil {
				t.Fatal(err)
			}
			if got := cert.NotAfter.Sub(cert.NotBefore) + time.Second; got != w.profile.Validity() { // both ends are inside
				t.Errorf("it is valid for %v, want %v", got, w.profile.Validity())
			}
			if len(cert.CRLDistributionPoints) != 1 {
				t.Error("it names no list")
			}
			now = cert.NotAfter
			if _, err := w.authority.Revoke(t.Context(), RevokeRequest{Issuer: "main", Serial: c.Serial, Actor: "uid:0"}); err != nil {
				t.Errorf("in its last second: %v", err)
			}
			now = now.Add(time.Second)
			if _, err := w.authority.SuggestRenewal(t.Context(), suggestion(c)); !problem.Is(err, problem.Conflict) {
				t.Errorf("after its end: %v", err)
			}
		})
	}
}

// TestRequestedValidityMeetsTheIssuer: a requested end is held to the issuer's, a profile's own is refused beyond it.
func TestRequestedValidityMeetsTheIssuer(t *testing.T) {
	w := newWorld(t, func(w *world) {
		w.profile = newProfile(t, func(c *policy.Config) {
			c.Validity, c.RequestedValidity = 100*365*24*time.Hour, policy.ClampRequested
		})
	})
	end := w.hierarchy.Intermediate.Certificate.NotAfter
	if c, err := w.authority.Issue(t.Context(), w.request(t)); !problem.Is(err, problem.Unavailable) {
		t.Errorf("beyond the issuer: %+v, %v", c, err)
	}
	for _, asked := range []time.Time{end.Add(time.Hour), end.Add(-time.Hour)} {
		req := w.request(t)
		req.Policy.Requested = policy.Period{NotAfter: asked}
		want := asked
		if want.After(end) {
			want = end
		}
		c, err := w.authority.Issue(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		if cert, err := x509.ParseCertificate(c.DER); err != nil || !cert.NotAfter.Equal(want) {
			t.Errorf("asked for %v, issued until %v, want %v", asked, cert.NotAfter, want)
		}
	}
}
