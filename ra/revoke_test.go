package ra_test

import (
	"context"
	"crypto"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// TestRevoke: the account that asked for it may, and the operator; nobody else, and strangers do not hear that it exists.
func TestRevoke(t *testing.T) {
	for _, tt := range []struct {
		name   string
		caller auth.Caller
		want   problem.Kind // Internal: it is revoked
	}{
		{"own account", alice, 0},
		{"operator", operator, 0},
		{"another account of the organisation", bob, problem.Unauthorized},
		{"same principal of another organisation", auth.Caller{Principal: "acme:alice", Org: 2}, problem.NotFound},
		{"another organisation", eve, problem.NotFound},
		{"nobody", auth.Caller{}, problem.NotFound},
		{"organisation without a principal", auth.Caller{Org: 1}, problem.Unauthorized},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			e := w.issue(alice, "a.example.com")
			w.clock.add(time.Hour)
			err := w.Revoke(t.Context(), tt.caller, ra.Revocation{Issuer: "main", Serial: e.Serial, Reason: ca.Superseded})
			if tt.want != 0 {
				wantKind(t, err, tt.want)
				w.untouched(e)
				if _, missing := newWorld(t).db.Certificate(t.Context(), "main", e.Serial); tt.want == problem.NotFound &&
					problem.From(err).Detail != problem.From(missing).Detail {
					t.Errorf("%q, but of a missing one %q", problem.From(err).Detail, problem.From(missing).Detail)
				}
				return
			}
			must(t, err)
			w.isRevoked(e, ca.Revocation{At: start.Add(time.Hour), Reason: ca.Superseded, Actor: tt.caller.Principal})
		})
	}
}

// isRevoked demands that enrollment, certificate, list and journal say the same.
func (w *world) isRevoked(before *ra.Enrollment, r ca.Revocation) {
	w.t.Helper()
	e, c := w.read(before.ID), w.certificate(before.Serial)
	if e.Phase != ra.Revoked || e.Revocation == nil || *e.Revocation != r || e.Status(w.clock.now()) != ra.StatusRevoked {
		w.t.Errorf("the enrollment is %+v, %+v", e, e.Revocation)
	}
	if c.Revocation == nil || *c.Revocation != r {
		w.t.Errorf("the certificate is %+v", c.Revocation)
	}
	list, err := w.db.Revoked(w.t.Context(), "main", w.clock.now())
	must(w.t, err)
	if len(list) != 1 || list[0].Serial != e.Serial || list[0].Reason != r.Reason || !list[0].At.Equal(r.At) {
		w.t.Errorf("the list is %+v", list)
	}
	w.journal.mu.Lock()
	defer w.journal.mu.Unlock()
	last := w.journal.events[len(w.journal.events)-1]
	if last.Kind != audit.Revoked || last.Serial != string(e.Serial) || last.Reason != int(r.Reason) || last.Actor != r.Actor || last.Org != int32(e.Org) {
		w.t.Errorf("the journal ends with %+v", last)
	}
}

func (w *world) untouched(e *ra.Enrollment) {
	w.t.Helper()
	if w.read(e.ID).Version != e.Version || len(w.revoked()) != 0 {
		w.t.Errorf("it was changed: %+v, %v", w.read(e.ID), w.revoked())
	}
	if kinds := w.journal.about(e.Serial); len(kinds) != 2 {
		w.t.Errorf("the journal says %v", kinds)
	}
}

// TestRevocationReasons are those of RFC 5280, 5.3.1 that a subscriber may give (RFC 8555, 7.6).
func TestRevocationReasons(t *testing.T) {
	w := newWorld(t)
	for reason := ca.Reason(-1); reason <= 11; reason++ {
		e := w.issue(alice, "a.example.com")
		err := w.Revoke(t.Context(), alice, ra.Revocation{Issuer: "main", Serial: e.Serial, Reason: reason})
		switch reason {
		case 0, 1, 3, 4, 5, 9:
			if got := w.read(e.ID); err != nil || got.Revocation == nil || got.Revocation.Reason != reason {
				t.Errorf("reason %d: %v, %+v", reason, err, got.Revocation)
			}
		default:
			wantKind(t, err, problem.BadRevocationReason)
			if got := w.read(e.ID); got.Phase != ra.Issued {
				t.Errorf("reason %d: it is in phase %d", reason, got.Phase)
			}
		}
	}
}

// TestRevokeAgain only raises the reason to keyCompromise, and keeps the date (RFC 8555, 7.6).
func TestRevokeAgain(t *testing.T) {
	w := newWorld(t)
	e := w.issue(alice, "a.example.com")
	rev := func(caller auth.Caller, reason ca.Reason) error {
		w.clock.add(time.Minute)
		return w.Revoke(t.Context(), caller, ra.Revocation{Issuer: "main", Serial: e.Serial, Reason: reason})
	}
	must(t, rev(alice, ca.Superseded))
	wantKind(t, rev(alice, ca.Superseded), problem.AlreadyRevoked)
	wantKind(t, rev(operator, ca.Unspecified), problem.AlreadyRevoked)
	w.isRevoked(e, ca.Revocation{At: start.Add(time.Minute), Reason: ca.Superseded, Actor: "acme:alice"})
	must(t, rev(operator, ca.KeyCompromise))
	w.isRevoked(e, ca.Revocation{At: start.Add(time.Minute), Reason: ca.KeyCompromise, Actor: "uid:0"})
	wantKind(t, rev(operator, ca.KeyCompromise), problem.AlreadyRevoked)
	wantKind(t, rev(alice, ca.Superseded), problem.AlreadyRevoked)
	w.isRevoked(e, ca.Revocation{At: start.Add(time.Minute), Reason: ca.KeyCompromise, Actor: "uid:0"})
}

// TestRevokeByKey is for whoever holds the certificate's key, and for no other (RFC 8555, 7.6).
func TestRevokeByKey(t *testing.T) {
	w := newWorld(t)
	key := newKey(t)
	e, err := w.Submit(t.Context(), alice, w.request(alice, key, "a.example.com"))
	must(t, err)
	rev := ra.Revocation{Issuer: "main", Serial: e.Serial, Reason: ca.KeyCompromise}
	for name, wrong := range map[string]crypto.PublicKey{"another": newKey(t).Public(), "none": nil, "private": key} {
		if err := w.RevokeByKey(t.Context(), rev, wrong); !problem.Is(err, problem.Unauthorized) {
			t.Errorf("%s key: %v", name, err)
		}
	}
	w.untouched(e)
	must(t, w.RevokeByKey(t.Context(), rev, key.Public()))
	w.isRevoked(e, ca.Revocation{At: start, Reason: ca.KeyCompromise, Actor: "key:" + string(e.Serial)})
	wantKind(t, w.RevokeByKey(t.Context(), rev, key.Public()), problem.AlreadyRevoked)
}

// TestRevokeWhatWasNotIssued: unknown serials and issuers, and serials that were abandoned, which anybody can read off a
// list, are no certificates.
func TestRevokeWhatWasNotIssued(t *testing.T) {
	w := newWorld(t)
	abandoned := w.postponed(alice, "a.example.com")
	before := len(w.journal.about(""))
	for name, rev := range map[string]ra.Revocation{
		"unknown serial":   {Issuer: "main", Serial: "01ab"},
		"unknown issuer":   {Issuer: "other", Serial: abandoned.Serial},
		"abandoned serial": {Issuer: "main", Serial: abandoned.Serial},
	} {
		calls := map[string]error{
			"account":         w.Revoke(t.Context(), alice, rev),
			"another account": w.Revoke(t.Context(), bob, rev),
			"operator":        w.Revoke(t.Context(), operator, rev),
			"key":             w.RevokeByKey(t.Context(), rev, newKey(t).Public()),
		}
		for who, err := range calls {
			if !problem.Is(err, problem.NotFound) {
				t.Errorf("%s by %s: %v", name, who, err)
			}
		}
	}
	if n := len(w.journal.about("")); n != before {
		t.Errorf("%d entries were added to the journal", n-before)
	}
}

// TestRevokeWhatHasExpired: lists no longer name it (RFC 5280, 5).
func TestRevokeWhatHasExpired(t *testing.T) {
	w := newWorld(t)
	e := w.issue(alice, "a.example.com")
	rev := ra.Revocation{Issuer: "main", Serial: e.Serial}
	w.clock.set(e.NotAfter.Add(time.Second))
	wantKind(t, w.Revoke(t.Context(), alice, rev), problem.Conflict)
	w.untouched(e)
	w.clock.set(e.NotAfter)
	must(t, w.Revoke(t.Context(), alice, rev))
}

// TestRevokeNeedsTheJournal: without its entry nothing is revoked.
func TestRevokeNeedsTheJournal(t *testing.T) {
	w := newWorld(t)
	e := w.issue(alice, "a.example.com")
	w.journal.refuse(audit.Revoked)
	rev := ra.Revocation{Issuer: "main", Serial: e.Serial}
	wantKind(t, w.Revoke(t.Context(), alice, rev), problem.Unavailable)
	w.untouched(e)
	w.journal.refuse("")
	must(t, w.Revoke(t.Context(), alice, rev))
}

// TestRevokeByControl is for who controls all names, in the organisation that asked for the certificate (RFC 8555, 7.6).
func TestRevokeByControl(t *testing.T) {
	yes := func(context.Context, *ca.Certificate) error { return nil }
	no := func(context.Context, *ca.Certificate) error {
		return problem.New(problem.Unauthorized, "not all names")
	}
	for _, tt := range []struct {
		name     string
		caller   auth.Caller
		controls func(context.Context, *ca.Certificate) error
		want     problem.Kind // 0: it is revoked
	}{
		{"another account, all names", bob, yes, 0},
		{"another account, not all names", bob, no, problem.Unauthorized},
		{"another organisation, all names", eve, yes, problem.NotFound},
		{"nobody", auth.Caller{}, yes, problem.NotFound},
		{"organisation without a principal", auth.Caller{Org: 1}, yes, problem.NotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			e := w.issue(alice, "a.example.com")
			rev := ra.Revocation{Issuer: "main", Serial: e.Serial, Reason: ca.Superseded}
			var asked *ca.Certificate
			err := w.RevokeByControl(t.Context(), tt.caller, rev, func(ctx context.Context, c *ca.Certificate) error {
				asked = c
				return tt.controls(ctx, c)
			})
			if tt.want != 0 {
				wantKind(t, err, tt.want)
				w.untouched(e)
				if tt.want == problem.NotFound && asked != nil {
					t.Error("a door of another organisation was shown the certificate")
				}
				return
			}
			must(t, err)
			if asked == nil || asked.Serial != e.Serial || len(asked.DER) == 0 {
				t.Errorf("the door was asked about %+v", asked)
			}
			w.isRevoked(e, ca.Revocation{At: start, Reason: ca.Superseded, Actor: tt.caller.Principal})
		})
	}
}

// TestKeyCompromiseIsNotForWhoControlsTheNames: neither at first nor over the reason that stands, and not before control
// is proven.
func TestKeyCompromiseIsNotForWhoControlsTheNames(t *testing.T) {
	w := newWorld(t)
	e := w.issue(alice, "a.example.com")
	compromised := ra.Revocation{Issuer: "main", Serial: e.Serial, Reason: ca.KeyCompromise}
	yes := func(context.Context, *ca.Certificate) error { return nil }
	no := func(context.Context, *ca.Certificate) error {
		return problem.New(problem.Unauthorized, "not all names")
	}
	wantKind(t, w.RevokeByControl(t.Context(), bob, compromised, no), problem.Unauthorized)
	wantKind(t, w.RevokeByControl(t.Context(), eve, compromised, yes), problem.NotFound)
	wantKind(t, w.RevokeByControl(t.Context(), bob, compromised, yes), problem.BadRevocationReason)
	w.untouched(e)

	must(t, w.Revoke(t.Context(), alice, ra.Revocation{Issuer: "main", Serial: e.Serial, Reason: ca.Superseded}))
	wantKind(t, w.RevokeByControl(t.Context(), bob, compromised, yes), problem.BadRevocationReason)
	w.isRevoked(e, ca.Revocation{At: start, Reason: ca.Superseded, Actor: alice.Principal})
	must(t, w.Revoke(t.Context(), alice, compromised))
}
