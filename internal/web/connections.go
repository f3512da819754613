package web

import (
	"container/list"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
)

// connections is a listener that holds at most so many connections. When a further one comes, the peer that has most gives
// one up, so that whoever opens thousands takes them from itself: first one that waits for a request longest, then one that
// is idle. One with a request under way is closed only where its peer has more than an even share, and never where its peer
// is a trusted proxy, which speaks for many. If none can be closed, the new one waits to be accepted.
//
// A peer is an IPv4 address or, because that is what one customer has, a /48 of IPv6.
type connections struct {
	net.Listener
	max     int
	trusted []netip.Prefix
	evicted func() // is told of each connection that was closed to make room

	mu     sync.Mutex
	freed  chan struct{} // has an item once a place became free
	closed chan struct{}
	once   sync.Once
	open   int
	peers  map[netip.Prefix]*peerConnections
}

// activeShare is the part of all places that one peer may have in requests under way: a sixteenth.
const activeShare = 16

// stage is what a connection is doing. The order is that in which they are given up.
type stage uint8

const (
	waiting stage = iota // for its handshake or the header of its first request
	idle                 // between requests
	active               // a request is under way
	stages
)

// peerConnections are one peer's, by stage, each since when it is there, oldest first.
type peerConnections struct {
	prefix netip.Prefix
	proxy  bool
	total  int
	lists  [stages]*list.List // of *connection
}

// connection is one that was accepted.
type connection struct {
	net.Conn
	owner *connections
	peer  *peerConnections // nil once its place is free
	stage stage
	place *list.Element
}

func newConnections(l net.Listener, limit int, trusted []netip.Prefix, evicted func()) *connections {
	return &connections{
		Listener: l, max: limit, trusted: trusted, evicted: evicted,
		freed: make(chan struct{}, 1), closed: make(chan struct{}), peers: map[netip.Prefix]*peerConnections{},
	}
}

// Accept waits for a connection and for its place.
func (l *connections) Accept() (net.Conn, error) {
	raw, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &connection{Conn: raw, owner: l}
	for {
		victim, ok := l.admit(c)
		if victim != nil {
			victim.Conn.Close() // its server finds out and calls Close, which has nothing left to free
			l.evicted()
		}
		if ok {
			return c, nil
		}
		select {
		case <-l.freed:
		case <-l.closed:
			raw.Close()
			return nil, net.ErrClosed
		}
	}
}

// Close ends Accept. Connections that were accepted stay.
func (l *connections) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// admit gives c a place, if need be that of another, which the caller must then close.
func (l *connections) admit(c *connection) (victim *connection, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= l.max {
		if victim = l.victim(); victim == nil {
			return nil, false
		}
		l.release(victim)
	}
	prefix := peerOf(c.Conn.RemoteAddr())
	p := l.peers[prefix]
	if p == nil {
		p = &peerConnections{prefix: prefix, proxy: slices.ContainsFunc(l.trusted, func(t netip.Prefix) bool { return t.Contains(prefix.Addr()) })}
		for i := range p.lists {
			p.lists[i] = list.New()
		}
		l.peers[prefix] = p
	}
	c.peer, c.stage, c.place = p, waiting, p.lists[waiting].PushBack(c)
	p.total++
	l.open++
	return victim, true
}

// victim is the connection to be given up next, or nil. l.mu is held.
func (l *connections) victim() *connection {
	var from *peerConnections
	var at stage
	for _, p := range l.peers {
		s, ok := l.yields(p)
		if ok && (from == nil || p.total > from.total || p.total == from.total && s < at) {
			from, at = p, s
		}
	}
	if from == nil {
		return nil
	}
	return from.lists[at].Front().Value.(*connection)
}

// yields is the stage of which a peer gives up a connection, if it gives up any.
func (l *connections) yields(p *peerConnections) (stage, bool) {
	for _, s := range []stage{waiting, idle} {
		if p.lists[s].Len() > 0 {
			return s, true
		}
	}
	return active, !p.proxy && p.lists[active].Len() > max(1, l.max/activeShare)
}

// release frees a connection's place, once. l.mu is held.
func (l *connections) release(c *connection) {
	if c.peer == nil {
		return
	}
	c.peer.lists[c.stage].Remove(c.place)
	if c.peer.total--; c.peer.total == 0 {
		delete(l.peers, c.peer.prefix)
	}
	c.peer = nil
	l.open--
	select {
	case l.freed <- struct{}{}:
	default:
	}
}

// Close closes the connection and frees its place.
func (c *connection) Close() error {
	err := c.Conn.Close()
	c.owner.mu.Lock()
	c.owner.release(c)
	c.owner.mu.Unlock()
	return err
}

// state is http.Server.ConnState.
func (l *connections) state(nc net.Conn, s http.ConnState) {
	if secure, ok := nc.(*tls.Conn); ok {
		nc = secure.NetConn()
	}
	c, ok := nc.(*connection)
	if !ok {
		return
	}
	switch s {
	case http.StateActive:
		l.move(c, active)
	case http.StateIdle:
		l.move(c, idle)
	}
}

func (l *connections) move(c *connection, to stage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.peer == nil || c.stage == to {
		return
	}
	c.peer.lists[c.stage].Remove(c.place)
	c.stage, c.place = to, c.peer.lists[to].PushBack(c)
	if to != active {
		// Somebody may be waiting for one that can be given up.
		select {
		case l.freed <- struct{}{}:
		default:
		}
	}
}

// peerOf is the peer behind an address; those without an IP address are one.
func peerOf(a net.Addr) netip.Prefix {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 48
	}
	prefix, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}
