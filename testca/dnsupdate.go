package testca

import (
	"slices"

	"github.com/miekg/dns"
)

// update carries out a dynamic update (RFC 2136) without asking who sends it, as [DNSConfig.Updates] allows. It knows no
// zones, so that any name can be the zone, and no prerequisites: what has some is refused whole.
func (d *DNS) update(m *dns.Msg) *dns.Msg {
	reply := new(dns.Msg)
	reply.SetReply(m)
	switch {
	case !d.cfg.Updates:
		reply.Rcode = dns.RcodeRefused
		return reply
	case len(m.Question) != 1 || m.Question[0].Qtype != dns.TypeSOA: // RFC 2136, 3.1.1
		reply.Rcode = dns.RcodeFormatError
		return reply
	case len(m.Answer) > 0:
		reply.Rcode = dns.RcodeNotImplemented
		return reply
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, rr := range m.Ns {
		if !d.change(rr) {
			reply.Rcode = dns.RcodeFormatError // RFC 2136, 3.4.1.2
			return reply
		}
	}
	return reply
}

// change does one step of an update (RFC 2136, 2.5); d.mu is held.
func (d *DNS) change(rr dns.RR) bool {
	h := rr.Header()
	name := dns.CanonicalName(h.Name)
	before := d.records[name]
	var after []dns.RR
	switch h.Class {
	case dns.ClassINET:
		after = append(slices.DeleteFunc(slices.Clone(before), func(old dns.RR) bool { return dns.IsDuplicate(old, rr) }), rr)
	case dns.ClassANY: // all of a type, or of the name
		after = slices.DeleteFunc(slices.Clone(before), func(old dns.RR) bool {
			return h.Rrtype == dns.TypeANY || old.Header().Rrtype == h.Rrtype
		})
	case dns.ClassNONE: // this record
		h.Class = dns.ClassINET
		after = slices.DeleteFunc(slices.Clone(before), func(old dns.RR) bool { return dns.IsDuplicate(old, rr) })
	default:
		return false
	}
	if len(after) == 0 {
		delete(d.records, name)
	} else {
		d.records[name] = after
	}
	return true
}
