package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// records keeps log lines.
type records struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (r *records) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.Write(b)
}

func (r *records) logger() *slog.Logger { return slog.New(slog.NewJSONHandler(r, nil)) }

func (r *records) all(t *testing.T) []map[string]any {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []map[string]any
	for dec := json.NewDecoder(bytes.NewReader(r.buf.Bytes())); ; {
		var m map[string]any
		if err := dec.Decode(&m); errors.Is(err, io.EOF) {
			return out
		} else if err != nil {
			t.Fatal(err)
		}
		out = append(out, m)
	}
}

// serve runs one request through an observer and returns answer and record.
func serve(t *testing.T, cfg Config, r *http.Request) (*httptest.ResponseRecorder, map[string]any) {
	t.Helper()
	log := &records{}
	cfg.Log = log.logger()
	w := httptest.NewRecorder()
	observe(cfg).ServeHTTP(w, r)
	all := log.all(t)
	if len(all) != 1 {
		t.Fatalf("%d records, want exactly one", len(all))
	}
	return w, all[0]
}

func TestOneRecordPerRequest(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /order/{id}", func(w http.ResponseWriter, r *http.Request) {
		e := Event(r.Context())
		e.Set(slog.String("account", "a1"), slog.Int("names", 2))
		e.Problem(fmt.Errorf("order: %w", problem.Wrap(errors.New("disk"), problem.Conflict, "not now")))
		w.WriteHeader(http.StatusConflict)
		io.WriteString(w, "sorry")
	})
	w, rec := serve(t, Config{Handler: mux}, httptest.NewRequest("GET", "/order/secret-id", nil))
	for key, want := range map[string]any{
		"msg": "request", "level": "INFO", "method": "GET", "endpoint": "/order/{id}", "status": 409.0, "bytes": 5.0,
		"remote": "192.0.2.1:1234", "account": "a1", "names": 2.0, "problem": "conflict",
		"error": "order: conflict: not now: disk", "id": w.Header().Get("X-Request-Id"),
	} {
		if rec[key] != want {
			t.Errorf("%s = %v, want %v", key, rec[key], want)
		}
	}
	if rec["took"] == nil || rec["id"] == "" {
		t.Errorf("record %v", rec)
	}
	if strings.Contains(fmt.Sprint(rec), "secret-id") {
		t.Error("the raw path is in the record")
	}
}

func TestEventEndsWithTheRequest(t *testing.T) {
	var kept *RequestEvent
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { kept = Event(r.Context()) })
	_, rec := serve(t, Config{Handler: h}, httptest.NewRequest("GET", "/", nil))
	kept.Set(slog.String("late", "x"))
	kept.Problem(errors.New("late"))
	kept.Endpoint("/late")
	if kept.failed || len(kept.attrs) != 0 || kept.endpoint != "" {
		t.Errorf("%+v changed after the end", kept)
	}
	if rec["status"] != 200.0 || rec["endpoint"] != other {
		t.Errorf("record %v", rec)
	}
	// Outside a Server.
	none := Event(t.Context())
	none.Set(slog.Int("a", 1))
	none.Problem(errors.New("x"))
	none.Endpoint("/x")
	if none.ID() != "" {
		t.Error("a nil event has an id")
	}
}

func TestEventIsSafeForConcurrentUse(t *testing.T) {
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				Event(r.Context()).Set(slog.Int(fmt.Sprint("n", i), i))
				Event(r.Context()).Problem(problem.New(problem.DNS, "x"))
			})
		}
		wg.Wait()
	})
	_, rec := serve(t, Config{Handler: h}, httptest.NewRequest("GET", "/", nil))
	for i := range 10 {
		if rec[fmt.Sprint("n", i)] != float64(i) {
			t.Errorf("n%d is missing", i)
		}
	}
}

func TestPanicShowsNothingAndLogsAll(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "999")
		panic("the secret is 42")
	})
	w, rec := serve(t, Config{Handler: h}, httptest.NewRequest("GET", "/", nil))
	if w.Code != 500 || strings.Contains(w.Body.String(), "secret") || w.Header().Get("Content-Length") == "999" {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	var doc struct {
		Type   string
		Status int
	}
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || doc.Type != "about:blank" || doc.Status != 500 {
		t.Errorf("%s: %v", w.Body, err)
	}
	if rec["level"] != "ERROR" || rec["problem"] != "internal" || rec["error"] != "panic: the secret is 42" ||
		!strings.Contains(fmt.Sprint(rec["stack"]), "observe_test.go") {
		t.Errorf("record %v", rec)
	}
}

func TestPanicInTheMiddleOfAnAnswerCutsIt(t *testing.T) {
	for _, tt := range []struct {
		name  string
		value any
		logs  any
	}{
		{"a fault", "boom", "internal"},
		{"net/http's own abort", http.ErrAbortHandler, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			log := &records{}
			s := start(t, Config{Log: log.logger(), Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "100")
				io.WriteString(w, "half")
				w.(http.Flusher).Flush()
				panic(tt.value)
			})})
			resp, err := client(t, nil).Get("http://" + s.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if b, err := io.ReadAll(resp.Body); err == nil {
				t.Errorf("a half answer looks whole: %q", b)
			}
			if all := log.all(t); len(all) != 1 || all[0]["problem"] != tt.logs {
				t.Errorf("records %v", all)
			}
		})
	}
}

func TestLevels(t *testing.T) {
	for status, want := range map[int]string{200: "INFO", 404: "INFO", 429: "INFO", 500: "ERROR", 503: "WARN"} {
		h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		if _, rec := serve(t, Config{Handler: h}, httptest.NewRequest("GET", "/", nil)); rec["level"] != want {
			t.Errorf("%d: %v, want %s", status, rec["level"], want)
		}
	}
}

func TestInformationalStatusIsNotTheAnswer(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints) // RFC 9110, 15.2
		w.WriteHeader(http.StatusCreated)
	})
	if _, rec := serve(t, Config{Handler: h}, httptest.NewRequest("GET", "/", nil)); rec["status"] != 201.0 {
		t.Errorf("status %v", rec["status"])
	}
}

func TestSecurityHeadersCanBeOverwritten(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Cache-Control", "public") })
	w, _ := serve(t, Config{Handler: h}, httptest.NewRequest("GET", "/", nil))
	for key, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
		"Referrer-Policy": "no-referrer", "Cache-Control": "public",
	} {
		if got := w.Header().Get(key); got != want {
			t.Errorf("%s = %q, want %q", key, got, want)
		}
	}
}

func TestMetricsHoldNothingFromTheClient(t *testing.T) {
	reg := prometheus.NewRegistry()
	metrics, err := NewMetrics(reg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewMetrics(reg); err == nil {
		t.Error("the same metrics were registered twice")
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /order/{id}", func(w http.ResponseWriter, r *http.Request) {
		Event(r.Context()).Problem(problem.New(problem.RateLimited, "slow down"))
		w.WriteHeader(http.StatusTooManyRequests)
	})
	mux.HandleFunc("/table/", func(_ http.ResponseWriter, r *http.Request) { Event(r.Context()).Endpoint("/table/{row}") })
	cfg := Config{Handler: mux, Metrics: metrics}
	for _, req := range []struct{ method, path string }{
		{"POST", "/order/1"}, {"POST", "/order/2"}, {"GET", "/table/stranger"}, {"STRANGE", "/strange"}, {"GET", "/strange2"},
	} {
		serve(t, cfg, httptest.NewRequest(req.method, req.path, nil))
	}
	want := []string{
		`gatehouse_http_connections_given_up_total 0`,
		`gatehouse_http_request_duration_seconds_count{endpoint="/order/{id}"} 2`,
		`gatehouse_http_request_duration_seconds_count{endpoint="/table/{row}"} 1`,
		`gatehouse_http_request_duration_seconds_count{endpoint="other"} 2`,
		`gatehouse_http_requests_in_flight 0`,
		`gatehouse_http_requests_total{code="2xx",endpoint="/table/{row}",method="GET",problem=""} 1`,
		`gatehouse_http_requests_total{code="4xx",endpoint="/order/{id}",method="POST",problem="rate-limited"} 2`,
		`gatehouse_http_requests_total{code="4xx",endpoint="other",method="GET",problem=""} 1`,
		`gatehouse_http_requests_total{code="4xx",endpoint="other",method="other",problem=""} 1`,
	}
	if got := scrape(reg); !slices.Equal(got, want) {
		t.Errorf("metrics:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// scrape gives the samples of a registry as lines, without a histogram's buckets and sums.
func scrape(reg *prometheus.Registry) (lines []string) {
	w := httptest.NewRecorder()
	AdminHandler(reg).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if !strings.HasPrefix(line, "#") && !strings.Contains(line, "_bucket{") && !strings.Contains(line, "_sum{") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

func TestEndpointsAreBounded(t *testing.T) {
	reg := prometheus.NewRegistry()
	metrics, err := NewMetrics(reg)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { Event(r.Context()).Endpoint(fmt.Sprint("/", n)) })
	o := observe(Config{Handler: h, Metrics: metrics, Log: slog.New(slog.DiscardHandler)})
	for n = range 2 * maxEndpoints {
		o.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	}
	// A counter and a histogram's count for each, the gauge, and the connections that were given up.
	if got := len(scrape(reg)); got != 2*maxEndpoints+2 {
		t.Errorf("%d samples, want %d", got, 2*maxEndpoints+2)
	}
}

func TestRemoteAddress(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48")}
	for _, tt := range []struct{ name, peer, forwarded, want string }{
		{"no proxy", "198.51.100.7:1000", "", "198.51.100.7:1000"},
		{"a stranger's header is not believed", "198.51.100.7:1000", "203.0.113.9", "198.51.100.7:1000"},
		{"one proxy", "10.0.0.1:1000", "203.0.113.9", "203.0.113.9:0"},
		{"mapped peer", "[::ffff:10.0.0.1]:1000", "203.0.113.9", "203.0.113.9:0"},
		{"only what the proxy appended", "10.0.0.1:1000", "127.0.0.1, 203.0.113.9", "203.0.113.9:0"},
		{"two proxies", "10.0.0.1:1000", "203.0.113.9, 10.0.0.2", "203.0.113.9:0"},
		{"IPv6 and a port", "[2001:db8:1::1]:1000", "[2001:db8::9]:55", "[2001:db8::9]:0"},
		{"nonsense", "10.0.0.1:1000", "unknown", "10.0.0.1:1000"},
		{"nonsense to the left", "10.0.0.1:1000", "203.0.113.9, x, 10.0.0.2", "10.0.0.2:0"},
		{"empty", "10.0.0.1:1000", "", "10.0.0.1:1000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var seen string
			h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.RemoteAddr })
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = tt.peer
			if tt.forwarded != "" {
				r.Header.Set("X-Forwarded-For", tt.forwarded)
			}
			_, rec := serve(t, Config{Handler: h, TrustedProxies: trusted}, r)
			if seen != tt.want || rec["remote"] != tt.want {
				t.Errorf("handler saw %s, record has %v, want %s", seen, rec["remote"], tt.want)
			}
		})
	}
}

// sink is a ResponseWriter that costs nothing.
type sink struct{ h http.Header }

func (s sink) Header() http.Header         { return s.h }
func (s sink) Write(b []byte) (int, error) { return len(b), nil }
func (s sink) WriteHeader(int)             {}

// BenchmarkObserve is what event, metrics, limits and headers cost a request: the budget is 5 µs. Compare with Bare.
func BenchmarkObserve(b *testing.B) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /order/{id}", func(w http.ResponseWriter, r *http.Request) {
		Event(r.Context()).Set(slog.String("account", "a1"))
		w.WriteHeader(http.StatusOK)
	})
	metrics, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		b.Fatal(err)
	}
	r := httptest.NewRequest("POST", "/order/1", strings.NewReader("{}"))
	w := sink{http.Header{}}
	for name, h := range map[string]http.Handler{
		"Bare": mux,
		"Observed": observe(Config{
			Handler: mux, Metrics: metrics, Log: slog.New(slog.NewJSONHandler(io.Discard, nil)),
		}),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(w, r)
			}
		})
	}
}
