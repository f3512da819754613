package ca

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/problem"
)

func revokeRequest(c *Certificate, r Reason) RevokeRequest {
	return RevokeRequest{Issuer: c.Issuer, Serial: c.Serial, Reason: r, Actor: "acme:a1"}
}

// RFC 5280, 5.3.1 and RFC 8555, 7.6.
func TestRevokeReasons(t *testing.T) {
	w := newWorld(t, nil)
	accepted := map[Reason]bool{0: true, 1: true, 3: true, 4: true, 5: true, 9: true}
	for r := Reason(-1); r <= 11; r++ {
		c := w.issue(t)
		got, err := w.authority.Revoke(t.Context(), revokeRequest(c, r))
		if accepted[r] != (err == nil) || err != nil && !problem.Is(err, problem.BadRevocationReason) {
			t.Errorf("%s: %v, %v", r, got, err)
		}
		if (w.store.records[key("main", c.Serial)].Revocation != nil) != accepted[r] {
			t.Errorf("%s: recorded %v", r, w.store.records[key("main", c.Serial)].Revocation)
		}
	}
}

func TestRevoke(t *testing.T) {
	w := newWorld(t, nil)
	c := w.issue(t)
	r, err := w.authority.Revoke(t.Context(), revokeRequest(c, Superseded))
	if err != nil {
		t.Fatal(err)
	}
	if r.Reason != Superseded || r.Actor != "acme:a1" || !r.At.Equal(r.At.Truncate(time.Second)) || r.At.Location() != time.UTC {
		t.Errorf("revocation %+v", r)
	}
	e := w.journal.of(audit.Revoked)
	if len(e) != 1 || e[0].Serial != string(c.Serial) || e[0].Issuer != "main" || e[0].Reason != int(Superseded) || e[0].Org != testOrg || e[0].Enrollment != 41 || e[0].Actor != "acme:a1" ||
		!bytes.Equal(e[0].DER, c.DER) || !e[0].NotAfter.Equal(c.NotAfter) || e[0].Requester != c.Requester.Principal || !e[0].Issued.Equal(c.Issued) ||
		e[0].Door != "acme" || e[0].Profile != "web" || e[0].ProfileHash != c.ProfileHash {
		t.Errorf("events %+v", e)
	}
}

// A second revocation may only raise the reason to keyCompromise.
func TestRevokeAgain(t *testing.T) {
	for _, tt := range []struct {
		first, second Reason
		raises        bool
	}{
		{Unspecified, KeyCompromise, true}, {Superseded, KeyCompromise, true}, {KeyCompromise, KeyCompromise, false},
		{KeyCompromise, Superseded, false}, {Unspecified, Superseded, false}, {Superseded, Superseded, false},
	} {
		t.Run(tt.first.String()+" then "+tt.second.String(), func(t *testing.T) {
			w := newWorld(t, nil)
			c := w.issue(t)
			first, err := w.authority.Revoke(t.Context(), revokeRequest(c, tt.first))
			if err != nil {
				t.Fatal(err)
			}
			w.authority.now = func() time.Time { return time.Now().Add(time.Hour) }
			second, err := w.authority.Revoke(t.Context(), revokeRequest(c, tt.second))
			stored := w.store.records[key("main", c.Serial)].Revocation
			if tt.raises {
				if err != nil || second.Reason != KeyCompromise || !second.At.Equal(first.At) || stored.Reason != KeyCompromise {
					t.Errorf("got %+v, %v; stored %+v", second, err, stored)
				}
				return
			}
			if !problem.Is(err, problem.AlreadyRevoked) || stored.Reason != tt.first || len(w.journal.of(audit.Revoked)) != 1 {
				t.Errorf("got %+v, %v; stored %+v", second, err, stored)
			}
		})
	}
}

func TestRevokeRefuses(t *testing.T) {
	t.Run("unknown serial", func(t *testing.T) {
		w := newWorld(t, nil)
		if _, err := w.authority.Revoke(t.Context(), RevokeRequest{Issuer: "main", Serial: "01"}); !problem.Is(err, problem.NotFound) {
			t.Error(err)
		}
	})
	for _, state := range []State{Open, Abandoned} {
		t.Run("never issued", func(t *testing.T) {
			w := newWorld(t, nil)
			c := w.issue(t)
			w.store.records[key("main", c.Serial)].State = state
			if _, err := w.authority.Revoke(t.Context(), revokeRequest(c, 0)); !problem.Is(err, problem.NotFound) {
				t.Error(err)
			}
		})
	}
	// RFC 5280, 4.1.2.5: notAfter is inside the validity.
	for _, tt := range []struct {
		name  string
		after time.Duration
		ok    bool
	}{{"in its last second", 0, true}, {"expired", time.Second, false}} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			c := w.issue(t)
			w.authority.now = func() time.Time { return c.NotAfter.Add(tt.after) }
			_, err := w.authority.Revoke(t.Context(), revokeRequest(c, 0))
			if (err == nil) != tt.ok || err != nil && !problem.Is(err, problem.Conflict) {
				t.Error(err)
			}
		})
	}
}

func TestRevokeFaults(t *testing.T) {
	for _, tt := range []struct {
		name    string
		store   fault
		journal fault
		ok      bool
		revoked bool
		events  int
	}{
		{"another change came first", conflictsOnce, works, true, true, 1},
		{"the store fails", fails, works, false, false, 1},
		{"the store fails after writing", failsAfter, works, false, true, 1},
		{"the journal fails", works, fails, false, false, 0},
		{"the journal fails after writing", works, failsAfter, false, false, 1},
		{"the store always conflicts", conflicts, works, false, false, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			c := w.issue(t)
			w.store.faults["RecordRevocation"] = tt.store
			w.journal.faults[audit.Revoked] = tt.journal
			r, err := w.authority.Revoke(t.Context(), revokeRequest(c, KeyCompromise))
			if (err == nil) != tt.ok || (r != nil) != tt.ok || err != nil && !problem.Is(err, problem.Unavailable) {
				t.Errorf("got %v, %v", r, err)
			}
			if got := w.store.records[key("main", c.Serial)].Revocation != nil; got != tt.revoked {
				t.Errorf("revoked: %t", got)
			}
			if got := len(w.journal.of(audit.Revoked)); got != tt.events {
				t.Errorf("%d events", got)
			}
		})
	}
}

// A revocation is never acknowledged without the journal: whoever asks again after it failed brings it there.
func TestRevokeAgainAfterTheJournalFailed(t *testing.T) {
	w := newWorld(t, nil)
	c := w.issue(t)
	w.journal.faults[audit.Revoked] = fails
	if _, err := w.authority.Revoke(t.Context(), revokeRequest(c, 0)); !problem.Is(err, problem.Unavailable) {
		t.Fatal(err)
	}
	clear(w.journal.faults)
	if _, err := w.authority.Revoke(t.Context(), revokeRequest(c, 0)); err != nil {
		t.Fatal(err)
	}
	if n := len(w.journal.of(audit.Revoked)); n != 1 {
		t.Errorf("the journal has %d entries", n)
	}
}

// An issuer that is not configured publishes no list, so nothing of it can be revoked in earnest.
func TestRevokeForAnIssuerThatIsNotHere(t *testing.T) {
	w := newWorld(t, nil)
	w.open("elsewhere", "02", 0)
	w.store.records["elsewhere/02"].State = Issued
	req := RevokeRequest{Issuer: "elsewhere", Serial: "02", Actor: "uid:0"}
	if _, err := w.authority.Revoke(t.Context(), req); !problem.Is(err, problem.Unavailable) {
		t.Error(err)
	}
}

// A caller that goes away does not leave the store and the journal with different answers.
func TestRevokeOutlivesItsCaller(t *testing.T) {
	w := newWorld(t, nil)
	c := w.issue(t)
	ctx, cancel := context.WithCancel(t.Context())
	w.store.before["RecordRevocation"] = cancel
	w.journal.before[audit.Revoked] = cancel
	if _, err := w.authority.Revoke(ctx, revokeRequest(c, 0)); err != nil {
		t.Error(err)
	}
}

// Many at once: one is first, one raises the reason, the rest are told.
func TestRevokeRaces(t *testing.T) {
	w := newWorld(t, nil)
	c := w.issue(t)
	var mu sync.Mutex
	done := map[Reason]int{}
	var wg sync.WaitGroup
	for n := range 50 {
		reason := []Reason{Superseded, KeyCompromise}[n%2]
		wg.Go(func() {
			_, err := w.authority.Revoke(t.Context(), revokeRequest(c, reason))
			if err != nil && !problem.Is(err, problem.AlreadyRevoked) {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				done[reason]++
			}
		})
	}
	wg.Wait()
	if done[KeyCompromise] != 1 || done[Superseded] > 1 {
		t.Errorf("succeeded: %v", done)
	}
	if r := w.store.records[key("main", c.Serial)].Revocation; r == nil || r.Reason != KeyCompromise {
		t.Errorf("in the end %+v", r)
	}
}

// A revocation that the journal has and the store did not take is given to the store later, whether or not anybody asks again.
func TestRevocationIsSettled(t *testing.T) {
	w := newWorld(t, nil)
	c := w.issue(t)
	w.store.faults["RecordRevocation"] = fails
	for _, r := range []Reason{Superseded, KeyCompromise, Unspecified} {
		if _, err := w.authority.Revoke(t.Context(), revokeRequest(c, r)); !problem.Is(err, problem.Unavailable) {
			t.Fatalf("got %v", err)
		}
	}
	if n := w.authority.Unsettled(); n != 1 {
		t.Errorf("%d are unsettled, want the one certificate's", n)
	}
	if err := w.authority.Settle(t.Context()); err == nil || w.authority.Unsettled() != 1 {
		t.Errorf("settled without the store: %v", err)
	}
	entries := len(w.journal.events)
	clear(w.store.faults)
	if err := w.authority.Settle(t.Context()); err != nil || w.authority.Unsettled() != 0 {
		t.Errorf("%d are unsettled: %v", w.authority.Unsettled(), err)
	}
	if r := w.store.records[key("main", c.Serial)].Revocation; r == nil || r.Reason != KeyCompromise {
		t.Errorf("the store has %+v", r)
	}
	if len(w.journal.events) != entries {
		t.Error("settling journaled the revocation again")
	}
}
