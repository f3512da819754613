package web

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func ask(h http.Handler, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestHealthzSaysTheProcessLives(t *testing.T) {
	h := NewHealth(HealthConfig{Checks: []Check{{"store", func(context.Context) error { return errors.New("down") }}}})
	if w := ask(h.Handler(), "/healthz"); w.Code != 200 || w.Body.String() != "ok\n" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	if w := ask(h.Handler(), "/healthz?json"); w.Code != 200 || strings.TrimSpace(w.Body.String()) != `{"status":"ok"}` {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

func TestReadyzNamesWhatFailsAndHidesWhy(t *testing.T) {
	log := &records{}
	var broken atomic.Bool
	synctest.Test(t, func(t *testing.T) {
		h := NewHealth(HealthConfig{Log: log.logger(), Checks: []Check{
			{"store", func(context.Context) error { return nil }},
			{"crl", func(context.Context) error {
				if broken.Load() {
					return errors.New("inner detail")
				}
				return nil
			}},
		}})
		if w := ask(h.Handler(), "/readyz"); w.Code != 200 || w.Body.String() != "ok\n" {
			t.Errorf("%d %q", w.Code, w.Body)
		}
		broken.Store(true)
		time.Sleep(time.Second) // the answer before is fresh until now
		w := ask(h.Handler(), "/readyz")
		if w.Code != 503 || w.Body.String() != "unavailable\nfailed: crl\n" || w.Header().Get("Retry-After") != "1" {
			t.Errorf("%d %q %v", w.Code, w.Body, w.Header())
		}
		for _, w := range []*httptest.ResponseRecorder{
			ask(h.Handler(), "/readyz?json"), ask(h.Handler(), "/readyz", "Accept", "application/json"),
		} {
			var doc struct {
				Status string
				Checks []result
			}
			if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || w.Code != 503 || doc.Status != "unavailable" ||
				len(doc.Checks) != 2 || !doc.Checks[0].OK || doc.Checks[1] != (result{"crl", false}) {
				t.Errorf("%d %s %v", w.Code, w.Body, err)
			}
			if strings.Contains(w.Body.String(), "detail") {
				t.Error("an inner detail is shown")
			}
		}
		broken.Store(false)
		time.Sleep(time.Second)
		if w := ask(h.Handler(), "/readyz"); w.Code != 200 {
			t.Errorf("%d after recovery", w.Code)
		}
	})
	all := log.all(t)
	if len(all) != 2 || all[0]["error"] != "inner detail" || all[1]["msg"] != "ready again" {
		t.Errorf("records %v", all)
	}
}

func TestReadyzOfManyAskersIsOneLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var looks atomic.Int64
		h := NewHealth(HealthConfig{Checks: []Check{{"store", func(context.Context) error {
			looks.Add(1)
			time.Sleep(100 * time.Millisecond)
			return nil
		}}}})
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { ask(h.Handler(), "/readyz") })
		}
		wg.Wait()
		if looks.Load() != 1 {
			t.Errorf("%d looks", looks.Load())
		}
	})
}

// A check that ignores its context costs the asker the timeout and the process one goroutine, not one for each asker.
func TestReadyzSurvivesAHungCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan bool)
		var runs atomic.Int64
		h := NewHealth(HealthConfig{Checks: []Check{{"hung", func(context.Context) error {
			runs.Add(1)
			<-release
			return nil
		}}}})
		for range 5 {
			if w := ask(h.Handler(), "/readyz"); w.Code != 503 {
				t.Errorf("%d", w.Code)
			}
			time.Sleep(2 * time.Second)
		}
		if runs.Load() != 1 {
			t.Errorf("%d runs piled up", runs.Load())
		}
		close(release)
		synctest.Wait()
		if w := ask(h.Handler(), "/readyz"); w.Code != 200 {
			t.Errorf("%d after it came back", w.Code)
		}
	})
}

func TestReadyzSurvivesAPanic(t *testing.T) {
	h := NewHealth(HealthConfig{Checks: []Check{{"bad", func(context.Context) error { panic("x") }}}})
	if w := ask(h.Handler(), "/readyz"); w.Code != 503 || !strings.Contains(w.Body.String(), "failed: bad") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestDrainingIsNotReadyButAlive(t *testing.T) {
	h := NewHealth(HealthConfig{})
	h.Drain()
	if w := ask(h.Handler(), "/readyz"); w.Code != 503 || w.Body.String() != "unavailable\nfailed: draining\n" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	if w := ask(h.Handler(), "/healthz"); w.Code != 200 {
		t.Errorf("%d", w.Code)
	}
}

func TestRetryAfterRoundsUp(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "1", 1: "1", time.Second: "1", time.Second + 1: "2", time.Minute: "60"} {
		h := http.Header{}
		RetryAfter(h, d)
		if got := h.Get("Retry-After"); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestAdminServesMetricsAndProfiles(t *testing.T) {
	s := start(t, Config{Handler: AdminHandler(NewRegistry())})
	for path, want := range map[string]string{
		"/metrics":               "go_goroutines",
		"/debug/pprof/":          "goroutine",
		"/debug/pprof/heap":      "",
		"/debug/pprof/goroutine": "",
	} {
		resp, err := client(t, nil).Get("http://" + s.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 || !strings.Contains(string(b), want) {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
}
