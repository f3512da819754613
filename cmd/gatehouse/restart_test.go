package main

import (
	"net/http"
	"testing"
)

// TestRestart stops a gateway with SIGTERM and starts it again on the same folder: everything that a client was told
// before still holds, except for nonces.
func TestRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	at := w.answers()
	before := w.start()
	c := registered(before)
	kept, _ := c.issue(at, "kept.example.com")
	revoked, _ := c.issue(at, "revoked.example.com")
	c.revoke(revoked[0], 4).want(http.StatusOK)
	awaitRevoked(t, revoked[0], 4)
	number := crlOf(t, revoked[0]).Number
	order := c.ready(at, "ready.example.com")
	pending := c.order("pending.example.com")
	nonce := c.nonce()
	list := w.certList()
	before.stop()

	after := w.start()
	c.http = after.client()
	c.nonces = nil

	if again := w.certList(); len(again) != 2 || len(again) != len(list) || again[0].Serial != list[0].Serial ||
		again[0].Status != "revoked" || again[1].Serial != list[1].Serial || again[1].Status != "issued" {
		t.Errorf("cert list was\n%+v\nand is now\n%+v", list, again)
	}
	crl := crlOf(t, revoked[0])
	if e := revokedOn(crl, revoked[0]); e == nil || e.ReasonCode != 4 {
		t.Errorf("the CRL's entry is %+v", e)
	}
	if revokedOn(crl, kept[0]) != nil {
		t.Error("the CRL lists a certificate that nobody revoked")
	}
	if crl.Number.Cmp(number) < 0 {
		t.Errorf("the CRL's number went back from %s to %s", number, crl.Number)
	}
	c.revoke(revoked[0], 4).wantProblem(http.StatusBadRequest, "alreadyRevoked")

	// Which nonces were used, only the dead process knew (RFC 8555, 6.5).
	a := c.do(http.MethodPost, order.URL, c.sign(order.URL, nonce, nil))
	a.wantProblem(http.StatusBadRequest, "badNonce")

	if o := c.look(order); o.Status != "ready" {
		t.Fatalf("the ready order is now %s", o.Status)
	}
	_, csr := newCSR(t, "ready.example.com")
	c.finalize(order, csr).want(http.StatusOK)
	after.verifyChain(c.await(order), "ready.example.com")
	c.prove(pending, at)
	if o := c.look(pending); o.Status != "ready" {
		t.Errorf("the pending order, proven now, is %s", o.Status)
	}
	// The proof is the account's, so another order for the name is ready at once.
	if o := c.order("ready.example.com"); o.Status != "ready" {
		t.Errorf("an order for a proven name is %s", o.Status)
	}
	after.stop()
	w.mustCommand("audit", "verify")
}

// TestRestartEmpty starts twice what nobody used.
func TestRestartEmpty(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start().stop()
	i := w.start()
	if list := w.certList(); len(list) != 0 {
		t.Errorf("an unused gateway lists %v", list)
	}
	registered(i)
}
