package testca

import (
	"crypto"
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// ZoneState is how a zone's signatures are.
type ZoneState uint8

// The states. Names outside every zone are as in ZoneInsecure.
const (
	ZoneSigned   ZoneState = iota
	ZoneBogus              // its signatures do not verify
	ZoneExpired            // they did until yesterday
	ZoneStripped           // it has none, and should
	ZoneInsecure           // it has none, and need not: an island below a signed zone
)

// zone is a part of the DNS that is signed with one key.
type zone struct {
	name   string
	state  ZoneState
	key    *dns.DNSKEY
	signer crypto.Signer
}

// SignZone makes everything at and below a name a signed zone (RFC 4035), down to the next one, and gives it a SOA and a
// DNSKEY record. From then on the server is a validating resolver that knows the zone's key: it verifies the signatures
// that it has made, sets AD on what it found authentic if the question understands it (RFC 6840, 5.8), and says SERVFAIL
// with an explanation (RFC 8914) where they do not verify, unless checking is disabled. Signing again changes the state.
//
// What does not exist is denied by one NSEC record from the name or the apex to the apex (RFC 4034, 4.1.1), which denies
// more than a real zone's.
func (d *DNS) SignZone(name string, state ZoneState) error {
	name = dns.CanonicalName(name)
	d.mu.Lock()
	defer d.mu.Unlock()
	if z := d.zones[name]; z != nil {
		z.state = state
		return nil
	}
	key := &dns.DNSKEY{
		Hdr: d.header(name, dns.TypeDNSKEY), Flags: dns.ZONE | dns.SEP, Protocol: 3, Algorithm: dns.ECDSAP256SHA256,
	}
	private, err := key.Generate(256)
	if err != nil {
		return fmt.Errorf("testca: a key for the zone %s: %w", name, err)
	}
	soa := &dns.SOA{
		Hdr: d.header(name, dns.TypeSOA), Ns: "ns.invalid.", Mbox: "hostmaster.invalid.", Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: 60,
	}
	d.zones[name] = &zone{name: name, state: state, key: key, signer: private.(crypto.Signer)}
	d.records[name] = append(d.records[name], soa, key)
	return nil
}

// zoneOf is the zone that a name is in, nil if it is in none; d.mu is held.
func (d *DNS) zoneOf(name string) *zone {
	for at, end := 0, false; !end; at, end = dns.NextLabel(name, at) {
		if z := d.zones[name[at:]]; z != nil {
			return z
		}
	}
	return d.zones["."]
}

// deny adds the SOA to a negative reply (RFC 2308, 3), and the NSEC record that proves it; d.mu is held. name is where the
// aliases ended.
func (d *DNS) deny(reply *dns.Msg, name string, qtype uint16) {
	if slices.ContainsFunc(reply.Answer, func(rr dns.RR) bool { return rr.Header().Rrtype == qtype }) {
		return
	}
	z := d.zoneOf(name)
	if z == nil {
		return
	}
	for _, rr := range d.records[z.name] {
		if rr.Header().Rrtype == dns.TypeSOA {
			reply.Ns = append(reply.Ns, rr)
		}
	}
	owner := name
	if reply.Rcode == dns.RcodeNameError {
		owner = z.name
	}
	types := []uint16{dns.TypeRRSIG, dns.TypeNSEC}
	for _, rr := range d.records[owner] {
		if !slices.Contains(types, rr.Header().Rrtype) {
			types = append(types, rr.Header().Rrtype)
		}
	}
	slices.Sort(types)
	reply.Ns = append(reply.Ns, &dns.NSEC{Hdr: d.header(owner, dns.TypeNSEC), NextDomain: z.name, TypeBitMap: types})
}

// validate makes the honest reply what a validating resolver answers; d.mu is held.
func (d *DNS) validate(q, reply *dns.Msg) {
	if len(d.zones) == 0 {
		return
	}
	opt := q.IsEdns0()
	do := opt != nil && opt.Do()
	secure := len(reply.Answer)+len(reply.Ns) > 0
	for _, section := range []*[]dns.RR{&reply.Answer, &reply.Ns} {
		for _, set := range rrsets(*section) {
			z := d.zoneOf(set[0].Header().Name)
			if z == nil || z.state == ZoneInsecure {
				secure = false
				continue
			}
			sigs, code := z.sign(set)
			if code != 0 && !q.CheckingDisabled {
				bogus(reply, code)
				return
			}
			secure = secure && code == 0
			if do {
				*section = append(*section, sigs...)
			}
		}
	}
	reply.AuthenticatedData = secure && (do || q.AuthenticatedData)
	if do {
		reply.IsEdns0().SetDo()
	} else {
		reply.Ns = slices.DeleteFunc(reply.Ns, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeNSEC })
	}
}

// rrsets divides records by owner and type.
func rrsets(records []dns.RR) [][]dns.RR {
	var sets [][]dns.RR
next:
	for _, rr := range records {
		for i, set := range sets {
			if h := set[0].Header(); h.Rrtype == rr.Header().Rrtype && dns.CanonicalName(h.Name) == dns.CanonicalName(rr.Header().Name) {
				sets[i] = append(set, rr)
				continue next
			}
		}
		sets = append(sets, []dns.RR{rr})
	}
	return sets
}

// sign signs one set as the zone's state says and verifies what came out. code is why it is not authentic (RFC 8914), or 0.
func (z *zone) sign(set []dns.RR) (sigs []dns.RR, code uint16) {
	if z.state == ZoneStripped {
		return nil, dns.ExtendedErrorCodeRRSIGsMissing
	}
	now := time.Now()
	until := now.Add(24 * time.Hour)
	if z.state == ZoneExpired {
		until = now.Add(-24 * time.Hour)
	}
	sig := &dns.RRSIG{
		Hdr: dns.RR_Header{Ttl: set[0].Header().Ttl}, Algorithm: z.key.Algorithm, KeyTag: z.key.KeyTag(), SignerName: z.name,
		Inception: uint32(until.Add(-72 * time.Hour).Unix()), Expiration: uint32(until.Unix()),
	}
	if err := sig.Sign(z.signer, set); err != nil {
		return nil, dns.ExtendedErrorCodeRRSIGsMissing
	}
	if z.state == ZoneBogus {
		raw, _ := base64.StdEncoding.DecodeString(sig.Signature) // as Sign has encoded it
		raw[len(raw)-1] ^= 1
		sig.Signature = base64.StdEncoding.EncodeToString(raw)
	}
	sigs = []dns.RR{sig}
	switch {
	case sig.Verify(z.key, set) != nil:
		return sigs, dns.ExtendedErrorCodeDNSBogus
	case !sig.ValidityPeriod(now):
		return sigs, dns.ExtendedErrorCodeSignatureExpired
	}
	return sigs, 0
}

// bogus makes a reply the refusal of what did not verify (RFC 4035, 5.5).
func bogus(reply *dns.Msg, code uint16) {
	reply.Answer, reply.Ns, reply.Rcode = nil, nil, dns.RcodeServerFailure
	explain(reply, code, "signature check of "+reply.Question[0].Name+" failed")
}

// explain adds an extended error (RFC 8914) to a reply that has an OPT record.
func explain(reply *dns.Msg, code uint16, text string) {
	if opt := reply.IsEdns0(); opt != nil {
		opt.Option = append(opt.Option, &dns.EDNS0_EDE{InfoCode: code, ExtraText: text})
	}
}
