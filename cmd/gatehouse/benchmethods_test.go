package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestBenchMethods issues certificates by every method and says what each cost.
func TestBenchMethods(t *testing.T) {
	w := newWorld(t)
	var report benchReport
	out := w.mustCommand("bench", "--methods", "--orders", "6", "--clients", "2", "--names", "2", "--growth-clients", "2", "--json")
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if len(report.Methods) != 3 {
		t.Fatalf("%d methods were measured: %+v", len(report.Methods), report.Methods)
	}
	for i, want := range []string{"http-01", "dns-01", "tls-alpn-01"} {
		m := report.Methods[i]
		if string(m.Method) != want || m.Run.Issued != 6 || m.Run.Failed != 0 || m.Run.Calls["challenge"].P50 <= 0 {
			t.Errorf("%s: %+v", want, m)
		}
	}
	b := &strings.Builder{}
	writeMethods(b, report.Methods)
	if n := strings.Count(b.String(), "-01 "); n != 3 {
		t.Errorf("the table has %d methods:\n%s", n, b)
	}
}

// TestDevMethods: a throw-away gateway offers what --dcv-methods says and nothing else.
func TestDevMethods(t *testing.T) {
	t.Parallel()
	c := registered(startGateway(t, "--dcv-methods", "tls-alpn-01"))
	var authz struct{ Challenges []struct{ Type string } }
	c.post(c.order("www.example.com").Authorizations[0], nil).decode(&authz)
	if len(authz.Challenges) != 1 || authz.Challenges[0].Type != "tls-alpn-01" {
		t.Errorf("it offers %+v", authz.Challenges)
	}
	_, err := newWorld(t).tryStart("--dcv-methods", "carrier-pigeon")
	if err == nil || !strings.Contains(err.Error(), "carrier-pigeon") {
		t.Errorf("with an unknown method: %v", err)
	}
}
