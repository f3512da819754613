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
	resultNoLookup  = "no recursion available" // such a server's referral looks like NODATA
	resultReferral  = "a referral instead of an answer"
	resultInsecure  = "not authenticated by DNSSEC" // and required to be
	resultStale     = "stale answer"                // RFC 8767; so the resolver says
	resultAltered   = "blocked or altered by the resolver"
	resultNoTLS     = "no TLS session with the resolver" // or one that cannot be trusted
	resultUnasked   = "no trusted resolver"
)

// reply is what one DNS message says about one question.
type reply struct {
	result    string
	truncated bool // RFC 2181, 9: nothing in it is used, ask again over TCP
	addrs     []netip.Addr
	texts     []string    // of TXT records, each with its character-strings joined (RFC 7208, 3.3 reads them so)
	caa       []caaRecord // none left out, because each may be the one that forbids
	aliases   []string    // without trailing dots
	others    int         // records of the type asked for that are of none of these types
	ede       []extendedError
	ad        bool // the server says that DNSSEC authenticated the answer (RFC 4035, 3.2.3)
	secure    bool // it said so, is trusted and was asked to (ask.hold)
}

// answers reports whether r is one: records, or the word of the DNS that there are none.
func (r *reply) answers() bool {
	return r.result == resultNoError || r.negative()
}

func (r *reply) negative() bool { return r.result == resultNoData || r.result == resultNXDomain }

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
	r = judgeReply(&msg, name, qtype)
	r.ad, r.ede = msg.AuthenticatedData, extendedErrors(&msg)
	for _, e := range r.ede {
		if spoiled := e.spoils(r.negative()); r.answers() && spoiled != "" {
			return reply{result: spoiled, ede: r.ede, aliases: r.aliases}, true
		}
	}
	return r, true
}

// judgeReply reads a message by its response code, the extended one (RFC 6891, 6.1.3).
func judgeReply(msg *dns.Msg, name string, qtype uint16) reply {
	if qtype == dns.TypeCAA && (msg.Rcode == dns.RcodeSuccess || msg.Rcode == dns.RcodeNameError) && !msg.RecursionAvailable {
		return reply{result: resultNoLookup}
	}
	r := judgeCode(msg, name, qtype)
	// The absence of CAA records permits, so a reply that says so must not have some, of whomever.
	if qtype == dns.TypeCAA && r.negative() && slices.ContainsFunc(msg.Answer, func(rr dns.RR) bool { return rr.Header().Rrtype == qtype }) {
		return reply{result: resultMalformed}
	}
	return r
}

func judgeCode(msg *dns.Msg, name string, qtype uint16) reply {
	switch msg.Rcode {
	case dns.RcodeSuccess:
		r := follow(msg.Answer, name, qtype)
		if r.result == resultNoData && isReferral(msg.Ns) {
			r.result = resultReferral
		}
		return r
	case dns.RcodeNameError:
		// The aliases tell a person which name it is that does not exist (RFC 2308, 2.1).
		return reply{result: resultNXDomain, aliases: follow(msg.Answer, name, qtype).aliases}
	default:
		text, known := dns.RcodeToString[msg.Rcode]
		if !known {
			text = resultMalformed
		}
		return reply{result: text}
	}
}

// isReferral tells a referral, such as a lame server gives, from NODATA by its authority section: name servers and no SOA
// (RFC 2308, 2.2). NODATA may come without either.
func isReferral(authority []dns.RR) bool {
	servers := false
	for _, rr := range authority {
		switch rr.Header().Rrtype {
		case dns.TypeSOA:
			return false
		case dns.TypeNS:
			servers = true
		}
	}
	return servers
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
		if len(r.addrs)+len(r.texts)+len(r.caa)+r.others > 0 {
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
	if cname, ok := rr.(*dns.CNAME); ok { // itself what was asked for, so it is not followed
		r.aliases = append(r.aliases, strings.TrimSuffix(strings.ToLower(cname.Target), "."))
		r.others++
		return
	}
	switch addr, ok := addressOf(rr); {
	case ok && len(r.addrs) < maxAddresses:
		r.addrs = append(r.addrs, addr)
	case !ok && rr.Header().Rrtype != dns.TypeA && rr.Header().Rrtype != dns.TypeAAAA:
		r.others++
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

// question is what is sent for one ask.
type question struct {
	name  string // with the trailing dot
	qtype uint16
	// dnssec asks for signatures (DO, RFC 4035, 3.2.1), and says by the AD bit that the one in the reply is understood
	// (RFC 6840, 5.7), in case a forwarder heeds but one of them.
	dnssec bool
	padded bool // to blocks, so that its length tells less of the name (RFC 7830; RFC 8467, 4.1): over TLS
}

const (
	headerRD = 0x01 // in the third octet
	headerAD = 0x20 // in the fourth
	optDO    = 0x80 // in the third octet of OPT's TTL
	padBlock = 128  // RFC 8467, 4.1
)

// pack is the query with recursion desired and EDNS(0) (RFC 1035, 4.1; RFC 6891, 6.1.2).
func (q question) pack(id uint16) ([]byte, error) {
	msg := make([]byte, headerSize, max(headerSize+len(q.name)+1+questionTail+11, padBlock))
	binary.BigEndian.PutUint16(msg, id)
	msg[2] = headerRD
	if q.dnssec {
		msg[3] = headerAD
	}
	msg[5] = 1  // QDCOUNT
	msg[11] = 1 // ARCOUNT
	msg = msg[:cap(msg)]
	at, err := dns.PackDomainName(q.name, msg, headerSize, nil, false)
	if err != nil {
		return nil, err
	}
	msg = binary.BigEndian.AppendUint16(msg[:at], q.qtype)
	msg = binary.BigEndian.AppendUint16(msg, dns.ClassINET)
	msg = append(msg, 0) // OPT's owner is the root
	msg = binary.BigEndian.AppendUint16(msg, dns.TypeOPT)
	msg = binary.BigEndian.AppendUint16(msg, udpPayload)
	var flags byte
	if q.dnssec {
		flags = optDO
	}
	msg = append(msg, 0, 0, flags, 0) // extended rcode, version, flags
	if !q.padded {
		return append(msg, 0, 0), nil // no options
	}
	const optionSize, optionHeader = 2, 4
	padding := -(len(msg) + optionSize + optionHeader) & (padBlock - 1)
	msg = binary.BigEndian.AppendUint16(msg, uint16(optionHeader+padding))
	msg = binary.BigEndian.AppendUint16(msg, dns.EDNS0PADDING)
	msg = binary.BigEndian.AppendUint16(msg, uint16(padding))
	return append(msg, make([]byte, padding)...), nil
}
