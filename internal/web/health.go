package web

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Check is one condition of being ready. Run must be safe for concurrent use with everything else and obey ctx.
type Check struct {
	Name string // shown to anyone: a constant such as "store"
	Run  func(ctx context.Context) error
}

// HealthConfig is what a Health needs.
type HealthConfig struct {
	Checks  []Check
	Timeout time.Duration // for each check; default 2 s
	// Fresh is how long an answer is used again, so that strangers who ask cannot load what is checked; default 1 s.
	Fresh time.Duration
	Log   *slog.Logger
}

// Health answers whether the process lives and whether it is ready to serve. It is safe for concurrent use.
type Health struct {
	checks   []*checkState
	timeout  time.Duration
	fresh    time.Duration
	log      *slog.Logger
	draining atomic.Bool

	looking chan struct{} // holds one token while nobody looks: who comes meanwhile shares the result
	results []result      // guarded by looking, like at
	at      time.Time
}

// checkState is a check and whether a run of it has not come back.
type checkState struct {
	Check
	running atomic.Bool
	failing bool // at the last look; guarded by Health.looking
}

type result struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
}

var (
	errHung     = errors.New("an earlier run has not come back")
	errTimedOut = errors.New("no answer in time")
)

// NewHealth makes a Health that is not draining.
func NewHealth(cfg HealthConfig) *Health {
	h := &Health{
		timeout: cmp.Or(cfg.Timeout, 2*time.Second),
		fresh:   cmp.Or(cfg.Fresh, time.Second),
		log:     cfg.Log,
		looking: make(chan struct{}, 1),
	}
	h.looking <- struct{}{}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	for _, c := range cfg.Checks {
		h.checks = append(h.checks, &checkState{Check: c})
	}
	return h
}

// Drain makes the process unready from now on, so that load balancers turn away before its listeners close.
func (h *Health) Drain() { h.draining.Store(true) }

// Handler serves
//
//	GET /healthz   200 while the process lives: a failure means that it should be restarted
//	GET /readyz    200 if every check passes, otherwise 503 with Retry-After and the names of those that failed
//
// as text, or as JSON with ?json or if Accept asks for it. Why a check failed is only in the log.
func (h *Health) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { writeHealth(w, r, nil) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		results := h.look()
		if h.draining.Load() {
			results = append([]result{{Name: "draining"}}, results...)
		}
		writeHealth(w, r, results)
	})
	return mux
}

// look runs the checks, all at once, or repeats a fresh answer. The asker's going away does not stop it, because others
// may be waiting for the same answer.
func (h *Health) look() []result {
	<-h.looking
	defer func() { h.looking <- struct{}{} }()
	if !h.at.IsZero() && time.Since(h.at) < h.fresh {
		return h.results
	}
	errs := make([]error, len(h.checks))
	var wg sync.WaitGroup
	for i, c := range h.checks {
		wg.Go(func() { errs[i] = c.run(h.timeout) })
	}
	wg.Wait()
	results := make([]result, len(h.checks))
	for i, c := range h.checks {
		results[i] = result{c.Name, errs[i] == nil}
		h.report(c, errs[i])
	}
	h.results, h.at = results, time.Now()
	return results
}

// run bounds a check even if it ignores its context; then one goroutine is left behind, and no more until it ends.
func (c *checkState) run(timeout time.Duration) error {
	if !c.running.CompareAndSwap(false, true) {
		return errHung
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		err := c.guarded(ctx)
		c.running.Store(false) // before the answer: the next look may follow at once
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return errTimedOut
	}
}

// guarded turns a panic of a check into its failure: a goroutine's panic would end the process.
func (c *checkState) guarded(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return c.Run(ctx)
}

// report logs when a check begins to fail and when it passes again.
func (h *Health) report(c *checkState, err error) {
	switch {
	case err != nil && !c.failing:
		h.log.Warn("not ready", slog.String("check", c.Name), slog.Any("error", err))
	case err == nil && c.failing:
		h.log.Info("ready again", slog.String("check", c.Name))
	}
	c.failing = err != nil
}

func writeHealth(w http.ResponseWriter, r *http.Request, results []result) {
	status, word := http.StatusOK, "ok"
	for _, res := range results {
		if !res.OK {
			status, word = http.StatusServiceUnavailable, "unavailable"
		}
	}
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	if status != http.StatusOK {
		RetryAfter(header, time.Second)
	}
	if r.URL.Query().Has("json") || strings.Contains(r.Header.Get("Accept"), "application/json") {
		header.Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(struct {
			Status string   `json:"status"`
			Checks []result `json:"checks,omitempty"`
		}{word, results})
		return
	}
	header.Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintln(w, word)
	for _, res := range results {
		if !res.OK {
			fmt.Fprintln(w, "failed:", res.Name)
		}
	}
}
