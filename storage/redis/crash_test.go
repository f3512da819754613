package redis

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/redis/redistest"
)

// writers commit, each under keys of its own, until stop is closed. What was acknowledged, or found to have happened after
// an unknown outcome, is in acknowledged.
type writers struct {
	e            *Engine
	stop         chan struct{}
	tasks        sync.WaitGroup
	mu           sync.Mutex
	acknowledged map[storage.Key]storage.Version
	refused      int
	progress     chan struct{}
}

func startWriters(t *testing.T, e *Engine, n int) *writers {
	w := &writers{e: e, stop: make(chan struct{}), acknowledged: make(map[storage.Key]storage.Version), progress: make(chan struct{}, 1)}
	for i := range n {
		w.tasks.Go(func() {
			for j := 0; ; j++ {
				select {
				case <-w.stop:
					return
				default:
				}
				w.write(t, storage.Key(fmt.Sprintf("%d/%d", i, j)))
			}
		})
	}
	t.Cleanup(w.end)
	return w
}

func (w *writers) write(t *testing.T, key storage.Key) {
	b := storage.Batch{
		Version:    storage.NewVersion(),
		Conditions: []storage.Condition{{Key: key, Want: storage.Absent}},
		Puts:       []storage.Put{{Key: key, Value: []byte(key)}},
		Adds:       []storage.Entry{{Index: "all", Member: []byte(key)}},
	}
	err := w.e.Commit(t.Context(), b)
	if errors.Is(err, storage.ErrUnknown) {
		if items, readErr := w.e.Get(t.Context(), key); readErr == nil && items[0].Version == b.Version {
			err = nil // what a caller concludes
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err == nil:
		w.acknowledged[key] = b.Version
		select {
		case w.progress <- struct{}{}:
		default:
		}
	case errors.Is(err, storage.ErrUnavailable), errors.Is(err, storage.ErrUnknown):
		w.refused++
		time.Sleep(5 * time.Millisecond) // leave the machine to the servers
	default:
		t.Errorf("Commit: %v", err)
	}
}

// advance waits for n more acknowledgements.
func (w *writers) advance(t *testing.T, n int) {
	t.Helper()
	w.mu.Lock()
	target := len(w.acknowledged) + n
	w.mu.Unlock()
	stuck := time.After(time.Minute)
	for {
		select {
		case <-w.progress:
		case <-stuck:
			t.Fatalf("no progress: %v", calls(w.e)["Commit"](t.Context()))
		}
		w.mu.Lock()
		got := len(w.acknowledged)
		w.mu.Unlock()
		if got >= target {
			return
		}
	}
}

func (w *writers) end() {
	select {
	case <-w.stop:
	default:
		close(w.stop)
	}
	w.tasks.Wait()
}

// verify finds everything that was acknowledged.
func (w *writers) verify(t *testing.T) {
	t.Helper()
	w.end()
	members := make(map[string]bool)
	for p := (storage.Page{Limit: 1000}); ; {
		page, err := w.e.Scan(t.Context(), "all", storage.Range{}, p)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range page {
			members[string(m)] = true
		}
		if len(page) < p.Limit {
			break
		}
		p.After = page[len(page)-1]
	}
	for key, version := range w.acknowledged {
		items, err := w.e.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if items[0].Version != version || !members[string(key)] {
			t.Fatalf("%s was acknowledged and is lost", key)
		}
	}
	t.Logf("%d acknowledged, %d refused", len(w.acknowledged), w.refused)
}

func TestKill(t *testing.T) {
	s := redistest.Start(t)
	e := open(t, single(s))
	w := startWriters(t, e, 8)
	for range 5 {
		w.advance(t, 200)
		s.Kill()
		s.Restart()
	}
	w.advance(t, 50)
	w.verify(t)
}

// With one replica that must confirm, a primary that dies takes nothing with it.
func TestFailover(t *testing.T) {
	t.Parallel()
	r := redistest.StartSentinel(t)
	e := open(t, Config{Addrs: r.Addrs(), MasterName: redistest.MasterName, MinReplicas: 1, CheckEvery: 100 * time.Millisecond})
	w := startWriters(t, e, 8)
	w.advance(t, 200)
	old := r.Primary()
	old.Kill()
	r.WaitFailover(old)
	r.Calm()      // a second failover, before the new primary has a replica, rightly is a store that went back
	old.Restart() // without a replica no commit is acknowledged
	w.advance(t, 50)
	w.verify(t)
}

func TestClusterFailover(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 1)
	e := open(t, Config{Addrs: c.Addrs(), Cluster: true, MinReplicas: 1, CheckEvery: 100 * time.Millisecond})
	w := startWriters(t, e, 8)
	w.advance(t, 200)
	old := c.Owner(e.keys.tag)
	old.Kill()
	eventually(t, func() bool {
		for _, s := range c.Replicas {
			if s.Role() == "master" {
				return true
			}
		}
		return false
	})
	old.Restart()
	w.advance(t, 50)
	w.verify(t)
}

// A switch in good order, back and forth, while commits run: connections to both servers survive.
func TestClusterSwitch(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 1)
	e := open(t, Config{Addrs: c.Addrs(), Cluster: true, MinReplicas: 1, CheckEvery: 100 * time.Millisecond})
	w := startWriters(t, e, 4)
	for range 3 {
		w.advance(t, 100)
		old := c.Owner(e.keys.tag)
		c.Failover(old)
		if c.Owner(e.keys.tag) == old {
			t.Fatal("no replica took over")
		}
	}
	w.advance(t, 50)
	w.verify(t)
}

// The slot moves to another node while commits run. Until it has, they are unavailable; nothing is lost, and the engine follows.
func TestClusterMigration(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 0)
	e := open(t, Config{Addrs: c.Addrs(), Cluster: true, CheckEvery: 100 * time.Millisecond})
	w := startWriters(t, e, 2)
	w.advance(t, 100)

	from := c.Owner(e.keys.tag)
	to := c.Masters[0]
	if to == from {
		to = c.Masters[1]
	}
	slot := from.Do("CLUSTER KEYSLOT " + e.keys.tag)
	fromID, toID := from.Do("CLUSTER MYID"), to.Do("CLUSTER MYID")
	to.Do(fmt.Sprintf("CLUSTER SETSLOT %v IMPORTING %v", slot, fromID))
	from.Do(fmt.Sprintf("CLUSTER SETSLOT %v MIGRATING %v", slot, toID))
	for {
		keys := from.Do(fmt.Sprintf("CLUSTER GETKEYSINSLOT %v 100", slot)).([]any)
		if len(keys) == 0 {
			break
		}
		for _, key := range keys {
			from.Do(fmt.Sprintf("MIGRATE 127.0.0.1 %s %v 0 5000", portOf(to.Addr), key))
		}
	}
	// All keys have moved and the slot has not: the source answers ASK, and the other takes no new keys.
	if err := calls(e)["Commit"](t.Context()); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("while the slot moves: %v", err)
	}
	for _, s := range c.Masters {
		s.Do(fmt.Sprintf("CLUSTER SETSLOT %v NODE %v", slot, toID))
	}
	w.advance(t, 50)
	w.verify(t)
}

// A server that forgets its scripts is given them again.
func TestScriptFlush(t *testing.T) {
	s := redistest.Start(t)
	c := single(s)
	c.CheckEvery = time.Hour
	e := open(t, c)
	for name, call := range calls(e) {
		s.Do("SCRIPT FLUSH")
		if err := call(t.Context()); err != nil {
			t.Errorf("%s after SCRIPT FLUSH: %v", name, err)
		}
	}
}

// The reply is lost behind the server: unknown, and one read settles it.
func TestLostReply(t *testing.T) {
	s := redistest.Start(t)
	way := &detour{t: t}
	c := single(s)
	c.Dial = way.dial
	e := open(t, c)
	for round := range 10 {
		key := storage.Key(fmt.Sprint(round))
		b := storage.Batch{Version: storage.NewVersion(), Puts: []storage.Put{{Key: key}}}
		way.loseReply()
		if err := e.Commit(t.Context(), b); !errors.Is(err, storage.ErrUnknown) {
			t.Fatalf("a lost reply: %v", err)
		}
		if items, err := e.Get(t.Context(), key); err != nil || items[0].Version != b.Version {
			t.Fatalf("after a lost reply: %+v, %v", items, err)
		}
	}
	way.proxy(s.Addr).Refuse(true)
	for range 3 {
		if err := calls(e)["Commit"](t.Context()); err == nil || errors.Is(err, storage.ErrConflict) {
			t.Errorf("without a connection: %v", err)
		}
	}
	way.proxy(s.Addr).Refuse(false)
	eventually(t, func() bool { return calls(e)["Commit"](t.Context()) == nil })
}

func TestClose(t *testing.T) {
	s := redistest.Start(t)
	e := open(t, single(s))
	w := startWriters(t, e, 8)
	w.advance(t, 50)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	wantUnavailable(t, e, "closed")
	w.end()
	c := e.cfg
	c.Known = e.Position()
	w.e = open(t, c)
	w.verify(t)
}
