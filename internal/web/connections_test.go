package web

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
)

// pipes is a listener without a network.
type pipes struct {
	conns  chan net.Conn
	closed chan bool
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn, 100), closed: make(chan bool)} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// pipeFrom is a connection of a client at an address.
type pipeFrom struct {
	net.Conn
	from net.Addr
}

func (p pipeFrom) RemoteAddr() net.Addr { return p.from }

// guest is a client with one connection.
type guest struct {
	t *testing.T
	net.Conn
	answers *bufio.Reader
}

func (p *pipes) dial(t *testing.T, from string) *guest {
	ours, theirs := net.Pipe()
	p.conns <- pipeFrom{theirs, net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 1))}
	synctest.Wait()
	t.Cleanup(func() { ours.Close() })
	return &guest{t, ours, bufio.NewReader(ours)}
}

// ask sends a request for a path.
func (g *guest) ask(path string) {
	g.t.Helper()
	if _, err := fmt.Fprintf(g, "GET %s HTTP/1.1\r\nHost: gateway.example.com\r\n\r\n", path); err != nil {
		g.t.Errorf("sending a request: %v", err)
	}
	synctest.Wait()
}

// answered fails the test unless a whole answer has come.
func (g *guest) answered() {
	g.t.Helper()
	resp, err := http.ReadResponse(g.answers, nil)
	if err != nil {
		g.t.Errorf("no answer: %v", err)
		return
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	synctest.Wait()
}

// gone reports whether the server has closed the connection.
func (g *guest) gone() bool {
	ended := make(chan bool, 1)
	go func() {
		_, err := g.answers.Peek(1)
		ended <- errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe)
	}()
	synctest.Wait()
	select {
	case e := <-ended:
		return e
	default:
		return false
	}
}

// places starts a server with so many places. Requests for /held are answered once release is called.
func places(t *testing.T, n int, trusted ...netip.Prefix) (p *pipes, release func()) {
	held := make(chan bool)
	p = newPipes()
	start(t, Config{Listener: p, MaxConnections: n, TrustedProxies: trusted, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/held") {
			<-held
		}
		io.WriteString(w, "ok")
	})})
	return p, func() { close(held) }
}

func TestMostConnectionsGiveUpFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, release := places(t, 4)
		defer release()
		one := p.dial(t, "192.0.2.1")
		flood := []*guest{p.dial(t, "192.0.2.66"), p.dial(t, "192.0.2.66"), p.dial(t, "192.0.2.66")}
		other := p.dial(t, "192.0.2.2")
		other.ask("/")
		other.answered()
		if !flood[0].gone() {
			t.Error("the oldest connection of the peer with most is still there")
		}
		if flood[1].gone() || flood[2].gone() {
			t.Error("more was closed than was needed")
		}
		one.ask("/")
		one.answered()
	})
}

func TestIdleGivesWayAfterWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, release := places(t, 2)
		defer release()
		used := p.dial(t, "192.0.2.1")
		used.ask("/")
		used.answered()
		waits := p.dial(t, "192.0.2.1")
		p.dial(t, "192.0.2.2").ask("/")
		if !waits.gone() || used.gone() {
			t.Error("the idle connection went before the one that never asked")
		}
		last := p.dial(t, "192.0.2.3")
		last.ask("/")
		last.answered()
		if !used.gone() && !waits.gone() {
			t.Error("nothing was given up")
		}
	})
}

// A request under way is not cut off for a newcomer: that one waits.
func TestActiveIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, release := places(t, 1)
		first := p.dial(t, "192.0.2.1")
		first.ask("/held")
		second := p.dial(t, "192.0.2.2")
		if first.gone() {
			t.Fatal("a request was cut off")
		}
		release()
		synctest.Wait()
		first.answered() // now it is idle and gives way
		second.ask("/")
		second.answered()
	})
}

// One peer cannot hold all places with requests that never end.
func TestActiveBeyondItsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, release := places(t, 32) // of which a peer keeps two
		var flood []*guest
		for range 32 {
			g := p.dial(t, "2001:db8::1")
			g.ask("/held")
			flood = append(flood, g)
		}
		for n := range 30 {
			g := p.dial(t, fmt.Sprintf("192.0.2.%d", n+1))
			g.ask("/held")
		}
		left := 0
		for _, g := range flood {
			if !g.gone() {
				left++
			}
		}
		if left != 2 {
			t.Errorf("the peer with 32 requests keeps %d, want 2", left)
		}
		release()
		synctest.Wait()
	})
}

// A trusted proxy's requests are many clients'.
func TestProxyKeepsItsRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, release := places(t, 32, netip.MustParsePrefix("192.0.2.0/28"))
		var proxied []*guest
		for range 32 {
			g := p.dial(t, "192.0.2.1")
			g.ask("/held")
			proxied = append(proxied, g)
		}
		late := p.dial(t, "198.51.100.1")
		for _, g := range proxied {
			if g.gone() {
				t.Fatal("a proxy's request was cut off")
			}
		}
		release()
		synctest.Wait()
		proxied[0].answered()
		late.ask("/")
		late.answered()
	})
}

func TestPeers(t *testing.T) {
	for _, tt := range []struct{ a, b string }{
		{"192.0.2.1", "::ffff:192.0.2.1"},
		{"2001:db8::1", "2001:db8:0:ffff::1"},
	} {
		if a, b := peerOf(tcp(tt.a)), peerOf(tcp(tt.b)); a != b {
			t.Errorf("%s and %s are %s and %s", tt.a, tt.b, a, b)
		}
	}
	for _, tt := range []struct{ a, b string }{{"192.0.2.1", "192.0.2.2"}, {"2001:db8::1", "2001:db8:1::1"}} {
		if a, b := peerOf(tcp(tt.a)), peerOf(tcp(tt.b)); a == b {
			t.Errorf("%s and %s are both %s", tt.a, tt.b, a)
		}
	}
}

func tcp(a string) net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(a), 443))
}

// What waits for a place does not keep a listener from closing.
func TestCloseEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		l := newConnections(p, 1, nil, func() {})
		p.dial(t, "192.0.2.1")
		first, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		l.state(first, http.StateActive)
		p.dial(t, "192.0.2.2")
		ended := make(chan error, 1)
		go func() {
			_, err := l.Accept()
			ended <- err
		}()
		synctest.Wait()
		l.Close()
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept ends with %v", err)
		}
		first.Close()
		if l.open != 0 || len(l.peers) != 0 {
			t.Errorf("%d places are still taken, by %d peers", l.open, len(l.peers))
		}
	})
}
