package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/embedded"
	"github.com/gatehouse-ca/gatehouse/storage/redis"
)

// store checks the section and returns what it says: nil for the embedded store. Of several faults it returns the first.
func (c *fileConfig) store() (*redis.Config, error) {
	if c.Store == nil || c.Store.Redis == nil {
		return nil, nil
	}
	r := c.Store.Redis
	at := func(field string, err error) (*redis.Config, error) {
		return nil, c.source.at("store.redis"+field, err)
	}
	if len(r.Addresses) == 0 {
		return at("", errors.New("store.redis.addresses is missing; add for example addresses: [\"127.0.0.1:6379\"]"))
	}
	config := &redis.Config{
		Addrs: r.Addresses, MasterName: r.MasterName, Cluster: r.Cluster, Name: r.Name,
		Username: r.Username, SentinelUsername: r.SentinelUsername,
		MinReplicas: r.MinReplicas, ReplicaTimeout: time.Duration(r.ReplicaTimeout), AllowEverySec: r.AllowEverySec,
		Timeout: time.Duration(r.Timeout), Connections: r.Connections,
	}
	var err error
	if config.Password, err = readSecret(r.Password); err != nil {
		return at(".password", err)
	}
	if config.SentinelPassword, err = readSecret(r.SentinelPassword); err != nil {
		return at(".sentinel_password", err)
	}
	if r.TLS != nil {
		if config.TLS, err = r.TLS.config(); err != nil {
			return at(".tls", err)
		}
	}
	if err := config.Check(); err != nil {
		return at("", err)
	}
	return config, nil
}

// config reads the files.
func (t *redisTLS) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CA != "" {
		text, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s holds no PEM certificate", t.CA)
		}
	}
	if (t.Cert == "") != (t.Key == "") {
		return nil, errors.New("a client certificate needs both cert and key")
	}
	if t.Cert != "" {
		if _, err := ca.LoadKey(t.Key); err != nil { // also refuses a key that others may read
			return nil, err
		}
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// readSecret resolves a reference: "env:NAME", or the path of a file that nobody else may read. The secret is what stands
// there without the line's end.
func readSecret(ref string) (string, error) {
	name, inEnv := strings.CutPrefix(ref, "env:")
	if ref == "" {
		return "", nil
	}
	if inEnv {
		secret, ok := os.LookupEnv(name)
		if !ok || secret == "" {
			return "", fmt.Errorf("the environment variable %s is not set", name)
		}
		return secret, nil
	}
	info, err := os.Stat(ref)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", fmt.Errorf("there is no file of the name that stands here; name a file that holds the secret, or write env:NAME")
	case err != nil:
		// Not the path: it may be a secret that stands in the wrong place.
		if e, ok := errors.AsType[*os.PathError](err); ok {
			err = e.Err
		}
		return "", fmt.Errorf("the file that is named here cannot be read: %w", err)
	case info.Mode().Perm()&0o077 != 0:
		return "", fmt.Errorf("%s can be read by others; run chmod 600 %s", ref, ref)
	case info.Size() > 4096:
		return "", fmt.Errorf("%s is too long for a secret", ref)
	}
	text, err := os.ReadFile(ref)
	secret := strings.TrimRight(string(text), "\r\n")
	if err == nil && secret == "" {
		return "", fmt.Errorf("%s is empty", ref)
	}
	return secret, err
}

// openEngine opens the store of these settings. wentBack, if not nil, is told if a shared store is found to have lost what
// this process knows was acknowledged; it must return at once.
func (s *settings) openEngine(ctx context.Context, wentBack func(*redis.WentBackError)) (storage.Engine, error) {
	if s.redis == nil {
		return embedded.Open(embedded.Config{Dir: filepath.Join(s.folder, "store"), Log: s.log})
	}
	config := *s.redis
	config.Log, config.WentBack = s.log, wentBack
	engine, err := redis.Open(ctx, config)
	if errors.Is(err, redis.ErrUnsafe) {
		return nil, err // it says itself what to set
	}
	if err != nil {
		return nil, fmt.Errorf("opening the store in Redis at %s: %w", strings.Join(config.Addrs, ", "), err)
	}
	return engine, nil
}
