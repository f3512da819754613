package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/storage/redis/redistest"
)

// fault is something that happens to a running fleet.
type fault struct {
	name string
	// run makes it happen, lets it last a while, and ends it. What the gateways must mend by themselves is left.
	run     func(c *chaos, r *rand.Rand)
	empties bool // the store loses everything
	long    bool // it lasts more than a minute
	alone   bool // nothing else can happen beside it
}

// gatewayFaults happen to one gateway. They may be run beside a fault of the store, and so end no test from where they
// run.
var gatewayFaults = []fault{
	{name: "kill a gateway", run: func(c *chaos, r *rand.Rand) {
		m := c.anyGateway(r)
		m.now.kill()
		lasts(r, 0, 3*time.Second)
		m.bringUp()
	}},
	{name: "restart a gateway", run: func(c *chaos, r *rand.Rand) {
		m := c.anyGateway(r)
		m.end(c.single)
		lasts(r, 0, time.Second)
		m.bringUp()
	}},
	{name: "stop a gateway for a moment", run: func(c *chaos, r *rand.Rand) { c.anyGateway(r).freeze(r, time.Second, 5*time.Second) }},
	{name: "stop a gateway beyond a list's lease", run: func(c *chaos, r *rand.Rand) { c.anyGateway(r).freeze(r, 16*time.Second, 20*time.Second) }},
	{name: "stop a gateway beyond an enrollment's lease", long: true, run: func(c *chaos, r *rand.Rand) {
		c.anyGateway(r).freeze(r, 65*time.Second, 75*time.Second)
	}},
}

// anyFaults can happen to each kind of store.
var anyFaults = []fault{
	{name: "cut all connections", run: func(c *chaos, r *rand.Rand) {
		for range 5 + r.IntN(20) {
			if err := c.store.primary().Cut(); err != nil {
				c.t.Error(err)
			}
			lasts(r, 20*time.Millisecond, 300*time.Millisecond)
		}
	}},
	{name: "out of memory", run: func(c *chaos, r *rand.Rand) {
		s := c.store.primary()
		must(c.t, set(s, "maxmemory", "1"))
		lasts(r, time.Second, 5*time.Second)
		must(c.t, set(s, "maxmemory", "0"))
	}},
	{name: "FLUSHALL", empties: true, run: func(c *chaos, _ *rand.Rand) { c.store.primary().Do("FLUSHALL") }},
	{name: "an emptied data folder", empties: true, run: func(c *chaos, _ *rand.Rand) {
		s := c.store.primary()
		s.Kill()
		s.Empty()
		s.Restart()
	}},
	{name: "an emptied data folder and no gateway left", empties: true, alone: true, run: func(c *chaos, _ *rand.Rand) {
		for _, m := range c.gateways {
			m.now.kill()
		}
		s := c.store.primary()
		s.Kill()
		s.Empty()
		s.Restart()
		c.up()
	}},
	{name: "stop Redis for a moment", run: func(c *chaos, r *rand.Rand) {
		freezeServer(c.store.primary(), r, 100*time.Millisecond, 900*time.Millisecond)
	}},
}

// singleFaults are those of a Redis that stands alone.
var singleFaults = append([]fault{
	{name: "kill Redis", run: func(c *chaos, r *rand.Rand) {
		s := c.store.primary()
		s.Kill()
		lasts(r, 0, 4*time.Second)
		s.Restart()
	}},
	{name: "restart Redis", run: func(c *chaos, _ *rand.Rand) {
		s := c.store.primary()
		s.Stop()
		s.Restart()
	}},
	{name: "stop Redis beyond all deadlines", run: func(c *chaos, r *rand.Rand) { freezeServer(c.store.primary(), r, 4*time.Second, 12*time.Second) }},
	{name: "cut one gateway off", run: func(c *chaos, r *rand.Rand) {
		p := c.anyProxy(r)
		p.Refuse(true)
		lasts(r, time.Second, 8*time.Second)
		p.Refuse(false)
	}},
	{name: "latency", run: func(c *chaos, r *rand.Rand) {
		for _, p := range c.store.proxies {
			p.Delay(time.Duration(20+r.IntN(400)) * time.Millisecond)
		}
		lasts(r, 2*time.Second, 6*time.Second)
		for _, p := range c.store.proxies {
			p.Delay(0)
		}
	}},
	{name: "lost replies", run: func(c *chaos, r *rand.Rand) {
		for _, p := range c.store.proxies {
			p.LoseReply("evalsha", 2+r.IntN(10))
		}
		lasts(r, 2*time.Second, 5*time.Second)
		for _, p := range c.store.proxies {
			p.LoseReply("evalsha", 0)
		}
	}},
	{name: "READONLY", run: func(c *chaos, r *rand.Rand) {
		s := c.store.primary()
		s.Do("REPLICAOF 127.0.0.1 1")
		lasts(r, time.Second, 4*time.Second)
		s.Do("REPLICAOF NO ONE")
	}},
}, anyFaults...)

// replicatedFaults are those of a primary with a replica that takes over.
var replicatedFaults = append([]fault{
	{name: "kill the primary", run: func(c *chaos, _ *rand.Rand) {
		s := c.store.primary()
		s.Kill()
		c.store.taken(s)
		s.Restart()
		c.store.whole()
	}},
	{name: "stop the primary until it has a successor", run: func(c *chaos, r *rand.Rand) {
		s := c.store.primary()
		s.Pause()
		defer s.Resume()
		c.store.taken(s)
		lasts(r, 0, 3*time.Second)
	}},
	{name: "failover", run: func(c *chaos, _ *rand.Rand) {
		c.store.promote(c.store.primary())
		c.store.whole()
	}},
	{name: "kill the replica", run: func(c *chaos, r *rand.Rand) {
		s := c.store.follow(c.store.primary())
		s.Kill()
		lasts(r, time.Second, 6*time.Second)
		s.Restart()
	}},
	{name: "stop the replica", run: func(c *chaos, r *rand.Rand) {
		freezeServer(c.store.follow(c.store.primary()), r, time.Second, 6*time.Second)
	}},
	{name: "restart the primary at once", run: func(c *chaos, _ *rand.Rand) {
		s := c.store.primary()
		s.Kill()
		s.Restart()
	}},
}, anyFaults...)

// lasts lets a fault last for a random time.
func lasts(r *rand.Rand, least, most time.Duration) {
	idle(context.Background(), least+time.Duration(r.Int64N(int64(most-least))))
}

// freezeServer stops a server with its connections open.
func freezeServer(s *redistest.Server, r *rand.Rand, least, most time.Duration) {
	s.Pause()
	defer s.Resume()
	lasts(r, least, most)
}

// member is one of the gateways, whichever process it is at the moment.
type member struct {
	*world
	now *instance // used by one goroutine at a time
}

// bringUp starts the gateway again. One that is refused by a store that is away is started again by whoever watches over
// it, as here.
func (m *member) bringUp() {
	var err error
	for deadline := time.Now().Add(recoverWithin); time.Now().Before(deadline); {
		var i *instance
		if i, err = m.tryStart(); err == nil {
			m.now = i
			m.t.Cleanup(func() { keepLog(m.t, i) })
			return
		}
		idle(m.t.Context(), 500*time.Millisecond)
	}
	m.t.Errorf("a gateway does not start again within %v: %v", recoverWithin, err)
}

// keepLog writes what a gateway logged into the folder for that, if there is one.
func keepLog(t testing.TB, i *instance) {
	if dir := os.Getenv("GATEHOUSE_CHAOS_LOGS"); dir != "" {
		name := fmt.Sprintf("%s-%s-%d.log", strings.ReplaceAll(t.Name(), "/", "-"), i.plain, i.cmd.Process.Pid)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(i.log.String()), 0o600); err != nil {
			t.Error(err)
		}
	}
}

// end tells the gateway to end. In good order it ends with status zero.
func (m *member) end(inOrder bool) {
	i := m.now
	i.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-i.exited:
		if code := i.cmd.ProcessState.ExitCode(); code != 0 && inOrder {
			m.t.Errorf("after SIGTERM a gateway ended with %v\n%s", i.cmd.ProcessState, i.log.tail())
		}
	case <-time.After(time.Minute):
		i.cmd.Process.Signal(syscall.SIGQUIT)
		<-i.exited
		m.t.Errorf("after SIGTERM a gateway did not end\n%s", i.log)
	}
}

// freeze stops the process and lets it go on.
func (m *member) freeze(r *rand.Rand, least, most time.Duration) {
	m.now.cmd.Process.Signal(syscall.SIGSTOP)
	defer m.now.cmd.Process.Signal(syscall.SIGCONT)
	lasts(r, least, most)
}
