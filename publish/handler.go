package publish

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// issuerMaxAge is how long caches may keep an issuer's certificate; it changes only when the configuration does.
const issuerMaxAge = time.Hour

// Handler serves, over plain HTTP because what it serves is signed (RFC 5280, 8: a relying party that needed TLS to check
// a certificate could not end):
//
//	GET /crl/{issuer}/0.crl    the complete list (RFC 5280; application/pkix-crl, RFC 2585, 4.2)
//	GET /issuer/{issuer}.crt   the issuer's certificate as DER (RFC 5280, 4.2.2.1; application/pkix-cert, RFC 2585, 4.1)
//
// HEAD, conditional requests and ranges work as RFC 9110 says. Everything comes from memory; the store is never asked, so
// strangers cannot load it. A list that another process saved appears with the next hint or poll.
func (p *Publisher) Handler() http.Handler {
	mux := http.NewServeMux()
	// A wildcard is a whole segment, so the ending is compared in the handler.
	mux.HandleFunc("GET /crl/{issuer}/{file}", p.serveList)
	mux.HandleFunc("GET /issuer/{file}", p.serveIssuer)
	return mux
}

func (p *Publisher) serveList(w http.ResponseWriter, r *http.Request) {
	is := p.byName[r.PathValue("issuer")]
	if is == nil || r.PathValue("file") != fmt.Sprintf("%d.crl", completeShard) {
		http.Error(w, "no such list", http.StatusNotFound)
		return
	}
	list := is.current.Load()
	if list == nil {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "the first list is being made", http.StatusServiceUnavailable)
		return
	}
	// A cache must not hand out a list beyond its nextUpdate.
	age := min(p.maxAge, list.nextUpdate.Sub(p.now()))
	h := w.Header()
	h.Set("Content-Type", "application/pkix-crl")
	h.Set("Cache-Control", fmt.Sprintf("public, max-age=%d, no-transform", max(0, int(age/time.Second))))
	h.Set("ETag", list.etag)
	http.ServeContent(w, r, "", list.lastModified(), bytes.NewReader(list.der))
}

// lastModified is thisUpdate, or nothing if an earlier list may carry the same second. Two lists of one second differ in
// number, and the first has a number of its own; only that one may be asked for by date (RFC 9110, 8.8.2.2).
func (l *parsedList) lastModified() time.Time {
	if l.number != firstNumber(l.thisUpdate) {
		return time.Time{}
	}
	return l.thisUpdate
}

func (p *Publisher) serveIssuer(w http.ResponseWriter, r *http.Request) {
	name, found := strings.CutSuffix(r.PathValue("file"), ".crt")
	is := p.byName[name]
	if !found || is == nil {
		http.Error(w, "no such issuer", http.StatusNotFound)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/pkix-cert")
	h.Set("Cache-Control", fmt.Sprintf("public, max-age=%d, no-transform", int(issuerMaxAge/time.Second)))
	h.Set("ETag", is.certETag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(is.Certificate.Raw))
}
