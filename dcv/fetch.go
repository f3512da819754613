package dcv

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// maxHeaderBytes of one response, interim responses included.
	maxHeaderBytes = 16 << 10
	// framingSlack is what chunked coding (RFC 9112, 7.1) may add to the bytes of a body that is at the limit.
	framingSlack = 4 << 10
	// maxInterim is how many 1xx responses (RFC 9110, 15.2) are passed over.
	maxInterim = 5
)

// errTooMuch is what meter returns at its limit.
var errTooMuch = errors.New("dcv: the server sent more than is read")

// fetcher sends one GET over one connection. It is written on net and http.ReadResponse rather than http.Client, so that
// there is nothing to switch off: no proxy, cookies, authentication, connection reuse, HTTP/2, decompression, retries or
// redirects of its own. The address is the caller's; the host is sent, never looked up.
type fetcher struct {
	userAgent string
	readers   sync.Pool // of *responseReader
}

// responseReader is the memory of one response.
type responseReader struct {
	meter meter
	buf   *bufio.Reader
}

// meter is a reader that stops after left bytes.
type meter struct {
	from     io.Reader
	left     int
	exceeded bool
}

func (m *meter) Read(p []byte) (int, error) {
	if m.left <= 0 {
		m.exceeded = true
		return 0, errTooMuch
	}
	n, err := m.from.Read(p[:min(len(p), m.left)])
	m.left -= n
	return n, err
}

// response is what of a response decides a validation.
type response struct {
	status   int
	location []string // every Location field
	body     []byte   // of a 200 only
	more     bool     // the body goes on behind body
}

// phase is how far an exchange came, in words that fit behind "while" and "before".
type phase string

const (
	sending      phase = "sending the request"
	readingHead  phase = "waiting for the response headers"
	readingBody  phase = "reading the response body"
	shakingHands phase = "negotiating TLS"
)

// fetchError is a failed exchange. Its text never quotes the server.
type fetchError struct {
	phase phase
	tls   bool   // the peer's TLS is at fault
	what  string // a reason to show instead of the error
	err   error  // nil where it would quote the server
}

func (e *fetchError) Error() string { return "while " + string(e.phase) + ": " + e.what }
func (e *fetchError) Unwrap() error { return e.err }

// get sends the request for t on conn and reads at most limit bytes of body. It ends with ctx and closes conn. answered
// is told when the headers are complete.
func (f *fetcher) get(ctx context.Context, conn net.Conn, t target, limit int, answered func()) (response, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(past) })
	defer stop()
	defer func() { _ = conn.Close() }()
	if t.https {
		secure, err := shakeHands(ctx, conn, t)
		if err != nil {
			return response{}, err
		}
		conn = secure
	}
	if _, err := io.WriteString(conn, f.request(t)); err != nil {
		return response{}, &fetchError{phase: sending, what: reason(err), err: err}
	}
	r, _ := f.readers.Get().(*responseReader)
	if r == nil {
		r = &responseReader{}
		r.buf = bufio.NewReaderSize(&r.meter, 4096)
	}
	defer func() {
		r.meter.from = nil
		f.readers.Put(r)
	}()
	r.meter = meter{from: conn, left: maxHeaderBytes}
	r.buf.Reset(&r.meter)
	head, err := r.readHead()
	if err != nil {
		return response{}, err
	}
	answered()
	out := response{status: head.StatusCode, location: head.Header["Location"]}
	if head.StatusCode == http.StatusOK {
		// What is in the buffer already has been counted.
		r.meter.left = limit + framingSlack
		out.body, out.more, err = r.readBody(head.Body, limit)
	}
	return out, err
}

// request is the GET of RFC 8555, 8.3. Everything in it has been checked: path and query by redirectTarget, the host is
// an identifier, the user agent was checked at start.
func (f *fetcher) request(t target) string {
	var b strings.Builder
	b.Grow(256)
	for _, s := range [...]string{
		"GET ", t.url.RequestURI(), " HTTP/1.1\r\nHost: ", t.authority(), "\r\nUser-Agent: ", f.userAgent,
		"\r\nAccept: */*\r\nAccept-Encoding: identity\r\nConnection: close\r\n\r\n",
	} {
		b.WriteString(s)
	}
	return b.String()
}

// shakeHands starts TLS without verifying the certificate: the applicant is here because it does not have a good one yet,
// and what is proved is that the name's server knows the key authorization (RFC 8555, 8.3 and 10.2).
func shakeHands(ctx context.Context, conn net.Conn, t target) (net.Conn, error) {
	secure := tls.Client(conn, &tls.Config{
		ServerName:         t.host.Value(), // not sent for an address (RFC 6066, 3)
		InsecureSkipVerify: true,
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{"http/1.1"},
	})
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, &fetchError{phase: shakingHands, tls: !isTimeout(err), what: reason(err), err: err}
	}
	return secure, nil
}

// readHead reads up to the headers of the final response. Interim responses are passed over.
func (r *responseReader) readHead() (*http.Response, error) {
	for range maxInterim + 1 {
		head, err := http.ReadResponse(r.buf, nil)
		if err != nil {
			return nil, r.failure(readingHead, err, "the server did not answer with an HTTP response")
		}
		if head.StatusCode >= 200 || head.StatusCode == http.StatusSwitchingProtocols {
			return head, nil
		}
	}
	return nil, &fetchError{phase: readingHead, what: "the server sent too many interim responses"}
}

// readBody reads at most limit bytes, and more if there are more.
func (r *responseReader) readBody(from io.Reader, limit int) (body []byte, more bool, err error) {
	body = make([]byte, limit+1)
	n := 0
	for n <= limit {
		k, err := from.Read(body[n:])
		n += k
		switch {
		case n > limit: // whatever comes next, this is too long
		case err == io.EOF:
			return body[:n], false, nil
		case err != nil:
			return nil, false, r.failure(readingBody, err, "the response body is not well formed")
		}
	}
	return body[:limit], true, nil
}

// failure tells a broken connection, a limit and nonsense apart. An error of the HTTP parser quotes the server, so it is
// replaced by malformed.
func (r *responseReader) failure(p phase, err error, malformed string) error {
	var netErr net.Error
	switch {
	case r.meter.exceeded && p == readingHead:
		return &fetchError{phase: p, what: "the response headers are longer than 16 KiB"}
	case r.meter.exceeded:
		return &fetchError{phase: p, what: "the response body's framing is longer than its content"}
	case errors.As(err, &netErr):
		return &fetchError{phase: p, what: reason(err), err: err}
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return &fetchError{phase: p, what: "the server closed the connection early", err: io.ErrUnexpectedEOF}
	default:
		return &fetchError{phase: p, what: malformed}
	}
}

// dial connects to exactly addr. check sees the address again, as the system is about to connect to it.
func dial(ctx context.Context, addr netip.AddrPort, timeout time.Duration, check func(netip.AddrPort) error) (net.Conn, error) {
	dialer := net.Dialer{
		Timeout:   timeout,
		KeepAlive: -1, // off: the connection lives for one response
		Control: func(_, address string, _ syscall.RawConn) error {
			actual, err := netip.ParseAddrPort(address)
			if err != nil {
				return err
			}
			return check(actual)
		},
	}
	return dialer.DialTCP(ctx, "tcp", netip.AddrPort{}, addr)
}
