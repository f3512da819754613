package ra_test

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// TestIsRevoked: what was issued here and revoked, by whomever; what was imported and marked, by the organisations that are asked about
// alone, because anybody can import a certificate that he has seen.
func TestIsRevoked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	revoked := func(der []byte, orgs ...auth.OrgID) bool {
		t.Helper()
		c, err := x509.ParseCertificate(der)
		must(t, err)
		is, err := w.IsRevoked(t.Context(), c, orgs...)
		must(t, err)
		return is
	}
	mark := func(caller auth.Caller, e *ra.Enrollment) {
		t.Helper()
		_, err := w.MarkRevoked(t.Context(), caller, e.ID, time.Time{}, ca.KeyCompromise, "")
		must(t, err)
	}
	der := newElsewhere(t).leaf(nil, "client.example.com")
	if revoked(der, 1, 2) {
		t.Error("revoked, and nobody knows it")
	}
	mark(ivo, w.imported(ivo, ra.ImportItem{Certificate: der}))
	mine := w.imported(ida, ra.ImportItem{Certificate: der})
	if revoked(der) || revoked(der, 1) || !revoked(der, 1, 2) {
		t.Error("marked by an organisation, it is not for that organisation and no other")
	}
	mark(ida, mine)
	if !revoked(der, 1) || revoked(der) {
		t.Error("marked by the other one as well, it is not for that")
	}
	e := w.issue(alice, "a.example.com")
	ours := w.leaf(e).Raw
	if revoked(ours, 1) {
		t.Error("a good one of ours is revoked")
	}
	must(t, w.Revoke(t.Context(), alice, ra.Revocation{Issuer: e.Issuer, Serial: e.Serial, Reason: ca.Superseded}))
	if !revoked(ours) || !revoked(ours, 2) {
		t.Error("a revoked one of ours is good")
	}
}
