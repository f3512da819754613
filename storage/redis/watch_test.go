package redis

import (
	"testing"

	"github.com/gatehouse-ca/gatehouse/storage/redis/redistest"
)

// Hints reach the other gateways, also after the connection that carries them broke, and not those of other deployments.
func TestWatchGateways(t *testing.T) {
	s := redistest.Start(t)
	way := &detour{t: t}
	c := single(s)
	c.Dial = way.dial
	a, b := open(t, c), open(t, c)
	stranger := open(t, single(s))
	heard, own, strange := b.Watch(t.Context(), "topic"), a.Watch(t.Context(), "topic"), stranger.Watch(t.Context(), "other", "topic")
	hint(t, a, heard)
	<-own
	for range 3 {
		way.proxy(s.Addr).Cut()
		hint(t, a, heard)
	}
	for { // a hint to itself shows that nothing stands before it, but what its own subscription hinted at
		stranger.Wake(t.Context(), "other")
		if <-strange == "other" {
			break
		}
	}
}

func TestWatchCluster(t *testing.T) {
	c := redistest.StartCluster(t, 0)
	config := Config{Addrs: c.Addrs(), Cluster: true, Name: deployment()}
	a, b := open(t, config), open(t, config)
	hint(t, a, b.Watch(t.Context(), "topic"))
}
