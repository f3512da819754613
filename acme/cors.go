package acme

import "net/http"

// exposed are the headers that a client needs and a browser would keep from it.
const exposed = "Replay-Nonce, Location, Link, Retry-After"

// crossOrigin lets clients that run in a browser read an answer, from wherever their page came (RFC 8555, 6.1). That gives
// nothing away: no answer depends on a cookie or an address, only on what the account's key has signed.
func crossOrigin(h http.Header) {
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", exposed)
}

// preflight answers a browser that asks before it sends application/jose+json, which is no type that a form can send.
func preflight(w http.ResponseWriter, e endpoint) *reply {
	h := w.Header()
	h.Set("Allow", e.methods()+", OPTIONS")
	h.Set("Access-Control-Allow-Methods", e.methods())
	h.Set("Access-Control-Allow-Headers", "Content-Type")
	h.Set("Access-Control-Max-Age", "86400") // a day; what it says does not change while a process runs
	h.Del("Replay-Nonce")
	return &reply{status: http.StatusNoContent}
}
