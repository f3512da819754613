package redis

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"time"
)

// Config says where the store is and how much it must promise. The zero value of each field but Addrs is usable.
type Config struct {
	// Addrs are host:port: the one server; with MasterName the sentinels; with Cluster some of the nodes.
	Addrs      []string
	MasterName string // the name by which the sentinels know the primary
	Cluster    bool

	Username, Password                 string // of the ACL user; a password alone is that of the default user
	SentinelUsername, SentinelPassword string
	TLS                                *tls.Config // nil: plain TCP. Certificates for client authentication, if asked

	// Name of the deployment, 1 to 64 letters, digits, dots, hyphens and underscores; default "gatehouse". Deployments
	// with different names may share a server.
	Name string

	// MinReplicas must confirm a commit within ReplicaTimeout (default 1 s) before it is acknowledged.
	MinReplicas    int
	ReplicaTimeout time.Duration
	// AllowEverySec accepts "appendfsync everysec", with which a crash of the server loses up to two seconds of
	// acknowledged commits.
	AllowEverySec bool

	Timeout     time.Duration // of one round trip; default 3 s
	DialTimeout time.Duration // default 1 s
	Connections int           // at most so many to the server; default 64
	CheckEvery  time.Duration // how often settings are read again; default 5 s
	// ClockSkew is how far a gateway's clock may be ahead of the server's; default 2 s. So long after a failover tokens
	// are refused.
	ClockSkew time.Duration

	// Known is what Engine.Position said when the caller last used this store. The zero Position accepts any store.
	Known Position

	// WentBack, if set, is told of each time the store is found to have gone back. It is called with locks held and must
	// return at once.
	WentBack func(*WentBackError)

	// Dial replaces the dialer, below TLS. Nil: net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	Log  *slog.Logger // nil: discarded
}

// Check says what is wrong with a configuration, without connecting.
func (c Config) Check() error {
	_, err := c.withDefaults()
	return err
}

var nameSyntax = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

func (c Config) withDefaults() (Config, error) {
	c.Name = cmp.Or(c.Name, "gatehouse")
	c.ReplicaTimeout = cmp.Or(c.ReplicaTimeout, time.Second)
	c.Timeout = cmp.Or(c.Timeout, 3*time.Second)
	c.DialTimeout = cmp.Or(c.DialTimeout, time.Second)
	c.Connections = cmp.Or(c.Connections, 64)
	c.CheckEvery = cmp.Or(c.CheckEvery, 5*time.Second)
	c.ClockSkew = cmp.Or(c.ClockSkew, 2*time.Second)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	switch {
	case len(c.Addrs) == 0:
		return c, errors.New("redis: no address is configured")
	case c.Cluster && c.MasterName != "":
		return c, errors.New("redis: a Cluster has no sentinels; configure either the master's name or cluster")
	case !c.Cluster && c.MasterName == "" && len(c.Addrs) > 1:
		return c, errors.New("redis: several addresses need the master's name (Sentinel) or cluster")
	case !nameSyntax.MatchString(c.Name):
		return c, fmt.Errorf("redis: the deployment's name %q must have 1 to 64 letters, digits, dots, hyphens or underscores", c.Name)
	case c.MinReplicas < 0 || c.Connections < 0:
		return c, errors.New("redis: a negative number of replicas or connections")
	case min(c.ReplicaTimeout, c.Timeout, c.DialTimeout, c.CheckEvery, c.ClockSkew) < time.Millisecond:
		return c, errors.New("redis: a timeout or interval is below a millisecond")
	}
	for _, addr := range c.Addrs {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return c, fmt.Errorf("redis: address %q: %w", addr, err)
		}
	}
	return c, nil
}
