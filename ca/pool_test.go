package ca

import (
	"context"
	"crypto"
	"crypto/x509"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
)

var silent = slog.New(slog.DiscardHandler)

func answer(context.Context) ([]byte, error) { return []byte("der"), nil }

func TestPoolDeadlineAndBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool("main", 2, 8, time.Second, silent)
		release := make(chan struct{})
		hang := func(ctx context.Context) ([]byte, error) { <-release; return answer(ctx) }
		start := time.Now()
		// Two calls hang, the third waits for a slot; all end at their deadline.
		errs := make(chan error, 3)
		for range 3 {
			go func() { _, err := p.sign(t.Context(), "x", hang); errs <- err }()
		}
		synctest.Wait()
		if p.hangs() {
			t.Error("the breaker is open before the deadline")
		}
		for range 3 {
			if err := <-errs; !problem.Is(err, problem.Unavailable) {
				t.Errorf("got %v", err)
			}
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %s", took)
		}
		// Every slot hangs: refused at once, before and at the pool.
		if _, err := p.admit(); !problem.Is(err, problem.Unavailable) || problem.From(err).RetryAfter <= 0 {
			t.Errorf("admitted: %v", err)
		}
		if _, err := p.sign(t.Context(), "x", answer); !problem.Is(err, problem.Unavailable) || time.Since(start) != time.Second {
			t.Errorf("got %v after %s", err, time.Since(start))
		}
		// The calls come back: the pool serves again, with all its slots.
		close(release)
		synctest.Wait()
		for range 4 {
			if der, err := p.sign(t.Context(), "x", answer); err != nil || string(der) != "der" {
				t.Errorf("got %q, %v", der, err)
			}
		}
		if len(p.slots) != 0 || len(p.running) != 0 {
			t.Errorf("%d slots and %d calls left", len(p.slots), len(p.running))
		}
	})
}

// One slot that hangs leaves the others at work.
func TestPoolWithOneSlotHung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool("main", 2, 8, time.Second, silent)
		release := make(chan struct{})
		if _, err := p.sign(t.Context(), "x", func(context.Context) ([]byte, error) { <-release; return nil, nil }); err == nil {
			t.Error("a hung call answered")
		}
		for range 5 {
			if _, err := p.sign(t.Context(), "x", answer); err != nil {
				t.Error(err)
			}
		}
		close(release)
		synctest.Wait()
	})
}

func TestPoolBoundsWhatIsUnderWay(t *testing.T) {
	p := newPool("main", 1, 2, time.Second, silent)
	first, err := p.admit()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.admit(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.admit(); !problem.Is(err, problem.Unavailable) || problem.From(err).RetryAfter <= 0 {
		t.Errorf("a third was admitted: %v", err)
	}
	first()
	if _, err := p.admit(); err != nil {
		t.Errorf("nothing became free: %v", err)
	}
}

// A back end that heeds its context returns at the deadline and frees its slot.
func TestPoolHandsOnTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool("main", 1, 8, time.Second, silent)
		_, err := p.sign(t.Context(), "x", func(ctx context.Context) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() })
		if err == nil {
			t.Error("no error")
		}
		synctest.Wait()
		if p.hangs() || len(p.slots) != 0 {
			t.Error("the slot is still held")
		}
	})
}

// A hung issuer delays no other: the second one's certificates are issued while every slot of the first one hangs.
func TestHungIssuerDelaysNobodyElse(t *testing.T) {
	release := make(chan struct{})
	started := make(chan struct{}, 1)
	otherKey := newKey(t, "p256")
	other := selfMade(t, otherKey)
	w := newWorld(t, func(w *world) {
		main := &w.config.Issuers[0]
		main.MaxConcurrent = 1
		main.Backend = &tamperer{Backend: main.Backend, sign: func(context.Context, *x509.Certificate, crypto.PublicKey) ([]byte, error) {
			started <- struct{}{}
			<-release
			return nil, context.DeadlineExceeded
		}}
		b, err := NewSoftCAS(other, otherKey)
		if err != nil {
			t.Fatal(err)
		}
		w.config.Issuers = append(w.config.Issuers, Issuer{Name: "other", Chain: other, Backend: b})
	})
	hung := make(chan error, 1)
	req := w.request(t)
	go func() { _, err := w.authority.Issue(context.Background(), req); hung <- err }()
	<-started
	second := newProfile(t, func(c *policy.Config) { c.Name, c.Issuer = "second", "other" })
	for range 3 {
		req := w.request(t)
		req.Profile, req.Policy.ProfileHash = second, second.Hash()
		if c, err := w.authority.Issue(t.Context(), req); err != nil || c.Issuer != "other" {
			t.Errorf("got %v, %v", c, err)
		}
	}
	close(release)
	if err := <-hung; !problem.Is(err, problem.Unavailable) {
		t.Errorf("the hung one ended with %v", err)
	}
}
