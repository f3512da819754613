package main

import (
	"encoding/json"
	"testing"
)

// TestBenchFlood runs every flood for a moment: each must arrive, what must be refused is, and the healthy client is served.
func TestBenchFlood(t *testing.T) {
	w := newWorld(t)
	var report benchFloodReport
	out := w.mustCommand("bench", "flood", "--duration", "1s", "--clients", "1", "--connections", "20", "--rate", "20", "--json")
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	refused := map[string]bool{"16,384-bit account keys": true, "16,384-bit CSRs": true}
	floods := 0
	for _, p := range report.Phases {
		if p.Issued == 0 || p.Failed > 0 || p.Error != "" || p.Latency.P50 <= 0 || p.Heap <= 0 {
			t.Errorf("%s: %+v", p.Flood, p)
		}
		if p.Flood == "none" {
			continue
		}
		floods++
		if p.Sent == 0 || refused[p.Flood] != (p.Refused > 0) || p.Refused > 0 && p.Refused != p.Sent {
			t.Errorf("%s: %d sent, %d refused", p.Flood, p.Sent, p.Refused)
		}
	}
	if floods != 5 || len(report.Phases) != 7 {
		t.Errorf("%d phases, %d of them floods", len(report.Phases), floods)
	}
}

func TestBenchFloodRefusals(t *testing.T) {
	w := newWorld(t)
	for _, args := range [][]string{{"--duration", "1ms"}, {"--clients", "0"}, {"--connections", "10001"}, {"--rate", "0"}} {
		if _, stderr, status := w.command(append([]string{"bench", "flood"}, args...)...); status == 0 || stderr == "" {
			t.Errorf("bench flood %v: status %d, %q", args, status, stderr)
		}
	}
}
