package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-ca/gatehouse/storage/redis/redistest"
)

// TestBenchOnRedis runs the command with a Redis beside the others, small.
func TestBenchOnRedis(t *testing.T) {
	redistest.Need(t)
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "gatehouse", "bench", "--redis", "--clients=2", "--orders=4", "--dir", dir, "--json")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &errs)
	}
	report := decoded[benchReport](t, out.String())
	if len(report.Levels) != 1 || report.Note != "" {
		t.Fatalf("not the level asked for: %s", &out)
	}
	l := report.Levels[0]
	if l.Redis == nil || l.Redis.Gateway.Issued != 4 || l.Gateway.Issued != 4 || l.Floor.Issued != 4 || l.Redis.RateRatio <= 0 {
		t.Errorf("level %+v, on Redis %+v", l, l.Redis)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestBenchWithoutRedis: where redis-server is not installed, the rest is measured and the report says so.
func TestBenchWithoutRedis(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	program, err := exec.LookPath("gatehouse")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "bench", "--redis", "--clients=1", "--orders=2", "--names=1", "--dir", t.TempDir())
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(program))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &errs)
	}
	for text, want := range map[string]int{"redis-server is not installed": 1, "| redis": 0, "| gateway": 2, "| floor": 1} {
		if got := strings.Count(out.String(), text); (got > 0) != (want > 0) {
			t.Errorf("%q is there %d times in\n%s", text, got, &out)
		}
	}
}

func TestBenchReportOnRedisAsText(t *testing.T) {
	report := &benchReport{Names: 2, Note: "something was not measured"}
	redis := reportedRun(100, time.Second, 150*time.Millisecond, 40*time.Millisecond)
	redis.redisCPU = 30 * time.Millisecond
	floor := func() *benchRun { return reportedRun(100, time.Second, 100*time.Millisecond, 20*time.Millisecond) }
	report.addLevel(&benchLevel{clients: 8, gateway: floor(), floor: floor(), redis: redis})
	slow := reportedRun(100, 2*time.Second, 200*time.Millisecond, 40*time.Millisecond)
	slow.redisCPU = 40 * time.Millisecond
	slow.fail(os.ErrDeadlineExceeded)
	report.addLevel(&benchLevel{clients: 32, gateway: floor(), floor: floor(), redis: slow})
	if report.Failed != 1 {
		t.Errorf("%d failures are reported, want the one on Redis", report.Failed)
	}
	var out strings.Builder
	if err := writeBenchReport(&out, report); err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(out.String(), "P-256, http-01, plain HTTP\n")
	want := `something was not measured

Whole issuances. CPU is the server's per issuance; the last columns are gateway divided by floor.

| clients | server  | issued | per s | p50 ms | p95 ms | p99 ms | CPU ms | x rate | x CPU |
| ------: | ------- | -----: | ----: | -----: | -----: | -----: | -----: | -----: | ----: |
|       8 | gateway |    100 |   100 |  20.00 |  20.00 |  20.00 |   1.00 |   1.00 |  1.00 |
|       8 | redis   |    100 |   100 |  40.00 |  40.00 |  40.00 |   1.50 |   1.00 |  1.50 |
|       8 | floor   |    100 |   100 |  20.00 |  20.00 |  20.00 |   1.00 |        |       |
|      32 | gateway |    100 |   100 |  20.00 |  20.00 |  20.00 |   1.00 |   1.00 |  1.00 |
|      32 | redis   |    100 |    50 |  40.00 |  40.00 |  40.00 |   2.00 |   0.50 |  2.00 |
|      32 | floor   |    100 |   100 |  20.00 |  20.00 |  20.00 |   1.00 |        |       |

- 32 clients, redis: 1 issuances failed; 0 polls of what was under way; 0 nonces refused and replaced

The row redis is a gateway on Redis, appendfsync always; its CPU is without that of redis-server, in ms per issuance: 0.30 (8 clients), 0.40 (32 clients).

Budgets at 32 clients:
- gateway, CPU, of the floor's: 1.00; at most 1.75: held
- gateway, rate, of the floor's: 1.00; at least 0.70: held
- gateway on Redis, CPU, of the floor's: 2.00; at most 1.60: missed
- redis-server, CPU, ms: 0.40; at most 0.35: missed
- gateway on Redis, rate, of the floor's: 0.50; at least 0.70: missed

Requests, in ms from the request to the whole answer.

| clients | request  | gateway p50 |   p95 |   p99 | floor p50 |   p95 |   p99 |
| ------: | -------- | ----------: | ----: | ----: | --------: | ----: | ----: |
|       8 | newOrder |        5.00 |  5.00 |  5.00 |      5.00 |  5.00 |  5.00 |
`
	if text = text[:min(len(want), len(text))]; !cmp.Equal(want, text) {
		t.Error(cmp.Diff(want, text))
	}
	if !strings.Contains(out.String(), "| redis p50 |") {
		t.Error("the requests of the gateway on Redis are missing")
	}
}

func TestListReportAsText(t *testing.T) {
	q := func(ms float64) benchQuantiles { return benchQuantiles{ms, 2 * ms, 3 * ms} }
	after := q(2)
	report := &benchListReport{Store: "redis", Enrollments: 1_000_000, PageSize: 100, Samples: 200, Lists: []benchList{
		{By: "organisation", Members: 800_000, First: q(1), Offset: q(1), After: &after, Count: q(0.5)},
		{By: "profile", Members: 560_000, First: q(1), Offset: q(7), Count: q(0.25)},
	}}
	var out strings.Builder
	if err := report.write(&out); err != nil {
		t.Fatal(err)
	}
	want := `Lists of 1000000 enrollments (redis), pages of 100, newest first; ms over 200 pages each, records included.

| list by      | members | first p50 |  p99 | offset p50 |   p99 | after p50 |  p99 | total p50 |  p99 |
| ------------ | ------: | --------: | ---: | ---------: | ----: | --------: | ---: | --------: | ---: |
| organisation |  800000 |      1.00 | 3.00 |       1.00 |  3.00 |      2.00 | 6.00 |      0.50 | 1.50 |
| profile      |  560000 |      1.00 | 3.00 |       7.00 | 21.00 |           |      |      0.25 | 0.75 |

- page, p99: 21.00 ms (profile); the budget is 20 ms: missed
- total, p99: 1.50 ms (organisation); the budget is 5 ms: held
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestLoadReportAsText(t *testing.T) {
	report := &benchLoadReport{Store: "redis", Added: 1000, Total: 3000, Seconds: 4, PerSecond: 250, CertificateSize: 617, SizeBefore: 1 << 20, SizeAfter: 4 << 20, PerCertificate: 3145}
	for _, test := range []struct{ store, want string }{
		{"redis", "2528 of them beyond the DER; the budget is 2662: held\n"},
		{"embedded", "3145 bytes of disk for each with its certificate of 617 bytes (DER) (in all 1.0 MiB before, 4.0 MiB after)\n"},
	} {
		report.Store = test.store
		var out strings.Builder
		if err := report.write(&out); err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(out.String(), test.want) {
			t.Errorf("%s: %q does not end with %q", test.store, out.String(), test.want)
		}
	}
}

func TestInfoNumber(t *testing.T) {
	const info = "# Memory\r\nused_memory:1048576\r\nused_memory_human:1.00M\r\nmaxmemory_policy:noeviction\r\n"
	if n, err := infoNumber(info, "used_memory"); n != 1<<20 || err != nil {
		t.Errorf("used_memory is %d, %v", n, err)
	}
	for _, name := range []string{"used", "maxmemory_policy", "absent"} {
		if n, err := infoNumber(info, name); err == nil {
			t.Errorf("%s is %d", name, n)
		}
	}
}
