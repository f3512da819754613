package dcv

import (
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// explaining is a reply with extended errors.
func explaining(change func(*dns.Msg), options ...dns.EDNS0) func(*dns.Msg) {
	return func(m *dns.Msg) {
		m.SetEdns0(udpPayload, false)
		m.IsEdns0().Option = options
		if change != nil {
			change(m)
		}
	}
}

func ede(code uint16, text string) dns.EDNS0 { return &dns.EDNS0_EDE{InfoCode: code, ExtraText: text} }

func TestExtendedErrors(t *testing.T) {
	long := strings.Repeat("x", maxEDEText+1)
	for name, row := range map[string]struct {
		options []dns.EDNS0
		want    []string
	}{
		"none":                              {nil, nil},
		"another option":                    {[]dns.EDNS0{&dns.EDNS0_PADDING{Padding: make([]byte, 4)}}, nil},
		"RFC 8914, 4.7: a code":             {[]dns.EDNS0{ede(6, "")}, []string{"DNSSEC Bogus (6)"}},
		"RFC 8914, 4.1: other, with text":   {[]dns.EDNS0{ede(0, "time out")}, []string{`Other (0): "time out"`}},
		"RFC 8914, 2: null-terminated":      {[]dns.EDNS0{ede(7, "old\x00")}, []string{`Signature Expired (7): "old"`}},
		"RFC 8914, 5.2: an unassigned code": {[]dns.EDNS0{ede(4711, "")}, []string{"Extended DNS Error (4711)"}},
		"nothing for a terminal or a page":  {[]dns.EDNS0{ede(6, "\x1b[2J\r\n\"<b>\u202e")}, []string{`DNSSEC Bogus (6): "\x1b[2J\r\n\"<b>\u202e"`}},
		"a text as long as somebody likes":  {[]dns.EDNS0{ede(6, long)}, []string{`DNSSEC Bogus (6): "` + long[1:] + `"…`}},
		"RFC 8914, 3: several":              {[]dns.EDNS0{ede(6, ""), ede(6, ""), ede(7, ""), ede(8, ""), ede(9, "")}, []string{"DNSSEC Bogus (6)", "Signature Expired (7)", "Signature Not Yet Valid (8)"}},
	} {
		t.Run(name, func(t *testing.T) {
			raw := message(t, explaining(func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure }, row.options...))
			r, ours := readReply(raw, wireID, wireName, dns.TypeA, tcpPayload)
			if got := explained(r.ede); !ours || r.result != resultServFail || !slices.Equal(got, row.want) {
				t.Errorf("%q, result %q", got, r.result)
			}
		})
	}
	short := message(t, explaining(nil, &dns.EDNS0_LOCAL{Code: dns.EDNS0EDE, Data: []byte{1}}))
	if r, ours := readReply(short, wireID, wireName, dns.TypeA, tcpPayload); !ours || len(r.ede) != 0 {
		t.Errorf("RFC 8914, 2: an option without a code: %+v", r)
	}
}

// What a resolver itself calls stale counts for nothing, and what it calls altered does not deny that there are records.
func TestExtendedErrorsThatDecide(t *testing.T) {
	for _, row := range []struct {
		name   string
		code   uint16
		change func(*dns.Msg)
		result string
	}{
		{"RFC 8914, 4.4: stale records", dns.ExtendedErrorCodeStaleAnswer, nil, resultStale},
		{"RFC 8914, 4.20: stale NXDOMAIN", dns.ExtendedErrorCodeStaleNXDOMAINAnswer, func(m *dns.Msg) { m.Rcode = dns.RcodeNameError }, resultStale},
		{"RFC 8914, 4.16: blocked", dns.ExtendedErrorCodeBlocked, func(m *dns.Msg) { m.Rcode = dns.RcodeNameError }, resultAltered},
		{"RFC 8914, 4.17: censored", dns.ExtendedErrorCodeCensored, func(m *dns.Msg) { m.Answer = nil }, resultAltered},
		{"RFC 8914, 4.18: filtered", dns.ExtendedErrorCodeFiltered, func(m *dns.Msg) { m.Answer = nil }, resultAltered},
		{"RFC 8914, 4.19: prohibited", dns.ExtendedErrorCodeProhibited, func(m *dns.Msg) { m.Answer = nil }, resultAltered},
		{"RFC 8914, 4.5: forged absence", dns.ExtendedErrorCodeForgedAnswer, func(m *dns.Msg) { m.Answer = nil }, resultAltered},
		{"records of the operator's own", dns.ExtendedErrorCodeForgedAnswer, nil, resultNoError},
		{"a note", dns.ExtendedErrorCodeSynthesized, nil, resultNoError},
		{"a failure stays one", dns.ExtendedErrorCodeBlocked, func(m *dns.Msg) { m.Rcode = dns.RcodeRefused }, "REFUSED"},
	} {
		raw := message(t, explaining(row.change, ede(row.code, "")))
		if r, ours := readReply(raw, wireID, wireName, dns.TypeA, tcpPayload); !ours || r.result != row.result || len(r.ede) != 1 {
			t.Errorf("%s: %+v", row.name, r)
		}
	}
}
