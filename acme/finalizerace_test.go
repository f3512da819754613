package acme

import (
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-ca/gatehouse/testca"
)

// TestSlowFinalizeLosesToAnotherKey: what another process began is not taken for this request's.
func TestSlowFinalizeLosesToAnotherKey(t *testing.T) {
	synctest.Test(t, testSlowFinalizeLosesToAnotherKey)
}

func testSlowFinalizeLosesToAnotherKey(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	o := c.readyOrder("a.example.com")
	other, err := testca.NewKey(testca.P256)
	if err != nil {
		t.Fatal(err)
	}
	w.server.FinalizeWait = time.Second
	first := csrFor(t, other, "a.example.com")
	there := c.elsewhere()
	w.store.meanwhile("begin", func() {
		there.to(o.Finalize, first).want(t, http.StatusOK)
		time.Sleep(2 * time.Second) // synctest's time; the conflict comes later than the answer
	})
	c.to(o.Finalize, w.csr("a.example.com")).wantProblem(t, http.StatusForbidden, "orderNotReady")
	w.settled()
	if w.registrar.issued != 1 {
		t.Errorf("%d certificates", w.registrar.issued)
	}
}

func TestFiftyFinalizesGiveOneCertificate(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	o := c.readyOrder("a.example.com")
	same := w.csr("a.example.com")
	var wg sync.WaitGroup
	for i := range 50 {
		csr := same
		if i%2 == 0 {
			csr = w.csr("a.example.com") // other bytes, the same key
		}
		wg.Go(func() {
			a := c.to(o.Finalize, csr)
			if a.status != http.StatusOK || a.header.Get("Location") != o.url {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	wg.Wait()
	if w.registrar.issued != 1 || len(w.store.certificates) != 1 {
		t.Errorf("%d certificates", w.registrar.issued)
	}
	if got := c.read(o.url).want(t, http.StatusOK).order(t); got.Status != "valid" {
		t.Error(got.Status)
	}
}

// TestFinalizeConflictWithoutWinner is a conflict that left the order ready: the client can try again.
func TestFinalizeConflictWithoutWinner(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	o := c.readyOrder("a.example.com")
	w.registrar.set(func() { w.registrar.refuse = errConflict })
	c.to(o.Finalize, w.csr("a.example.com")).wantProblem(t, http.StatusConflict, "malformed")
}

func TestFinalizeRaceOfTwoKeys(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	o := c.readyOrder("a.example.com")
	var wg sync.WaitGroup
	statuses := make(chan int, 10)
	for range 10 {
		key, err := testca.NewKey(testca.P256)
		if err != nil {
			t.Fatal(err)
		}
		csr := csrFor(t, key, "a.example.com")
		wg.Go(func() { statuses <- c.to(o.Finalize, csr).status })
	}
	wg.Wait()
	close(statuses)
	count := map[int]int{}
	for s := range statuses {
		count[s]++
	}
	if count[http.StatusOK] != 1 || count[http.StatusForbidden] != 9 || w.registrar.issued != 1 {
		t.Errorf("%v, %d certificates", count, w.registrar.issued)
	}
}
