package acme

import (
	"encoding/base64"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
)

func testNonces(t *testing.T) (*nonces, *clock, *memStore) {
	t.Helper()
	c, store := &clock{t: testTime}, newMemStore()
	n, err := newNonces(t.Context(), store, c.now)
	if err != nil {
		t.Fatal(err)
	}
	return n, c, store
}

func TestNonceIsTakenUntilItExpires(t *testing.T) {
	n, c, _ := testNonces(t)
	nonce := n.fresh()
	if n.fresh() == nonce {
		t.Fatal("RFC 8555, 6.5.1: a nonce twice")
	}
	var a Admission
	if err := n.check(nonce, &a); err != nil {
		t.Fatal(err)
	}
	if !a.NonceMade.Equal(testTime) || !a.NonceUntil.Equal(testTime.Add(nonceLifetime)) || len(a.Nonce) != nonceLength {
		t.Errorf("admission %+v", a)
	}
	c.advance(nonceLifetime - time.Millisecond)
	if err := n.check(nonce, &a); err != nil {
		t.Error("refused before its time:", err)
	}
	c.advance(time.Millisecond)
	if err := n.check(nonce, &a); !problem.Is(err, problem.BadNonce) {
		t.Error("RFC 8555, 6.5: an expired nonce passes:", err)
	}
}

func TestNonceOfSomebodyElseIsBad(t *testing.T) {
	n, _, _ := testNonces(t)
	good, err := base64.RawURLEncoding.DecodeString(n.fresh())
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func([]byte) []byte{
		"later expiry": func(b []byte) []byte { b[2]++; return b },
		"other random": func(b []byte) []byte { b[10] ^= 1; return b },
		"other MAC":    func(b []byte) []byte { b[31] ^= 1; return b },
		"short":        func(b []byte) []byte { return b[:31] },
		"long":         func(b []byte) []byte { return append(b, 0) },
		"empty":        func([]byte) []byte { return nil },
		// Before the first rotation there is no previous key, and the zero key is known to everybody.
		"zero key": func(b []byte) []byte {
			mac := nonceMAC(new([32]byte), b[:nonceBody])
			return append(b[:nonceBody], mac[:]...)
		},
	} {
		var a Admission
		if err := n.check(b64(spoil(append([]byte(nil), good...))), &a); !problem.Is(err, problem.BadNonce) || a.Nonce != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := n.check("not base64url!", new(Admission)); !problem.Is(err, problem.BadNonce) {
		t.Error(err)
	}
}

func TestNonceKeysRotateDaily(t *testing.T) {
	n, c, store := testNonces(t)
	other, err := newNonces(t.Context(), store, c.now) // another process
	if err != nil {
		t.Fatal(err)
	}
	refresh := func() {
		t.Helper()
		if err := n.refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	first := n.keys.Load().Current
	c.advance(nonceRotation - time.Second)
	refresh()
	if n.keys.Load().Current != first {
		t.Fatal("rotated early")
	}
	c.advance(time.Second)
	old := n.fresh()
	refresh()
	if keys := n.keys.Load(); keys.Current == first || keys.Previous != first {
		t.Fatal("not rotated after a day, or without a predecessor")
	}
	if err := n.check(old, new(Admission)); err != nil {
		t.Error("a nonce of the key before is refused:", err)
	}
	// A process that has not read the new keys yet takes what is made meanwhile.
	if err := other.check(n.fresh(), new(Admission)); err != nil {
		t.Error("a new key signs before others can know it:", err)
	}
	c.advance(nonceGrace)
	young := n.fresh()
	if err := other.check(young, new(Admission)); err == nil {
		t.Error("the new key does not sign after its grace")
	}
	if err := other.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := other.check(young, new(Admission)); err != nil {
		t.Error("the other process did not read the new keys:", err)
	}
	c.advance(nonceRotation)
	refresh()
	if n.keys.Load().Previous == first {
		t.Error("a key outlives its successor")
	}
}

func TestNonceIsAcceptedOnce(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	r := c.prepare("/acme/r/account/"+string(c.id()), nil)
	var accepted, bad atomic.Int32
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			switch a := c.send(r); a.status {
			case http.StatusOK:
				accepted.Add(1)
			case http.StatusBadRequest:
				bad.Add(1)
			default:
				t.Errorf("status %d: %s", a.status, a.body)
			}
		})
	}
	wg.Wait()
	if accepted.Load() != 1 || bad.Load() != 99 {
		t.Errorf("RFC 8555, 6.5: %d accepted, %d refused", accepted.Load(), bad.Load())
	}
}

func TestNewNonce(t *testing.T) {
	w := newWorld(t)
	// RFC 8555, 7.2: HEAD 200, GET 204, both with a nonce and not to be stored.
	for method, status := range map[string]int{http.MethodHead: http.StatusOK, http.MethodGet: http.StatusNoContent} {
		a := w.get(method, "/acme/r/new-nonce").want(t, status)
		if a.header.Get("Replay-Nonce") == "" || a.header.Get("Cache-Control") != "no-store" || len(a.body) != 0 {
			t.Errorf("%s: %v %q", method, a.header, a.body)
		}
	}
	if trips := w.store.taken(); len(trips) != 0 {
		t.Error("nonces touch the store:", trips)
	}
}
