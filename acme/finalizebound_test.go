package acme

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// TestIssuancesOfOneAccountAreBounded: an account whose issuances do not end, because its name servers do not answer about CAA,
// cannot have ever more of them by sending another CSR each time. Others are not held up.
func TestIssuancesOfOneAccountAreBounded(t *testing.T) {
	synctest.Test(t, testIssuancesOfOneAccountAreBounded)
}

func testIssuancesOfOneAccountAreBounded(t *testing.T) {
	w := newWorld(t, slow)
	hostile, healthy := w.account(), w.account()
	ready := func(c *client, name string) (facts Facts, req *signed) {
		o := c.readyOrder(name)
		account, order := w.store.accounts[c.id()], w.store.orders[o.id()]
		return w.store.facts(order), &signed{account: account, order: order}
	}
	facts, req := ready(hostile, "a.example.com")
	otherFacts, other := ready(healthy, "b.example.com")
	gate := make(chan struct{})
	w.server.Registrar = &gatedRegistrar{Registrar: w.server.Registrar, gate: gate}
	var all []*issuance
	for n := range maxIssuances {
		i, err := w.server.startIssuance(req, facts, []byte{byte(n), byte(n >> 8)})
		if err != nil {
			t.Fatalf("issuance %d: %v", n, err)
		}
		all = append(all, i)
	}
	if _, err := w.server.startIssuance(req, facts, []byte("one more")); !problem.Is(err, problem.Unavailable) || problem.From(err).RetryAfter == 0 {
		t.Errorf("one more: %v", err)
	}
	if i, err := w.server.startIssuance(req, facts, []byte{0, 0}); err != nil || i != all[0] {
		t.Errorf("the same again is not joined: %v", err)
	}
	i, err := w.server.startIssuance(other, otherFacts, []byte("another CSR"))
	if err != nil {
		t.Errorf("another account: %v", err)
	}
	close(gate)
	for _, i := range append(all, i) {
		<-i.done
	}
	synctest.Wait()
	if f := &w.server.finalizing; len(f.of) != 0 || len(f.byID) != 0 {
		t.Errorf("%v, %d orders are left", f.of, len(f.byID))
	}
}

// gatedRegistrar answers at the gate.
type gatedRegistrar struct {
	Registrar
	gate chan struct{}
}

func (r *gatedRegistrar) Submit(ctx context.Context, _ auth.Caller, _ ra.Request) (*ra.Enrollment, error) {
	select {
	case <-r.gate:
	case <-ctx.Done():
	}
	return nil, problem.New(problem.CAA, "the CAA records could not be looked up")
}
