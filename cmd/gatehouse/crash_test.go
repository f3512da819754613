package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/redis"
	"github.com/gatehouse-ca/gatehouse/storage/redis/redistest"
)

// TestCrashTable ends the gateway at every numbered step of ca.Issue and around every commit of an issuance, starts it
// again, lets the client finish, and judges what is left by the signer's witness, the client's history and an export.
func TestCrashTable(t *testing.T) {
	t.Parallel()
	for _, point := range crashPoints() {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			witness := filepath.Join(t.TempDir(), "witness")
			crashAt(t, w, point, w.scene(witness), time.Minute)
		})
	}
}

// TestCrashTableOnRedis is the same with the state in Redis, a deployment for each point. There a gateway that starts
// cannot know that nobody else works on an enrollment, so the client waits until the dead one's lease has run out.
func TestCrashTableOnRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	// Side by side, though one test among the parallel ones: most of the time they wait for leases. No more than so many
	// at once, because each has a gateway.
	const atOnce = 12
	places := make(chan struct{}, atOnce)
	var points sync.WaitGroup
	for n, point := range crashPoints() {
		points.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			t.Run(point, func(t *testing.T) {
				c := redis.Config{Addrs: []string{server.Addr}, Name: fmt.Sprintf("point-%d", n)}
				w := newWorld(t)
				w.args = []string{"--redis", server.Addr, "--redis-name", c.Name}
				s := w.scene(filepath.Join(t.TempDir(), "witness"))
				s.open = func() (storage.Engine, error) { return redis.Open(context.Background(), c) }
				crashAt(t, w, point, s, 3*time.Minute)
			})
		})
	}
	points.Wait()
}

// crashPoints are all moments at which a gateway is ended.
func crashPoints() (points []string) {
	for _, step := range []int{1, 3, 4, 5, 6, 7, 8, 9, 10, 11} {
		points = append(points, fmt.Sprintf("step=%d:1", step))
	}
	for _, commit := range []string{
		"account/:1", "order/:1", "usable/:1", "certificate/:1", "certificate/:2", "certificate/:3", "crl/:1", "crl/:2", "nonce-keys:1", "meta:1",
		"lease/:1", "journal/:1",
	} {
		points = append(points, "before="+commit, "after="+commit)
	}
	return points
}

// crashAt ends a gateway at a point, starts it again, waits for the client and judges.
func crashAt(t *testing.T, w *world, point string, s scene, patience time.Duration) {
	t.Helper()
	h := newHistory(w)
	witness := s.witnesses[0]
	answers := w.answers()
	i, err := w.tryStart("--witness", witness, "--die-at", point)
	if err == nil {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		// An error here is the crash, seen by the client; without one the point comes after the client is done.
		err := h.advance(ctx, i, answers)
		cancel()
		i.mustExit()
		if !strings.Contains(i.cmd.ProcessState.String(), "killed") {
			t.Fatalf("the gateway was not killed at %s: %v, %v\n%s", point, err, i.cmd.ProcessState, i.log.tail())
		}
	}

	i = w.start("--witness", witness)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := h.advance(ctx, i, answers); err != nil {
		t.Fatalf("after the restart the client could not finish: %v", err)
	}
	h.checkNonces(ctx, i)
	i.stop()
	judgeScene(t, s, []*history{h})
}
