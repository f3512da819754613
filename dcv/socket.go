package dcv

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

const (
	keptSockets  = 32               // idle UDP sockets per server
	socketUses   = 64               // exchanges before a socket, and with it its source port, is replaced
	socketIdle   = 30 * time.Second // an idle socket older than this is not used again
	maxStrays    = 32               // messages that answer nothing we asked, before UDP is given up for TCP
	socketBuffer = 4096
)

// past is a deadline that ends reads and writes at once.
var past = time.Unix(1, 0)

// server is one DNS server and its idle sockets.
type server struct {
	addr string

	mu     sync.Mutex
	idle   []*socket // the last one was used last
	closed bool
}

// socket is a connected UDP socket: the system drops what does not come from the server's address and port, and chose
// a random source port (RFC 5452, 9.2). One exchange at a time uses it.
type socket struct {
	conn net.Conn
	uses int
	last time.Time
	buf  [socketBuffer]byte
}

// exchange implements transport over UDP, and TCP where that is not enough.
func (s *server) exchange(ctx context.Context, asks []*ask, deadline time.Time) {
	start := time.Now()
	sock, err := s.send(ctx, asks, deadline)
	if err != nil {
		settleAll(asks, "udp", start, failureResult(ctx, err))
		return
	}
	_ = sock.conn.SetReadDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { _ = sock.conn.SetReadDeadline(past) })
	clean := sock.receive(ctx, asks, start)
	if !stop() {
		clean = false // the deadline in the past may be set at any moment
	}
	s.put(sock, clean)
	for _, a := range asks {
		if a.overTCP {
			r, err := s.askTCP(ctx, a, deadline)
			if err != nil {
				r = reply{result: failureResult(ctx, err)}
			}
			a.settle("tcp", start, r)
		}
	}
}

// send gives every ask a new random id (RFC 5452, 9.2) and sends it. A kept socket may hold the error of an earlier
// datagram (ICMP); then a new one is opened.
func (s *server) send(ctx context.Context, asks []*ask, deadline time.Time) (*socket, error) {
	number(asks)
	for {
		sock, kept, err := s.take(ctx, deadline)
		if err != nil {
			return nil, err
		}
		if err = sock.write(asks); err == nil {
			return sock, nil
		}
		s.put(sock, false)
		if !kept {
			return nil, err
		}
	}
}

// number gives every ask a random id of its own: replies are matched by it.
func number(asks []*ask) {
	for i, a := range asks {
		for {
			var id [2]byte
			_, _ = rand.Read(id[:]) // never fails, see crypto/rand
			a.id = binary.BigEndian.Uint16(id[:])
			if !slices.ContainsFunc(asks[:i], func(b *ask) bool { return b.id == a.id }) {
				break
			}
		}
	}
}

func (k *socket) write(asks []*ask) error {
	for _, a := range asks {
		msg, err := a.question(false).pack(a.id)
		if err != nil {
			return err
		}
		if _, err := k.conn.Write(msg); err != nil {
			return err
		}
	}
	return nil
}

// receive reads until every ask is settled or goes on over TCP. It returns whether the socket may be used again: not
// after an error, and not while a late reply may still come.
func (k *socket) receive(ctx context.Context, asks []*ask, start time.Time) (clean bool) {
	strays := 0
	for open := len(asks); open > 0; {
		n, err := k.conn.Read(k.buf[:])
		if err != nil {
			settleAll(asks, "udp", start, failureResult(ctx, err))
			return false
		}
		ours := false
		for _, a := range asks {
			if a.settled || a.overTCP {
				continue
			}
			r, match := readReply(k.buf[:n], a.id, a.name, a.qtype, udpPayload)
			if !match {
				continue
			}
			ours = true
			open--
			if r.truncated {
				a.overTCP = true
			} else {
				a.settle("udp", start, r)
			}
			break
		}
		if ours {
			continue
		}
		// Somebody is guessing. TCP cannot be forged from off the path (RFC 5452, 9.3 suggests as much).
		if strays++; strays > maxStrays {
			for _, a := range asks {
				a.overTCP = a.overTCP || !a.settled
			}
			return false
		}
	}
	return true
}

// askTCP asks once more over TCP, with a two-octet length before each message (RFC 7766, 8).
func (s *server) askTCP(ctx context.Context, a *ask, deadline time.Time) (reply, error) {
	dialer := net.Dialer{Deadline: deadline, KeepAlive: -1}
	conn, err := dialer.DialContext(ctx, "tcp", s.addr)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(past) })
	defer stop()

	question, err := a.question(false).pack(a.id)
	if err != nil {
		return reply{}, err
	}
	if _, err := conn.Write(appendFramed(nil, question)); err != nil {
		return reply{}, err
	}
	msg, err := readFramed(conn)
	if errors.Is(err, errFrameSize) {
		return reply{result: resultOversized}, nil
	}
	if err != nil {
		return reply{}, err
	}
	r, ours := readReply(msg, a.id, a.name, a.qtype, tcpPayload)
	if !ours || r.truncated {
		r = reply{result: resultMalformed}
	}
	return r, nil
}

// appendFramed puts a message's length in front of it (RFC 1035, 4.2.2).
func appendFramed(to, msg []byte) []byte {
	return append(binary.BigEndian.AppendUint16(to, uint16(len(msg))), msg...)
}

var errFrameSize = errors.New("dcv: a DNS message is larger than is read")

// readFramed reads one message behind its length, of at most tcpPayload bytes.
func readFramed(from io.Reader) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(from, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint16(size[:])
	if n > tcpPayload {
		return nil, errFrameSize
	}
	msg := make([]byte, n)
	_, err := io.ReadFull(from, msg)
	return msg, err
}

// take gives the socket that was used last, so that surplus ones grow old, or opens one. kept says which.
func (s *server) take(ctx context.Context, deadline time.Time) (sock *socket, kept bool, err error) {
	s.mu.Lock()
	for len(s.idle) > 0 {
		sock = s.idle[len(s.idle)-1]
		s.idle = s.idle[:len(s.idle)-1]
		if time.Since(sock.last) < socketIdle {
			s.mu.Unlock()
			return sock, true, nil
		}
		_ = sock.conn.Close()
	}
	s.mu.Unlock()
	dialer := net.Dialer{Deadline: deadline}
	conn, err := dialer.DialContext(ctx, "udp", s.addr)
	if err != nil {
		return nil, false, err
	}
	return &socket{conn: conn}, false, nil
}

// put takes a socket back, or closes it.
func (s *server) put(sock *socket, clean bool) {
	sock.uses++
	sock.last = time.Now()
	s.mu.Lock()
	keep := clean && !s.closed && sock.uses < socketUses && len(s.idle) < keptSockets
	if keep {
		s.idle = append(s.idle, sock)
	}
	s.mu.Unlock()
	if !keep {
		_ = sock.conn.Close()
	}
}

func (s *server) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sock := range s.idle {
		_ = sock.conn.Close()
	}
	s.idle, s.closed = nil, true
}

// settleAll ends the try of every ask that has no reply yet.
func settleAll(asks []*ask, network string, start time.Time, result string) {
	for _, a := range asks {
		if !a.settled && !a.overTCP {
			a.settle(network, start, reply{result: result})
		}
	}
}

// failureResult names what an error of a socket means for a lookup.
func failureResult(ctx context.Context, err error) string {
	var netErr net.Error
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return resultCanceled
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return resultTimeout
	default:
		return resultClosed
	}
}
