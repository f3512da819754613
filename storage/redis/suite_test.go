package redis

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/redis/redistest"
	"github.com/gatehouse-ca/gatehouse/storage/storetest"
)

func TestMain(m *testing.M) {
	RouteLog(slog.New(slog.DiscardHandler))
	goleak.VerifyTestMain(m)
}

var deployments atomic.Int64

// deployment is a name that no other test uses, so that tests can share a server.
func deployment() string { return fmt.Sprintf("test-%d", deployments.Add(1)) }

func open(t testing.TB, c Config) *Engine {
	t.Helper()
	e, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return e
}

// single is a configuration for one server.
func single(s *redistest.Server) Config {
	return Config{Addrs: []string{s.Addr}, Name: deployment(), CheckEvery: 100 * time.Millisecond}
}

// detour dials every address through a proxy of its own.
type detour struct {
	t       testing.TB
	mu      sync.Mutex
	proxies map[string]*redistest.Proxy
}

func (d *detour) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var dialer net.Dialer
	return dialer.DialContext(ctx, network, d.proxy(addr).Addr)
}

func (d *detour) proxy(addr string) *redistest.Proxy {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.proxies[addr] == nil {
		if d.proxies == nil {
			d.proxies = make(map[string]*redistest.Proxy)
		}
		d.proxies[addr] = redistest.NewProxy(d.t, addr)
	}
	return d.proxies[addr]
}

// loseReply loses the answer to the next commit, whatever node it goes to.
func (d *detour) loseReply() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.proxies {
		p.LoseReply(scriptCommit.sha, 1)
	}
}

// suite runs storetest with every engine on the servers that c names.
func suite(t *testing.T, c Config, fail func(t *testing.T) (Config, func(error))) {
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		c := c
		var failing func(error)
		if fail != nil && strings.HasSuffix(t.Name(), "a_failing_engine") {
			c, failing = fail(t)
		} else {
			t.Parallel()
		}
		c.Name, c.CheckEvery = deployment(), 100*time.Millisecond
		way := &detour{t: t}
		c.Dial = way.dial
		e := open(t, c)
		return storetest.Harness{
			Engine: e,
			Reopen: func() storage.Engine {
				c.Known = e.Position()
				if err := e.Close(); err != nil {
					t.Fatal(err)
				}
				return open(t, c)
			},
			LoseReply: way.loseReply,
			Fail:      failing,
		}
	})
}

func TestSuiteSingle(t *testing.T) {
	s := redistest.Start(t)
	suite(t, Config{Addrs: []string{s.Addr}}, func(t *testing.T) (Config, func(error)) {
		own := redistest.Start(t)
		return Config{Addrs: []string{own.Addr}}, func(err error) {
			if err == nil {
				own.Do("CONFIG SET min-replicas-to-write 0")
			} else {
				own.Do("CONFIG SET min-replicas-to-write 1") // NOREPLICAS
			}
		}
	})
}

func TestSuiteSentinel(t *testing.T) {
	r := redistest.StartSentinel(t)
	suite(t, Config{Addrs: r.Addrs(), MasterName: redistest.MasterName, MinReplicas: 1}, nil)
}

func TestSuiteCluster(t *testing.T) {
	c := redistest.StartCluster(t, 0)
	suite(t, Config{Addrs: c.Addrs(), Cluster: true}, nil)
}
