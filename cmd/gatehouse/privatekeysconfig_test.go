package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestPrivateKeysConfig: what the file may say, and what a start refuses, with the line.
func TestPrivateKeysConfig(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "gatehouse")
	mustInit(t, folder)
	path := filepath.Join(folder, "gatehouse.yaml")
	text, err := os.ReadFile(path)
	must(t, err)
	for name, tt := range map[string]struct {
		more   string // behind the file
		change []string
		fault  string
	}{
		"nothing":          {},
		"all of it":        {more: "private_keys: {link_lifetime: 1h, retention: 90d, at_once: 3, waiting: 5, links_per_hour: off}\n", change: []string{"  tls:\n", "  tls:\n    server_keys: on\n"}},
		"too short a link": {more: "private_keys: {link_lifetime: 59s}\n", fault: "link_lifetime"},
		"too long a link":  {more: "private_keys: {link_lifetime: 25h}\n", fault: "link_lifetime"},
		"no retention":     {more: "private_keys: {retention: 1m}\n", fault: "retention"},
		"no keys at once":  {more: "private_keys: {at_once: -1}\n", fault: "at_once"},
		"no turns":         {more: "private_keys: {waiting: 1001}\n", fault: "waiting"},
		"no links":         {more: "private_keys: {links_per_hour: 0}\n", fault: "no bound"},
		"an unknown word":  {more: "private_keys: {lifetime: 1h}\n", fault: "lifetime"},
		"another rule":     {change: []string{"  tls:\n", "  tls:\n    server_keys: maybe\n"}, fault: "server_keys"},
		"public":           {change: []string{"  tls:\n", "  tls:\n    server_keys: on\n    mode: public\n", "private_ranges: [", "deny_names: ["}, fault: "6.1.1.3"},
		"without a seal":   {change: []string{"  tls:\n", "  tls:\n    server_keys: on\n", "seal:", "#seal:"}, fault: "seal: {key: FILE}"},
	} {
		config := string(text) + "validation: {resolvers: [\"192.0.2.53:53\"]}\n"
		for i := 0; i < len(tt.change); i += 2 {
			if !strings.Contains(config, tt.change[i]) {
				t.Fatalf("%s: the file has no %q:\n%s", name, tt.change[i], config)
			}
			config = strings.Replace(config, tt.change[i], tt.change[i+1], 1)
		}
		c, err := parseConfig(path, []byte(config+tt.more))
		var s *settings
		if err == nil {
			s, err = c.settings(slog.New(slog.DiscardHandler))
		}
		if tt.fault != "" {
			if err == nil || !strings.Contains(err.Error(), tt.fault) || !strings.Contains(err.Error(), "gatehouse.yaml:") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := time.Duration(0)
		if tt.more != "" {
			want = time.Hour
		}
		if s.escrow.LinkLifetime != want {
			t.Errorf("%s: links live for %v", name, s.escrow.LinkLifetime)
		}
	}
}
