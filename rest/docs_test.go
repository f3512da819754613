package rest

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func testDocs(t *testing.T, names ...string) (docs *Docs, loads *int) {
	t.Helper()
	loads = new(int)
	c := DocsConfig{}
	for _, name := range names {
		c.Documents = append(c.Documents, NamedDocument{Name: name, Load: func() (*OpenAPI, error) {
			*loads++
			return &OpenAPI{Title: "The " + name, YAML: []byte("openapi: " + name + "\n"), JSON: []byte(`{"openapi":"` + name + `"}`)}, nil
		}})
	}
	docs, err := NewDocs(c)
	if err != nil {
		t.Fatal(err)
	}
	return docs, loads
}

func ask(h http.Handler, method, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec
}

func TestDocsServesDocuments(t *testing.T) {
	t.Parallel()
	docs, loads := testDocs(t, "one", "two")
	if rec := ask(docs, "GET", "/docs/"); rec.Code != 200 || *loads != 0 {
		t.Errorf("the page: %d, with %d documents made", rec.Code, *loads)
	}
	for _, c := range []struct{ path, mediaType, body string }{
		{"/openapi/one.yaml", "application/yaml", "openapi: one\n"},
		{"/openapi/two.json", "application/json", `{"openapi":"two"}`},
		{"/openapi/", "application/json", `{"documents":[{"name":"one","title":"The one","yaml":"one.yaml","json":"one.json"},{"name":"two","title":"The two","yaml":"two.yaml","json":"two.json"}]}`},
	} {
		rec := ask(docs, "GET", c.path)
		h := rec.Header()
		if rec.Code != 200 || rec.Body.String() != c.body || h.Get("Content-Type") != c.mediaType || h.Get("Cache-Control") != "no-cache" || h.Get("ETag") == "" || h.Get("Content-Encoding") != "" {
			t.Errorf("GET %s: %d %v %s", c.path, rec.Code, h, rec.Body)
		}
		if again := ask(docs, "GET", c.path, "If-None-Match", h.Get("ETag")); again.Code != http.StatusNotModified || again.Body.Len() != 0 {
			t.Errorf("GET %s again: %d", c.path, again.Code)
		}
		head := ask(docs, "HEAD", c.path)
		if head.Code != 200 || head.Body.Len() != 0 || head.Header().Get("ETag") != h.Get("ETag") {
			t.Errorf("HEAD %s: %d %v %s", c.path, head.Code, head.Header(), head.Body)
		}
		packed := ask(docs, "GET", c.path, "Accept-Encoding", "br, gzip;q=0.5")
		if packed.Header().Get("Content-Encoding") != "gzip" || packed.Header().Get("Vary") != "Accept-Encoding" || packed.Header().Get("ETag") == h.Get("ETag") || unzipped(t, packed.Body) != c.body {
			t.Errorf("GET %s packed: %v", c.path, packed.Header())
		}
		if no := ask(docs, "GET", c.path, "Accept-Encoding", "gzip;q=0, br"); no.Body.String() != c.body {
			t.Errorf("GET %s, not packed: %v", c.path, no.Header())
		}
	}
	if *loads != 2 {
		t.Errorf("the two documents were made %d times", *loads)
	}
}

func unzipped(t *testing.T, r io.Reader) string {
	t.Helper()
	z, err := gzip.NewReader(r)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestDocsViewer: the page names nothing but files beside it and the documents, has no script in it, and says so to the browser.
func TestDocsViewer(t *testing.T) {
	t.Parallel()
	docs, _ := testDocs(t, "one")
	page := ask(docs, "GET", "/docs/")
	policy := page.Header().Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self';", "style-src 'self';", "connect-src 'self';", "frame-ancestors 'none'"} {
		if !strings.Contains(policy+";", want) {
			t.Errorf("the policy %q lacks %s", policy, want)
		}
	}
	body := page.Body.String()
	if strings.Contains(body, "//") || strings.Contains(body, `="/`) || strings.Contains(body, "style=") {
		t.Error("the page names another host, an absolute path or a style")
	}
	for part := range strings.SplitSeq(body, "<script") {
		if !strings.HasPrefix(part, "<!DOCTYPE") && !strings.HasPrefix(part, ` src="`) {
			t.Error("the page has a script in it")
		}
	}
	for path, mediaType := range map[string]string{
		"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript", "page.css": "text/css", "page.js": "text/javascript", "favicon-32x32.png": "image/png",
	} {
		if !strings.Contains(body, `"`+path+`"`) {
			t.Errorf("the page does not use %s", path)
		}
		plain, packed := ask(docs, "GET", "/docs/"+path), ask(docs, "GET", "/docs/"+path, "Accept-Encoding", "gzip")
		if plain.Code != 200 || !strings.HasPrefix(plain.Header().Get("Content-Type"), mediaType) || plain.Body.Len() == 0 || plain.Header().Get("Content-Security-Policy") != "" {
			t.Errorf("%s: %d %v", path, plain.Code, plain.Header())
		}
		if packed.Header().Get("Content-Encoding") == "gzip" && unzipped(t, packed.Body) != plain.Body.String() {
			t.Errorf("%s is another one where it is packed", path)
		}
	}
}

func TestDocsRefuses(t *testing.T) {
	t.Parallel()
	docs, _ := testDocs(t, "one")
	for _, c := range []struct {
		method, path  string
		status        int
		header, value string
	}{
		{"GET", "/docs", http.StatusPermanentRedirect, "Location", "docs/"}, // relative: there may be a path before it
		{"GET", "/openapi", http.StatusPermanentRedirect, "Location", "openapi/"},
		{"POST", "/openapi/one.json", http.StatusMethodNotAllowed, "Allow", "GET, HEAD"},
		{"DELETE", "/docs/", http.StatusMethodNotAllowed, "Allow", "GET, HEAD"},
		{"GET", "/openapi/two.json", http.StatusNotFound, "Cache-Control", ""},
		{"GET", "/docs/../page.js", http.StatusNotFound, "ETag", ""},
		{"GET", "/docs/index.html", http.StatusNotFound, "ETag", ""},
		{"GET", "/docs/embed.go", http.StatusNotFound, "ETag", ""},
	} {
		rec := ask(docs, c.method, c.path)
		if rec.Code != c.status || rec.Header().Get(c.header) != c.value {
			t.Errorf("%s %s: %d %v", c.method, c.path, rec.Code, rec.Header())
		}
	}
	for _, names := range [][]string{{}, {"one", "one"}, {"../one"}, {""}, {"One"}} {
		c := DocsConfig{}
		for _, name := range names {
			c.Documents = append(c.Documents, NamedDocument{Name: name})
		}
		if _, err := NewDocs(c); err == nil {
			t.Errorf("documents %q are accepted", names)
		}
	}
}

// TestDocsFailure: a document that cannot be made is told of, and not to clients; the page stays.
func TestDocsFailure(t *testing.T) {
	t.Parallel()
	broken := errors.New("secret detail")
	var seen error
	docs, err := NewDocs(DocsConfig{
		Documents: []NamedDocument{{Name: "one", Load: func() (*OpenAPI, error) { return nil, broken }}},
		Observe: func(_ context.Context, _ string, err error) {
			if err != nil {
				seen = err
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if rec := ask(docs, "GET", "/openapi/one.json"); rec.Code != 500 || strings.Contains(rec.Body.String(), "secret") || !errors.Is(seen, broken) {
		t.Errorf("%d %s, told of %v", rec.Code, rec.Body, seen)
	}
	if rec := ask(docs, "GET", "/docs/"); rec.Code != 200 {
		t.Errorf("the page: %d", rec.Code)
	}
}
