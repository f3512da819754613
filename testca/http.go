package testca

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// challengePath is where http-01 looks (RFC 8555, 8.3).
const challengePath = "/.well-known/acme-challenge/"

// pkiPath is where the files of Baseline Requirements 3.2.2.4.18 are.
const pkiPath = "/.well-known/pki-validation/"

// HTTPConfig says where a web world listens. The zero value is usable: plain HTTP on 127.0.0.1 with a free port.
type HTTPConfig struct {
	Addr string // host:port; default 127.0.0.1 with a free port
	// TLS opens a second listener for HTTPS at TLSAddr (default: Addr's host with a free port), with Certificate or, if
	// that is nil, with one from a hierarchy that nobody trusts.
	TLS         bool
	TLSAddr     string
	Certificate *tls.Certificate
	// Answer, if set, is asked for the answers to tokens that were not Set, with the host that the request names (without a
	// port); false: there is none. It must be safe for concurrent use.
	Answer func(ctx context.Context, host, token string) (string, bool)
}

// HTTP is a programmable web server that answers http-01 challenges. All methods are safe for concurrent use and take
// effect with the next request.
type HTTP struct {
	plain, secure net.Listener
	server        *http.Server
	ctx           context.Context // ends at Close, and with it every answer that is being held
	stop          context.CancelFunc
	wg            sync.WaitGroup
	answer        func(ctx context.Context, host, token string) (string, bool) // for tokens that were not set; may be nil

	mu         sync.Mutex
	answers    map[string]string
	faults     map[string]HTTPFault // by token
	hostFaults map[string]HTTPFault
	requests   []HTTPRequest
	watch      func(HTTPRequest)
}

// HTTPRequest is one request as it arrived.
type HTTPRequest struct {
	Method, Host, URI string
	Proto             string // "HTTP/1.1"
	Header            http.Header
	TLS               bool
	ServerName        string // as sent by the client (RFC 6066, 3)
	Source, Local     netip.AddrPort
}

// requestLog bounds what Requests remembers, so that a load test does not grow it without end.
const requestLog = 4096

// NewHTTP starts a server.
func NewHTTP(cfg HTTPConfig) (*HTTP, error) {
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	h := &HTTP{answer: cfg.Answer, answers: map[string]string{}, faults: map[string]HTTPFault{}, hostFaults: map[string]HTTPFault{}}
	var err error
	if h.plain, err = net.Listen("tcp", cfg.Addr); err != nil {
		return nil, fmt.Errorf("testca: HTTP: %w", err)
	}
	if cfg.TLS {
		if h.secure, err = listenTLS(cfg); err != nil {
			_ = h.plain.Close()
			return nil, fmt.Errorf("testca: HTTPS: %w", err)
		}
	}
	h.ctx, h.stop = context.WithCancel(context.Background())
	h.server = &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second,
		ErrorLog: log.New(io.Discard, "", 0), // clients that leave in the middle are the point of these tests
	}
	h.wg.Go(func() { _ = h.server.Serve(h.plain) })
	if h.secure != nil {
		h.wg.Go(func() { _ = h.server.Serve(h.secure) })
	}
	return h, nil
}

func listenTLS(cfg HTTPConfig) (net.Listener, error) {
	host, _, err := net.SplitHostPort(cfg.Addr)
	if err != nil {
		return nil, err
	}
	cert := cfg.Certificate
	if cert == nil {
		untrusted, err := NewHierarchy(HierarchyConfig{Name: "Untrusted Throw-away"})
		if err != nil {
			return nil, err
		}
		leaf, err := untrusted.Leaf("untrusted.example")
		if err != nil {
			return nil, err
		}
		cert = &leaf
	}
	addr := cfg.TLSAddr
	if addr == "" {
		addr = net.JoinHostPort(host, "0")
	}
	return tls.Listen("tcp", addr, &tls.Config{Certificates: []tls.Certificate{*cert}, MinVersion: tls.VersionTLS12})
}

// Close ends held answers and open connections, and waits for the listeners' goroutines.
func (h *HTTP) Close() error {
	h.stop()
	err := h.server.Close()
	h.wg.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Addr is where plain HTTP listens.
func (h *HTTP) Addr() netip.AddrPort { return h.plain.Addr().(*net.TCPAddr).AddrPort() }

// TLSAddr is where HTTPS listens; invalid if it does not.
func (h *HTTP) TLSAddr() netip.AddrPort {
	if h.secure == nil {
		return netip.AddrPort{}
	}
	return h.secure.Addr().(*net.TCPAddr).AddrPort()
}

// Set answers a token with a key authorization (RFC 8555, 8.3), or a file's name below /.well-known/pki-validation/ with its content.
func (h *HTTP) Set(token, keyAuthorization string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answers[token] = keyAuthorization
}

// Remove forgets a token and its fault.
func (h *HTTP) Remove(token string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.answers, token)
	delete(h.faults, token)
}

// Break switches a fault on for a token; token "" means every token without its own. A zero fault switches it off.
func (h *HTTP) Break(token string, fault HTTPFault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	setFault(h.faults, token, fault)
}

// BreakHost switches a fault on for the requests to a host, as their Host field names it without a port. A fault of the
// token goes before it, and it goes before that of every token. A zero fault switches it off.
func (h *HTTP) BreakHost(host string, fault HTTPFault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	setFault(h.hostFaults, host, fault)
}

func setFault(faults map[string]HTTPFault, key string, fault HTTPFault) {
	if fault.Kind == HTTPHonest {
		delete(faults, key)
		return
	}
	faults[key] = fault
}

// fault finds the setting for a request; h.mu is held.
func (h *HTTP) fault(host, token string) HTTPFault {
	if f, ok := h.faults[token]; ok {
		return f
	}
	if f, ok := h.hostFaults[host]; ok {
		return f
	}
	return h.faults[""]
}

// host is whom a request is to, without a port.
func host(r *http.Request) string {
	if name, _, err := net.SplitHostPort(r.Host); err == nil {
		return name
	}
	return r.Host
}

// Requests returns the requests that arrived, oldest first, at most the first 4096.
func (h *HTTP) Requests() []HTTPRequest {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.requests)
}

// Watch calls f with every further request before it is answered; nil ends that. f must be safe for concurrent use.
func (h *HTTP) Watch(f func(HTTPRequest)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watch = f
}

// ServeHTTP answers challenges: honestly, or as their faults say. A path /hop/N/… is a step of a redirect chain.
func (h *HTTP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token, fault := "", HTTPFault{}
	hop, isHop := parseHop(r.URL.Path)
	switch {
	case isHop:
		token = hop.token
	case strings.HasPrefix(r.URL.Path, challengePath):
		token = strings.TrimPrefix(r.URL.Path, challengePath)
	case strings.HasPrefix(r.URL.Path, pkiPath):
		token = strings.TrimPrefix(r.URL.Path, pkiPath)
	}
	h.mu.Lock()
	seen := h.remember(r)
	watch := h.watch
	answer, known := h.answers[token]
	if !isHop && token != "" {
		fault = h.fault(host(r), token)
	}
	h.mu.Unlock()
	if watch != nil {
		watch(seen)
	}
	if !known && h.answer != nil && token != "" {
		answer, known = h.answer(r.Context(), host(r), token)
	}

	switch {
	case isHop && hop.left > 0:
		http.Redirect(w, r, hop.next(), http.StatusFound)
	case fault.Kind != HTTPHonest:
		fault.serve(h.ctx, w, r, token, answer)
	case !known:
		http.NotFound(w, r)
	default:
		w.Header().Set("Content-Type", "application/octet-stream") // as RFC 8555, 8.3 shows it
		_, _ = io.WriteString(w, answer)
	}
}

// remember notes a request, unless there are many already; h.mu is held.
func (h *HTTP) remember(r *http.Request) HTTPRequest {
	if len(h.requests) >= requestLog && h.watch == nil {
		return HTTPRequest{}
	}
	seen := HTTPRequest{Method: r.Method, Host: r.Host, URI: r.RequestURI, Proto: r.Proto, Header: r.Header.Clone()}
	if r.TLS != nil {
		seen.TLS, seen.ServerName = true, r.TLS.ServerName
	}
	seen.Source, _ = netip.ParseAddrPort(r.RemoteAddr)
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok {
		seen.Local = local.AddrPort()
	}
	if len(h.requests) < requestLog {
		h.requests = append(h.requests, seen)
	}
	return seen
}
