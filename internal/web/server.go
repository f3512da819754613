// Package web is the shell around every handler: listeners, limits, the request event, metrics and health.
//
// It decides how long a stranger may take, how much may be sent, what is logged and counted about a request, and what an
// answer looks like when a handler fails to give one. It trusts the handlers for everything else, and X-Forwarded-For
// only from the proxies that the configuration names. It never routes, never authenticates, never shows a client what
// went wrong inside, and never makes a metric label of what a client sent.
package web

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// Config is what a Server needs. Zero limits take the defaults named; they suit an API whose bodies are small.
type Config struct {
	Addr     string       // "host:port" to listen on; not used if Listener is set
	Listener net.Listener // taken over: the Server closes it
	Handler  http.Handler
	TLS      *tls.Config // nil: plain HTTP
	Log      *slog.Logger
	Metrics  *Metrics // nil: nothing is counted

	// TrustedProxies are the peers whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix

	ReadHeaderTimeout time.Duration // TLS handshake and header; default 5 s
	ReadTimeout       time.Duration // whole request; default 30 s
	WriteTimeout      time.Duration // from the end of the header to the end of the answer; default 60 s
	IdleTimeout       time.Duration // between requests of a connection; default 120 s
	MaxHeaderBytes    int           // default 32 KiB
	MaxBodyBytes      int64         // default 1 MiB
	// Bodies says what a request may send where that is something else. It is asked before the handler is, so it knows the header alone,
	// and nobody has authenticated yet. Nil: MaxBodyBytes holds for all.
	Bodies         func(*http.Request) Body
	MaxConnections int // at once; beyond it the peer that has most gives one up; default 4096
	MaxStreams     int // concurrent HTTP/2 streams of one connection; default 100
}

const (
	defaultReadTimeout  = 30 * time.Second
	defaultWriteTimeout = 60 * time.Second
)

// Server serves one listener. Its methods are safe for concurrent use.
type Server struct {
	http     http.Server
	listener net.Listener
	tls      bool
}

// New listens, so that an address that cannot be had is an error at start, and accepts nothing before Serve. A Server
// that is not served must be drained all the same, or its listener stays open.
func New(cfg Config) (*Server, error) {
	if cfg.Handler == nil {
		return nil, errors.New("web: a handler is needed")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	listener := cfg.Listener
	if listener == nil {
		var err error
		if listener, err = Listen(cfg.Addr); err != nil {
			return nil, err
		}
	}
	s := &Server{tls: cfg.TLS != nil}
	connections := newConnections(listener, cmp.Or(cfg.MaxConnections, 4096), cfg.TrustedProxies, cfg.Metrics.evicted)
	s.listener = connections
	s.http = http.Server{
		Handler:           observe(cfg),
		TLSConfig:         cfg.TLS,
		ConnState:         connections.state,
		ReadHeaderTimeout: cmp.Or(cfg.ReadHeaderTimeout, 5*time.Second),
		ReadTimeout:       cmp.Or(cfg.ReadTimeout, defaultReadTimeout),
		WriteTimeout:      cmp.Or(cfg.WriteTimeout, defaultWriteTimeout),
		IdleTimeout:       cmp.Or(cfg.IdleTimeout, 120*time.Second),
		MaxHeaderBytes:    cmp.Or(cfg.MaxHeaderBytes, 32<<10),
		HTTP2:             http2Limits(cmp.Or(cfg.MaxStreams, 100)),
		// What net/http complains about are strangers' broken handshakes and requests.
		ErrorLog: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// http2Limits bounds what one connection may hold: streams, and buffers of at most 1 MiB in all and 64 KiB per stream. A
// peer that no longer answers is found by a ping.
func http2Limits(streams int) *http.HTTP2Config {
	return &http.HTTP2Config{
		MaxConcurrentStreams:          streams,
		MaxReceiveBufferPerConnection: 1 << 20,
		MaxReceiveBufferPerStream:     64 << 10,
		SendPingTimeout:               30 * time.Second,
		PingTimeout:                   15 * time.Second,
		WriteByteTimeout:              30 * time.Second,
	}
}

// Addr is the address listened on, with the port that was chosen for port 0.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Serve accepts until Drain and then returns nil; otherwise it returns what stopped it. Drain may still be waiting for
// requests in flight when Serve returns.
func (s *Server) Serve() error {
	var err error
	if s.tls {
		err = s.http.ServeTLS(s.listener, "", "")
	} else {
		err = s.http.Serve(s.listener)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("web: %s: %w", s.Addr(), err)
}

// Drain stops accepting, lets requests in flight end and returns nil when they have. When ctx ends first it closes their
// connections and says so.
func (s *Server) Drain(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	// Shutdown knows the listener only once Serve has begun. A second close is harmless.
	_ = s.listener.Close()
	if err == nil {
		return nil
	}
	_ = s.http.Close()
	return fmt.Errorf("web: %s: requests in flight were cut off: %w", s.Addr(), err)
}
