package main

import (
	"context"
	"crypto/x509"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/storage/redis"
	"github.com/gatehouse-ca/gatehouse/storage/redis/redistest"
)

// TestAStoppedGatewayWakes: a gateway is stopped in the middle of an issuance, with the signature made and nothing
// recorded, for longer than its lease. The other one takes the order over and finishes it. The first one wakes and records
// nothing: there is one certificate, and the serial of the signature that came too late is on the list.
func TestAStoppedGatewayWakes(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	config := redis.Config{Addrs: []string{server.Addr}}
	f := newFleet(t, 2, "--redis", server.Addr)
	stopped := f.worlds[0].start("--stop-at", "before=certificate/:2")
	defer stopped.cmd.Process.Signal(syscall.SIGCONT) // should the test end early
	other := f.worlds[1].start()
	answers := f.worlds[0].answers()

	h := newHistory(f.worlds[0])
	h.http = patient(stopped, f.worlds[0].doors)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	for err := error(nil); err == nil; { // until it asks in vain
		attempt, cancel := context.WithTimeout(ctx, 2*chaosPatience)
		if err = h.advance(attempt, stopped, answers); err == nil {
			t.Fatal("the gateway was not stopped")
		}
		cancel()
	}
	if h.order == "" || h.der != nil {
		t.Fatalf("the gateway stopped elsewhere: order %q\n%s", h.order, stopped.log.tail())
	}
	late := readWitness(t, f.witnesses[0])
	if len(late) != 1 {
		t.Fatalf("it has signed %d certificates, want 1", len(late))
	}
	serial := ca.SerialOf(serialOf(t, late[0]))

	h.http = patient(stopped, f.worlds[1].doors)
	f.plain.to(1)
	for {
		err := h.advance(ctx, other, answers)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("the other gateway does not finish the order: %v\n%s", err, other.log.tail())
		}
	}
	leaf, err := x509.ParseCertificate(h.der)
	must(t, err)
	if ca.SerialOf(leaf.SerialNumber) == serial {
		t.Fatal("the other gateway has issued the serial of the stopped one")
	}

	stopped.cmd.Process.Signal(syscall.SIGCONT)
	if why := readyWithin(ctx, f.worlds[0]); why != "" {
		t.Fatalf("the gateway that woke is not ready: %s\n%s", why, stopped.log.tail())
	}
	for _, k := range []int{0, 1} { // both serve on
		fresh := newHistory(f.worlds[0])
		fresh.http = patient(stopped, f.worlds[k].doors)
		must(t, fresh.advance(ctx, stopped, answers))
	}
	if n := other.issuedFor(h.name); n != 1 {
		t.Errorf("%d certificates for one order", n)
	}
	stopped.stop()
	other.stop()
	// What the first one signed was closed, and nothing is recorded for it but that.
	closed := false
	for k := range f.worlds {
		for entry, err := range audit.After(f.scene(config).journals[k], 0) {
			must(t, err)
			if entry.Event.Serial != string(serial) {
				continue
			}
			closed = closed || entry.Event.Kind == audit.Abandoned
			if entry.Event.Kind == audit.Revoked {
				t.Errorf("the serial %s was issued and revoked", serial)
			}
		}
	}
	if !closed {
		t.Errorf("no journal says that %s was abandoned", serial)
	}
	judgeScene(t, f.scene(config), []*history{h})
}
