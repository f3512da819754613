package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/storage/redis/redistest"
)

// TestAnUnsafeRedisIsRefused: a gateway does not start on a Redis that would lose what it acknowledged, and says what to
// set.
func TestAnUnsafeRedisIsRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ setting, found, remedy string }{
		{"appendonly no", `appendonly is \"no\"`, "CONFIG SET appendonly yes"},
		{"appendfsync everysec", `appendfsync is \"everysec\"`, "CONFIG SET appendfsync always"},
		{"maxmemory-policy allkeys-lru", `maxmemory-policy is \"allkeys-lru\"`, "CONFIG SET maxmemory-policy noeviction"},
	} {
		t.Run(c.setting, func(t *testing.T) {
			server := redistest.Start(t, c.setting)
			w := newWorld(t)
			w.args = []string{"--redis", server.Addr}
			_, err := w.tryStart()
			if err == nil {
				t.Fatal("it started")
			}
			text := strings.ReplaceAll(err.Error(), `"`, `\"`)
			text = strings.ReplaceAll(text, `\\"`, `\"`)
			if !strings.Contains(text, c.found) || !strings.Contains(text, c.remedy) {
				t.Errorf("it does not say %q and %q:\n%v", c.found, c.remedy, err)
			}
			if keys := server.Do("DBSIZE"); keys != int64(0) {
				t.Errorf("it left %v keys in a store that it refused", keys)
			}
			server.Do("CONFIG SET " + strings.TrimPrefix(c.remedy, "CONFIG SET "))
			w.start().stop() // what it said is enough
		})
	}
}

// TestARedisThatBecomesUnsafe: a gateway whose server is reconfigured under it is not ready and issues nothing, says why,
// and recovers when the setting is put right.
func TestARedisThatBecomesUnsafe(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := newWorld(t)
	w.args = []string{"--redis", server.Addr}
	answers := w.answers()
	i := w.start()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for _, c := range []struct{ name, bad, good string }{
		{"maxmemory-policy", "allkeys-lru", "noeviction"},
		{"appendfsync", "everysec", "always"},
		{"appendonly", "no", "yes"},
	} {
		must(t, newHistory(w).advance(ctx, i, answers))
		must(t, set(server, c.name, c.bad))
		why := ""
		for why == "" && ctx.Err() == nil { // it looks every few seconds
			_, body, err := lookAt(ctx, "http://"+w.plain+"/readyz")
			if err != nil {
				why = string(body)
			}
			pause(ctx)
		}
		if !strings.Contains(why, "store") {
			t.Errorf("with %s %s /readyz says %q", c.name, c.bad, why)
		}
		if remedy := "CONFIG SET " + c.name + " " + c.good; !strings.Contains(i.log.String(), remedy) {
			t.Errorf("the log does not say %q\n%s", remedy, i.log.tail())
		}
		attempt, cancel := context.WithTimeout(ctx, time.Second)
		if err := newHistory(w).advance(attempt, i, answers); err == nil {
			t.Errorf("with %s %s a certificate was issued", c.name, c.bad)
		}
		cancel()
		must(t, set(server, c.name, c.good))
		if why := readyWithin(ctx, w); why != "" {
			t.Fatalf("with %s %s it does not become ready again: %s", c.name, c.good, why)
		}
	}
	must(t, newHistory(w).advance(ctx, i, answers))
	i.stop()
}
