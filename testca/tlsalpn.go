package testca

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/gatehouse-ca/gatehouse/identifier"
)

// TLSALPNConfig says where a TLS-ALPN world listens. The zero value is usable.
type TLSALPNConfig struct {
	Addr string // host:port; default 127.0.0.1 with a free port
	// Digest, if set, is asked for the digests of the key authorizations of DNS names that were not Set; false: there is
	// none. It must be safe for concurrent use.
	Digest func(ctx context.Context, name string) ([]byte, bool)
}

// TLSALPN is a programmable TLS server that answers tls-alpn-01 challenges (RFC 8737; addresses by RFC 8738). All methods
// are safe for concurrent use and take effect with the next connection.
type TLSALPN struct {
	listener net.Listener
	ctx      context.Context // ends at Close
	stop     context.CancelFunc
	wg       sync.WaitGroup
	digest   func(ctx context.Context, name string) ([]byte, bool) // of names that were not set; may be nil

	mu      sync.Mutex
	answers map[string]tlsAnswer // by server name
	faults  map[string]TLSALPNFault
	hellos  []TLSHello
	conns   map[net.Conn]struct{}
}

type tlsAnswer struct {
	id     identifier.Identifier
	digest []byte // of the key authorization
}

// TLSHello is one ClientHello as it arrived, and what the client sent behind the handshake.
type TLSHello struct {
	ServerName string   // as sent (RFC 6066, 3)
	Protocols  []string // as offered (RFC 7301, 3.1)
	Versions   []uint16
	Source     netip.AddrPort
	After      int // bytes of application data
}

// helloLog bounds what Hellos remembers, so that a load test does not grow it without end.
const helloLog = 4096

// NewTLSALPN starts a server.
func NewTLSALPN(cfg TLSALPNConfig) (*TLSALPN, error) {
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("testca: TLS-ALPN: %w", err)
	}
	s := &TLSALPN{
		listener: listener, digest: cfg.Digest, answers: map[string]tlsAnswer{}, faults: map[string]TLSALPNFault{}, conns: map[net.Conn]struct{}{},
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.wg.Go(s.accept)
	return s, nil
}

// Addr is where the server listens.
func (s *TLSALPN) Addr() netip.AddrPort { return s.listener.Addr().(*net.TCPAddr).AddrPort() }

// Close ends open connections and waits for the server's goroutines.
func (s *TLSALPN) Close() error {
	s.stop()
	err := s.listener.Close()
	s.mu.Lock()
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Set answers the challenge for an identifier with a key authorization.
func (s *TLSALPN) Set(id identifier.Identifier, keyAuthorization string) {
	digest := sha256.Sum256([]byte(keyAuthorization))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[ServerName(id)] = tlsAnswer{id, digest[:]}
}

// Remove forgets an identifier and its fault.
func (s *TLSALPN) Remove(id identifier.Identifier) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.answers, ServerName(id))
	delete(s.faults, ServerName(id))
}

// Break switches a fault on for an identifier; [TLSALPNHonest] switches it off.
func (s *TLSALPN) Break(id identifier.Identifier, fault TLSALPNFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[ServerName(id)] = fault
}

// Hellos returns the connections that got as far as a ClientHello, oldest first, at most the first 4096.
func (s *TLSALPN) Hellos() []TLSHello {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.hellos)
}

// ServerName is the name by which SNI asks for an identifier: itself, or an address's name in in-addr.arpa or ip6.arpa
// (RFC 8738, 6).
func ServerName(id identifier.Identifier) string {
	if id.Type() != identifier.IP {
		return id.Value()
	}
	name, err := dns.ReverseAddr(id.Value())
	if err != nil {
		return "" // cannot happen: an identifier's address is one
	}
	return strings.TrimSuffix(name, ".")
}

func (s *TLSALPN) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			if s.ctx.Err() != nil {
				return
			}
			continue
		}
		s.mu.Lock()
		s.conns[c] = struct{}{}
		s.mu.Unlock()
		s.wg.Go(func() {
			defer func() {
				s.mu.Lock()
				delete(s.conns, c)
				s.mu.Unlock()
				_ = c.Close()
			}()
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			s.serve(c)
		})
	}
}

// serve does one handshake and counts what the client sends behind it.
func (s *TLSALPN) serve(c net.Conn) {
	at := -1
	conn := tls.Server(c, &tls.Config{MinVersion: tls.VersionTLS10, GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		answer, fault, n, ok := s.hello(hello)
		at = n
		if !ok {
			answer, ok = s.ask(hello.ServerName)
		}
		if !ok {
			return nil, fmt.Errorf("testca: no challenge for %q", hello.ServerName)
		}
		return fault.config(s.ctx, c, answer)
	}})
	if conn.HandshakeContext(s.ctx) != nil {
		return
	}
	n, _ := io.Copy(io.Discard, conn)
	s.mu.Lock()
	defer s.mu.Unlock()
	if at >= 0 {
		s.hellos[at].After = int(n)
	}
}

// ask gets the answer for a name that was not set.
func (s *TLSALPN) ask(name string) (tlsAnswer, bool) {
	if s.digest == nil {
		return tlsAnswer{}, false
	}
	id, err := identifier.ParseDNS(name)
	if err != nil {
		return tlsAnswer{}, false
	}
	digest, ok := s.digest(s.ctx, name)
	return tlsAnswer{id, digest}, ok
}

// hello notes a ClientHello, unless there are many already, and finds what answers it.
func (s *TLSALPN) hello(hello *tls.ClientHelloInfo) (answer tlsAnswer, fault TLSALPNFault, at int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at = -1
	if len(s.hellos) < helloLog {
		source, _ := netip.ParseAddrPort(hello.Conn.RemoteAddr().String())
		at = len(s.hellos)
		s.hellos = append(s.hellos, TLSHello{
			ServerName: hello.ServerName, Protocols: slices.Clone(hello.SupportedProtos), Versions: slices.Clone(hello.SupportedVersions), Source: source,
		})
	}
	answer, ok = s.answers[hello.ServerName]
	return answer, s.faults[hello.ServerName], at, ok
}
