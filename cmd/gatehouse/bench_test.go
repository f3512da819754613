package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// floorServer is the floor in this process. The handler may be wrapped, to make it misbehave.
func floorServer(t *testing.T, answers *benchAnswers, wrap func(http.Handler) http.Handler) *httptest.Server {
	t.Helper()
	var handler http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	f, err := newFloor(server.URL, answers.addr())
	if err != nil {
		t.Fatal(err)
	}
	handler = f.handler()
	if wrap != nil {
		handler = wrap(handler)
	}
	return server
}

func benchListener(t *testing.T) *benchAnswers {
	t.Helper()
	answers, err := newBenchAnswers()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answers.close() })
	return answers
}

// loadOn runs orders of two names each with clients of a server and examines the certificates.
func loadOn(t *testing.T, ctx context.Context, url string, answers *benchAnswers, clients, orders int) *benchRun {
	t.Helper()
	made, err := (&benchOrders{names: 2}).make(orders)
	if err != nil {
		t.Fatal(err)
	}
	load := &benchLoad{next: listOf(made), limit: time.Minute}
	for range clients {
		c, err := newBenchClient(t.Context(), url+"/acme/directory", answers)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.http.CloseIdleConnections)
		load.clients = append(load.clients, c)
	}
	if err := load.prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	run := load.run(ctx)
	(&benchChecker{}).check(run)
	return run
}

func TestBenchLoad(t *testing.T) {
	answers := benchListener(t)
	server := floorServer(t, answers, nil)
	run := loadOn(t, t.Context(), server.URL, answers, 3, 10)
	if run.failed != 0 || run.issued != 10 || len(run.whole) != 10 {
		t.Fatalf("issued %d, failed %d (%v), %d latencies; want 10, 0, 10", run.issued, run.failed, run.firstError, len(run.whole))
	}
	want := [benchCalls]int{callNewOrder: 10, callAuthorization: 20, callChallenge: 20, callFinalize: 10, callCertificate: 10}
	for call, n := range want {
		if got := len(run.calls[call]); got != n {
			t.Errorf("%s was called %d times, want %d", benchCall(call), got, n)
		}
	}
	if run.polls != 0 || run.badNonces != 0 {
		t.Errorf("%d polls and %d refused nonces at a server with neither", run.polls, run.badNonces)
	}
	answers.tokens.Range(func(token, _ any) bool { t.Errorf("token %s is still answered", token); return true })
}

// TestBenchLoadPolls has a challenge answered late (RFC 8555, 7.5.1): the client asks again until it is valid.
func TestBenchLoadPolls(t *testing.T) {
	answers := benchListener(t)
	var challenged, polled atomic.Bool
	server := floorServer(t, answers, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, r)
			body := rec.Body.String()
			switch {
			case strings.Contains(r.URL.Path, "/challenge/") && !challenged.Swap(true):
				body = strings.Replace(body, `"status":"valid"`, `"status":"processing"`, 1)
			case strings.Contains(r.URL.Path, "/authz/") && challenged.Load() && !polled.Swap(true):
				body = strings.ReplaceAll(body, `"status":"pending"`, `"status":"valid"`)
			}
			for key, values := range rec.Header() {
				w.Header()[key] = values
			}
			w.WriteHeader(rec.Code)
			io.WriteString(w, body)
		})
	})
	run := loadOn(t, t.Context(), server.URL, answers, 1, 1)
	if run.failed != 0 || run.polls != 1 || len(run.calls[callPoll]) != 1 {
		t.Fatalf("failed %d (%v), polled %d times; want 0, 1", run.failed, run.firstError, run.polls)
	}
}

// TestBenchLoadBadNonce has one nonce refused (RFC 8555, 6.5): the client signs again with the new one.
func TestBenchLoadBadNonce(t *testing.T) {
	answers := benchListener(t)
	var refused atomic.Bool
	server := floorServer(t, answers, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/finalize") && !refused.Swap(true) {
				w.WriteHeader(http.StatusBadRequest) // without a new nonce, so that the client must fetch one
				io.WriteString(w, `{"type":"urn:ietf:params:acme:error:badNonce","detail":"used"}`)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	run := loadOn(t, t.Context(), server.URL, answers, 1, 2)
	if run.failed != 0 || run.issued != 2 || run.badNonces != 1 {
		t.Fatalf("issued %d, failed %d (%v), %d refused nonces; want 2, 0, 1", run.issued, run.failed, run.firstError, run.badNonces)
	}
}

func TestBenchLoadCountsFailures(t *testing.T) {
	answers := benchListener(t)
	wrong := func(path, from, to string) func(http.Handler) http.Handler {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				rec := httptest.NewRecorder()
				next.ServeHTTP(rec, r)
				body := rec.Body.String()
				if strings.Contains(r.URL.Path, path) {
					if body = strings.Replace(body, from, to, 1); body == rec.Body.String() {
						t.Errorf("%q is not in the answer of %s", from, r.URL.Path)
					}
				}
				for key, values := range rec.Header() {
					w.Header()[key] = values
				}
				w.WriteHeader(rec.Code)
				io.WriteString(w, body)
			})
		}
	}
	for _, test := range []struct {
		name string
		wrap func(http.Handler) http.Handler
		want string
	}{
		{"challenge invalid", wrong("/challenge/", `"status":"valid"`, `"status":"invalid","error":{"detail":"nobody there"}`), "challenge is invalid: nobody there"},
		{"order invalid", wrong("/finalize", `"status":"valid"`, `"status":"invalid"`), "order is invalid"},
		{"no certificate URL", wrong("/finalize", `"certificate"`, `"uncertificate"`), "order is valid"},
		{"half a chain", wrong("/certificate/", "BEGIN", "BEGUN"), "no issuer certificate"},
		{"no challenge", wrong("/authz/", "http-01", "dns-01"), "no http-01"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := floorServer(t, answers, test.wrap)
			run := loadOn(t, t.Context(), server.URL, answers, 1, 2)
			if run.issued != 0 || run.failed != 2 || !strings.Contains(fmt.Sprint(run.firstError), test.want) {
				t.Fatalf("issued %d, failed %d: %v; want 0, 2: … %s", run.issued, run.failed, run.firstError, test.want)
			}
		})
	}
}

// TestBenchLoadGivesUp: a server that has gone costs ten failures per client, not one for every order.
func TestBenchLoadGivesUp(t *testing.T) {
	answers := benchListener(t)
	server := floorServer(t, answers, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/new-order") {
				http.Error(w, "gone", http.StatusServiceUnavailable)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	run := loadOn(t, t.Context(), server.URL, answers, 2, 100)
	if run.failed != 2*maxFailuresInARow {
		t.Errorf("%d failures, want %d", run.failed, 2*maxFailuresInARow)
	}
}

// TestBenchLoadEnds: what the end of a context interrupts is neither issued nor failed.
func TestBenchLoadEnds(t *testing.T) {
	answers := benchListener(t)
	ctx, cancel := context.WithCancel(t.Context())
	server := floorServer(t, answers, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/finalize") {
				io.Copy(io.Discard, r.Body)
				cancel()
				<-r.Context().Done() // the client hangs up, which is noticed once the body is read
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	run := loadOn(t, ctx, server.URL, answers, 1, 5)
	if run.issued != 0 || run.failed != 0 {
		t.Errorf("issued %d, failed %d (%v); want neither", run.issued, run.failed, run.firstError)
	}
}

// TestFloorRefuses: a floor that let anything pass would do less than an issuance needs.
func TestFloorRefuses(t *testing.T) {
	answers := benchListener(t)
	server := floorServer(t, answers, nil)
	client := func(t *testing.T) *benchClient {
		c, err := newBenchClient(t.Context(), server.URL+"/acme/directory", answers)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.http.CloseIdleConnections)
		return c
	}
	orders, err := (&benchOrders{names: 1}).make(1)
	if err != nil {
		t.Fatal(err)
	}
	other := client(t)
	for _, test := range []struct {
		name  string
		spoil func(c *benchClient)
		url   string
		want  string
	}{
		{"signature of another key", func(c *benchClient) { c.key = other.key }, "", "signature"},
		{"nonce of somebody else", func(c *benchClient) { c.nonce = encode64(make([]byte, 32)) }, "", "nonce"},
		{"unknown account", func(c *benchClient) { c.kid += "x" }, "", "no such account"},
		{"nothing answers the challenge", func(c *benchClient) {}, server.URL + "/acme/r/challenge/token.b.example.com", "key authorization is wrong"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := client(t)
			test.spoil(c)
			url := c.newOrder
			if test.url != "" {
				url = test.url
			}
			_, err := c.post(t.Context(), callNewOrder, url, orders[0].newOrder, nil)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one about %q", err, test.want)
			}
		})
	}
}

func TestBenchCheckerRefuses(t *testing.T) {
	answers := benchListener(t)
	server := floorServer(t, answers, nil)
	made, err := (&benchOrders{names: 2}).make(2)
	if err != nil {
		t.Fatal(err)
	}
	c, err := newBenchClient(t.Context(), server.URL+"/acme/directory", answers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.http.CloseIdleConnections)
	chain, err := c.issue(t.Context(), made[0])
	if err != nil {
		t.Fatal(err)
	}
	renamed := &benchOrder{names: made[1].names, key: made[0].key}
	leafOnly := chain[:bytes.Index(chain, []byte("-----END CERTIFICATE-----\n"))+len("-----END CERTIFICATE-----\n")]
	checker := &benchChecker{}
	for _, test := range []struct {
		name  string
		order *benchOrder
		chain []byte
		want  string
	}{
		{"good", made[0], chain, ""},
		{"twice", made[0], chain, "used before"},
		{"another key", made[1], chain, "another key"},
		{"other names", renamed, chain, "it is for"},
		{"no issuer", made[0], leafOnly, "no issuer"},
		{"nothing", made[0], nil, "no PEM"},
	} {
		err := checker.examine(benchCertificate{test.order, test.chain})
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", test.name, err, test.want)
		}
	}
	if len(checker.serials) != 1 || checker.size == 0 {
		t.Errorf("%d certificates of %d bytes counted, want 1", len(checker.serials), checker.size)
	}
}

func TestBenchRefusesFlags(t *testing.T) {
	for _, test := range []struct{ flag, want string }{
		{"--clients=0", "clients"},
		{"--clients=5000", "clients"},
		{"--names=0", "--names"},
		{"--names=101", "--names"},
		{"--orders=-1", "--orders"},
		{"--orders=0", "nothing to do"},
		{"--duration=0s", "--duration"},
		{"--growth-clients=0", "clients"},
	} {
		var out, errs bytes.Buffer
		if status := run(t.Context(), []string{"bench", test.flag}, streams{&out, &errs}); status != 1 {
			t.Errorf("%s: status %d, want 1", test.flag, status)
		}
		if !strings.Contains(errs.String(), test.want) {
			t.Errorf("%s: %q says nothing of %q", test.flag, &errs, test.want)
		}
	}
}

// TestBenchCommand runs the command as its user would, small.
func TestBenchCommand(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "gatehouse", "bench", "--clients=1,2", "--orders=3", "--growth=4", "--growth-clients=2", "--dir", dir, "--json")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &errs)
	}
	var report benchReport
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatalf("%v in %s", err, &out)
	}
	if len(report.Levels) != 2 || report.Failed != 0 || report.Growth == nil || len(report.Growth.Windows) != 1 {
		t.Fatalf("not the levels and the window asked for: %s", &out)
	}
	for _, l := range report.Levels {
		if l.Gateway.Issued != 3 || l.Floor.Issued != 3 || l.RateRatio <= 0 || l.Gateway.Latency.P50 <= 0 {
			t.Errorf("level %d: %+v", l.Clients, l)
		}
	}
	if s := report.State; s.Certificates != 3+2*3 || s.PerCertificate.Store <= 0 || s.PerCertificate.Journal <= 0 || s.HeapAfter <= 0 || s.PeakMemory <= 0 {
		t.Errorf("state %+v", s)
	}
	if w := report.Growth.Windows[0]; w.Issued != 4 || w.State.Certificates != 4 {
		t.Errorf("window %+v", w)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
