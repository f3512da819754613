package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestHealthCommand: status 0 for a page that says 200, and otherwise 1 with one line that says why.
func TestHealthCommand(t *testing.T) {
	pages := http.NewServeMux()
	pages.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok\n")) })
	pages.HandleFunc("/failing", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		w.Write([]byte("unavailable\nfailed: draining\nfailed: store\n"))
	})
	pages.Handle("/moved", http.RedirectHandler("/readyz", http.StatusFound))
	pages.HandleFunc("/hangs", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	server := httptest.NewServer(pages)
	defer server.Close()
	// A proxy of the environment is not asked.
	t.Setenv("http_proxy", "http://192.0.2.1:9")

	for _, tt := range []struct {
		args []string
		says string // "": it is healthy
	}{
		{[]string{"--url", server.URL + "/readyz"}, ""},
		{[]string{"--url", server.URL + "/failing"}, "503 Service Unavailable: unavailable, failed: draining, failed: store"},
		{[]string{"--url", server.URL + "/moved"}, "302 Found"},
		{[]string{"--url", server.URL + "/hangs", "--timeout", "50ms"}, "no answer"},
		{[]string{"--url", "http://127.0.0.1:1/readyz"}, "is the gateway running"},
		{[]string{"--url", "ftp://127.0.0.1/readyz"}, "--url: "},
		{[]string{"--url", "127.0.0.1:80"}, "--url: "},
		{[]string{"--url", server.URL + "/readyz", "--timeout", "0s"}, "--timeout: "},
	} {
		var out, errs bytes.Buffer
		status := run(t.Context(), append([]string{"health"}, tt.args...), streams{&out, &errs})
		switch said := errs.String(); {
		case tt.says == "" && (status != 0 || out.String() != "ok\n" || said != ""):
			t.Errorf("%v: status %d, %q, %q", tt.args, status, out.String(), said)
		case tt.says != "" && (status != 1 || strings.Count(said, "\n") != 1 || !strings.Contains(said, tt.says)):
			t.Errorf("%v: status %d, %q; want 1 and a line with %q", tt.args, status, said, tt.says)
		}
	}
}

// TestHealthOfTheEnvironment: an image names its page once.
func TestHealthOfTheEnvironment(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer server.Close()
	t.Setenv("GATEHOUSE_HEALTH_URL", server.URL+"/readyz")
	var out, errs bytes.Buffer
	if status := run(t.Context(), []string{"health"}, streams{&out, &errs}); status != 0 {
		t.Errorf("status %d: %s", status, errs.String())
	}
}
