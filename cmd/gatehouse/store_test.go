package main

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// storeOf reads a configuration with a store section, in which DIR stands for a folder of the test.
func storeOf(t *testing.T, section string) (*settings, error) {
	t.Helper()
	folder := hierarchyFolder(t)
	must(t, os.WriteFile(filepath.Join(folder, "secret"), []byte("pass word\n"), 0o600))
	must(t, os.WriteFile(filepath.Join(folder, "open"), []byte("x\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(folder, "empty"), nil, 0o600))
	text := strings.ReplaceAll(goodConfig+"store: "+section+"\n", "CA/", folder+"/")
	c, err := parseConfig("gatehouse.yaml", []byte(strings.ReplaceAll(text, "DIR", folder)))
	if err != nil {
		return nil, err
	}
	return c.settings(slog.New(slog.NewTextHandler(io.Discard, nil)))
}

func TestStoreConfiguration(t *testing.T) {
	t.Setenv("GATEHOUSE_TEST_SECRET", "from the environment")
	if s, err := storeOf(t, "{}"); err != nil || s.redis != nil {
		t.Errorf("an empty section: %+v, %v; want the embedded store", s.redis, err)
	}
	s, err := storeOf(t, `{redis: {addresses: ["192.0.2.1:26379", "192.0.2.2:26379"], master_name: main, name: staging, username: gatehouse,
  password: DIR/secret, sentinel_username: s, sentinel_password: "env:GATEHOUSE_TEST_SECRET", min_replicas: 1, replica_timeout: 2s,
  allow_everysec: true, timeout: 4s, connections: 7, tls: {ca: DIR/root.pem, server_name: redis.example.com}}}`)
	must(t, err)
	r := s.redis
	if len(r.Addrs) != 2 || r.MasterName != "main" || r.Name != "staging" || r.Username != "gatehouse" || r.Password != "pass word" ||
		r.SentinelUsername != "s" || r.SentinelPassword != "from the environment" || r.MinReplicas != 1 || r.ReplicaTimeout != 2*time.Second ||
		!r.AllowEverySec || r.Timeout != 4*time.Second || r.Connections != 7 || r.TLS == nil || r.TLS.RootCAs == nil || r.TLS.ServerName != "redis.example.com" {
		t.Errorf("the section was read as %+v", r)
	}
}

func TestStoreConfigurationFaults(t *testing.T) {
	for _, fault := range []struct{ name, section, says string }{
		{"no address", `{redis: {}}`, "9:16: store.redis.addresses is missing; add for example"},
		{"no port", `{redis: {addresses: [redis.example.com]}}`, `address "redis.example.com"`},
		{"two addresses alone", `{redis: {addresses: ["a:1", "b:1"]}}`, "several addresses need"},
		{"both kinds", `{redis: {addresses: ["a:1"], cluster: true, master_name: x}}`, "a Cluster has no sentinels"},
		{"a name that is none", `{redis: {addresses: ["a:1"], name: "a b"}}`, "deployment's name"},
		{"negative replicas", `{redis: {addresses: ["a:1"], min_replicas: -1}}`, "negative"},
		{"the password itself", `{redis: {addresses: ["a:1"], password: hunter2}}`, "name a file that holds the secret, or write env:NAME"},
		{"a password others read", `{redis: {addresses: ["a:1"], password: DIR/open}}`, "chmod 600"},
		{"an empty password", `{redis: {addresses: ["a:1"], password: DIR/empty}}`, "is empty"},
		{"no such variable", `{redis: {addresses: ["a:1"], password: "env:GATEHOUSE_TEST_NOT_SET"}}`, "GATEHOUSE_TEST_NOT_SET is not set"},
		{"no roots", `{redis: {addresses: ["a:1"], tls: {ca: DIR/secret}}}`, "holds no PEM certificate"},
		{"half a client certificate", `{redis: {addresses: ["a:1"], tls: {cert: DIR/root.pem}}}`, "both cert and key"},
		{"an unknown word", `{redis: {addresses: ["a:1"], pasword: x}}`, `"pasword" is not known here`},
		{"an unknown engine", `{postgres: {}}`, `"postgres" is not known here`},
	} {
		t.Run(fault.name, func(t *testing.T) {
			_, err := storeOf(t, fault.section)
			if err == nil || !strings.Contains(err.Error(), fault.says) || !strings.Contains(err.Error(), "gatehouse.yaml:9:") {
				t.Errorf("%v; want line 9 and %q", err, fault.says)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Error("the error shows the password")
			}
		})
	}
}
