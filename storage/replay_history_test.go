package storage_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// TestReplayModel lets two or three gateways issue, revoke, take over and die over a store that goes back, has each of them
// replay its own journal when it comes to it, and then holds the store to what clients were told.
func TestReplayModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for n := range uint64(8) {
		if random := rand.New(rand.NewPCG(seed, n)); !playModel(t, random) {
			t.Logf("history %d of seed %d", n, seed)
			return
		}
	}
}

func playModel(t *testing.T, random *rand.Rand) bool {
	w := newModelWorld(t, random, 2+random.IntN(2))
	for range 60 {
		w.act()
	}
	w.settle()
	w.check()
	if t.Failed() {
		for _, line := range w.history {
			t.Log(line)
		}
	}
	return !t.Failed()
}

// act is one thing that happens.
func (w *modelWorld) act() {
	w.clock.Add(1)
	g := w.gateways[w.random.IntN(len(w.gateways))]
	switch n := w.random.IntN(25) - 5; {
	case n == -5:
		w.sameNumbers(g)
	case n < -1:
		w.keepCopy()
	case n < 1:
		w.goBack(w.random.IntN(len(w.copies) + 1))
	case !g.serves && w.random.IntN(2) == 0: // it is late
	case !g.serves: // some are cut short, some do it twice
		commits := int64(-1)
		if w.random.IntN(3) == 0 {
			commits = w.random.Int64N(6)
		}
		if err := g.start(commits, w.random.IntN(3) == 0); err != nil && commits < 0 {
			w.t.Errorf("%s does not start: %v", g.name, err)
		}
	case n < 13:
		w.disturb(g)
		g.submit()
	case n < 16:
		g.revoke()
	case n == 16:
		g.account()
	case n == 17:
		g.takeOver()
	case n == 18:
		g.sweep()
	case w.random.IntN(2) == 0:
		if err := g.mark(); err != nil {
			w.t.Errorf("marking: %v", err)
		}
	default: // in order; it takes new numbers
		if err := g.start(-1, false); err != nil {
			w.t.Errorf("%s does not start again: %v", g.name, err)
		}
	}
}

// sameNumbers are handed out twice: a gateway is given a block, the store forgets it, and others are given the same. Chance
// alone would seldom come to that, because a block is large.
func (w *modelWorld) sameNumbers(g *modelGateway) {
	w.keepCopy()
	if g.start(-1, false) != nil {
		return
	}
	for range 3 {
		g.submit()
	}
	w.goBack(len(w.copies) - 1)
	for _, other := range w.gateways {
		if other == g || other.start(-1, false) != nil {
			continue
		}
		for range 3 {
			w.disturb(other)
			other.submit()
			if !other.serves {
				break
			}
		}
	}
}

// disturb has something happen after one step of the next issuance, half of the time.
func (w *modelWorld) disturb(g *modelGateway) {
	if w.random.IntN(2) == 0 {
		return
	}
	var turn sync.Mutex // steps 10 and 11 come from two goroutines
	done := false
	at := []int{6, 6, 8, 9, 10, 11}[w.random.IntN(6)]
	kind := max(0, w.random.IntN(7)-2)
	other := w.gateways[w.random.IntN(len(w.gateways))]
	dies, back := w.random.IntN(2) == 0, w.random.IntN(len(w.copies)+1)
	g.step = func(n int) {
		turn.Lock()
		defer turn.Unlock()
		switch {
		case n == at && !done:
			done = true
			w.note("%s, after step %d: %s", g.name, n, []string{"killed", "the store goes back", "cut off", "taken over", "swept"}[kind])
			switch {
			case kind == 0:
				g.kill()
			case kind == 1:
				w.goBack(back)
			case kind == 2:
				g.link.cut.Store(true)
			case other == g || !other.serves:
			case kind == 3:
				other.takeOver()
			default:
				other.sweep()
			}
		case n == 11 && dies:
			w.note("%s, after step 11: killed", g.name)
			g.kill()
		}
	}
}

// settle brings every gateway back, lets them finish what is left, and has them replay everything once more.
func (w *modelWorld) settle() {
	for _, n := range w.random.Perm(len(w.gateways)) {
		if err := w.gateways[n].start(-1, w.random.IntN(2) == 0); err != nil {
			w.t.Errorf("%s does not start: %v", w.gateways[n].name, err)
		}
	}
	for _, g := range w.gateways {
		g.takeOver()
	}
	w.gateways[0].sweep()
	for _, g := range w.gateways {
		if n, err := g.replay(0); n != 0 || err != nil {
			w.t.Errorf("%s has changed %d things once more, %v", g.name, n, err)
		}
	}
}

// check holds the store to the invariants of a certificate authority.
func (w *modelWorld) check() {
	t, ctx, db := w.t, context.Background(), w.gateways[0].db
	listed := map[ca.Serial]ca.Reason{}
	list, err := db.Revoked(ctx, "main", now().Add(-time.Hour))
	must(t, err)
	for _, r := range list {
		if _, twice := listed[r.Serial]; twice {
			t.Errorf("%s is listed twice", r.Serial)
		}
		listed[r.Serial] = r.Reason
	}
	said := map[ca.Serial]bool{} // that it is to be on a list
	for _, g := range w.gateways {
		for _, e := range g.events {
			if e.Kind == audit.Abandoned || e.Kind == audit.Revoked {
				said[ca.Serial(e.Serial)] = true
			}
		}
	}
	of := map[int64]ca.Serial{}
	for serial, der := range w.signed {
		c, err := db.Certificate(ctx, "main", serial)
		_, on := listed[serial]
		switch {
		case err != nil:
			t.Errorf("invariant 1: %s was signed and is not recorded: %v", serial, err)
			continue
		case c.State != ca.Issued && !on, c.State == ca.Open:
			t.Errorf("invariant 1: %s was signed, is in state %d and on the list: %t", serial, c.State, on)
		case said[serial] && !on:
			t.Errorf("%s was revoked or abandoned and is not on the list", serial)
		case !said[serial] && on:
			t.Errorf("%s is on the list and nobody said so", serial)
		case c.State == ca.Issued && !bytes.Equal(c.DER, der):
			t.Errorf("invariant 5: %s has other bytes than were signed", serial)
		}
		if c.State != ca.Issued {
			continue
		}
		if other, twice := of[c.Enrollment]; twice {
			t.Errorf("invariant 4: %s and %s are of enrollment %d", serial, other, c.Enrollment)
		}
		of[c.Enrollment] = serial
		w.checkEnrollment(c, on)
	}
	renumbered := 0
	for serial, want := range w.acknowledged {
		c, err := db.Certificate(ctx, "main", serial)
		if err != nil || c.State != ca.Issued || c.Requester.Principal != want.caller.Principal {
			t.Errorf("invariant 19: %s was acknowledged: %+v, %v", serial, c, err)
		} else if ra.ID(c.Enrollment) != want.number {
			renumbered++
		}
	}
	t.Logf("%d certificates were signed, %d acknowledged, %d of these have another number now", len(w.signed), len(w.acknowledged), renumbered)
	for serial, reason := range w.revoked {
		got, on := listed[serial]
		if !on || reason == ca.KeyCompromise && got != ca.KeyCompromise {
			t.Errorf("invariant 12: the revocation of %s was acknowledged: %t, %s", serial, on, got)
		}
	}
	for _, a := range w.accounts {
		if got, err := db.AccountByKey(ctx, a.account(t).Thumbprint); err != nil || got == nil || got.ID != a.id {
			t.Errorf("account %s: %+v, %v", a.id, got, err)
		}
	}
	if open, err := db.OpenIntents(ctx, w.now().Add(time.Hour), 10); err != nil || len(open) != 0 {
		t.Errorf("open intents: %+v, %v", open, err)
	}
}

// checkEnrollment holds an issued certificate's enrollment to it.
func (w *modelWorld) checkEnrollment(c *ca.Certificate, revoked bool) {
	e, err := w.gateways[0].db.Enrollment(context.Background(), ra.ID(c.Enrollment))
	if err != nil {
		w.t.Errorf("the enrollment of %s: %v", c.Serial, err)
		return
	}
	if e.Serial != c.Serial || (e.Phase == ra.Revoked) != revoked || e.Phase != ra.Revoked && e.Phase != ra.Issued ||
		e.Org != auth.OrgID(c.Requester.Org) || e.Requester != c.Requester.Principal {
		w.t.Errorf("invariants 18 and 20: the enrollment of %s (revoked: %t) is %+v", c.Serial, revoked, e)
	}
	if want, ok := w.acknowledged[c.Serial]; ok && (e.Org != want.caller.Org || len(e.Names) != 1 || e.Names[0].Value() != want.names) {
		w.t.Errorf("invariant 20: %s was issued to %+v, and its enrollment is %+v", c.Serial, want, e)
	}
}
