package dcv

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse-ca/gatehouse/identifier"
)

const (
	dotScheme = "tls://"
	dotPort   = "853" // RFC 7858, 3.1
	// dotConns is how many connections to one server there may be, busy or idle; further exchanges wait for one, and what
	// waits too long has failed. It is more than MaxConcurrent validations need by default, so that those of one account,
	// whose name servers never answer, leave some for everybody else.
	dotConns = 320
	dotIdle  = 10 * time.Second // an idle connection older than this is not used again
	// dotStrays is how many messages that answer nothing we asked a connection may bring. Nobody else speaks on it, so the
	// server is broken.
	dotStrays = 8
)

// dotServer is one DNS server that is asked over TLS (RFC 7858), under its strict profile (RFC 8310, 5): without a
// certificate that is valid for the configured name nothing is sent, and nothing is ever sent in the clear instead.
//
// A connection carries one exchange at a time. The questions of an exchange go out together, and their replies come in any
// order (RFC 7766, 6.2.1.1); they are told apart by id.
type dotServer struct {
	addr  string
	tls   *tls.Config
	slots chan struct{} // one for each connection

	mu     sync.Mutex
	idle   []*dotConn // the last one was used last
	closed bool
}

// dotConn is a connection and when it was last used.
type dotConn struct {
	*tls.Conn
	last time.Time
}

var errNotDoT = errors.New("it is not tls://host:port#name, as in tls://192.0.2.53:853#dns.example.com")

// newDoTServer reads host:port#name, where port and name may be left out.
func newDoTServer(text string, roots *x509.CertPool) (*dotServer, error) {
	addr, name, named := strings.Cut(text, "#")
	host, err := splitServer(addr)
	if err != nil { // there is no port, so what has a colon must be an address
		host = addr
		if inner, ok := strings.CutPrefix(addr, "["); ok {
			host, _ = strings.CutSuffix(inner, "]")
		}
		addr = net.JoinHostPort(host, dotPort)
	}
	if !isHost(host) {
		return nil, errNotDoT
	}
	if !named {
		name = host
	} else if !isHost(name) {
		return nil, errors.New("behind the # there is not the name or address that its certificate is for; write it, or leave the # out")
	}
	return &dotServer{
		addr:  addr,
		tls:   &tls.Config{ServerName: name, RootCAs: roots, MinVersion: tls.VersionTLS12},
		slots: make(chan struct{}, dotConns),
	}, nil
}

// isHost reports whether text is an address or a name that a certificate can be for.
func isHost(text string) bool {
	if _, err := netip.ParseAddr(text); err == nil {
		return true
	}
	id, err := identifier.ParseDNS(text)
	return err == nil && !id.IsWildcard()
}

// exchange implements transport. A server may close an idle connection whenever it likes (RFC 7766, 6.2.3); that is found
// out only by using it, so what is left unanswered on one is repeated once on a new one.
func (s *dotServer) exchange(ctx context.Context, asks []*ask, deadline time.Time) {
	start := time.Now()
	bounded, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	if err := enter(bounded, s.slots); err != nil {
		settleAll(asks, "tls", start, dotFailure(ctx, err))
		return
	}
	defer func() { <-s.slots }()
	if conn := s.take(); conn != nil {
		if err := s.converse(bounded, conn, asks, start); !isBroken(err) || bounded.Err() != nil {
			settleAll(asks, "tls", start, dotFailure(ctx, err))
			return
		}
	}
	conn, err := s.dial(bounded)
	if err == nil {
		err = s.converse(bounded, conn, asks, start)
	}
	settleAll(asks, "tls", start, dotFailure(ctx, err))
}

// dial opens a connection and verifies the server.
func (s *dotServer) dial(ctx context.Context) (*dotConn, error) {
	dialer := tls.Dialer{NetDialer: &net.Dialer{KeepAlive: -1}, Config: s.tls}
	conn, err := dialer.DialContext(ctx, "tcp", s.addr)
	if err != nil {
		return nil, &dotDialError{err}
	}
	return &dotConn{Conn: conn.(*tls.Conn)}, nil
}

// dotDialError says that an error came before there was a session.
type dotDialError struct{ error }

func (e *dotDialError) Unwrap() error { return e.error }

// isBroken reports whether err is a connection's that ended.
func isBroken(err error) bool {
	return err != nil && !isTimeout(err) && !errors.Is(err, errFrameSize) && !errors.Is(err, errStrays)
}

// converse asks what is not settled yet, and keeps or closes the connection.
func (s *dotServer) converse(ctx context.Context, conn *dotConn, asks []*ask, start time.Time) error {
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(past) })
	asks = slices.DeleteFunc(slices.Clone(asks), func(a *ask) bool { return a.settled })
	err := conn.run(asks, start)
	// Not kept after an error, while a late reply may still come, or if the deadline in the past may be set at any moment.
	s.put(conn, stop() && err == nil)
	return err
}

// run sends the questions in one record and reads until all are settled.
func (c *dotConn) run(asks []*ask, start time.Time) error {
	number(asks)
	var out []byte
	for _, a := range asks {
		msg, err := a.question(true).pack(a.id)
		if err != nil {
			return err
		}
		out = appendFramed(out, msg)
	}
	if _, err := c.Write(out); err != nil {
		return err
	}
	for open, strays := len(asks), 0; open > 0; {
		msg, err := readFramed(c)
		if err != nil {
			return err
		}
		if settleBy(asks, msg, start) {
			open--
		} else if strays++; strays > dotStrays {
			return errStrays
		}
	}
	return nil
}

var errStrays = errors.New("dcv: a DNS server answers questions that were not asked")

// settleBy settles the ask that a message over TLS is the reply to, if there is one.
func settleBy(asks []*ask, msg []byte, start time.Time) bool {
	for _, a := range asks {
		if a.settled {
			continue
		}
		r, ours := readReply(msg, a.id, a.name, a.qtype, tcpPayload)
		if !ours {
			continue
		}
		if r.truncated { // RFC 7766, 5: there is nothing larger to turn to
			r = reply{result: resultMalformed}
		}
		a.settle("tls", start, r)
		return true
	}
	return false
}

// take gives the idle connection that was used last; nil: there is none.
func (s *dotServer) take() *dotConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.idle) > 0 {
		conn := s.idle[len(s.idle)-1]
		s.idle = s.idle[:len(s.idle)-1]
		if time.Since(conn.last) < dotIdle {
			return conn
		}
		_ = conn.NetConn().Close()
	}
	return nil
}

// put takes a connection back, or closes it, without the alert that TLS would write first: it might block.
func (s *dotServer) put(conn *dotConn, clean bool) {
	conn.last = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.idle) > 0 && time.Since(s.idle[0].last) >= dotIdle { // of a peak; no longer used since
		_ = s.idle[0].NetConn().Close()
		s.idle = s.idle[1:]
	}
	if clean && !s.closed {
		s.idle = append(s.idle, conn)
		return
	}
	_ = conn.NetConn().Close()
}

func (s *dotServer) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, conn := range s.idle {
		_ = conn.NetConn().Close()
	}
	s.idle, s.closed = nil, true
}

// dotFailure names what an error means for a lookup.
func dotFailure(ctx context.Context, err error) string {
	var dialing *dotDialError
	var op *net.OpError
	switch {
	case errors.Is(err, errFrameSize):
		return resultOversized
	case errors.Is(err, errStrays):
		return resultMalformed
	case errors.Is(ctx.Err(), context.Canceled), isTimeout(err):
		return failureResult(ctx, err)
	case errors.As(err, &dialing) && (!errors.As(err, &op) || op.Op != "dial"):
		return resultNoTLS
	}
	return failureResult(ctx, err)
}
