package dcv

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Limits on what a DNS server may answer. What exceeds them counts as no answer.
const (
	udpPayload   = 1232  // bytes over UDP, as advertised by EDNS(0) (RFC 6891, 6.2.5): fits unfragmented into IPv6's minimum MTU
	tcpPayload   = 16384 // bytes over TCP
	maxRecords   = 256   // in all sections of one reply
	maxAliases   = 10    // CNAMEs between the name and its addresses
	maxAddresses = 32    // of one family; the rest is not looked at
)

// The ways in which a lookup can end besides a response code by its IANA name.
const (
	resultNoError   = "NOERROR"
	resultNoData    = "no such record" // NOERROR without an address (RFC 2308, 2.2)
	resultNXDomain  = "NXDOMAIN"
	resultServFail  = "SERVFAIL"
	resultTimeout   = "timed out"
	resultClosed    = "unreachable"
	resultMalformed = "malformed reply"
	resultOversized = "oversized reply"
	resultAliasLoop = "alias loop"
	resultAliases   = "too many aliases"
	resultCanceled  = "canceled"
	resultNoLookup  = "no recursion available" // a referral looks like NODATA
)

// reply is what one DNS message says about one question.
type reply struct {
	result    string
	truncated bool // RFC 2181, 9: nothing in it is used, ask again over TCP
	addrs     []netip.Addr
	texts     []string    // of TXT records, each with its character-strings joined (RFC 7208, 3.3 reads them so)
	caa       []caaRecord // none left out, because each may be the one that forbids
	aliases   []string    // without trailing dots
}

// header field masks (RFC 1035, 4.1.1).
const (
	headerSize    = 12
	bitResponse   = 0x8000
	bitTruncated  = 0x0200
	maskOpcode    = 0x7800
	questionTail  = 4 // type and class behind the name
	questionCount = 4 // offset of QDCOUNT
)

// readReply reads a message as the reply to one question. If ours is false, the message is not: another id, another
// question or not a reply at all (RFC 5452, 9.1), so it may be forged and the caller goes on waiting. limit is in bytes.
func readReply(raw []byte, id uint16, name string, qtype uint16, limit int) (r reply, ours bool) {
	if !isReplyTo(raw, id, name, qtype) {
		return reply{}, false
	}
	if binary.BigEndian.Uint16(raw[2:])&bitTruncated != 0 {
		return reply{truncated: true}, true
	}
	records := 0
	for at := questionCount + 2; at < headerSize; at += 2 {
		records += int(binary.BigEndian.Uint16(raw[at:]))
	}
	if len(raw) > limit || records > maxRecords {
		return reply{result: resultOversized}, true
	}
	var msg dns.Msg
	if msg.Unpack(raw) != nil {
		return reply{result: resultMalformed}, true
	}
	if qtype == dns.TypeCAA && !msg.RecursionAvailable && (msg.Rcode == dns.RcodeSuccess || msg.Rcode == dns.RcodeNameError) {
		return reply{result: resultNoLookup}, true
	}
	switch msg.Rcode {
	case dns.RcodeSuccess:
		return follow(msg.Answer, name, qtype), true
	case dns.RcodeNameError:
		// The aliases tell a person which name it is that does not exist (RFC 2308, 2.1).
		return reply{result: resultNXDomain, aliases: follow(msg.Answer, name, qtype).aliases}, true
	default:
		text, known := dns.RcodeToString[msg.Rcode]
		if !known {
			text = resultMalformed
		}
		return reply{result: text}, true
	}
}

// isReplyTo compares id, direction, opcode and the question section.
func isReplyTo(raw []byte, id uint16, name string, qtype uint16) bool {
	if len(raw) < headerSize || binary.BigEndian.Uint16(raw) != id {
		return false
	}
	flags := binary.BigEndian.Uint16(raw[2:])
	if flags&bitResponse == 0 || flags&maskOpcode != 0 || binary.BigEndian.Uint16(raw[questionCount:]) != 1 {
		return false
	}
	asked, at, err := dns.UnpackDomainName(raw, headerSize)
	if err != nil || len(raw) < at+questionTail || !strings.EqualFold(asked, name) {
		return false
	}
	return binary.BigEndian.Uint16(raw[at:]) == qtype && binary.BigEndian.Uint16(raw[at+2:]) == dns.ClassINET
}

// follow walks from the name asked for along its aliases to addresses or texts, inside one answer section. Records of any other
// owner are not looked at: a server may put in whatever it likes. An alias whose target is not in the answer leads to no
// address; a recursive server has completed the chain (RFC 1034, 4.3.2).
func follow(answer []dns.RR, name string, qtype uint16) reply {
	r := reply{result: resultNoData}
	for owner := name; ; {
		for _, rr := range answer {
			if rr.Header().Rrtype == qtype && strings.EqualFold(rr.Header().Name, owner) {
				r.take(rr)
			}
		}
		if len(r.addrs)+len(r.texts)+len(r.caa) > 0 {
			r.result = resultNoError
			return r
		}
		target := aliasOf(answer, owner)
		if target == "" {
			return r
		}
		alias := strings.TrimSuffix(strings.ToLower(target), ".")
		switch {
		case strings.EqualFold(target, name), slices.Contains(r.aliases, alias):
			r.result = resultAliasLoop
			return r
		case len(r.aliases) == maxAliases:
			r.result = resultAliases
			return r
		}
		r.aliases = append(r.aliases, alias)
		owner = target
	}
}

// take keeps what a record of the type asked for says.
func (r *reply) take(rr dns.RR) {
	if caa, ok := rr.(*dns.CAA); ok {
		r.caa = append(r.caa, caaRecord{flags: caa.Flag, tag: caa.Tag, value: caa.Value})
		return
	}
	if txt, ok := rr.(*dns.TXT); ok {
		r.texts = append(r.texts, strings.Join(txt.Txt, ""))
		return
	}
	if addr, ok := addressOf(rr); ok && len(r.addrs) < maxAddresses {
		r.addrs = append(r.addrs, addr)
	}
}

func addressOf(rr dns.RR) (netip.Addr, bool) {
	switch rr := rr.(type) {
	case *dns.A:
		addr, ok := netip.AddrFromSlice(rr.A)
		return addr.Unmap(), ok // an A record's four octets may come back as sixteen
	case *dns.AAAA:
		// Not unmapped: an IPv4-mapped address in an AAAA record stays one, and is refused as such.
		return netip.AddrFromSlice(rr.AAAA)
	}
	return netip.Addr{}, false
}

// aliasOf is the target of owner's CNAME (RFC 1034, 3.6.2: there is at most one), or "".
func aliasOf(answer []dns.RR, owner string) string {
	for _, rr := range answer {
		if cname, ok := rr.(*dns.CNAME); ok && strings.EqualFold(cname.Hdr.Name, owner) {
			return cname.Target
		}
	}
	return ""
}

// packQuestion is a query with recursion desired and EDNS(0) for one question (RFC 1035, 4.1; RFC 6891, 6.1.2). The name
// ends with a dot.
func packQuestion(id uint16, name string, qtype uint16) ([]byte, error) {
	msg := make([]byte, headerSize, headerSize+len(name)+1+questionTail+11)
	binary.BigEndian.PutUint16(msg, id)
	msg[2] = 0x01 // RD
	msg[5] = 1    // QDCOUNT
	msg[11] = 1   // ARCOUNT
	msg = msg[:cap(msg)]
	at, err := dns.PackDomainName(name, msg, headerSize, nil, false)
	if err != nil {
		return nil, err
	}
	msg = binary.BigEndian.AppendUint16(msg[:at], qtype)
	msg = binary.BigEndian.AppendUint16(msg, dns.ClassINET)
	msg = append(msg, 0) // OPT's owner is the root
	msg = binary.BigEndian.AppendUint16(msg, dns.TypeOPT)
	msg = binary.BigEndian.AppendUint16(msg, udpPayload)
	return append(msg, 0, 0, 0, 0, 0, 0), nil // extended rcode, version, flags, no options
}
