package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"
)

// redisProgram is Redis's server as Debian installs it.
const redisProgram = "redis-server"

// redisGateway starts a Redis as durable as the gateway demands, on the same disk as the embedded gateway's store, and a
// gateway on it.
func (b *bench) redisGateway(ctx context.Context, name string) (*benchServer, error) {
	redis, addr, err := b.startRedis(ctx, name+"-server")
	if err != nil {
		return nil, err
	}
	server, err := b.gateway(ctx, name, addr)
	if server == nil {
		return nil, errors.Join(err, redis.stop())
	}
	server.redis = redis
	return server, err
}

// startRedis starts an empty server in a folder of its own and waits until it answers.
func (b *bench) startRedis(ctx context.Context, name string) (*benchProcess, string, error) {
	addrs, err := freeAddrs(1)
	if err != nil {
		return nil, "", err
	}
	host, port, err := net.SplitHostPort(addrs[0])
	if err != nil {
		return nil, "", err
	}
	folder := filepath.Join(b.folder, name)
	if err := os.Mkdir(folder, 0o700); err != nil {
		return nil, "", err
	}
	p, err := startBenchProcess(redisProgram, folder+".log", b.redisServer, redisProgram,
		"--bind", host, "--port", port, "--dir", folder, "--daemonize", "no", "--save", "",
		"--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction")
	if err != nil {
		return nil, "", err
	}
	if err := p.awaitRedis(ctx, addrs[0]); err != nil {
		return nil, "", errors.Join(err, p.stop())
	}
	return p, addrs[0], nil
}

// awaitRedis waits until it answers PING.
func (p *benchProcess) awaitRedis(ctx context.Context, addr string) error {
	client := newBenchRedis([]string{addr})
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, benchStart)
	defer cancel()
	for {
		err := reach(ctx, addr)
		if err == nil {
			err = client.Ping(ctx).Err()
		}
		if err == nil {
			return nil
		}
		if dead := p.alive(); dead != nil {
			return dead
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w", redisProgram, err)
		}
	}
}
