package redis

import (
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/redis/redistest"
)

func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

// pair is a primary with one replica and two gateways that demand its confirmation.
func pair(t *testing.T) (replica *redistest.Server, way *detour, a, b *Engine) {
	t.Helper()
	primary := redistest.Start(t)
	replica = redistest.Start(t, "replicaof 127.0.0.1 "+portOf(primary.Addr))
	primary.WaitReplicas(1)
	way = &detour{t: t}
	c := single(primary)
	c.MinReplicas, c.ReplicaTimeout, c.CheckEvery, c.Dial = 1, 500*time.Millisecond, time.Hour, way.dial
	return replica, way, open(t, c), open(t, c)
}

// A commit that too few replicas have is acknowledged neither now nor by the read that settles it, through no gateway;
// and the retry finds it once they have it.
func TestShortCount(t *testing.T) {
	replica, _, a, b := pair(t)
	before := storage.NewVersion()
	if err := a.Commit(t.Context(), storage.Batch{Version: before, Puts: []storage.Put{{Key: "k"}}}); err != nil {
		t.Fatal(err)
	}
	replica.Pause()
	batch := storage.Batch{Version: storage.NewVersion(), Conditions: []storage.Condition{{Key: "k", Want: storage.Equals, Version: before}}, Puts: []storage.Put{{Key: "k"}}}
	err := a.Commit(t.Context(), batch)
	if !errors.Is(err, storage.ErrUnknown) || !errors.Is(err, ErrNotReplicated) || errors.Is(err, storage.ErrUnavailable) {
		t.Fatalf("without a replica: %v", err)
	}
	for name, e := range map[string]*Engine{"the gateway": a, "the other gateway": b} {
		if _, err := e.Get(t.Context(), "k"); !errors.Is(err, storage.ErrUnavailable) || !errors.Is(err, ErrNotReplicated) {
			t.Errorf("%s reads what no replica has: %v", name, err)
		}
		if _, err := e.Spend(t.Context(), storage.Token{}, nil, "k"); !errors.Is(err, ErrNotReplicated) {
			t.Errorf("%s spends: %v", name, err)
		}
		if _, err := e.Scan(t.Context(), "i", storage.Range{}, storage.Page{Limit: 1}); !errors.Is(err, ErrNotReplicated) {
			t.Errorf("%s scans: %v", name, err)
		}
	}
	if err := a.Health(t.Context()).Err; !errors.Is(err, ErrNotReplicated) {
		t.Errorf("Health says %v", err)
	}
	replica.Resume()
	for _, e := range []*Engine{a, b} {
		eventually(t, func() bool {
			items, err := e.Get(t.Context(), "k")
			return err == nil && items[0].Version == batch.Version
		})
		if err := e.Health(t.Context()).Err; err != nil {
			t.Errorf("Health afterwards: %v", err)
		}
	}
	if err := a.Commit(t.Context(), batch); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("the same again: %v", err)
	}
	if n := replica.Client().Exists(t.Context(), a.keys.doubt()).Val(); n != 0 {
		t.Error("the doubt was not ended")
	}
}

// A lost reply says nothing about replicas: the read that settles it waits for them.
func TestLostReplyWithoutReplica(t *testing.T) {
	replica, way, a, _ := pair(t)
	replica.Pause()
	way.loseReply()
	batch := storage.Batch{Version: storage.NewVersion(), Puts: []storage.Put{{Key: "k"}}}
	if err := a.Commit(t.Context(), batch); !errors.Is(err, storage.ErrUnknown) {
		t.Fatalf("a lost reply: %v", err)
	}
	if _, err := a.Get(t.Context(), "k"); !errors.Is(err, ErrNotReplicated) {
		t.Errorf("the read that settles it: %v", err)
	}
	replica.Resume()
	eventually(t, func() bool {
		items, err := a.Get(t.Context(), "k")
		return err == nil && items[0].Version == batch.Version
	})
}

// Many readers in doubt share barriers.
func TestBarriersShared(t *testing.T) {
	replica, _, a, _ := pair(t)
	replica.Pause()
	if err := calls(a)["Commit"](t.Context()); !errors.Is(err, ErrNotReplicated) {
		t.Fatal(err)
	}
	started, _ := a.doubt.last()
	var readers sync.WaitGroup
	for range 30 {
		readers.Go(func() {
			if _, err := a.Get(t.Context(), "k"); !errors.Is(err, ErrNotReplicated) {
				t.Errorf("a reader in doubt: %v", err)
			}
		})
	}
	readers.Wait()
	if ended, _ := a.doubt.last(); ended-started > 20 {
		t.Errorf("30 readers needed %d barriers", ended-started)
	}
	replica.Resume()
}
