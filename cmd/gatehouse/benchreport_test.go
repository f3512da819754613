package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestQuantilesByNearestRank(t *testing.T) {
	ms := func(n int) []time.Duration {
		var out []time.Duration
		for i := n; i > 0; i-- { // not sorted
			out = append(out, time.Duration(i)*time.Millisecond)
		}
		return out
	}
	for _, test := range []struct {
		n    int
		want benchQuantiles
	}{
		{0, benchQuantiles{}},
		{1, benchQuantiles{1, 1, 1}},
		{2, benchQuantiles{1, 2, 2}},
		{100, benchQuantiles{50, 95, 99}},
		{1000, benchQuantiles{500, 950, 990}},
	} {
		if got := quantiles(ms(test.n)); got != test.want {
			t.Errorf("of 1 to %d: %v, want %v", test.n, got, test.want)
		}
	}
}

// reportedRun is a run of which everything is known.
func reportedRun(issued int, elapsed, cpu, latency time.Duration) *benchRun {
	r := &benchRun{elapsed: elapsed, cpu: cpu}
	r.issued = issued
	for range issued {
		r.whole = append(r.whole, latency)
		r.calls[callNewOrder] = append(r.calls[callNewOrder], latency/4)
		r.calls[callFinalize] = append(r.calls[callFinalize], latency/2)
	}
	return r
}

func TestBenchReportAsText(t *testing.T) {
	gateway := reportedRun(1000, 2*time.Second, 1600*time.Millisecond, 60*time.Millisecond)
	gateway.add(reportedRun(1000, 2*time.Second, 1600*time.Millisecond, 64*time.Millisecond))
	gateway.polls = 3
	gateway.calls[callPoll] = []time.Duration{time.Millisecond}
	report := &benchReport{
		Machine: benchMachine{CPUs: 2, CPU: "Example CPU", Kernel: "Linux 6.1.0", FileSystem: "ext4", Go: "go1.26.0", Version: "devel"},
		Names:   2, Profile: "cpu.pprof",
		State: newBenchState(2100, 652, benchSize{0, 0}, benchSize{4200000, 2100000}, 2<<20, 3<<20, 40<<20),
	}
	report.addLevel(&benchLevel{clients: 32, gateway: gateway, floor: reportedRun(2000, 2500*time.Millisecond, 2*time.Second, 40*time.Millisecond)})
	report.Growth = &benchGrowth{Clients: 32, EmptyHeap: 2 << 20, Ended: "ended early: the last window issued 1 of 1000 in 30s; 0 failed", Windows: []benchWindow{
		{1000, gateway.view(), *report.State}, {1001, (&benchRun{}).view(), *report.State},
	}}
	var out strings.Builder
	if err := writeBenchReport(&out, report); err != nil {
		t.Fatal(err)
	}
	want := `2 cores, Example CPU; Linux 6.1.0, ext4, go1.26.0; gatehouse devel
clients, gateway and floor share the cores; 2 names per certificate, P-256, http-01, plain HTTP

Whole issuances. CPU is the server's per issuance; the last columns are gateway divided by floor.

| clients | server  | issued | per s | p50 ms | p95 ms | p99 ms | CPU ms | x rate | x CPU |
| ------: | ------- | -----: | ----: | -----: | -----: | -----: | -----: | -----: | ----: |
|      32 | gateway |   2000 |   500 |  60.00 |  64.00 |  64.00 |   1.60 |   0.62 |  1.60 |
|      32 | floor   |   2000 |   800 |  40.00 |  40.00 |  40.00 |   1.00 |        |       |

- 32 clients, gateway: 0 issuances failed; 3 polls of what was under way; 0 nonces refused and replaced

Budgets at 32 clients:
- gateway, CPU, of the floor's: 1.60; at most 1.75: held
- gateway, rate, of the floor's: 0.62; at least 0.70: missed

Requests, in ms from the request to the whole answer.

| clients | request  | gateway p50 |   p95 |   p99 | floor p50 |   p95 |   p99 |
| ------: | -------- | ----------: | ----: | ----: | --------: | ----: | ----: |
|      32 | newOrder |       15.00 | 16.00 | 16.00 |     10.00 | 10.00 | 10.00 |
|      32 | finalize |       30.00 | 32.00 | 32.00 |     20.00 | 20.00 | 20.00 |
|      32 | poll     |        1.00 |  1.00 |  1.00 |           |       |       |

After 2100 certificates of 652 bytes (DER):
- per certificate: 2000 bytes of disk in the store, 1000 bytes written to the journal (in all 4.0 MiB and 2.0 MiB)
- Go heap after collection: 2.0 MiB before, 3.0 MiB after; peak resident memory 40.0 MiB

Growth of a fresh gateway, 32 clients, Go heap of 2.0 MiB when empty. Store and journal in bytes per certificate.

| issued | per s | p50 ms | p95 ms | p99 ms | CPU ms | heap MiB | store | journal |
| -----: | ----: | -----: | -----: | -----: | -----: | -------: | ----: | ------: |
|   1000 |   500 |  60.00 |  64.00 |  64.00 |   1.60 |      3.0 |  2000 |    1000 |
|   1001 |     0 |        |        |        |   0.00 |      3.0 |  2000 |    1000 |

ended early: the last window issued 1 of 1000 in 30s; 0 failed

CPU profile of the gateway: go tool pprof -top cpu.pprof
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "|") && len(line) > 101 {
			t.Errorf("a table is %d columns wide", len(line)-1)
		}
	}
}

func TestBenchReportFails(t *testing.T) {
	report := &benchReport{}
	if report.failure() != nil || !report.empty() {
		t.Error("a report of nothing fails, or is not empty")
	}
	bad := &benchRun{}
	bad.fail(errors.New("the first"))
	bad.fail(errors.New("the second"))
	report.addLevel(&benchLevel{clients: 1, gateway: bad, floor: &benchRun{}})
	if err := report.failure(); err == nil || err.Error() != "2 issuances failed; the first: the first" {
		t.Errorf("failure is %v", err)
	}
	if l := report.Levels[0]; l.RateRatio != 0 || l.CPURatio != 0 {
		t.Errorf("ratios %v and %v of nothing", l.RateRatio, l.CPURatio)
	}
	report.addLevel(nil) // a level that could not begin
	if len(report.Levels) != 1 {
		t.Error("a level that could not begin is reported")
	}
}

// TestParseStat: proc(5), fields 14 and 15 in ticks of a hundredth of a second.
func TestParseStat(t *testing.T) {
	const tail = " S 1 42 42 0 -1 4194560 5096 12 3 1 731 269 8 9 20 0 12 0 99 1 2 3\n"
	for _, test := range []struct {
		name, text string
		want       time.Duration
		bad        bool
	}{
		{"plain", "42 (gatehouse)" + tail, 10 * time.Second, false},
		{"blanks and brackets in the name", "42 (a) b (c)" + tail, 10 * time.Second, false},
		{"no name", "42 gatehouse" + tail, 0, true},
		{"too short", "42 (gatehouse) S 1 42", 0, true},
		{"no number", "42 (gatehouse)" + strings.Replace(tail, "731", "x", 1), 0, true},
		{"empty", "", 0, true},
	} {
		got, err := parseStat([]byte(test.text))
		if got != test.want || (err != nil) != test.bad {
			t.Errorf("%s: %v, %v; want %v", test.name, got, err, test.want)
		}
	}
	if _, err := cpuTime(os.Getpid()); err != nil {
		t.Error("this process:", err)
	}
}

func TestParsePeak(t *testing.T) {
	got, err := parsePeak([]byte("Name:\tgatehouse\nVmPeak:\t 99 kB\nVmHWM:\t   36104 kB\nVmRSS:\t 5 kB\n"))
	if got != 36104<<10 || err != nil {
		t.Errorf("%d, %v", got, err)
	}
	for _, text := range []string{"", "VmHWM:\t12 MB\n", "VmHWM:\tx kB\n"} {
		if _, err := parsePeak([]byte(text)); err == nil {
			t.Errorf("%q passes", text)
		}
	}
	if n, err := peakMemory(os.Getpid()); n <= 0 || err != nil {
		t.Error("this process:", n, err)
	}
}

func TestParseHeap(t *testing.T) {
	got, err := parseHeap([]byte("heap profile: 1: 2 [3: 4] @ heap/1\n\n# runtime.MemStats\n# Alloc = 7\n# HeapAlloc = 2099200\n# HeapSys = 9\n"))
	if got != 2099200 || err != nil {
		t.Errorf("%d, %v", got, err)
	}
	for _, text := range []string{"", "# HeapAlloc = many\n", "# HeapSys = 9\n"} {
		if _, err := parseHeap([]byte(text)); err == nil {
			t.Errorf("%q passes", text)
		}
	}
}

func TestCPUModel(t *testing.T) {
	if got := cpuModel([]byte("processor\t: 0\nmodel\t\t: 1\nmodel name\t: Example CPU @ 2 GHz\nmodel name\t: Other\n"), "none"); got != "Example CPU @ 2 GHz" {
		t.Errorf("%q", got)
	}
	if got := cpuModel([]byte("processor\t: 0\n"), "none"); got != "none" {
		t.Errorf("%q", got)
	}
}

func TestSizes(t *testing.T) {
	dir := t.TempDir()
	put := func(name string, content []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("zeros", make([]byte, 200<<10))
	put("empty", nil)
	put("ahead", append([]byte("12345\x00\x006"), make([]byte, 150<<10)...))
	put("full", []byte("123"))
	if got, err := written(dir); got != 11 || err != nil {
		t.Errorf("written %d, %v; want 11", got, err)
	}
	if got, err := diskUsage(dir); got < 200<<10 || err != nil {
		t.Errorf("disk usage %d, %v; want at least what is in one file", got, err)
	}
	for _, measure := range []func(string) (int64, error){written, diskUsage} {
		if _, err := measure(filepath.Join(dir, "absent")); err == nil {
			t.Error("an absent folder has a size")
		}
	}
}

func TestProgressLine(t *testing.T) {
	for _, test := range []struct {
		total int
		bar   bool
		want  string
	}{
		{100, true, "8 clients, gateway                 [#####...............] 25/100  50/s"},
		{100, false, "8 clients, gateway                 25/100  50/s"},
		{0, true, "8 clients, gateway                 25  50/s"},
	} {
		if got := progressLine("8 clients, gateway", 25, test.total, 500*time.Millisecond, test.bar); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}

// TestProgressElsewhere: what is no terminal gets whole lines, the last when tracking stops, once.
func TestProgressElsewhere(t *testing.T) {
	var out strings.Builder
	var done atomic.Int64
	stop := newBenchProgress(&out).track("run", 4, &done)
	done.Store(4)
	stop()
	stop()
	if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "4/4") || strings.ContainsAny(got, "\r\x1b[") {
		t.Errorf("%q", got)
	}
}
