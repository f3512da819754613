package acme

import (
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
)

func TestNewRefusesWhatCannotWork(t *testing.T) {
	w := newWorld(t)
	for name, spoil := range map[string]func(c *Config){
		"no public URL":        func(c *Config) { c.PublicURLs = nil },
		"no organisations":     func(c *Config) { c.Organisations = nil },
		"no store":             func(c *Config) { c.Store = nil },
		"no work":              func(c *Config) { c.Work = nil },
		"no default profile":   func(c *Config) { c.DefaultProfile = "nothing" },
		"negative lifetime":    func(c *Config) { c.OrderLifetime = -time.Second },
		"issuer without chain": func(c *Config) { c.Chain = func(string) []byte { return nil } },
		"issuer's chain is bad": func(c *Config) {
			c.Chain = func(string) []byte { return []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n") }
		},
	} {
		cfg := w.server.Config
		spoil(&cfg)
		if _, err := New(t.Context(), cfg); err == nil || !strings.HasPrefix(err.Error(), "acme: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.store.failing("NonceKeys", problem.New(problem.Unavailable, "the store does not answer"))
	if _, err := New(t.Context(), w.server.Config); !problem.Is(err, problem.Unavailable) {
		t.Error("started without nonce keys:", err)
	}
}

func TestSweepOrders(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	c.newOrder("a.example.com")
	w.clock.advance(8 * 24 * time.Hour)
	o := c.newOrder("b.example.com")
	if err := w.server.sweepOrders(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(w.store.orders) != 1 || w.store.orders[o.id()] == nil {
		t.Errorf("%d orders are left", len(w.store.orders))
	}
	w.store.failing("SweepOrders", errConflict)
	if err := w.server.sweepOrders(t.Context()); err == nil {
		t.Error("a failure is not reported")
	}
}

func TestSweepReportsTheStore(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	c.newOrder("a.example.com")
	down := problem.New(problem.Unavailable, "the store does not answer")
	w.store.failing("DueChallenges", down)
	if err := w.server.sweepValidations(t.Context()); !problem.Is(err, problem.Unavailable) {
		t.Error(err)
	}
	w.store.failing("DueChallenges", nil)
	w.store.edit(func() {
		for _, a := range w.store.authzs {
			a.Challenges[0].Begun, a.Challenges[0].Due = testTime, testTime
		}
	})
	w.store.failing("BeginChallenge", down)
	if err := w.server.sweepValidations(t.Context()); !problem.Is(err, problem.Unavailable) {
		t.Error(err)
	}
	w.store.failing("BeginChallenge", errConflict) // another process has it
	if err := w.server.sweepValidations(t.Context()); err != nil {
		t.Error(err)
	}
}
