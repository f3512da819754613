package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gatehouse-ca/gatehouse/testca"
)

// fleet is several gateways on one Redis, behind TCP switches that choose a gateway for each connection, as a balancer
// would. All have the same throw-away hierarchy and seal key, the same public URLs, and each its own data folder.
type fleet struct {
	t         testing.TB
	worlds    []*world
	doors     *tcpSwitch
	plain     *tcpSwitch
	witnesses []string
}

// newFleet makes room for n gateways on the store that the flags name; it starts none.
func newFleet(t testing.TB, n int, store ...string) *fleet {
	t.Helper()
	f := &fleet{t: t}
	hierarchy, err := testca.NewHierarchy(testca.HierarchyConfig{})
	must(t, err)
	sealKey := newSealKey()
	http01 := freePort(t)
	var doors, plain []string
	for range n {
		w := newWorld(t)
		w.http01 = http01
		_, err := hierarchy.Write(filepath.Join(w.data, "throw-away-ca"))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(w.data, "throw-away-ca", "seal.key"), sealKey, 0o600))
		f.worlds = append(f.worlds, w)
		doors, plain = append(doors, w.doors), append(plain, w.plain)
	}
	f.doors, f.plain = newSwitch(t, doors), newSwitch(t, plain)
	for i, w := range f.worlds {
		witness := filepath.Join(t.TempDir(), fmt.Sprintf("witness-%d", i))
		f.witnesses = append(f.witnesses, witness)
		w.args = append([]string{"--public-url", "https://" + f.doors.addr, "--http-url", "http://" + f.plain.addr, "--witness", witness}, store...)
	}
	return f
}

// start starts all gateways.
func (f *fleet) start() []*instance {
	f.t.Helper()
	instances := make([]*instance, len(f.worlds))
	for i, w := range f.worlds {
		instances[i] = w.start()
	}
	return instances
}

// tcpSwitch passes each connection on to one of its targets.
type tcpSwitch struct {
	addr    string
	targets []string
	next    atomic.Int64 // the target of the next connection, if it is not fixed
	fixed   atomic.Int64 // 1 + the target of all connections; 0: in turn

	mu    sync.Mutex
	conns map[net.Conn]bool
}

// newSwitch takes the targets in turn. It ends with the test.
func newSwitch(t testing.TB, targets []string) *tcpSwitch {
	t.Helper()
	s := &tcpSwitch{addr: freeAddr(t), targets: targets, conns: map[net.Conn]bool{}}
	l, err := net.Listen("tcp", s.addr)
	must(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { s.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		s.cut()
		wg.Wait()
	})
	return s
}

// to sends all new connections to one target and breaks the old ones.
func (s *tcpSwitch) to(target int) {
	s.fixed.Store(int64(target) + 1)
	s.cut()
}

// without sends new connections to one target and leaves those that there are.
func (s *tcpSwitch) without(target int) { s.fixed.Store(int64(1-target) + 1) }

// cut breaks all connections.
func (s *tcpSwitch) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
}

func (s *tcpSwitch) serve(client net.Conn) {
	defer client.Close()
	target := s.fixed.Load() - 1
	for range s.targets {
		at := target
		if at < 0 {
			at = (s.next.Add(1) - 1) % int64(len(s.targets))
		}
		server, err := net.Dial("tcp", s.targets[at])
		if err != nil {
			continue // as a balancer does: the next one
		}
		s.join(client, server)
		return
	}
}

func (s *tcpSwitch) join(client, server net.Conn) {
	for _, c := range []net.Conn{client, server} {
		s.mu.Lock()
		s.conns[c] = true
		s.mu.Unlock()
		defer func() {
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		}()
	}
	defer server.Close()
	var wg sync.WaitGroup
	copyOne := func(to, from net.Conn) {
		io.Copy(to, from)
		to.(*net.TCPConn).CloseWrite()
	}
	wg.Go(func() { copyOne(server, client) })
	wg.Go(func() { copyOne(client, server) })
	wg.Wait()
}

// hasLog says whether any of the gateways has logged a text.
func hasLog(instances []*instance, text string) bool {
	for _, i := range instances {
		if strings.Contains(i.log.String(), text) {
			return true
		}
	}
	return false
}
