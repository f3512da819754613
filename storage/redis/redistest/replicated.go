package redistest

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
)

// MasterName is the name by which the sentinels of [StartSentinel] know the primary.
const MasterName = "gatehouse-test"

// Replicated is two servers, one of which follows the other, and three sentinels that watch them.
type Replicated struct {
	Servers   [2]*Server // the first begins as the primary
	Sentinels [3]*Server
	t         testing.TB
}

// StartSentinel returns when the replica is synchronised and the sentinels know one another. They take a server for dead
// after a second.
func StartSentinel(t testing.TB, settings ...string) *Replicated {
	t.Helper()
	r := &Replicated{t: t}
	r.Servers[0] = Start(t, settings...)
	host, port, _ := net.SplitHostPort(r.Servers[0].Addr)
	r.Servers[1] = Start(t, append([]string{"replicaof " + host + " " + port}, settings...)...)
	r.Servers[0].WaitReplicas(1)
	for i := range r.Sentinels {
		r.Sentinels[i] = startSentinel(t, host, port)
	}
	until(t, "sentinels that know one another", func() bool {
		for _, s := range r.Sentinels {
			if !strings.Contains(s.Field("master0"), "status=ok") || !strings.Contains(s.Field("master0"), "slaves=1,sentinels=3") {
				return false
			}
		}
		return true
	})
	return r
}

func startSentinel(t testing.TB, host, port string) *Server {
	t.Helper()
	s := &Server{t: t, Dir: t.TempDir(), sentinel: true}
	own := freePort(t)
	s.Addr = net.JoinHostPort("127.0.0.1", own)
	s.configure([]string{
		"port " + own,
		fmt.Sprintf("sentinel monitor %s %s %s 2", MasterName, host, port),
		"sentinel down-after-milliseconds " + MasterName + " 1000",
		"sentinel failover-timeout " + MasterName + " 4000",
	})
	if err := s.launch(); err != nil {
		t.Fatalf("a sentinel does not start: %v\n%s", err, s.log())
	}
	s.connect()
	return s
}

// Addrs are those of the sentinels.
func (r *Replicated) Addrs() (addrs []string) {
	for _, s := range r.Sentinels {
		addrs = append(addrs, s.Addr)
	}
	return addrs
}

// Primary is the server that the sentinels name.
func (r *Replicated) Primary() *Server {
	r.t.Helper()
	for _, sentinel := range r.Sentinels {
		if at := sentinel.Field("master0"); at != "" {
			for _, s := range r.Servers {
				if strings.Contains(at, "address="+s.Addr+",") {
					return s
				}
			}
		}
	}
	r.t.Fatal("no sentinel names a primary")
	return nil
}

// Other is the server that is not s.
func (r *Replicated) Other(s *Server) *Server {
	if s == r.Servers[0] {
		return r.Servers[1]
	}
	return r.Servers[0]
}

// WaitFailover returns when the sentinels name another primary than old, and it serves as one.
func (r *Replicated) WaitFailover(old *Server) {
	r.t.Helper()
	until(r.t, "a failover", func() bool { now := r.Primary(); return now != old && now.Role() == "master" })
}

// WaitWhole returns when the sentinels name a primary that serves as one and has its replica.
func (r *Replicated) WaitWhole() {
	r.t.Helper()
	until(r.t, "a primary with its replica", func() bool {
		now := r.Primary()
		return now.Role() == "master" && now.Field("connected_slaves") == "1" && strings.Contains(now.Field("slave0"), "state=online")
	})
}

// Calm makes the sentinels wait for a minute before they take a server for dead: on a busy machine they would otherwise take
// one for dead that is merely slow, and promote a replica that has not caught up.
func (r *Replicated) Calm() {
	r.t.Helper()
	for _, s := range r.Sentinels {
		if err := s.client.Do(context.Background(), "SENTINEL", "SET", MasterName, "down-after-milliseconds", "60000").Err(); err != nil {
			r.t.Fatalf("SENTINEL SET: %v", err)
		}
	}
}

// Failover makes the sentinels promote the replica, without a crash, and waits for it.
func (r *Replicated) Failover() {
	r.t.Helper()
	old := r.Primary()
	// Sentinels refuse while they still work on the failover before.
	until(r.t, "sentinels that accept a failover", func() bool {
		return r.Sentinels[0].client.Do(context.Background(), "SENTINEL", "FAILOVER", MasterName).Err() == nil
	})
	r.WaitFailover(old)
}
