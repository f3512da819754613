package main

import (
	"context"
	"strings"
	"testing"

	"github.com/gatehouse-ca/gatehouse/storage/redis"
	"github.com/gatehouse-ca/gatehouse/storage/redis/redistest"
)

// chaosStore is a Redis that two gateways share.
type chaosStore struct {
	config  redis.Config                              // how the judge opens it
	flags   func(gateway int) []string                // how a gateway does
	faults  []fault                                   // what can happen to it
	primary func() *redistest.Server                  // the server that has the keys
	proxies [2]*redistest.Proxy                       // in front of it, one for each gateway; nil with replicas
	follow  func(*redistest.Server) *redistest.Server // a server's replica
	promote func(*redistest.Server)                   // failover in good order
	taken   func(*redistest.Server)                   // returns when another server has taken over
	whole   func()                                    // returns when all are connected and synchronised
}

// singleStore is one server, with a proxy in front of it for each gateway.
func singleStore(t testing.TB) *chaosStore {
	server := redistest.Start(t)
	s := &chaosStore{
		config:  redis.Config{Addrs: []string{server.Addr}},
		primary: func() *redistest.Server { return server },
		whole:   func() {},
		faults:  singleFaults,
	}
	for k := range s.proxies {
		s.proxies[k] = redistest.NewProxy(t, server.Addr)
	}
	s.flags = func(gateway int) []string { return []string{"--redis", s.proxies[gateway].Addr} }
	return s
}

// sentinelStore is a primary and a replica, which must confirm, and three sentinels.
func sentinelStore(t testing.TB) *chaosStore {
	r := redistest.StartSentinel(t)
	return &chaosStore{
		config: redis.Config{Addrs: r.Addrs(), MasterName: redistest.MasterName, MinReplicas: 1},
		flags: func(int) []string {
			return []string{"--redis", strings.Join(r.Addrs(), ","), "--redis-master", redistest.MasterName, "--redis-min-replicas", "1"}
		},
		faults:  replicatedFaults,
		primary: r.Primary,
		follow:  r.Other,
		promote: func(*redistest.Server) { r.Failover() },
		taken:   r.WaitFailover,
		whole:   r.WaitWhole,
	}
}

// clusterStore is three masters with a replica each, which must confirm.
func clusterStore(t testing.TB) *chaosStore {
	const key = "{gatehouse}:epoch"
	c := redistest.StartCluster(t, 1)
	return &chaosStore{
		config: redis.Config{Addrs: c.Addrs(), Cluster: true, MinReplicas: 1},
		flags: func(int) []string {
			return []string{"--redis", strings.Join(c.Addrs(), ","), "--redis-cluster", "--redis-min-replicas", "1"}
		},
		faults:  replicatedFaults,
		primary: func() *redistest.Server { return c.Owner(key) },
		follow:  c.Replica,
		promote: c.Failover,
		taken:   func(old *redistest.Server) { c.WaitFailover(key, old) },
		whole: func() {
			c.WaitWhole()
			c.Owner(key).WaitReplicas(1)
		},
	}
}

// set changes a setting of a server while it runs.
func set(s *redistest.Server, name, value string) error {
	return s.Client().ConfigSet(context.Background(), name, value).Err()
}
