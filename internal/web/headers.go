package web

import (
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// securityHeaders are what suits an API on every answer: nothing here is a page, so no browser may guess a type, run,
// frame or keep it. A handler that knows better overwrites them.
func securityHeaders() []header {
	return []header{
		{"X-Content-Type-Options", []string{"nosniff"}},
		{"Content-Security-Policy", []string{"default-src 'none'; frame-ancestors 'none'"}},
		{"Referrer-Policy", []string{"no-referrer"}},
		{"Cache-Control", []string{"no-store"}},
	}
}

func (o *observer) setHeaders(h http.Header, e *RequestEvent) {
	for _, one := range o.headers {
		// Shared between requests: whoever adds a value gets a longer slice of its own.
		h[one.key] = one.values[:1:1]
	}
	h["X-Request-Id"] = []string{e.id}
}

// RetryAfter says when to come back (RFC 9110, 10.2.3): whole seconds, rounded up, at least one.
func RetryAfter(h http.Header, d time.Duration) {
	seconds := max(1, int64((d+time.Second-1)/time.Second))
	h.Set("Retry-After", strconv.FormatInt(seconds, 10))
}

// Unavailable answers for handlers that are not there at the moment: 503, a problem document, and when to come back.
func Unavailable(w http.ResponseWriter, after time.Duration) {
	RetryAfter(w.Header(), after)
	writeProblem(w, http.StatusServiceUnavailable, "the gateway is being brought up to date; nothing was lost, try again")
}

// writeProblem answers where no handler did, as a problem document without a type of its own (RFC 9457, 4.2.1).
func writeProblem(w http.ResponseWriter, status int, detail string) {
	doc, err := json.Marshal(struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail,omitempty"`
	}{"about:blank", http.StatusText(status), status, detail})
	if err != nil {
		panic(err) // strings and a number always encode
	}
	h := w.Header()
	// What the handler may have prepared for another answer.
	for _, key := range []string{"Content-Length", "Content-Encoding", "Etag", "Last-Modified", "Location"} {
		h.Del(key)
	}
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = w.Write(doc)
}

// remoteAddr is the client's address: the peer's, or what trusted proxies say. X-Forwarded-For is read from the right,
// because only what a trusted proxy appended is believed; the first address that is not a trusted proxy's is the client.
func (o *observer) remoteAddr(r *http.Request) string {
	if len(o.cfg.TrustedProxies) == 0 {
		return r.RemoteAddr
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !o.trusts(peer.Addr()) {
		return r.RemoteAddr
	}
	client := r.RemoteAddr
	hops := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		addr, err := parseHop(strings.TrimSpace(hops[i]))
		if err != nil {
			break // what stands further left was not checked by anyone
		}
		client = net.JoinHostPort(addr.String(), "0")
		if !o.trusts(addr) {
			break
		}
	}
	return client
}

// parseHop reads an address with or without a port; proxies write both.
func parseHop(hop string) (netip.Addr, error) {
	if ap, err := netip.ParseAddrPort(hop); err == nil {
		return ap.Addr().Unmap().WithZone(""), nil
	}
	addr, err := netip.ParseAddr(hop)
	return addr.Unmap().WithZone(""), err
}

func (o *observer) trusts(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, p := range o.cfg.TrustedProxies {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
