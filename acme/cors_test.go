package acme

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestCrossOrigin: RFC 8555, 6.1: a browser lets any page's script read every answer, and the headers that clients need.
func TestCrossOrigin(t *testing.T) {
	w := newWorld(t)
	c := w.account()
	for name, a := range map[string]answer{
		"directory": w.get(http.MethodGet, "/acme/directory"), "nonce": w.get(http.MethodHead, "/acme/r/new-nonce"),
		"order": c.post("/acme/r/new-order", identifiers("a.example.com")), "an error": c.post("/acme/r/new-order", map[string]any{}),
		"nowhere": w.get(http.MethodGet, "/acme/nothing"),
	} {
		if a.header.Get("Access-Control-Allow-Origin") != "*" || a.header.Get("Access-Control-Expose-Headers") != "Replay-Nonce, Location, Link, Retry-After" ||
			a.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: %v", name, a.header)
		}
	}
}

// TestPreflight: RFC 8555, 6.1: what a browser asks before it sends a JWS.
func TestPreflight(t *testing.T) {
	w := newWorld(t)
	for path, methods := range map[string]string{
		"/acme/directory": "GET, HEAD, POST", "/acme/r/new-nonce": "GET, HEAD, POST", "/acme/r/new-account": "POST", "/acme/r/new-order/in/main/web": "POST",
		"/acme/r/authz/" + newID(): "POST", keyChangePath: "POST",
	} {
		r := httptest.NewRequest(http.MethodOptions, path, nil)
		r.Header.Set("Origin", "https://client.example.net")
		r.Header.Set("Access-Control-Request-Method", "POST")
		r.Header.Set("Access-Control-Request-Headers", "content-type")
		w.store.taken()
		a := w.send(r).want(t, http.StatusNoContent)
		if h := a.header; h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Access-Control-Allow-Methods") != methods ||
			h.Get("Access-Control-Allow-Headers") != "Content-Type" || h.Get("Allow") != methods+", OPTIONS" || h.Get("Replay-Nonce") != "" || len(a.body) != 0 {
			t.Errorf("%s: %v", path, h)
		}
		if trips := w.store.taken(); len(trips) != 0 {
			t.Errorf("%s: a question of anybody's reaches the store: %v", path, trips)
		}
	}
	w.get(http.MethodOptions, "/acme/nothing").wantProblem(t, http.StatusNotFound, "malformed")
}
