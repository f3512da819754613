package dcv

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-ca/gatehouse/identifier"
)

func TestSlotsBoundEachTargetAndAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(3, 2)
		running := map[string]int{}
		var most, all int
		for range 30 {
			for _, target := range []string{"a", "b", "c"} {
				go func() {
					release, err := s.acquire(t.Context(), target)
					if err != nil {
						t.Error(err)
						return
					}
					s.mu.Lock()
					running[target]++
					all++
					most = max(most, all)
					if running[target] > 2 || all > 3 {
						t.Errorf("%d of %s, %d in all", running[target], target, all)
					}
					s.mu.Unlock()
					time.Sleep(time.Second) // synctest's clock: the validation's work
					s.mu.Lock()
					running[target]--
					all--
					s.mu.Unlock()
					release()
				}()
			}
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if most != 3 || all != 0 {
			t.Errorf("at most %d at once, %d left", most, all)
		}
		if len(s.lanes) != 0 || len(s.all) != 0 {
			t.Errorf("%d lanes and %d slots were kept", len(s.lanes), len(s.all))
		}
	})
}

// Whoever waits behind a busy target holds no slot that another target could use.
func TestSlotsBusyTargetBlocksNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(2, 1)
		first, err := s.acquire(t.Context(), "busy")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		for range 10 {
			go func() {
				if _, err := s.acquire(ctx, "busy"); err == nil {
					t.Error("a second one got in")
				}
			}()
		}
		synctest.Wait()
		other, err := s.acquire(t.Context(), "other")
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		synctest.Wait()
		other()
		first()
		if len(s.lanes) != 0 || len(s.all) != 0 {
			t.Errorf("%d lanes and %d slots were kept", len(s.lanes), len(s.all))
		}
	})
}

func TestSlotsEndedContextGetsNone(t *testing.T) {
	s := newSlots(1, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.acquire(ctx, "a"); err == nil {
		t.Error("a slot for nobody")
	}
	if len(s.lanes) != 0 {
		t.Error("a lane was kept")
	}
}

func TestTargetOf(t *testing.T) {
	for name, want := range map[string]string{
		"a.b.example.co.uk": "example.co.uk",
		"example.co.uk":     "example.co.uk",
		"db.corp":           "db.corp",
		"localhost":         "localhost",
	} {
		if got := targetOf(mustDNS(t, name)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	id, err := identifier.ParseIP("192.0.2.1")
	if err != nil || targetOf(id) != "192.0.2.1" {
		t.Errorf("%s, %v", targetOf(id), err)
	}
}
