package storage_test

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"math/big"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/publish"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/embedded"
	"github.com/gatehouse-ca/gatehouse/storage/storetest"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// hierarchy is made once: keys cost time and nothing here changes them.
var hierarchy = sync.OnceValue(func() *testca.Hierarchy {
	h, err := testca.NewHierarchy(testca.HierarchyConfig{})
	if err != nil {
		panic(err)
	}
	return h
})

// gateway is one process that publishes from a store it shares.
type gateway struct {
	db    *storage.DB
	pub   *publish.Publisher
	signs atomic.Int64
	hang  atomic.Pointer[chan struct{}] // signing waits until it is closed, whatever the context says
	stop  func()
}

// startGateway runs one until the test ends or it is stopped.
func startGateway(t *testing.T, engine storage.Engine) *gateway {
	t.Helper()
	g := &gateway{}
	var err error
	g.db, err = storage.Open(t.Context(), storage.Config{Engine: engine, Issuers: []string{"main"}})
	must(t, err)
	g.pub, err = publish.New(publish.Config{
		Store: g.db, Issuers: []publish.Issuer{{Name: "main", Certificate: hierarchy().Intermediate.Certificate}}, Sign: g.sign,
	})
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { g.pub.Run(ctx) })
	g.stop = func() { cancel(); running.Wait() }
	t.Cleanup(g.stop)
	return g
}

func (g *gateway) sign(_ context.Context, _ string, list publish.List) ([]byte, error) {
	g.signs.Add(1)
	if hang := g.hang.Load(); hang != nil {
		<-*hang
	}
	template := &x509.RevocationList{Number: big.NewInt(list.Number), ThisUpdate: list.ThisUpdate, NextUpdate: list.NextUpdate}
	for _, e := range list.Entries {
		serial, err := hex.DecodeString(string(e.Serial))
		if err != nil {
			return nil, err
		}
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{
			SerialNumber: new(big.Int).SetBytes(serial), RevocationTime: e.At, ReasonCode: int(e.Reason),
		})
	}
	by := hierarchy().Intermediate
	return x509.CreateRevocationList(rand.Reader, template, by.Certificate, by.Key)
}

// serves fetches the list as a relying party does.
func (g *gateway) serves(t *testing.T, serial ca.Serial) bool {
	t.Helper()
	w := httptest.NewRecorder()
	g.pub.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/crl/main/0.crl", nil))
	list, err := x509.ParseRevocationList(w.Body.Bytes())
	if err != nil {
		t.Fatalf("%d: %v", w.Code, err)
	}
	for _, e := range list.RevokedCertificateEntries {
		if hex.EncodeToString(e.SerialNumber.Bytes()) == string(serial) {
			return true
		}
	}
	return false
}

// awaitList is how long it takes until a gateway serves a serial.
func (g *gateway) awaitList(t *testing.T, serial ca.Serial) time.Duration {
	t.Helper()
	start := time.Now()
	for !g.serves(t, serial) {
		if time.Since(start) > time.Minute {
			t.Fatal("not on the list after a minute")
		}
		time.Sleep(20 * time.Millisecond)
	}
	return time.Since(start)
}

// revokeOne issues and revokes at one gateway.
func (g *gateway) revokeOne(t *testing.T) ca.Serial {
	t.Helper()
	i, in := begun(t, g.db)
	must(t, g.db.RecordCertificate(t.Context(), ca.Certificate{Intent: in, DER: []byte(in.Serial), Issued: now()}, i))
	c, err := g.db.Certificate(t.Context(), in.Issuer, in.Serial)
	must(t, err)
	must(t, g.db.RecordRevocation(t.Context(), *c, ca.Revocation{At: now(), Reason: 1, Actor: "a"}))
	return in.Serial
}

// twoGateways share an embedded store; the first has the lease.
func twoGateways(t *testing.T, test func(t *testing.T, c *storetest.Counting, first, second *gateway)) {
	hierarchy()
	synctest.Test(t, func(t *testing.T) {
		e, err := embedded.Open(embedded.Config{Dir: filepath.Join(t.TempDir(), "store")})
		must(t, err)
		t.Cleanup(func() { e.Close() })
		c := storetest.NewCounting(e)
		first := startGateway(t, c)
		synctest.Wait()
		time.Sleep(time.Second)
		second := startGateway(t, c)
		time.Sleep(time.Second)
		if first.signs.Load() != 1 || second.signs.Load() != 0 {
			t.Fatalf("the first list was signed %d and %d times", first.signs.Load(), second.signs.Load())
		}
		test(t, c, first, second)
	})
}

func TestGatewaysOnOneStoreSignOnce(t *testing.T) {
	twoGateways(t, func(t *testing.T, c *storetest.Counting, first, second *gateway) {
		for i := range 10 {
			serial := []*gateway{first, second}[i%2].revokeOne(t)
			for _, g := range []*gateway{first, second} {
				if d := g.awaitList(t, serial); d > time.Second {
					t.Errorf("revocation %d was served after %v", i, d)
				}
			}
			time.Sleep(3 * time.Second)
		}
		if n := first.signs.Load() + second.signs.Load(); n != 11 {
			t.Errorf("%d signatures for 10 revocations after the first list", n)
		}
		time.Sleep(time.Minute)
		c.Reset()
		time.Sleep(20 * time.Minute)
		if idle := c.Trips(); idle.Durable != 0 || idle.By[storetest.Get] == 0 {
			t.Errorf("idle gateways asked %+v", idle)
		}
		// One revocation after a quiet time: the lease and the list, by one of the two.
		serial := first.revokeOne(t)
		before := c.Reset().By[storetest.Commit]
		second.awaitList(t, serial)
		time.Sleep(time.Minute)
		// Intent, certificate, revocation, lease, list; and the attempt of the one that was second to take the lease, if it got so far.
		if n := before + c.Trips().By[storetest.Commit]; n != 5 && n != 6 {
			t.Errorf("%d commits", n)
		}
	})
}

func TestStoppedGatewaySavesNothing(t *testing.T) {
	twoGateways(t, func(t *testing.T, _ *storetest.Counting, first, second *gateway) {
		wake := make(chan struct{})
		first.hang.Store(&wake)
		serial := second.revokeOne(t)
		if d := second.awaitList(t, serial); d > 12*time.Second {
			t.Errorf("succeeded after %v", d)
		}
		if first.signs.Load() != 2 || first.serves(t, serial) {
			t.Fatal("the first gateway did not stop; the test tests nothing")
		}
		stored, err := second.db.CRL(t.Context(), "main", 0)
		must(t, err)
		first.hang.Store(nil)
		close(wake)
		first.awaitList(t, serial)
		after, err := second.db.CRL(t.Context(), "main", 0)
		must(t, err)
		if after.Version != stored.Version || first.signs.Load() != 2 {
			t.Errorf("the stopped gateway replaced list %d by %d after %d signatures", stored.Number, after.Number, first.signs.Load())
		}
	})
}

func TestGatewayThatEndsIsSucceededAtOnce(t *testing.T) {
	twoGateways(t, func(t *testing.T, _ *storetest.Counting, first, second *gateway) {
		first.revokeOne(t)
		first.stop()
		stored, err := second.db.CRL(t.Context(), "main", 0)
		must(t, err)
		if d := second.awaitList(t, second.revokeOne(t)); d > time.Second {
			t.Errorf("succeeded after %v", d)
		}
		after, err := second.db.CRL(t.Context(), "main", 0)
		must(t, err)
		if after.Number <= stored.Number {
			t.Errorf("number %d after %d", after.Number, stored.Number)
		}
	})
}

// A gateway that cannot give its lease back is one that was killed.
func TestKilledGatewayIsSucceeded(t *testing.T) {
	twoGateways(t, func(t *testing.T, c *storetest.Counting, first, second *gateway) {
		first.awaitList(t, first.revokeOne(t))
		defer c.Inject(storetest.Fault{
			Method: storetest.Commit, Before: storage.ErrUnavailable, Times: 1,
			Match: func(b storage.Batch) bool { return len(b.Deletes) > 0 },
		})()
		first.stop()
		if d := second.awaitList(t, second.revokeOne(t)); d > 12*time.Second || d < 5*time.Second {
			t.Errorf("succeeded after %v", d)
		}
	})
}
