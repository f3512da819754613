package redistest

import (
	"bytes"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy passes TCP connections on and disturbs them when it is told to. It is safe for concurrent use.
type Proxy struct {
	Addr string // to connect to

	target   string
	listener net.Listener
	tasks    sync.WaitGroup

	mu      sync.Mutex
	conns   map[net.Conn]struct{}
	closed  bool
	refuses bool
	delay   time.Duration
	mark    []byte // a request that contains it gets no reply
	losses  int
}

// NewProxy passes everything on to target until it is told otherwise. It ends with the test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: listener.Addr().String(), target: target, listener: listener, conns: make(map[net.Conn]struct{})}
	p.tasks.Go(p.accept)
	t.Cleanup(func() {
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		listener.Close()
		p.Cut()
		p.tasks.Wait()
	})
	return p
}

// Cut breaks all connections; new ones are accepted.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		conn.Close()
	}
}

// Refuse breaks all connections and, while it is true, closes new ones at once.
func (p *Proxy) Refuse(refuse bool) {
	p.mu.Lock()
	p.refuses = refuse
	p.mu.Unlock()
	if refuse {
		p.Cut()
	}
}

// Delay holds each piece of data that a client sends for so long.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// LoseReply passes the next n requests that contain mark on, waits until the server has answered, and cuts the connection
// instead of passing the answer back.
func (p *Proxy) LoseReply(mark string, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mark, p.losses = []byte(mark), n
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.tasks.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) add(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.refuses {
		return false
	}
	p.conns[conn] = struct{}{}
	return true
}

func (p *Proxy) remove(conn net.Conn) {
	conn.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, conn)
}

func (p *Proxy) serve(client net.Conn) {
	defer p.remove(client)
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer p.remove(server)
	if !p.add(client) || !p.add(server) {
		return
	}
	lose := make(chan struct{}, 1) // the next answer is to be lost
	p.tasks.Go(func() { p.answers(client, server, lose) })
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if n > 0 {
			if p.disturb(buf[:n]) {
				lose <- struct{}{}
			}
			if _, err := server.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// disturb holds the data, and says whether its answer is to be lost.
func (p *Proxy) disturb(data []byte) bool {
	p.mu.Lock()
	delay := p.delay
	lose := p.losses > 0 && bytes.Contains(data, p.mark)
	if lose {
		p.losses--
	}
	p.mu.Unlock()
	time.Sleep(delay)
	return lose
}

func (p *Proxy) answers(client, server net.Conn, lose <-chan struct{}) {
	defer client.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		if n > 0 {
			select {
			case <-lose:
				return
			default:
			}
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
