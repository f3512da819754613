package testca

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
)

func (d *DNS) serveUDP() {
	buf := make([]byte, 4096)
	for {
		n, from, err := d.udp.ReadFromUDPAddrPort(buf)
		if err != nil {
			if d.ctx.Err() != nil {
				return
			}
			continue // an ICMP error of an earlier answer
		}
		d.serve(buf[:n], "udp", from, &peer{send: func(reply []byte) { _, _ = d.udp.WriteToUDPAddrPort(reply, from) }})
	}
}

// peer is who a reply goes to. A stream's peer can be left (hangUp) and can be sent bytes without their length (raw).
type peer struct {
	send   func(reply []byte)
	raw    func(bytes []byte) error
	hangUp func()
	once   sync.Once // of what cannot be mixed with other bytes
}

func (d *DNS) serveStreams(l net.Listener, network string) {
	for {
		c, err := l.Accept()
		if err != nil {
			if d.ctx.Err() != nil {
				return
			}
			continue
		}
		d.mu.Lock()
		d.conns[c] = struct{}{}
		d.mu.Unlock()
		d.wg.Go(func() { d.serveConn(c, network) })
	}
}

// serveConn answers questions with their two-octet lengths (RFC 1035, 4.2.2) until the peer leaves or rests 10 seconds.
func (d *DNS) serveConn(c net.Conn, network string) {
	defer func() {
		d.mu.Lock()
		delete(d.conns, c)
		d.mu.Unlock()
		_ = c.Close()
	}()
	from := c.RemoteAddr().(*net.TCPAddr).AddrPort()
	to := &peer{
		send: func(reply []byte) { _, _ = c.Write(framed(reply)) },
		raw: func(bytes []byte) error {
			_, err := c.Write(bytes)
			return err
		},
		hangUp: func() { _ = c.Close() },
	}
	for d.ctx.Err() == nil {
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		question := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, question); err != nil {
			return
		}
		d.serve(question, network, from, to)
	}
}

func framed(reply []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)
}

// serve decodes a question, remembers it and sends what its fault says, at once or from a goroutine that Close ends.
func (d *DNS) serve(raw []byte, network string, from netip.AddrPort, to *peer) {
	q := new(dns.Msg)
	if err := q.Unpack(raw); err != nil || len(q.Question) != 1 || q.Response {
		return // not a question; a resolver drops it
	}
	if q.Opcode == dns.OpcodeUpdate {
		to.send(pack(d.update(q)))
		return
	}
	name := dns.CanonicalName(q.Question[0].Name)
	seen := DNSQuery{Name: name, Type: q.Question[0].Qtype, Network: network, Source: from, ID: q.Id, Size: len(raw), AD: q.AuthenticatedData, CD: q.CheckingDisabled}
	if opt := q.IsEdns0(); opt != nil {
		seen.EDNS, seen.DO = opt.UDPSize(), opt.Do()
	}
	d.mu.Lock()
	if len(d.queries) < queryLog {
		d.queries = append(d.queries, seen)
	}
	fault := d.fault(name, seen.Type)
	reply := d.answer(q, name)
	d.validate(q, reply)
	watch := d.watch
	d.mu.Unlock()
	if watch != nil {
		watch(seen)
	}

	if network == "udp" && fault.Kind == DNSHonest {
		// RFC 6891, 6.2.5 and RFC 2181, 9: what does not fit is cut, and says so.
		reply.Truncate(max(dns.MinMsgSize, int(seen.EDNS)))
	}
	respond := func() { d.respond(fault, network, q, reply, to) }
	if fault.Delay == 0 {
		respond()
		return
	}
	d.wg.Go(func() {
		select {
		case <-time.After(fault.Delay):
			respond()
		case <-d.ctx.Done():
		}
	})
}

// answer builds the honest reply to q; d.mu is held.
func (d *DNS) answer(q *dns.Msg, name string) *dns.Msg {
	reply := new(dns.Msg)
	reply.SetReply(q)
	reply.RecursionAvailable = true
	if q.IsEdns0() != nil {
		reply.SetEdns0(1232, false)
	}
	qtype := q.Question[0].Qtype
	for range 16 { // an alias loop ends here, with the loop in the answer
		rrs, exists := d.lookup(name, qtype)
		if !exists {
			reply.Rcode = dns.RcodeNameError
			d.deny(reply, name, qtype)
			return reply
		}
		next := ""
		for _, rr := range rrs {
			if rr.Header().Rrtype == qtype || rr.Header().Rrtype == dns.TypeCNAME {
				reply.Answer = append(reply.Answer, rr)
			}
			if cname, ok := rr.(*dns.CNAME); ok && qtype != dns.TypeCNAME {
				next = dns.CanonicalName(cname.Target)
			}
		}
		if next == "" {
			d.deny(reply, name, qtype)
			return reply
		}
		name = next
	}
	return reply
}

// lookup finds what one name has, and whether it exists; d.mu is held.
func (d *DNS) lookup(name string, qtype uint16) ([]dns.RR, bool) {
	turn := name + dns.TypeToString[qtype]
	if turns := d.turns[turn]; len(turns) > 0 {
		if len(turns) > 1 {
			d.turns[turn] = turns[1:]
		}
		return d.addrRecords(name, turns[0]), true
	}
	if rrs, ok := d.records[name]; ok {
		return rrs, true
	}
	if len(d.cfg.Default) > 0 {
		return d.addrRecords(name, d.cfg.Default), true
	}
	return nil, false
}
