package main

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"sync"
	"testing"
)

// Every transition that many clients can ask for at once has one winner, and the losers hear something true.

// atOnce runs f n times in parallel, all released by one signal.
func atOnce(n int, f func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	wg.Wait()
}

// issuedFor counts the certificates in the inventory for a name.
func (w *world) issuedFor(name string) int {
	w.t.Helper()
	n := 0
	for _, e := range w.certList() {
		if len(e.Names) > 0 && e.Names[0] == name && e.Serial != "" {
			n++
		}
	}
	return n
}

func TestParallelFinalizes(t *testing.T) {
	t.Parallel()
	i := startGateway(t)
	c, at := registered(i), i.answers()

	const clients = 50
	t.Run("with one CSR", func(t *testing.T) {
		order := c.ready(at, "same.example.com")
		_, csr := newCSR(t, "same.example.com")
		atOnce(clients, func(int) {
			// RFC 8555, 7.4: whoever finalizes again with the same request is shown the order.
			a := c.finalize(order, csr)
			var o rawOrder
			if a.want(http.StatusOK) {
				a.decode(&o)
			}
			if o.Status != "valid" && o.Status != "processing" {
				t.Errorf("a finalize is answered with an order that is %q", o.Status)
			}
		})
		i.verifyChain(c.await(order), "same.example.com")
		if n := i.issuedFor("same.example.com"); n != 1 {
			t.Errorf("%d certificates for one order", n)
		}
	})
	t.Run("with 50 CSRs", func(t *testing.T) {
		order := c.ready(at, "different.example.com")
		csrs := make([][]byte, clients)
		for k := range csrs {
			_, csrs[k] = newCSR(t, "different.example.com")
		}
		var mu sync.Mutex
		var winners []int
		atOnce(clients, func(k int) {
			switch a := c.finalize(order, csrs[k]); a.status {
			case http.StatusOK:
				mu.Lock()
				winners = append(winners, k)
				mu.Unlock()
			case http.StatusForbidden: // RFC 8555, 7.4
				a.wantProblem(http.StatusForbidden, "orderNotReady")
			default:
				t.Errorf("a finalize is answered with %d\n%s", a.status, a.body)
			}
		})
		chain := c.await(order)
		i.verifyChain(chain, "different.example.com")
		if len(winners) != 1 {
			t.Fatalf("%d of %d different finalizes won", len(winners), clients)
		}
		csr, err := x509.ParseCertificateRequest(csrs[winners[0]])
		if err != nil {
			t.Fatal(err)
		}
		if string(csr.RawSubjectPublicKeyInfo) != string(chain[0].RawSubjectPublicKeyInfo) {
			t.Error("the certificate holds another key than the winner's")
		}
		if n := i.issuedFor("different.example.com"); n != 1 {
			t.Errorf("%d certificates for one order", n)
		}
	})
}

func TestParallelOrders(t *testing.T) {
	t.Parallel()
	i := startGateway(t)
	c := registered(i)
	const orders = 100
	urls := make(chan string, orders)
	atOnce(orders, func(k int) {
		// Every second one shares a name with another, so that they look for the same authorizations.
		urls <- c.order(fmt.Sprintf("n%d.example.com", k/2)).URL
	})
	close(urls)
	seen := map[string]bool{}
	for u := range urls {
		seen[u] = true
	}
	if len(seen) != orders || seen[""] {
		t.Fatalf("%d different orders of %d", len(seen), orders)
	}
	for u := range seen {
		if a := c.post(u, nil); !a.want(http.StatusOK) {
			break
		}
	}
}

func TestParallelUsesOfOneNonce(t *testing.T) {
	t.Parallel()
	i := startGateway(t)
	c := registered(i)
	const uses = 100
	nonce, url := c.nonce(), c.url("newOrder")
	bodies := make([][]byte, uses)
	for k := range bodies {
		bodies[k] = c.sign(url, nonce, map[string]any{"identifiers": dnsNames(fmt.Sprintf("n%d.example.com", k))})
	}
	var mu sync.Mutex
	accepted := 0
	atOnce(uses, func(k int) {
		a := c.do(http.MethodPost, url, bodies[k])
		if a.status == http.StatusCreated {
			mu.Lock()
			accepted++
			mu.Unlock()
			return
		}
		a.wantProblem(http.StatusBadRequest, "badNonce")
		if a.header.Get("Replay-Nonce") == "" { // RFC 8555, 6.5
			t.Error("a badNonce answer without a nonce to try again with")
		}
	})
	if accepted != 1 {
		t.Errorf("one nonce was accepted %d times", accepted)
	}
}

func TestParallelRevocations(t *testing.T) {
	t.Parallel()
	i := startGateway(t)
	c := registered(i)
	chain, _ := c.issue(i.answers(), "twice.example.com")
	var mu sync.Mutex
	done := 0
	atOnce(20, func(int) {
		a := c.revoke(chain[0], 4)
		if a.status == http.StatusOK {
			mu.Lock()
			done++
			mu.Unlock()
			return
		}
		a.wantProblem(http.StatusBadRequest, "alreadyRevoked") // RFC 8555, 7.6
	})
	if done != 1 {
		t.Errorf("one certificate was revoked %d times", done)
	}
	awaitRevoked(t, chain[0], 4)
}

func TestParallelRegistrations(t *testing.T) {
	t.Parallel()
	i := startGateway(t)
	c := newRawClient(i)
	var mu sync.Mutex
	created := 0
	accounts := map[string]bool{}
	atOnce(20, func(int) {
		a := c.post(c.url("newAccount"), map[string]any{"termsOfServiceAgreed": true})
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
