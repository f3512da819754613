package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// connect makes the client; it dials nothing yet.
//
// Nothing is repeated by the library: MaxRetries repeats requests whose reply was lost, MaxRedirects does the same in a
// Cluster client, and DialerRetries would hide a dead server behind waits.
func (e *Engine) connect() {
	c := &e.cfg
	read := c.Timeout
	if c.MinReplicas > 0 {
		read += c.ReplicaTimeout
	}
	e.client = redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs: c.Addrs, MasterName: c.MasterName, IsClusterMode: c.Cluster,
		Username: c.Username, Password: c.Password,
		SentinelUsername: c.SentinelUsername, SentinelPassword: c.SentinelPassword,
		Dialer: e.dial, OnConnect: e.onConnect,
		MaxRetries: -1, MaxRedirects: -1, DialerRetries: 1, DialerRetryTimeout: time.Millisecond,
		DialTimeout: c.DialTimeout, ReadTimeout: read, WriteTimeout: c.Timeout, PoolTimeout: c.Timeout,
		ContextTimeoutEnabled: true,
		PoolSize:              c.Connections, PipelinePoolSize: -1,
		Protocol: 2, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	if cluster, ok := e.client.(*redis.ClusterClient); ok {
		e.cluster = cluster
		cluster.OnNewNode(func(node *redis.Client) { node.AddHook(dialHook{}) })
		return
	}
	e.client.AddHook(dialHook{})
}

func (e *Engine) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := e.cfg.Dial(ctx, network, addr)
	if err != nil || e.cfg.TLS == nil {
		return conn, err
	}
	config := e.cfg.TLS
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		config = config.Clone()
		config.ServerName = host
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return secure, nil
}

// onConnect asks for a check of the settings: whoever restarted or reconfigured the server may have cut the connections.
func (e *Engine) onConnect(context.Context, *redis.Conn) error {
	select {
	case e.kick <- struct{}{}:
	default:
	}
	return nil
}

// node is the client of the one server that holds the deployment's keys, as far as is known.
func (e *Engine) node(ctx context.Context) (*redis.Client, error) {
	if e.cluster == nil {
		return e.client.(*redis.Client), nil
	}
	node, err := e.cluster.MasterForKey(ctx, e.keys.tag)
	if err != nil {
		return nil, &dialError{err} // the slots could not be read: nothing was sent
	}
	return node, nil
}

// redirect reads the slots of the Cluster again, and returns the client of the address that a MOVED reply names. It
// is nil if the Cluster's nodes do not know that address; then node is the best there is.
func (e *Engine) redirect(ctx context.Context, err error) *redis.Client {
	if e.cluster == nil {
		return nil
	}
	var addr string
	if text, ok := reply(err); ok {
		if fields := strings.Fields(text); len(fields) == 3 && fields[0] == "MOVED" {
			addr = fields[2]
		}
	}
	found := make(chan *redis.Client, 1)
	// Errors of nodes that do not matter here are met again by the request, if they matter.
	_ = e.cluster.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error {
		if addr != "" && node.Options().Addr == addr {
			select {
			case found <- node:
			default:
			}
		}
		return nil
	})
	select {
	case node := <-found:
		return node
	default:
		return nil
	}
}

// maxRepeats bounds how often a request that was surely not executed is made again.
const maxRepeats = 5

// pause waits before repeat number n+1, longer each time and 0.6 s in all. It returns false if there is to be none.
func (e *Engine) pause(ctx context.Context, n int) bool {
	if n >= maxRepeats || ctx.Err() != nil {
		return false
	}
	wait := time.NewTimer(20 * time.Millisecond << n)
	defer wait.Stop()
	select {
	case <-wait.C:
		return true
	case <-ctx.Done():
		return false
	}
}
