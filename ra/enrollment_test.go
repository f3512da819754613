package ra_test

import (
	"crypto/sha256"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// TestStatus is a function of the phase and of the time: RFC 5280, 4.1.2.5 counts notAfter itself as valid.
func TestStatus(t *testing.T) {
	end := start.Add(time.Hour)
	for _, tt := range []struct {
		name  string
		phase ra.Phase
		at    time.Time
		want  ra.Status
	}{
		{"requested", ra.Requested, start, ra.StatusRequested},
		{"requested, its intent's end is past", ra.Requested, end.Add(time.Hour), ra.StatusRequested},
		{"issued", ra.Issued, start, ra.StatusIssued},
		{"RFC 5280, 4.1.2.5: notAfter", ra.Issued, end, ra.StatusIssued},
		{"a nanosecond later", ra.Issued, end.Add(1), ra.StatusExpired},
		{"a second later", ra.Issued, end.Add(time.Second), ra.StatusExpired},
		{"revoked", ra.Revoked, start, ra.StatusRevoked},
		{"revoked and past its end", ra.Revoked, end.Add(time.Second), ra.StatusRevoked},
		{"failed", ra.Failed, start, ra.StatusFailed},
		{"no phase", 0, start, ra.StatusFailed},
		{"a phase of a newer version", 99, start, ra.StatusFailed},
	} {
		e := ra.Enrollment{Phase: tt.phase, NotAfter: end}
		if got := e.Status(tt.at); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// TestTransitionsMakeCopies: what a commit refuses must not show in what was read.
func TestTransitionsMakeCopies(t *testing.T) {
	before := ra.Enrollment{ID: 1, Phase: ra.Requested, CSR: []byte{1}, Due: start, Attempts: 3, Serial: "01", Issuer: "old"}
	i := &ra.Issuance{Enrollment: &before}
	in := ca.Intent{Issuer: "main", Serial: "02", NotBefore: start, NotAfter: start.Add(time.Hour)}
	intended := i.Intended(in)
	if intended.Phase != ra.Requested || intended.Serial != "02" || intended.Issuer != "main" || !intended.NotAfter.Equal(in.NotAfter) ||
		intended.Attempts != 3 || len(intended.CSR) != 1 {
		t.Errorf("intended: %+v", intended)
	}
	c := ca.Certificate{Intent: in, DER: []byte("der"), Issued: start.Add(time.Second)}
	done := i.Completed(c)
	if done.Phase != ra.Issued || done.CSR != nil || !done.Due.IsZero() || done.Attempts != 0 || !done.Issued.Equal(c.Issued) ||
		done.Fingerprint != sha256.Sum256(c.DER) {
		t.Errorf("completed: %+v", done)
	}
	revoked := done.Revoke(ca.Revocation{At: start, Reason: ca.Superseded})
	if revoked.Phase != ra.Revoked || revoked.Revocation.Reason != ca.Superseded || done.Phase != ra.Issued || done.Revocation != nil {
		t.Errorf("revoked: %+v, from %+v", revoked, done)
	}
	if before.Phase != ra.Requested || before.Serial != "01" || before.Attempts != 3 || len(before.CSR) != 1 {
		t.Errorf("what was read has become %+v", before)
	}
}
