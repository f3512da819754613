package testca

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// HTTPFaultKind is a way in which a web server goes wrong.
type HTTPFaultKind uint8

// The faults. The zero value is none.
const (
	HTTPHonest           HTTPFaultKind = iota
	HTTPSilent                         // accepts the request and answers nothing until the client leaves
	HTTPSlow                           // answers honestly after Delay
	HTTPDrip                           // the right headers, then the body one byte every Delay
	HTTPRedirect                       // Status (default 302) with Location URL
	HTTPRedirectLoop                   // redirects to itself
	HTTPRedirectChain                  // Count redirects that end at the right answer
	HTTPNoLocation                     // Status (default 302) without a Location
	HTTPTwoLocations                   // two Location fields: its own path, then URL
	HTTPOversizedBody                  // the right answer followed by Count bytes (default 1 MiB)
	HTTPEndlessBody                    // the right answer followed by bytes until the client leaves
	HTTPOversizedHeaders               // Count bytes of header fields (default 1 MiB)
	HTTPShortBody                      // announces more bytes than it sends
	HTTPContent                        // Body with Status (default 200)
	HTTPHangUp                         // closes the connection without an answer
	HTTPRaw                            // Body as the whole answer, whatever it is, then closes
)

// HTTPFault is how the answer to one token goes wrong. Fields a kind does not name are ignored.
type HTTPFault struct {
	Kind   HTTPFaultKind
	Status int
	URL    string
	Body   string
	Count  int
	Delay  time.Duration
}

const mebibyte = 1 << 20

func (f HTTPFault) serve(ctx context.Context, w http.ResponseWriter, r *http.Request, token, answer string) {
	switch f.Kind {
	case HTTPSilent:
		wait(ctx, r, 0)
	case HTTPSlow:
		wait(ctx, r, f.Delay)
		_, _ = io.WriteString(w, answer)
	case HTTPDrip:
		f.drip(ctx, w, r, answer)
	case HTTPRedirect, HTTPRedirectLoop, HTTPRedirectChain, HTTPNoLocation, HTTPTwoLocations:
		f.redirect(w, r, token)
	case HTTPOversizedBody:
		_, _ = io.WriteString(w, answer+strings.Repeat("x", cmp.Or(f.Count, mebibyte)))
	case HTTPEndlessBody:
		_, err := io.WriteString(w, answer)
		for err == nil && ctx.Err() == nil {
			_, err = io.WriteString(w, strings.Repeat("x", 4096))
		}
	case HTTPShortBody:
		w.Header().Set("Content-Length", strconv.Itoa(len(answer)+10))
		_, _ = io.WriteString(w, answer)
		// The handler returns with bytes owing; net/http then closes the connection.
	case HTTPContent:
		w.WriteHeader(cmp.Or(f.Status, http.StatusOK))
		_, _ = io.WriteString(w, f.Body)
	case HTTPOversizedHeaders:
		raw := "HTTP/1.1 200 OK\r\nX-Pad: " + strings.Repeat("x", cmp.Or(f.Count, mebibyte)) +
			"\r\nContent-Length: " + strconv.Itoa(len(answer)) + "\r\n\r\n" + answer
		hijack(w, raw)
	case HTTPHangUp:
		hijack(w, "")
	case HTTPRaw:
		hijack(w, f.Body)
	}
}

func (f HTTPFault) redirect(w http.ResponseWriter, r *http.Request, token string) {
	status := cmp.Or(f.Status, http.StatusFound)
	switch f.Kind {
	case HTTPRedirect:
		w.Header().Set("Location", f.URL)
	case HTTPRedirectLoop:
		w.Header().Set("Location", r.URL.RequestURI())
	case HTTPRedirectChain:
		w.Header().Set("Location", hop{left: f.Count - 1, token: token}.path())
	case HTTPTwoLocations:
		w.Header().Add("Location", r.URL.RequestURI())
		w.Header().Add("Location", f.URL)
	}
	w.WriteHeader(status)
}

func (f HTTPFault) drip(ctx context.Context, w http.ResponseWriter, r *http.Request, answer string) {
	w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
	for i := range len(answer) {
		if _, err := io.WriteString(w, answer[i:i+1]); err != nil {
			return
		}
		if http.NewResponseController(w).Flush() != nil {
			return
		}
		wait(ctx, r, f.Delay)
	}
}

// wait holds an answer for d, or for ever if d is zero. When the client leaves or the server closes first, the connection
// is broken off, so that no half answer looks like a whole one.
func wait(ctx context.Context, r *http.Request, d time.Duration) {
	var after <-chan time.Time
	if d > 0 {
		after = time.After(d)
	}
	select {
	case <-after:
		return
	case <-r.Context().Done():
	case <-ctx.Done():
	}
	panic(http.ErrAbortHandler)
}

// hijack sends raw as everything the client gets and closes the connection.
func hijack(w http.ResponseWriter, raw string) {
	c, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	_, _ = buf.WriteString(raw)
	_ = buf.Flush()
	_ = c.Close()
}

// hop is one step of a redirect chain: so many redirects are left before the answer.
type hop struct {
	left  int
	token string
}

func (h hop) path() string { return fmt.Sprintf("/hop/%d/%s", h.left, h.token) }

func (h hop) next() string { return hop{h.left - 1, h.token}.path() }

func parseHop(path string) (hop, bool) {
	rest, ok := strings.CutPrefix(path, "/hop/")
	left, token, two := strings.Cut(rest, "/")
	n, err := strconv.Atoi(left)
	return hop{n, token}, ok && two && err == nil
}
