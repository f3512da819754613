package redistest

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// Cluster is three masters with a third of the slots each.
type Cluster struct {
	Masters  [3]*Server
	Replicas []*Server // the one at i follows Masters[i%3] at first
	t        testing.TB
}

// StartCluster returns when all nodes agree that the Cluster is whole. Each master gets so many replicas.
func StartCluster(t testing.TB, replicas int, settings ...string) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	settings = append([]string{"cluster-enabled yes", "cluster-node-timeout 1500"}, settings...)
	node := func() *Server { return Start(t, append(settings, "cluster-port "+freePort(t))...) }
	for i := range c.Masters {
		c.Masters[i] = node()
		c.Masters[i].Do(fmt.Sprintf("CLUSTER ADDSLOTSRANGE %d %d", i*16384/3, (i+1)*16384/3-1))
	}
	for range 3 * replicas {
		c.Replicas = append(c.Replicas, node())
	}
	for _, s := range c.Nodes() {
		host, port, _ := net.SplitHostPort(s.Addr)
		c.Masters[0].Do(fmt.Sprintf("CLUSTER MEET %s %s %v", host, port, s.Client().ConfigGet(t.Context(), "cluster-port").Val()["cluster-port"]))
	}
	c.WaitWhole()
	for i, s := range c.Replicas {
		id := c.Masters[i%3].Do("CLUSTER MYID")
		s.Do(fmt.Sprintf("CLUSTER REPLICATE %v", id))
	}
	if replicas > 0 {
		for _, s := range c.Masters {
			s.WaitReplicas(replicas)
		}
	}
	return c
}

// Nodes are all of them, masters first.
func (c *Cluster) Nodes() []*Server {
	return append(c.Masters[:len(c.Masters):len(c.Masters)], c.Replicas...)
}

// Addrs are those of the masters.
func (c *Cluster) Addrs() (addrs []string) {
	for _, s := range c.Masters {
		addrs = append(addrs, s.Addr)
	}
	return addrs
}

// WaitWhole returns when every node that answers knows all nodes and finds all slots served.
func (c *Cluster) WaitWhole() {
	c.t.Helper()
	until(c.t, "a whole Cluster", func() bool {
		for _, s := range c.Nodes() {
			info, err := s.client.ClusterInfo(context.Background()).Result()
			if err == nil && (!strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d", len(c.Nodes())))) {
				return false
			}
		}
		return true
	})
}

// Owner is the node that serves the slot of a key.
func (c *Cluster) Owner(key string) *Server {
	c.t.Helper()
	for _, s := range c.Nodes() {
		if s.Role() == "master" && s.client.Exists(context.Background(), key).Err() == nil {
			return s
		}
	}
	c.t.Fatalf("no node serves %q", key)
	return nil
}

// Replica is a node that follows s, or nil.
func (c *Cluster) Replica(s *Server) *Server {
	_, port, _ := net.SplitHostPort(s.Addr)
	for _, replica := range c.Nodes() {
		role, err := replica.client.Do(context.Background(), "ROLE").Slice()
		if err == nil && len(role) >= 3 && role[0] == "slave" && fmt.Sprint(role[2]) == port {
			return replica
		}
	}
	return nil
}

// WaitFailover returns when another node than old serves the slot of a key.
func (c *Cluster) WaitFailover(key string, old *Server) {
	c.t.Helper()
	until(c.t, "a failover", func() bool {
		for _, s := range c.Nodes() {
			if s != old && s.Role() == "master" && s.client.Exists(context.Background(), key).Err() == nil {
				return true
			}
		}
		return false
	})
}

// Failover makes a replica of s take over in good order, and waits for it.
func (c *Cluster) Failover(s *Server) {
	c.t.Helper()
	replica := c.Replica(s)
	if replica == nil {
		c.t.Fatalf("%s has no replica", s.Addr)
	}
	var asked time.Time
	until(c.t, "a failover", func() bool {
		if time.Since(asked) > 2*time.Second { // the other masters vote only so often, and an attempt that failed ends by itself
			asked = time.Now()
			_ = replica.client.Do(context.Background(), "CLUSTER", "FAILOVER").Err()
		}
		return replica.Role() == "master" && s.Role() != "master"
	})
}
