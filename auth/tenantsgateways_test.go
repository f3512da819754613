package auth_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/storage"
)

// TestConfigurationAndStoreCollide: a start fails and says what to do; one whose parent went is there and does nothing.
func TestConfigurationAndStoreCollide(t *testing.T) {
	w := newWorld(t)
	o := w.add(auth.NewOrg{Slug: "sales", Parent: "lab"})
	for _, c := range []auth.Org{{ID: 7, Slug: "sales"}, {ID: o.ID, Slug: "renamed"}} {
		d, err := auth.NewDirectory(append([]auth.Org{c}, configured...))
		must(t, err)
		if _, err := d.Open(t.Context(), w.db, nil); err == nil || !strings.Contains(err.Error(), "give the configured one another number and slug") {
			t.Errorf("%+v: %v", c, err)
		}
	}
	w.open(configured[0])
	if _, ok := w.directory.BySlug("sales"); ok || w.directory.Works(o.ID) == nil || w.directory.Allowed(o.ID, "tls") {
		t.Error("an organisation without its parent works")
	}
	if orphans := w.directory.Orphans(); len(orphans) != 1 || orphans[0].ID != o.ID {
		t.Errorf("orphans are %v", orphans)
	}
	list, err := w.tenants.List(t.Context(), operator)
	if err != nil || len(list) != 2 || list[1].Obstacle == "" {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestCollisionAtAGatewayThatRuns: a command at a gateway with another file takes a slug that is configured here. Neither is
// taken for the other, and what else changes is seen all the same.
func TestCollisionAtAGatewayThatRuns(t *testing.T) {
	w := newWorld(t)
	here := w.directory
	w.open(configured[0])
	taken, sales := w.add(auth.NewOrg{Slug: "lab"}), w.add(auth.NewOrg{Slug: "sales"})
	must(t, here.Refresh(t.Context()))
	if o, ok := here.BySlug("lab"); !ok || o.ID != 2 || here.Works(taken.ID) == nil || here.Allowed(taken.ID, "tls") || here.Works(sales.ID) != nil {
		t.Errorf("lab is %+v; the other works: %v; sales: %v", o, here.Works(taken.ID), here.Works(sales.ID))
	}
	w.edit("sales", auth.OrgEdit{Disabled: new(true)})
	must(t, here.Refresh(t.Context()))
	if here.Works(sales.ID) == nil {
		t.Error("an organisation that was disabled works here")
	}
	// With one number neither works: whose the accounts are cannot be told.
	d, err := auth.NewDirectory([]auth.Org{configured[0], {ID: taken.ID, Slug: "renamed"}})
	must(t, err)
	d, err = d.Open(t.Context(), w.db, nil)
	if _, ok := d.BySlug("renamed"); err == nil || ok || d.Works(taken.ID) == nil {
		t.Errorf("%v, %t", err, ok)
	}
}

// TestAnotherGatewaySees: a hint, or without one two seconds, and the other gateway's directory knows.
func TestAnotherGatewaySees(t *testing.T) {
	w := newWorld(t)
	fixed, err := auth.NewDirectory(configured)
	must(t, err)
	other, err := fixed.Open(t.Context(), w.db, nil)
	must(t, err)
	w.add(auth.NewOrg{Slug: "sales"})
	if _, ok := other.BySlug("sales"); ok {
		t.Error("it reads the store for every lookup")
	}
	must(t, other.Refresh(t.Context()))
	if _, ok := other.BySlug("sales"); !ok {
		t.Error("it does not see it")
	}

	synctest.Test(t, func(t *testing.T) {
		store := &hintless{orgs: []*auth.Org{{ID: 9, Slug: "nine", EAB: auth.EABOff}}, version: [16]byte{1}}
		d, err := fixed.Open(t.Context(), store, nil)
		must(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { d.Run(ctx) })
		synctest.Wait()
		store.set(&auth.Org{ID: 9, Slug: "nine", EAB: auth.EABOff, Disabled: time.Now()})
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if _, ok := d.BySlug("nine"); ok {
			t.Error("two seconds later it is not known that it was disabled")
		}
		loads := store.read()
		time.Sleep(time.Minute)
		if store.read() != loads {
			t.Error("what did not change is read again")
		}
		store.fail()
		store.set(&auth.Org{ID: 9, Slug: "nine", EAB: auth.EABOff})
		time.Sleep(time.Minute)
		if _, ok := d.BySlug("nine"); ok || d.Works(1) != nil {
			t.Error("a store that does not answer changes what is known")
		}
		cancel()
		running.Wait()
	})
}

// hintless is a store of organisations that gives no hints.
type hintless struct {
	storage.DB // only for the methods that are not called
	mu         sync.Mutex
	orgs       []*auth.Org
	version    [16]byte
	broken     bool
	loads      int
}

func (h *hintless) set(o *auth.Org) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.orgs = []*auth.Org{o}
	h.version[0]++
}

func (h *hintless) read() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.loads
}

func (h *hintless) fail() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.broken = true
}

func (h *hintless) OrgsVersion(context.Context) ([16]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.broken {
		return [16]byte{}, problem.New(problem.Unavailable, "broken")
	}
	return h.version, nil
}

func (h *hintless) Orgs(context.Context) ([]*auth.Org, [16]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.loads++
	return h.orgs, h.version, nil
}

func (h *hintless) WatchOrgs(ctx context.Context) <-chan string {
	c := make(chan string)
	go func() { <-ctx.Done(); close(c) }()
	return c
}
