package testca

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func newHTTP(t *testing.T, cfg HTTPConfig) (*HTTP, *http.Client) {
	t.Helper()
	h, err := NewHTTP(cfg)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h, &http.Client{Transport: transport, CheckRedirect: func(_ *http.Request, via []*http.Request) error {
		if len(via) > 5 {
			return http.ErrUseLastResponse
		}
		return nil
	}}
}

// get returns status and body; err is that of the request or of reading the body.
func get(ctx context.Context, c *http.Client, url string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4*mebibyte))
	return resp.StatusCode, string(body), err
}

func TestHTTPAnswers(t *testing.T) {
	h, c := newHTTP(t, HTTPConfig{TLS: true})
	h.Set("token", "token.print")
	for _, base := range []string{"http://" + h.Addr().String(), "https://" + h.TLSAddr().String()} {
		if status, body, err := get(t.Context(), c, base+challengePath+"token"); err != nil || status != 200 || body != "token.print" {
			t.Errorf("%s: %d %q %v", base, status, body, err)
		}
	}
	h.Remove("token")
	if status, _, err := get(t.Context(), c, "http://"+h.Addr().String()+challengePath+"token"); err != nil || status != 404 {
		t.Errorf("removed: %d %v", status, err)
	}
	if r := h.Requests(); len(r) != 3 || r[0].TLS || !r[1].TLS || r[0].Local != h.Addr() || r[1].Local != h.TLSAddr() {
		t.Errorf("requests %+v", r)
	}
}

func TestHTTPFaults(t *testing.T) {
	h, c := newHTTP(t, HTTPConfig{})
	const answer = "token.print"
	h.Set("token", answer)
	url := "http://" + h.Addr().String() + challengePath + "token"
	for _, row := range []struct {
		name  string
		fault HTTPFault
		check func(int, string, error) bool
	}{
		{"slow", HTTPFault{Kind: HTTPSlow, Delay: time.Millisecond}, func(s int, b string, err error) bool { return err == nil && b == answer }},
		{"drip", HTTPFault{Kind: HTTPDrip, Delay: time.Millisecond}, func(s int, b string, err error) bool { return err == nil && b == answer }},
		{"redirect", HTTPFault{Kind: HTTPRedirect, Status: 307, URL: "/elsewhere"}, func(s int, _ string, err error) bool { return err == nil && s == 404 }},
		{"loop", HTTPFault{Kind: HTTPRedirectLoop}, func(s int, _ string, err error) bool { return err == nil && s == 302 }},
		{"chain", HTTPFault{Kind: HTTPRedirectChain, Count: 4}, func(s int, b string, err error) bool { return err == nil && s == 200 && b == answer }},
		{"no Location", HTTPFault{Kind: HTTPNoLocation, Status: 301}, func(s int, _ string, err error) bool { return err == nil && s == 301 }},
		{"oversized", HTTPFault{Kind: HTTPOversizedBody, Count: 10}, func(_ int, b string, err error) bool { return err == nil && len(b) == len(answer)+10 }},
		{"endless", HTTPFault{Kind: HTTPEndlessBody}, func(_ int, b string, err error) bool { return err == nil && len(b) == 4*mebibyte }},
		{"headers", HTTPFault{Kind: HTTPOversizedHeaders}, func(_ int, _ string, err error) bool { return err != nil }},
		{"short", HTTPFault{Kind: HTTPShortBody}, func(_ int, b string, err error) bool { return err != nil && b == answer }},
		{"content", HTTPFault{Kind: HTTPContent, Status: 418, Body: "x"}, func(s int, b string, err error) bool { return err == nil && s == 418 && b == "x" }},
		{"hang up", HTTPFault{Kind: HTTPHangUp}, func(_ int, _ string, err error) bool { return err != nil }},
		{"raw", HTTPFault{Kind: HTTPRaw, Body: "hello\r\n"}, func(_ int, _ string, err error) bool { return err != nil && strings.Contains(err.Error(), "malformed") }},
		{"honest", HTTPFault{}, func(s int, b string, err error) bool { return err == nil && b == answer }},
	} {
		h.Break("token", row.fault)
		if status, body, err := get(t.Context(), c, url); !row.check(status, body, err) {
			t.Errorf("%s: %d, %d bytes, %v", row.name, status, len(body), err)
		}
	}
}

// Close must not wait for answers that are held.
func TestHTTPCloseEndsHeldAnswers(t *testing.T) {
	h, c := newHTTP(t, HTTPConfig{})
	h.Break("", HTTPFault{Kind: HTTPSilent})
	arrived, done := make(chan struct{}), make(chan error)
	h.Watch(func(HTTPRequest) { close(arrived) })
	go func() {
		_, _, err := get(t.Context(), c, "http://"+h.Addr().String()+challengePath+"any")
		done <- err
	}()
	<-arrived
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; err == nil {
		t.Error("a held request was answered")
	}
}

// TestHTTPHosts breaks one host of a server whose answers come from elsewhere.
func TestHTTPHosts(t *testing.T) {
	h, c := newHTTP(t, HTTPConfig{Answer: func(_ context.Context, host, token string) (string, bool) {
		return token + " of " + host, token != "unknown"
	}})
	h.Set("own", "set")
	h.Break("", HTTPFault{Kind: HTTPContent, Status: 503})
	h.BreakHost("good.example", HTTPFault{Kind: HTTPRedirectChain, Count: 2})
	h.BreakHost("bad.example", HTTPFault{Kind: HTTPContent, Body: "bad"})
	h.Break("broken", HTTPFault{Kind: HTTPContent, Body: "of the token"})
	ask := func(host, token string, status int, body string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+h.Addr().String()+challengePath+token, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		w := httptest.NewRecorder()
		for range 5 { // by hand, because a client would follow redirects to another Host
			w = httptest.NewRecorder()
			h.ServeHTTP(w, req)
			if w.Code != http.StatusFound {
				break
			}
			req.URL.Path = w.Header().Get("Location")
		}
		if got := w.Body.String(); w.Code != status || (body != "" && got != body) {
			t.Errorf("%s of %s: %d %q, want %d %q", token, host, w.Code, got, status, body)
		}
	}
	ask("bad.example:5002", "one", 200, "bad")
	ask("bad.example", "broken", 200, "of the token")
	ask("good.example:5002", "one", 200, "one of good.example")
	ask("other.example", "one", 503, "")
	h.Break("", HTTPFault{})
	ask("other.example", "one", 200, "one of other.example")
	ask("other.example", "own", 200, "set")
	ask("other.example", "unknown", 404, "")
	h.BreakHost("bad.example", HTTPFault{})
	ask("bad.example", "one", 200, "one of bad.example")
	if status, _, err := get(t.Context(), c, "http://"+h.Addr().String()+"/elsewhere"); err != nil || status != 404 {
		t.Errorf("what is no challenge: %d %v", status, err)
	}
}
