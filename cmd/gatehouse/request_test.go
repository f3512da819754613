package main

import (
	"encoding/json"
	"net/http"
	"os/user"
	"strconv"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/internal/testneed"
)

// requests are those that wait, as an approver sees them.
func (w *world) requests() []requestView {
	w.t.Helper()
	var list requestsView
	if err := json.Unmarshal([]byte(w.mustCommand("request", "list", "--json")), &list); err != nil {
		w.t.Fatal(err)
	}
	return list.Requests
}

// waiting is the one request that waits, once there is one.
func (i *instance) waiting() requestView {
	i.t.Helper()
	for {
		if list := i.requests(); len(list) == 1 {
			return list[0]
		}
		if !i.running() || !pause(i.t.Context()) {
			i.t.Fatal("no request ever waited")
		}
	}
}

// TestCertbotWaitsForApproval in two runs and in one: a first run ends waiting, somebody approves from the terminal, and the
// next run has the certificate; and with --issuance-timeout, approved meanwhile. A renewal needs nobody.
func TestCertbotWaitsForApproval(t *testing.T) {
	testneed.Programs(t, "certbot", "openssl")
	t.Parallel()
	c := newCertbot(startGateway(t, "--approvals", "1"))
	c.run("register", "--agree-tos", "-m", "admin@example.com", "--no-eff-email")

	first := append([]string{"certonly", "-d", "one.example.com", "--issuance-timeout", "2"}, c.standalone()...)
	for range 2 {
		if out, err := c.try(first...); err == nil {
			t.Fatalf("certbot has a certificate that nobody approved\n%s", out)
		}
	}
	waits := c.waiting() // both orders are one request
	if waits.Status != "awaiting approval" || waits.Names[0] != "one.example.com" || waits.Required != 1 {
		t.Fatalf("what waits is %+v", waits)
	}
	id := strconv.FormatInt(waits.ID, 10)
	if out := c.mustCommand("request", "approve", id, "--message", "ticket 42"); !strings.Contains(out, "when the client asks next") {
		t.Errorf("approve says %q", out)
	}
	c.run(first...)
	c.verifies("one.example.com")
	me, err := user.Current()
	must(t, err)
	if out := c.mustCommand("request", "show", id); !strings.Contains(out, "uid:"+me.Uid) || !strings.Contains(out, "ticket 42") || !strings.Contains(out, "issued") {
		t.Errorf("show says\n%s", out)
	}
	c.run(append([]string{"renew", "--force-renewal", "--no-random-sleep-on-renew"}, c.standalone()...)...)

	done := make(chan string, 1)
	go func() {
		out, err := c.try(append([]string{"certonly", "-d", "two.example.com", "--issuance-timeout", "600"}, c.standalone()...)...)
		if err == nil {
			out = ""
		}
		done <- out
	}()
	c.mustCommand("request", "approve", strconv.FormatInt(c.waiting().ID, 10))
	if out := <-done; out != "" {
		t.Fatalf("certbot did not get what was approved while it waited:\n%s", out)
	}
	c.verifies("two.example.com")
	if list := c.certList(); len(list) != 3 {
		t.Errorf("%d certificates for two first ones and a renewal", len(list))
	}
}

// TestOrdersUnderApproval: what the wire says while people decide, and after they have.
func TestOrdersUnderApproval(t *testing.T) {
	t.Parallel()
	i := startGateway(t, "--approvals", "1")
	at := i.answers()
	c := registered(i)
	finalize := func(name string) rawOrder {
		t.Helper()
		order := c.ready(at, name)
		_, csr := newCSR(t, name)
		a := c.finalize(order, csr)
		a.want(http.StatusOK)
		if wait := a.header.Get("Retry-After"); wait != "60" {
			t.Errorf("finalize says Retry-After: %q", wait)
		}
		if o := c.look(order); o.Status != "processing" {
			t.Fatalf("an order that waits is %s", o.Status)
		}
		return order
	}
	older := finalize("www.example.com")
	newer := finalize("www.example.com")
	if a := c.post(older.URL, nil); c.look(older).Status != "invalid" || !strings.Contains(string(a.body), "newer order") {
		t.Errorf("the older order is %s", a.body)
	}
	i.mustCommand("request", "approve", strconv.FormatInt(i.waiting().ID, 10))
	c.await(newer)
	if o := c.look(older); o.Status != "invalid" || o.Certificate != "" {
		t.Errorf("the older order has a certificate for another key: %+v", o)
	}

	refused := finalize("no.example.com")
	id := strconv.FormatInt(i.waiting().ID, 10)
	if _, errs, status := i.command("request", "decline", id); status == 0 || !strings.Contains(errs, "message") {
		t.Errorf("declined without a reason: %s", errs)
	}
	i.mustCommand("request", "decline", id, "--message", "not one of ours")
	if a := c.post(refused.URL, nil); c.look(refused).Status != "invalid" || !strings.Contains(string(a.body), "declined: not one of ours") {
		t.Errorf("a declined order is %s", a.body)
	}
	if _, errs, status := i.command("request", "approve", id); status == 0 || !strings.Contains(errs, "was declined") {
		t.Errorf("approved after the decline: %s", errs)
	}

	// What was approved stays so over a kill, and is there for the next order.
	finalize("kept.example.com")
	i.mustCommand("request", "approve", strconv.FormatInt(i.waiting().ID, 10))
	i.kill()
	i = i.world.start("--approvals", "1")
	again := newRawClient(i)
	again.key, again.kid = c.key, c.kid
	c = again
	order := c.ready(at, "kept.example.com")
	_, csr := newCSR(t, "kept.example.com")
	c.finalize(order, csr).want(http.StatusOK)
	c.await(order)
}
