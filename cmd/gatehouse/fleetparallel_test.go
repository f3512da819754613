package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/storage/redis"
	"github.com/gatehouse-ca/gatehouse/storage/redis/redistest"
)

// The tests of several gateways on one Redis that go well. Where something fails is for the chaos test.

// twoGateways are two gateways on one Redis of their own.
func twoGateways(t *testing.T) (*fleet, []*instance, *redistest.Server) {
	t.Helper()
	redistest.Need(t)
	server := redistest.Start(t)
	f := newFleet(t, 2, "--redis", server.Addr)
	return f, f.start(), server
}

// TestOneOrderOverTwoGateways: every step of an order is taken at another gateway than the one before.
func TestOneOrderOverTwoGateways(t *testing.T) {
	t.Parallel()
	f, gateways, server := twoGateways(t)
	at := gateways[0].answers()
	a, b := 0, 1
	f.doors.to(a)
	c := registered(gateways[0])
	c.http = alternating(gateways[0]) // a kept connection would not follow the switch
	f.doors.to(b)
	o := c.order("over.example.com")
	f.doors.to(a)
	c.prove(o, at)
	f.doors.to(b)
	if o = c.look(o); o.Status != "ready" {
		t.Fatalf("the order is %s", o.Status)
	}
	f.doors.to(a)
	_, csr := newCSR(t, "over.example.com")
	c.finalize(o, csr).want(http.StatusOK)
	f.doors.to(b)
	chain := c.await(o)
	gateways[1].verifyChain(chain, "over.example.com")
	c.revoke(chain[0], 4).want(http.StatusOK)
	for k := range gateways {
		f.plain.to(k)
		awaitRevoked(t, chain[0], 4)
	}
	for _, g := range gateways {
		if n := g.issuedFor("over.example.com"); n != 1 {
			t.Errorf("a gateway lists %d certificates", n)
		}
		g.stop()
	}
	judgeScene(t, f.scene(redis.Config{Addrs: []string{server.Addr}}), nil)
}

// TestParallelFinalizesOverTwoGateways: 50 finalizes of one order, half of them at each gateway, with one CSR and with 50.
func TestParallelFinalizesOverTwoGateways(t *testing.T) {
	t.Parallel()
	f, gateways, server := twoGateways(t)
	c := registered(gateways[0])
	c.http = alternating(gateways[0])
	at := gateways[0].answers()
	const clients = 50
	for _, csrs := range []int{1, clients} {
		name := fmt.Sprintf("csrs%d.example.com", csrs)
		order := c.ready(at, name)
		bodies := make([][]byte, clients)
		_, same := newCSR(t, name)
		for k := range bodies {
			csr := same
			if csrs > 1 {
				_, csr = newCSR(t, name)
			}
			bodies[k] = c.sign(order.Finalize, c.nonce(), map[string]string{"csr": b64(csr)})
		}
		atOnce(clients, func(k int) {
			switch a := c.do(http.MethodPost, order.Finalize, bodies[k]); a.status {
			case http.StatusOK:
			case http.StatusForbidden:
				a.wantProblem(http.StatusForbidden, "orderNotReady")
			default:
				t.Errorf("a finalize is answered with %d\n%s", a.status, a.body)
			}
		})
		gateways[0].verifyChain(c.await(order), name)
		if n := gateways[1].issuedFor(name); n != 1 {
			t.Errorf("%d CSRs: %d certificates for one order", csrs, n)
		}
	}
	for _, g := range gateways {
		g.stop()
	}
	judgeScene(t, f.scene(redis.Config{Addrs: []string{server.Addr}}), nil)
}

// alternating is a client that connects anew for every request, so that the switch takes the gateways in turn.
func alternating(i *instance) *http.Client {
	c := i.client()
	c.Transport.(*http.Transport).DisableKeepAlives = true
	return c
}

// TestOneNonceAtTwoGateways: whichever gateway made it, one use is accepted in all (invariant 17).
func TestOneNonceAtTwoGateways(t *testing.T) {
	t.Parallel()
	_, gateways, _ := twoGateways(t)
	c := registered(gateways[0])
	c.http = alternating(gateways[0])
	for round := range 10 {
		const uses = 20
		nonce, url := c.nonce(), c.url("newOrder")
		bodies := make([][]byte, uses)
		for k := range bodies {
			bodies[k] = c.sign(url, nonce, map[string]any{"identifiers": dnsNames(fmt.Sprintf("n%d-%d.example.com", round, k))})
		}
		var mu sync.Mutex
		accepted := 0
		atOnce(uses, func(k int) {
			if a := c.do(http.MethodPost, url, bodies[k]); a.status == http.StatusCreated {
				mu.Lock()
				accepted++
				mu.Unlock()
			} else {
				a.wantProblem(http.StatusBadRequest, "badNonce")
			}
		})
		if accepted != 1 {
			t.Errorf("round %d: one nonce was accepted %d times", round, accepted)
		}
	}
}

// TestParallelRegistrationsAtTwoGateways: one key makes one account.
func TestParallelRegistrationsAtTwoGateways(t *testing.T) {
	t.Parallel()
	_, gateways, _ := twoGateways(t)
	c := newRawClient(gateways[0])
	c.http = alternating(gateways[0])
	var mu sync.Mutex
	created := 0
	accounts := map[string]bool{}
	bodies := make([][]byte, 40)
	for k := range bodies {
		bodies[k] = c.sign(c.url("newAccount"), c.nonce(), map[string]any{"termsOfServiceAgreed": true})
	}
	atOnce(len(bodies), func(k int) {
		a := c.do(http.MethodPost, c.url("newAccount"), bodies[k])
		mu.Lock()
		defer mu.Unlock()
		accounts[a.header.Get("Location")] = true
		switch a.status {
		case http.StatusCreated:
			created++
		case http.StatusOK: // RFC 8555, 7.3.1: the key has an account by now
		default:
			t.Errorf("newAccount is answered with %d\n%s", a.status, a.body)
		}
	})
	if created != 1 || len(accounts) != 1 {
		t.Errorf("one key made %d accounts and was told of %d: %v", created, len(accounts), accounts)
	}
}

// TestAGatewayDrains: told to stop, it says so at /readyz while it still serves, and once the balancer has turned away from it
// the other one takes over without an error for anybody.
func TestAGatewayDrains(t *testing.T) {
	t.Parallel()
	redistest.Need(t)
	f := newFleet(t, 2, "--redis", redistest.Start(t).Addr, "--drain-delay", "2s")
	gateways := f.start()
	leaving := gateways[1]
	c := registered(gateways[0])
	at := gateways[0].answers()
	c.http = alternating(gateways[0])
	turned, stopped := make(chan error, 1), make(chan struct{})
	go func() { leaving.stop(); close(stopped) }()
	go func() { turned <- leaving.awaitUnready(t.Context()); f.doors.without(1) }()
	for n := 0; ; n++ {
		c.issue(at, fmt.Sprintf("drain%d.example.com", n))
		select {
		case <-stopped:
			must(t, <-turned)
			c.issue(at, "alone.example.com")
			return
		case <-t.Context().Done():
			return
		default:
		}
		if n > 1000 {
			t.Fatal("the gateway does not stop")
		}
	}
}

// awaitUnready asks for readiness as a balancer does, until it is denied.
func (i *instance) awaitUnready(ctx context.Context) error {
	for {
		resp, err := http.Get("http://" + i.plain + "/readyz")
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusServiceUnavailable {
			return nil
		}
		if !pause(ctx) {
			return ctx.Err()
		}
	}
}

// TestAnEmptiedStoreIsBroughtForward: the store is flushed under two running gateways. Both notice, replay their journals
// and serve again; what they acknowledged is there.
func TestAnEmptiedStoreIsBroughtForward(t *testing.T) {
	t.Parallel()
	f, gateways, server := twoGateways(t)
	at := gateways[0].answers()
	var clients []*history
	for k := range 4 {
		f.doors.to(k % 2)
		h := newHistory(f.worlds[0])
		must(t, h.advance(t.Context(), gateways[0], at))
		clients = append(clients, h)
	}
	server.Do("FLUSHALL")
	deadline := time.Now().Add(time.Minute)
	for _, g := range gateways {
		for !hasLog([]*instance{g}, "serving again") {
			if time.Now().After(deadline) {
				t.Fatalf("a gateway does not come back\n%s", g.log.tail())
			}
			pause(t.Context())
		}
	}
	for _, g := range gateways {
		if n := len(g.certList()); n != len(clients) {
			t.Errorf("%d enrollments are listed, want %d", n, len(clients))
		}
	}
	for k, h := range clients {
		f.doors.to((k + 1) % 2)
		account, err := h.client(gateways[0]).GetReg(t.Context(), "")
		if err != nil || account.URI != h.account {
			t.Errorf("the account %s is gone: %v", h.account, err)
		}
		must(t, h.seeRevoked(t.Context()))
	}
	f.doors.to(0)
	fresh := newHistory(f.worlds[0])
	must(t, fresh.advance(t.Context(), gateways[0], at))
	for _, g := range gateways {
		g.stop()
	}
	judgeScene(t, f.scene(redis.Config{Addrs: []string{server.Addr}}), append(clients, fresh))
}
