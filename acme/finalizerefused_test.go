package acme

import (
	"crypto"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/testca"
)

func TestFinalizeRefusalsLeaveTheOrderReady(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	o := c.readyOrder("a.example.com")
	accountKey, err := testca.CSR(c.key, "a.example.com")
	if err != nil {
		t.Fatal(err)
	}
	good := w.csr("a.example.com")["csr"].(string)
	for _, tc := range []struct {
		name    string
		payload map[string]any
		word    string
	}{
		{"RFC 8555, 7.4: other names", w.csr("b.example.com"), "badCSR"},
		{"RFC 8555, 7.4: more names", w.csr("a.example.com", "b.example.com"), "badCSR"},
		{"RFC 8555, 11.1: the account's key", map[string]any{"csr": b64(accountKey)}, "badCSR"},
		{"no CSR", map[string]any{}, "malformed"},
		{"empty", map[string]any{"csr": ""}, "malformed"},
		{"RFC 8555, 7.4: not base64url", map[string]any{"csr": "-----BEGIN CERTIFICATE REQUEST-----"}, "malformed"},
		{"RFC 8555, 6.1: padded", map[string]any{"csr": b64([]byte("a")) + "=="}, "malformed"},
		{"RFC 8555, 6.1: line break", map[string]any{"csr": good[:64] + "\n" + good[64:]}, "malformed"},
		{"no PKCS #10", map[string]any{"csr": b64([]byte("text"))}, "badCSR"},
		{"too large", map[string]any{"csr": b64(make([]byte, 65<<10))}, "badCSR"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c.to(o.Finalize, tc.payload).wantProblem(t, http.StatusBadRequest, tc.word)
			if got := c.read(o.url).want(t, http.StatusOK).order(t); got.Status != "ready" {
				t.Errorf("the order is %s", got.Status)
			}
		})
	}
	c.to(o.Finalize, w.csr("a.example.com")).want(t, http.StatusOK)
}

func TestFinalizeNotReady(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	o := c.newOrder("a.example.com")
	c.to(o.Finalize, w.csr("a.example.com")).wantProblem(t, http.StatusForbidden, "orderNotReady") // RFC 8555, 7.4
	ready := c.readyOrder("b.example.com")
	w.clock.advance(7 * 24 * time.Hour)
	c.to(ready.Finalize, w.csr("b.example.com")).wantProblem(t, http.StatusForbidden, "orderNotReady")
	if len(w.registrar.requests) != 0 {
		t.Error("the registrar was asked")
	}
}

func TestFailedIssuanceMakesTheOrderInvalid(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	o := c.readyOrder("a.example.com")
	w.registrar.set(func() { w.registrar.fail = &ra.Failure{Kind: problem.CAA, Detail: "CAA forbids", At: testTime} })
	got := c.to(o.Finalize, w.csr("a.example.com")).want(t, http.StatusOK).order(t)
	if got.Status != "invalid" || got.Error["type"] != urn+"caa" || got.Certificate != "" { // RFC 8555, 7.1.3
		t.Errorf("%+v", got)
	}
	c.to(o.Finalize, w.csr("a.example.com")).wantProblem(t, http.StatusForbidden, "orderNotReady")
}

func TestUnavailableRegistrarLeavesTheOrderReady(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	o := c.readyOrder("a.example.com")
	w.registrar.set(func() {
		w.registrar.refuse = problem.New(problem.Unavailable, "the journal cannot be written").After(7 * time.Second)
	})
	a := c.to(o.Finalize, w.csr("a.example.com"))
	a.wantProblem(t, http.StatusServiceUnavailable, "serverInternal")
	if a.header.Get("Retry-After") != "7" {
		t.Error(a.header)
	}
	w.registrar.set(func() { w.registrar.refuse = nil })
	c.to(o.Finalize, w.csr("a.example.com")).want(t, http.StatusOK)
}

func TestStoppingGatewayTakesNoWork(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	o := c.readyOrder("a.example.com")
	url := c.challengeOf(c.newOrder("b.example.com").Authorizations[0])
	if err := w.server.Work.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.to(o.Finalize, w.csr("a.example.com")).wantProblem(t, http.StatusServiceUnavailable, "serverInternal")
	c.to(url, map[string]any{}).wantProblem(t, http.StatusServiceUnavailable, "serverInternal")
	if w.server.validations.room() != w.server.Config.Validations {
		t.Error("a validation that never began is still counted")
	}
}

// TestAccountKeysInCSRs: RFC 8555, 11.1: no key of any account is certified.
func TestAccountKeysInCSRs(t *testing.T) {
	w := newWorld(t)
	c, other := w.account(), w.account()
	o := c.readyOrder("a.example.com")
	for _, key := range []crypto.Signer{c.key, other.key} {
		der, err := testca.CSR(key, "a.example.com")
		if err != nil {
			t.Fatal(err)
		}
		c.to(o.Finalize, map[string]string{"csr": base64.RawURLEncoding.EncodeToString(der)}).wantProblem(t, http.StatusBadRequest, "badCSR")
		// Who does not have the key learns nothing about it.
		der[len(der)-1] ^= 1
		forged := c.to(o.Finalize, map[string]string{"csr": base64.RawURLEncoding.EncodeToString(der)})
		if key == other.key && (forged.status == http.StatusOK || strings.Contains(string(forged.body), "account")) {
			t.Errorf("a forged CSR: %d %s", forged.status, forged.body)
		}
	}
	if got := c.to(o.Finalize, w.csr("a.example.com")).want(t, http.StatusOK).order(t); got.Status != "valid" {
		t.Errorf("the order is %s", got.Status)
	}
}
