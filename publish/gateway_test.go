package publish

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// gateway is a publisher whose signer counts, can fail and can hang.
type gateway struct {
	*Publisher
	signs  atomic.Int64
	broken atomic.Bool
	hang   atomic.Pointer[chan struct{}] // signing waits until it is closed, whatever the context says
}

func newGateway(t *testing.T, store Store, change func(*Config)) *gateway {
	g := &gateway{}
	g.Publisher = newPublisher(t, store, func(c *Config) {
		c.Sign = func(ctx context.Context, issuer string, list List) ([]byte, error) {
			g.signs.Add(1)
			if hang := g.hang.Load(); hang != nil {
				<-*hang
			}
			if g.broken.Load() {
				return nil, errors.New("the key is locked")
			}
			return signList(ctx, issuer, list)
		}
		if change != nil {
			change(c)
		}
	})
	return g
}

func (g *gateway) serves(r Revoked) bool { return g.byName["leaf"].current.Load().has(r.Serial) }

// pair starts two gateways; the first holds the lease.
func pair(t *testing.T, store Store, other Store) (first, second *gateway, stopFirst, stopSecond func()) {
	first, second = newGateway(t, store, nil), newGateway(t, other, nil)
	stopFirst = run(t, first.Publisher)
	synctest.Wait()
	stopSecond = run(t, second.Publisher)
	synctest.Wait()
	if first.signs.Load() != 1 || second.signs.Load() != 0 {
		t.Fatalf("the first list was signed %d and %d times", first.signs.Load(), second.signs.Load())
	}
	return first, second, stopFirst, stopSecond
}

// revokeOne revokes a serial that none was before.
func (s *fakeStore) revokeOne() Revoked {
	s.mu.Lock()
	n := len(s.revoked)
	s.mu.Unlock()
	r := Revoked{Serial: serialOf(n), At: time.Now(), Reason: 1, NotAfter: time.Now().AddDate(1, 0, 0)}
	s.revoke(r)
	return r
}

// delay is how long it takes until a gateway serves a revocation.
func delay(t *testing.T, g *gateway, r Revoked) time.Duration {
	t.Helper()
	for since := range 2 * 60 * 20 {
		synctest.Wait()
		if g.serves(r) {
			return time.Duration(since) * 50 * time.Millisecond
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the revocation is not on the list after two minutes")
	return 0
}

// dying is a store whose process can be killed: from then on it is told nothing and changes nothing.
type dying struct {
	*fakeStore
	dead atomic.Bool
}

var errDead = problem.New(problem.Unavailable, "the process is dead")

func (d *dying) CRL(ctx context.Context, issuer string, shard int) (*CRL, error) {
	if d.dead.Load() {
		return nil, errDead
	}
	return d.fakeStore.CRL(ctx, issuer, shard)
}

func (d *dying) SaveCRL(ctx context.Context, next CRL, prev *CRL, by Lease) error {
	if d.dead.Load() {
		return errDead
	}
	return d.fakeStore.SaveCRL(ctx, next, prev, by)
}

func (d *dying) ReturnCRLLease(ctx context.Context, lease Lease) error {
	if d.dead.Load() {
		return errDead
	}
	return d.fakeStore.ReturnCRLLease(ctx, lease)
}
