package testca

import (
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// DNSFaultKind is a way in which a DNS server goes wrong.
type DNSFaultKind uint8

// The faults. The zero value is none.
const (
	DNSHonest        DNSFaultKind = iota
	DNSServFail                   // rcode SERVFAIL
	DNSRefused                    // rcode REFUSED
	DNSNXDomain                   // rcode NXDOMAIN
	DNSFormErr                    // rcode FORMERR
	DNSSilent                     // never answers
	DNSWrongID                    // only a reply with another id
	DNSWrongQuestion              // only a reply to another question
	DNSSpoofed                    // forged replies (wrong id, wrong question, no reply at all) first, then the honest one
	DNSFlood                      // 64 replies with wrong ids over UDP and none that is right, honest over TCP
	DNSTruncated                  // the TC bit and no records over UDP, honest over TCP (RFC 2181, 9)
	DNSTruncatedTCP               // truncated over TCP as well
	DNSOversized                  // far more records than a client should take: 2,000 over UDP and TCP
	DNSMalformed                  // a right header and question, then bytes that are no records
	DNSAliasLoop                  // two aliases that point at each other, in one answer
	DNSStranger                   // addresses whose owner is another name
	DNSReferral                   // no records and no recursion, as a server answers that is none for this name
	DNSLame                       // no records and the root's name servers, as a server refers upward that lost the zone
	DNSBare                       // the answer section alone: NODATA and NXDOMAIN without a SOA
	DNSShuffled                   // the records in reverse order
	DNSDuplicated                 // every record twice, and the whole reply as well
	DNSHuge                       // 200 records of the type beside the honest ones: too much for UDP, not for TCP
	DNSClosed                     // closes the connection instead of answering; truncated over UDP
	DNSHangUp                     // closes the connection behind the reply; truncated over UDP
	DNSDribble                    // sends half of the first reply over a connection, byte by byte, and no more; truncated over UDP
)

// DNSFault is how the answers for a name go wrong.
type DNSFault struct {
	Kind  DNSFaultKind
	Delay time.Duration // before anything is sent; zero: at once; replies on one connection overtake each other
	// EDE and Text explain the reply (RFC 8914, 2) unless both are zero.
	EDE  uint16
	Text string
	AD   bool // the reply says that it is authentic, whether or not it is
}

type faultKey struct {
	name  string
	qtype uint16
}

// Break switches a fault on for a name and one type of question; type 0 means every type, name "" every name. The most
// specific setting holds. A zero fault switches it off.
func (d *DNS) Break(name string, qtype uint16, fault DNSFault) {
	if name != "" {
		name = dns.CanonicalName(name)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if fault == (DNSFault{}) {
		delete(d.faults, faultKey{name, qtype})
		return
	}
	d.faults[faultKey{name, qtype}] = fault
}

// fault finds the setting for a question; d.mu is held.
func (d *DNS) fault(name string, qtype uint16) DNSFault {
	for _, key := range []faultKey{{name, qtype}, {name, 0}, {"", qtype}, {"", 0}} {
		if f, ok := d.faults[key]; ok {
			return f
		}
	}
	return DNSFault{}
}

// respond sends what a fault makes of the honest reply.
func (d *DNS) respond(fault DNSFault, network string, q, honest *dns.Msg, to *peer) {
	if fault.EDE != 0 || fault.Text != "" {
		explain(honest, fault.EDE, fault.Text)
	}
	honest.AuthenticatedData = honest.AuthenticatedData || fault.AD
	switch fault.Kind {
	case DNSClosed, DNSHangUp, DNSDribble:
		if network == "udp" {
			fault.Kind = DNSTruncated
			break
		}
		d.breakOff(fault.Kind, pack(honest), to)
		return
	}
	for _, out := range misbehave(fault.Kind, network, q, honest) {
		to.send(out)
	}
}

// breakOff does what can go wrong with a connection.
func (d *DNS) breakOff(kind DNSFaultKind, reply []byte, to *peer) {
	switch kind {
	case DNSHangUp:
		to.send(reply)
		to.hangUp()
	case DNSDribble:
		to.once.Do(func() { d.wg.Go(func() { d.dribble(framed(reply)[:len(reply)/2], to) }) })
	default:
		to.hangUp()
	}
}

func (d *DNS) dribble(bytes []byte, to *peer) {
	for _, b := range bytes {
		if to.raw([]byte{b}) != nil {
			return
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-d.ctx.Done():
			return
		}
	}
}

// misbehave turns the honest reply into the datagrams or messages that a fault sends.
func misbehave(kind DNSFaultKind, network string, q, honest *dns.Msg) [][]byte {
	if kind == DNSHonest {
		return [][]byte{pack(honest)}
	}
	bad := honest.Copy()
	switch kind {
	case DNSServFail, DNSRefused, DNSNXDomain, DNSFormErr:
		bad.Answer = nil
		bad.Rcode = map[DNSFaultKind]int{
			DNSServFail: dns.RcodeServerFailure, DNSRefused: dns.RcodeRefused,
			DNSNXDomain: dns.RcodeNameError, DNSFormErr: dns.RcodeFormatError,
		}[kind]
	case DNSSilent:
		return nil
	case DNSWrongID:
		bad.Id++
	case DNSWrongQuestion:
		bad.Question[0].Name = "elsewhere.example."
	case DNSSpoofed:
		return append(forgeries(honest), pack(honest))
	case DNSFlood:
		if network == "udp" {
			return flood(bad)
		}
	case DNSTruncated, DNSTruncatedTCP:
		if network == "udp" || kind == DNSTruncatedTCP {
			bad.Answer, bad.Truncated = nil, true
		}
	case DNSOversized:
		return [][]byte{oversized(bad)}
	case DNSMalformed:
		bad.Answer, bad.Extra = nil, nil
		raw := append(pack(bad), 0xc0, 0xff, 1, 2, 3) // a compression pointer past the end
		raw[7] = 3                                    // three answers announced (RFC 1035, 4.1.1)
		return [][]byte{raw}
	case DNSAliasLoop:
		bad.Answer = aliasLoop(q.Question[0].Name)
	case DNSLame:
		bad.Answer = nil
		bad.Ns = []dns.RR{&dns.NS{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: 60}, Ns: "a.root-servers.invalid."}}
	case DNSBare:
		bad.Ns = nil
	case DNSShuffled:
		slices.Reverse(bad.Answer)
	case DNSDuplicated:
		bad.Answer = append(bad.Answer, bad.Answer...)
		return [][]byte{pack(bad), pack(bad)}
	case DNSHuge:
		bad.Answer = append(bad.Answer, huge(q.Question[0])...)
		if network == "udp" {
			bad.Answer, bad.Truncated = nil, true
		}
	case DNSReferral:
		bad.Answer, bad.RecursionAvailable = nil, false
	case DNSStranger:
		for _, rr := range bad.Answer {
			rr.Header().Name = "elsewhere.example."
		}
	}
	return [][]byte{pack(bad)}
}

// forgeries are what an attacker off the path sends: they name the loopback and must not be believed.
func forgeries(honest *dns.Msg) [][]byte {
	lie := func(change func(*dns.Msg)) []byte {
		m := honest.Copy()
		name := m.Question[0].Name
		m.Rcode = dns.RcodeSuccess
		m.Answer = []dns.RR{&dns.A{
			Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60},
			A:   net.IPv4(203, 0, 113, 66),
		}}
		change(m)
		return pack(m)
	}
	return [][]byte{
		lie(func(m *dns.Msg) { m.Id ^= 0x5555 }),
		lie(func(m *dns.Msg) { m.Question[0].Name = "elsewhere.example." }),
		lie(func(m *dns.Msg) { m.Question[0].Qtype++ }),
		lie(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }),
		lie(func(m *dns.Msg) { m.Question = nil }),
		lie(func(m *dns.Msg) { m.Response = false }),
		{0, 1, 2},
	}
}

func flood(m *dns.Msg) [][]byte {
	out := make([][]byte, 64)
	for i := range out {
		m.Id++
		out[i] = pack(m)
	}
	return out
}

func oversized(m *dns.Msg) []byte {
	name := m.Question[0].Name
	m.Answer = nil
	for i := range 2000 {
		m.Answer = append(m.Answer, &dns.A{
			Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60},
			A:   net.IPv4(198, 51, byte(i>>8), byte(i)),
		})
	}
	m.Compress = true
	return pack(m)
}

// huge are 200 records of the type that a question is for, none of which means anything.
func huge(q dns.Question) []dns.RR {
	hdr := dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: dns.ClassINET, Ttl: 60}
	var more []dns.RR
	for i := range 200 {
		switch q.Qtype {
		case dns.TypeA:
			more = append(more, &dns.A{Hdr: hdr, A: net.IPv4(198, 51, 100, byte(i))})
		case dns.TypeTXT:
			more = append(more, &dns.TXT{Hdr: hdr, Txt: []string{fmt.Sprintf("filler %d", i)}})
		case dns.TypeCAA:
			more = append(more, &dns.CAA{Hdr: hdr, Tag: "iodef", Value: fmt.Sprintf("mailto:%d@example.com", i)})
		}
	}
	return more
}

func aliasLoop(name string) []dns.RR {
	hdr := func(owner string) dns.RR_Header {
		return dns.RR_Header{Name: owner, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: 60}
	}
	other := "loop." + name
	return []dns.RR{&dns.CNAME{Hdr: hdr(name), Target: other}, &dns.CNAME{Hdr: hdr(other), Target: name}}
}

// pack encodes a reply. What does not fit the format (an alias made longer than a name may be) becomes SERVFAIL.
func pack(m *dns.Msg) []byte {
	raw, err := m.Pack()
	if err != nil {
		fail := &dns.Msg{MsgHdr: m.MsgHdr, Question: m.Question}
		fail.Rcode = dns.RcodeServerFailure
		raw, _ = fail.Pack() // a parsed question packs again
	}
	return raw
}
