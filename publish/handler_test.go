package publish

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func get(t *testing.T, p *Publisher, method, path string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	p.Handler().ServeHTTP(w, r)
	return w
}

func TestHandlerServesListAndIssuer(t *testing.T) {
	store, clk := newStore(), newClock()
	p := newPublisher(t, store, func(c *Config) { c.Now = clk.now })
	if w := get(t, p, "GET", "/crl/leaf/0.crl"); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("before the first list: %d", w.Code)
	}
	if err := p.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path, kind, cache string
		body              []byte
	}{
		{"/crl/leaf/0.crl", "application/pkix-crl", "public, max-age=30, no-transform", store.list.DER},
		{"/issuer/leaf.crt", "application/pkix-cert", "public, max-age=3600, no-transform", authority().Certificate.Raw},
	} {
		w := get(t, p, "GET", tt.path)
		if w.Code != 200 || w.Header().Get("Content-Type") != tt.kind || w.Header().Get("Cache-Control") != tt.cache ||
			!bytes.Equal(w.Body.Bytes(), tt.body) {
			t.Errorf("GET %s: %d %v", tt.path, w.Code, w.Header())
		}
		head := get(t, p, "HEAD", tt.path)
		if head.Code != 200 || head.Body.Len() != 0 || head.Header().Get("Content-Length") != w.Header().Get("Content-Length") {
			t.Errorf("HEAD %s: %d %v", tt.path, head.Code, head.Header())
		}
		if again := get(t, p, "GET", tt.path, "If-None-Match", w.Header().Get("ETag")); again.Code != http.StatusNotModified {
			t.Errorf("GET %s with its ETag: %d", tt.path, again.Code)
		}
		if post := get(t, p, "POST", tt.path); post.Code != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: %d", tt.path, post.Code)
		}
	}
	for _, path := range []string{
		"/crl/other/0.crl", "/crl/leaf/1.crl", "/crl/leaf/0", "/crl/leaf/00.crl", "/crl/leaf/0.crl/x", "/crl/leaf/",
		"/issuer/other.crt", "/issuer/leaf", "/issuer/.crt", "/", "/crl/leaf",
	} {
		if w := get(t, p, "GET", path); w.Code != http.StatusNotFound || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("GET %s: %d %s", path, w.Code, w.Header().Get("Content-Type"))
		}
	}
}

// RFC 9110, 8.8.2.2: a date is a validator only if it cannot belong to two representations.
func TestConditionalByDateNeverHidesANewerList(t *testing.T) {
	store, clk := newStore(), newClock()
	p := newPublisher(t, store, func(c *Config) { c.Now = clk.now })
	revoked := 0
	build := func() *httptest.ResponseRecorder {
		t.Helper()
		revoked++
		store.revoke(Revoked{Serial: serialOf(revoked), At: clk.now(), NotAfter: clk.now().Add(1000 * time.Hour)})
		if err := p.build(t.Context()); err != nil {
			t.Fatal(err)
		}
		return get(t, p, "GET", "/crl/leaf/0.crl")
	}
	first := build()
	date := first.Header().Get("Last-Modified")
	if date != clk.now().Format(http.TimeFormat) {
		t.Errorf("Last-Modified %q", date)
	}
	if w := get(t, p, "GET", "/crl/leaf/0.crl", "If-Modified-Since", date); w.Code != http.StatusNotModified {
		t.Errorf("unchanged: %d", w.Code)
	}
	if second := build(); second.Header().Get("ETag") == first.Header().Get("ETag") {
		t.Error("two lists share an ETag")
	}
	if w := get(t, p, "GET", "/crl/leaf/0.crl", "If-Modified-Since", date); w.Code != http.StatusOK {
		t.Errorf("a second list in the same second is hidden: %d", w.Code)
	}
	clk.add(time.Minute)
	build()
	if w := get(t, p, "GET", "/crl/leaf/0.crl", "If-Modified-Since", date); w.Code != http.StatusOK {
		t.Errorf("a later list is hidden: %d", w.Code)
	}
}

func TestCachesDoNotKeepAListBeyondItsEnd(t *testing.T) {
	clk := newClock()
	p := newPublisher(t, newStore(), func(c *Config) { c.Now = clk.now })
	if err := p.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		move time.Duration
		want string
	}{
		{24*time.Hour - 10*time.Second, "public, max-age=10, no-transform"},
		{time.Minute, "public, max-age=0, no-transform"},
	} {
		clk.add(step.move)
		if got := get(t, p, "GET", "/crl/leaf/0.crl").Header().Get("Cache-Control"); got != step.want {
			t.Errorf("Cache-Control %q, want %q", got, step.want)
		}
	}
}
