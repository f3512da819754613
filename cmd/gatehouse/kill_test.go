package main

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/testca"
)

// TestKillsUnderLoad kills the gateway twenty times while clients register, order, download and revoke. Nothing that was
// acknowledged may be missing afterwards, and what was begun is finished by the clients that come back.
func TestKillsUnderLoad(t *testing.T) {
	t.Parallel()
	const rounds, workers = 20, 4
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(t)
	witness := filepath.Join(t.TempDir(), "witness")
	answers := w.answers()
	load := &load{world: w, answers: answers, done: make(chan struct{}, 1)}

	for range rounds {
		i := w.start("--witness", witness)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() { load.run(ctx, i) })
		}
		// At least one client gets through, then the end comes at any moment.
		load.await(ctx)
		pause := time.NewTimer(time.Duration(random.IntN(200)) * time.Millisecond)
		<-pause.C
		i.kill()
		cancel()
		wg.Wait()
	}

	i := w.start("--witness", witness)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for _, h := range load.all() {
		if err := h.advance(ctx, i, answers); err != nil {
			t.Errorf("%s could not finish after the last restart: %v", h.name, err)
		}
	}
	load.all()[0].checkNonces(ctx, i)
	i.stop()
	judge(t, w, witness, load.all())
	t.Logf("%d clients, of which %d had been cut off", len(load.all()), load.cut)
}

// load is clients that come and go.
type load struct {
	*world
	answers *testca.HTTP

	mu      sync.Mutex
	clients []*history
	left    []*history // cut off by a kill; they go on in the next round
	cut     int
	done    chan struct{} // receives when a client gets through
}

func (l *load) run(ctx context.Context, i *instance) {
	for ctx.Err() == nil && i.running() {
		h := l.next()
		if err := h.advance(ctx, i, l.answers); err != nil {
			l.mu.Lock()
			l.left = append(l.left, h)
			l.cut++
			l.mu.Unlock()
			return
		}
		select {
		case l.done <- struct{}{}:
		default:
		}
	}
}

// next is a client that was cut off, or a new one.
func (l *load) next() *history {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.left); n > 0 {
		h := l.left[n-1]
		l.left = l.left[:n-1]
		return h
	}
	h := newHistory(l.world)
	l.clients = append(l.clients, h)
	return h
}

// await waits until a client got through since the last await.
func (l *load) await(ctx context.Context) {
	select {
	case <-l.done:
	case <-ctx.Done():
		l.t.Error("no client got through in a round")
	}
}

func (l *load) all() []*history {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.clients
}
