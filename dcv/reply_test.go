package dcv

import (
	"net"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

const (
	wireName = "www.example.com."
	wireID   = 0x1234
)

// message builds a reply to an A question for wireName and lets change spoil it.
func message(t testing.TB, change func(*dns.Msg)) []byte {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(wireName, dns.TypeA)
	m.Id, m.Response = wireID, true
	m.Answer = []dns.RR{aRecord(wireName, 1)}
	if change != nil {
		change(m)
	}
	raw, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func aRecord(owner string, last byte) dns.RR {
	return &dns.A{Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(192, 0, 2, last)}
}

func alias(owner, target string) dns.RR {
	return &dns.CNAME{Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeCNAME, Class: dns.ClassINET}, Target: target}
}

func TestReadReplyOurs(t *testing.T) {
	for name, change := range map[string]func(*dns.Msg){
		"RFC 5452, 9.1: id":        func(m *dns.Msg) { m.Id++ },
		"RFC 5452, 9.1: name":      func(m *dns.Msg) { m.Question[0].Name = "example.com." },
		"RFC 5452, 9.1: type":      func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeAAAA },
		"RFC 5452, 9.1: class":     func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS },
		"RFC 1035, 4.1.1: query":   func(m *dns.Msg) { m.Response = false },
		"RFC 1035, 4.1.1: opcode":  func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify },
		"no question":              func(m *dns.Msg) { m.Question = nil },
		"two questions":            func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) },
		"question of another name": func(m *dns.Msg) { m.Question[0].Name = "xww.example.com." },
	} {
		if _, ours := readReply(message(t, change), wireID, wireName, dns.TypeA, udpPayload); ours {
			t.Errorf("%s: believed", name)
		}
	}
	whole := message(t, nil)
	for n := range len(whole) {
		if r, ours := readReply(whole[:n], wireID, wireName, dns.TypeA, udpPayload); ours && r.result == resultNoError {
			t.Errorf("the first %d of %d bytes were believed", n, len(whole))
		}
	}
}

func TestReadReplyResults(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*dns.Msg)
		result string
		addrs  int
	}{
		{"addresses", nil, resultNoError, 1},
		{"RFC 4343: case does not matter", func(m *dns.Msg) { m.Question[0].Name = "WWW.example.COM." }, resultNoError, 1},
		{"no data", func(m *dns.Msg) { m.Answer = nil }, resultNoData, 0},
		{"NXDOMAIN with records", func(m *dns.Msg) { m.Rcode = dns.RcodeNameError }, resultNXDomain, 0},
		{"SERVFAIL with records", func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure }, resultServFail, 0},
		{"unassigned rcode", func(m *dns.Msg) { m.Rcode = 13 }, resultMalformed, 0},
		{"RFC 6891, 6.1.3: extended rcode", func(m *dns.Msg) { m.SetEdns0(1232, false); m.Rcode = dns.RcodeBadCookie }, "BADCOOKIE", 0},
		{"another owner", func(m *dns.Msg) { m.Answer = []dns.RR{aRecord("example.com.", 1)} }, resultNoData, 0},
		{"another owner behind an alias", func(m *dns.Msg) { m.Answer = []dns.RR{alias(wireName, "a.example."), aRecord("b.example.", 1)} }, resultNoData, 0},
		{"alias, records in any order", func(m *dns.Msg) { m.Answer = []dns.RR{aRecord("A.example.", 1), alias(wireName, "a.EXAMPLE.")} }, resultNoError, 1},
		{"alias to itself", func(m *dns.Msg) { m.Answer = []dns.RR{alias(wireName, wireName)} }, resultAliasLoop, 0},
		{"alias loop further on", func(m *dns.Msg) {
			m.Answer = []dns.RR{alias(wireName, "a.example."), alias("a.example.", "b.example."), alias("b.example.", "a.example.")}
		}, resultAliasLoop, 0},
		{"more addresses than are looked at", func(m *dns.Msg) { m.Answer = many(maxAddresses + 5) }, resultNoError, maxAddresses},
		{"more records than are read", func(m *dns.Msg) { m.Answer = many(maxRecords + 1); m.Compress = true }, resultOversized, 0},
		{"RFC 2308, 2.2: NODATA, type 1", func(m *dns.Msg) { m.Answer, m.Ns = nil, []dns.RR{nameServer(), startOfAuthority()} }, resultNoData, 0},
		{"RFC 2308, 2.2: NODATA, type 2", func(m *dns.Msg) { m.Answer, m.Ns = nil, []dns.RR{startOfAuthority()} }, resultNoData, 0},
		{"RFC 2308, 2.2: a referral", func(m *dns.Msg) { m.Answer, m.Ns = nil, []dns.RR{nameServer()} }, resultReferral, 0},
		{"RFC 2308, 2.2: a referral behind an alias", func(m *dns.Msg) { m.Answer, m.Ns = []dns.RR{alias(wireName, "a.example.")}, []dns.RR{nameServer()} }, resultReferral, 0},
		{"records and their name servers", func(m *dns.Msg) { m.Ns = []dns.RR{nameServer()} }, resultNoError, 1},
		{"only in another section", func(m *dns.Msg) { m.Extra, m.Answer = m.Answer, nil }, resultNoData, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			r, ours := readReply(message(t, row.change), wireID, wireName, dns.TypeA, tcpPayload)
			if !ours || r.result != row.result || len(r.addrs) != row.addrs || r.truncated {
				t.Errorf("%+v, ours %v", r, ours)
			}
		})
	}
	if r, _ := readReply(message(t, func(m *dns.Msg) { m.Truncated = true }), wireID, wireName, dns.TypeA, udpPayload); !r.truncated || len(r.addrs) != 0 {
		t.Errorf("RFC 2181, 9: a truncated reply was used: %+v", r)
	}
	long := message(t, func(m *dns.Msg) { m.Answer = many(100) })
	if r, _ := readReply(long, wireID, wireName, dns.TypeA, udpPayload); r.result != resultOversized {
		t.Errorf("%d bytes: %+v", len(long), r)
	}
}

func nameServer() dns.RR {
	return &dns.NS{Hdr: dns.RR_Header{Name: "example.com.", Rrtype: dns.TypeNS, Class: dns.ClassINET}, Ns: "ns.example.com."}
}

func startOfAuthority() dns.RR {
	return &dns.SOA{Hdr: dns.RR_Header{Name: "example.com.", Rrtype: dns.TypeSOA, Class: dns.ClassINET}, Ns: "ns.example.com.", Mbox: "h.example.com."}
}

// A reply that denies CAA records and has some is believed in neither.
func TestReadReplyContradictsItself(t *testing.T) {
	for _, rcode := range []int{dns.RcodeSuccess, dns.RcodeNameError} {
		for owner, want := range map[string]string{wireName: resultNoError, "elsewhere.example.": resultMalformed} {
			raw := message(t, func(m *dns.Msg) {
				m.Question[0].Qtype, m.RecursionAvailable, m.Rcode = dns.TypeCAA, true, rcode
				m.Answer = []dns.RR{&dns.CAA{Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeCAA, Class: dns.ClassINET}, Tag: "issue", Value: ";"}}
			})
			if rcode == dns.RcodeNameError {
				want = resultMalformed
			}
			if r, ours := readReply(raw, wireID, wireName, dns.TypeCAA, udpPayload); !ours || r.result != want {
				t.Errorf("rcode %d, owner %s: %+v", rcode, owner, r)
			}
		}
	}
}

func many(n int) []dns.RR {
	out := make([]dns.RR, n)
	for i := range out {
		out[i] = aRecord(wireName, byte(i))
	}
	return out
}

func TestPackQuestion(t *testing.T) {
	raw, err := question{name: wireName, qtype: dns.TypeAAAA}.pack(wireID)
	if err != nil {
		t.Fatal(err)
	}
	var m dns.Msg
	if err := m.Unpack(raw); err != nil {
		t.Fatal(err)
	}
	opt := m.IsEdns0()
	if m.Id != wireID || m.Response || !m.RecursionDesired || len(m.Question) != 1 || opt == nil || opt.UDPSize() != udpPayload || opt.Do() ||
		m.Question[0] != (dns.Question{Name: wireName, Qtype: dns.TypeAAAA, Qclass: dns.ClassINET}) {
		t.Errorf("question %v", m.String())
	}
	signed, err := question{name: wireName, qtype: dns.TypeAAAA, dnssec: true, padded: true}.pack(wireID)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Unpack(signed); err != nil {
		t.Fatal(err)
	}
	if opt := m.IsEdns0(); !opt.Do() || !m.AuthenticatedData || m.CheckingDisabled || len(signed)%padBlock != 0 || len(opt.Option) != 1 || opt.Option[0].Option() != dns.EDNS0PADDING {
		t.Errorf("question %v", m.String())
	}
	for n := 1; n < 200; n++ {
		name := strings.Repeat("a.", n%100) + strings.Repeat("b", 1+n%60) + "."
		if raw, err := (question{name: name, qtype: dns.TypeA, padded: true}).pack(1); err != nil || len(raw)%padBlock != 0 {
			t.Errorf("RFC 8467, 4.1: %d bytes for %s, %v", len(raw), name, err)
		}
	}
	longest := strings.Repeat(strings.Repeat("a", 49)+".", 5) // 250 characters
	if _, err := (question{name: longest, qtype: dns.TypeA}).pack(1); err != nil {
		t.Error(err)
	}
	if _, err := (question{name: strings.Repeat("a", 64) + ".", qtype: dns.TypeA}).pack(1); err == nil {
		t.Error("RFC 1035, 2.3.4: a label of 64 octets was sent")
	}
}

// FuzzReply feeds readReply what a DNS server, or somebody who pretends to be one, may send.
func FuzzReply(f *testing.F) {
	for _, change := range []func(*dns.Msg){
		nil,
		func(m *dns.Msg) { m.Rcode = dns.RcodeNameError },
		func(m *dns.Msg) { m.Truncated = true },
		func(m *dns.Msg) { m.Answer = []dns.RR{alias(wireName, "a.example."), aRecord("a.example.", 1)} },
		func(m *dns.Msg) { m.Answer = []dns.RR{alias(wireName, "a.example."), alias("a.example.", wireName)} },
		func(m *dns.Msg) { m.SetEdns0(1232, true); m.Rcode = dns.RcodeBadVers },
		func(m *dns.Msg) { m.Answer = many(20); m.Compress = true },
		func(m *dns.Msg) { m.Question = nil },
	} {
		f.Add(message(f, change))
	}
	f.Add(append(message(f, func(m *dns.Msg) { m.Answer = nil })[:headerSize], 0xc0, 0x0c, 0, 1, 0, 1)) // a name that points at itself
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, ours := readReply(raw, wireID, wireName, dns.TypeA, udpPayload)
		switch {
		case !ours && (r.result != "" || r.addrs != nil || r.truncated):
			t.Errorf("not ours, but %+v", r)
		case ours && !r.truncated && r.result == "":
			t.Error("no result")
		case (r.result == resultNoError) != (len(r.addrs) > 0):
			t.Errorf("result %q with %d addresses", r.result, len(r.addrs))
		case len(r.addrs) > maxAddresses || len(r.aliases) > maxAliases || len(r.addrs) > 0 && len(raw) > udpPayload:
			t.Errorf("beyond the limits: %+v", r)
		}
		for _, addr := range r.addrs {
			if !addr.Is4() {
				t.Errorf("an A record gave %s", addr)
			}
		}
	})
}
