package identifier

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseDNSAccepts(t *testing.T) {
	label63 := strings.Repeat("a", 63)
	name253 := strings.Join([]string{label63, label63, label63, strings.Repeat("b", 61)}, ".")
	for _, c := range []struct{ name, in, want string }{
		{"RFC 1123 2.1", "www.example.com", "www.example.com"},
		{"RFC 1123 2.1 leading digit", "3com.example.com", "3com.example.com"},
		{"RFC 4343 case folds", "WWW.Example.COM", "www.example.com"},
		{"single label", "localhost", "localhost"},
		{"single label with digit", "server1", "server1"},
		{"RFC 8555 7.1.3 wildcard", "*.example.com", "*.example.com"},
		{"wildcard of a single label", "*.corp", "*.corp"},
		{"RFC 5890 A-label", "xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"RFC 5890 A-label upper case", "XN--BCHER-KVA.example", "xn--bcher-kva.example"},
		{"A-label top-level domain", "example.xn--p1ai", "example.xn--p1ai"},
		{"RFC 1035 2.3.4 label of 63", label63 + ".example", label63 + ".example"},
		{"RFC 1035 2.3.4 name of 253", name253, name253},
		{"numeric label not last", "1.2.3.4.in-addr.arpa", "1.2.3.4.in-addr.arpa"},
		{"hyphens elsewhere", "a-b--c.example", "a-b--c.example"},
	} {
		t.Run(c.name, func(t *testing.T) {
			id, err := Parse("dns", c.in)
			if err != nil {
				t.Fatal(err)
			}
			if id.Type() != DNS || id.Value() != c.want || id.IsZero() {
				t.Errorf("got %v, want %q", id, c.want)
			}
		})
	}
}

func TestParseDNSRefuses(t *testing.T) {
	label64 := strings.Repeat("a", 64)
	label63 := strings.Repeat("a", 63)
	for _, c := range []struct{ name, in, says string }{
		{"empty", "", "empty"},
		{"only a dot", ".", "trailing dot"},
		{"trailing dot", "example.com.", "trailing dot"},
		{"leading dot", ".example.com", "label is empty"},
		{"two dots", "a..example.com", "label is empty"},
		{"RFC 1035 2.3.4 label of 64", label64 + ".example", "longer than 63"},
		{"RFC 1035 2.3.4 name of 254", strings.Join([]string{label63, label63, label63, strings.Repeat("b", 62)}, "."), "longer than 253"},
		{"underscore", "_acme-challenge.example.com", "underscore"},
		{"space", "www example.com", "other than letters"},
		{"NUL", "www.example.com\x00.evil.test", "other than letters"},
		{"slash", "example.com/", "other than letters"},
		{"port", "example.com:443", "other than letters"},
		{"leading hyphen", "-a.example.com", "hyphen"},
		{"trailing hyphen", "a-.example.com", "hyphen"},
		{"wildcard alone", "*", "after it"},
		{"wildcard and nothing", "*.", "trailing dot"},
		{"wildcard twice", "*.*.example.com", "leftmost"},
		{"wildcard not leftmost", "www.*.example.com", "leftmost"},
		{"partial wildcard", "w*.example.com", "leftmost"},
		{"bare partial wildcard", "*example.com", "leftmost"},
		{"IPv4 literal", "192.0.2.1", `type "ip"`},
		{"IPv6 literal", "2001:db8::1", `type "ip"`},
		{"IPv4-like", "1.2.3", "taken for an IP address"},
		{"number", "2130706433", "taken for an IP address"},
		{"octal number", "0177.0.0.01", "taken for an IP address"},
		{"hexadecimal number", "0x7f000001", "taken for an IP address"},
		{"hexadecimal number last", "a.0X7F", "taken for an IP address"},
		{"bare 0x", "a.0x", "taken for an IP address"},
		{"wildcard of a number", "*.1", "taken for an IP address"},
		{"RFC 8555 7.1.4 U-label", "bücher.example", `send "xn--bcher-kva.example"`},
		{"RFC 8555 7.1.4 U-label wildcard", "*.bücher.example", `send "*.xn--bcher-kva.example"`},
		{"ideographic dot", "example。com", `send "example.com"`},
		{"not an internationalised name", "a\u200bb\xff.example", "outside ASCII"},
		{"fullwidth digits", "１２７.0.0.1", "outside ASCII"},
		{"RFC 5890 2.3.1 reserved label", "ab--cd.example", "no A-label"},
		{"RFC 5890 2.3.2.1 undecodable", "xn--999999999.example", "U-label"},
		{"RFC 5890 2.3.2.1 decodes to ASCII", "xn--example-.example", "hyphen"},
		{"RFC 5890 2.3.2.1 empty", "xn--a.example", "U-label"},
		{"RFC 5891 4.2.1 not NFC", "xn--bucher-xyd.example", "U-label"},
		{"RFC 5892 upper-case U-label", "xn--Bcher-Kva-.example", "hyphen"},
	} {
		t.Run(c.name, func(t *testing.T) {
			id, err := Parse("dns", c.in)
			if err == nil {
				t.Fatalf("accepted as %v", id)
			}
			pe, ok := errors.AsType[*ParseError](err)
			if !ok || pe.UnknownType || pe.Value != c.in {
				t.Fatalf("not a ParseError for the value: %#v", err)
			}
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("%q does not say %q", err, c.says)
			}
			if !id.IsZero() {
				t.Errorf("a refusal came with %v", id)
			}
		})
	}
}

func TestParseIP(t *testing.T) {
	for _, c := range []struct{ name, in, says string }{
		{"RFC 8738 3 IPv4", "192.0.2.1", ""},
		{"RFC 5952 4 IPv6", "2001:db8::1", ""},
		{"empty", "", "empty"},
		{"name", "example.com", "not an IPv4"},
		{"brackets", "[2001:db8::1]", "not an IPv4"},
		{"port", "192.0.2.1:80", "not an IPv4"},
		{"prefix", "192.0.2.0/24", "not an IPv4"},
		{"leading zero", "192.0.2.01", "not an IPv4"},
		{"short IPv4", "127.1", "not an IPv4"},
		{"RFC 5952 4.1 leading zeros", "2001:0db8::1", `send "2001:db8::1"`},
		{"RFC 5952 4.2 uncompressed", "2001:db8:0:0:0:0:0:1", `send "2001:db8::1"`},
		{"RFC 5952 4.2.2 one field compressed", "2001:db8::1:1:1:1:1", `send "2001:db8:0:1:1:1:1:1"`},
		{"RFC 5952 4.3 upper case", "2001:DB8::1", `send "2001:db8::1"`},
		{"RFC 4007 zone", "fe80::1%eth0", `send "fe80::1"`},
		{"RFC 4291 2.5.5.2 mapped", "::ffff:192.0.2.1", `send "192.0.2.1"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			id, err := Parse("ip", c.in)
			if c.says == "" {
				if err != nil || id.Value() != c.in || id.Type() != IP || id.Addr().String() != c.in {
					t.Fatalf("got %v, %v", id, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, %v; want a refusal that says %q", id, err, c.says)
			}
		})
	}
}

func TestParseRefusesUnknownTypes(t *testing.T) {
	for _, typ := range []string{"", "DNS", "Ip", "email", "permanent-identifier"} {
		_, err := Parse(typ, "example.com")
		pe, ok := errors.AsType[*ParseError](err)
		if !ok || !pe.UnknownType {
			t.Errorf("type %q: got %v", typ, err)
		}
	}
}

func TestErrorsStayShort(t *testing.T) {
	_, err := ParseDNS(strings.Repeat("\x00", 64<<10))
	if err == nil || len(err.Error()) > 4096 {
		t.Errorf("a 64 KiB name was echoed in %d bytes", len(err.Error()))
	}
}

func TestFromAddr(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "fe80::1%eth0": "fe80::1", "2001:db8::1": "2001:db8::1",
		"::ffff:192.0.2.1%x": "192.0.2.1",
	} {
		id := FromAddr(netip.MustParseAddr(in))
		if id.Value() != want || id.Type() != IP {
			t.Errorf("FromAddr(%s) = %v, want %s", in, id, want)
		}
		if again, err := Parse("ip", id.Value()); err != nil || again != id {
			t.Errorf("FromAddr(%s) is not canonical: %v", in, err)
		}
	}
	if !FromAddr(netip.Addr{}).IsZero() {
		t.Error("the invalid address must name nothing")
	}
}

func TestWildcardAndBase(t *testing.T) {
	wild, base, ip := mustDNS(t, "*.example.com"), mustDNS(t, "example.com"), FromAddr(netip.MustParseAddr("192.0.2.1"))
	if !wild.IsWildcard() || base.IsWildcard() || ip.IsWildcard() {
		t.Error("IsWildcard is wrong")
	}
	if wild.Base() != base || base.Base() != base || ip.Base() != ip {
		t.Error("Base is wrong")
	}
	if base.Addr().IsValid() || (Identifier{}).Addr().IsValid() {
		t.Error("only IP identifiers have an address")
	}
}

func TestCompareAndSortUnique(t *testing.T) {
	ids := []Identifier{
		FromAddr(netip.MustParseAddr("192.0.2.1")), mustDNS(t, "b.example"), mustDNS(t, "a.example"), mustDNS(t, "b.example"),
	}
	before := slices.Clone(ids)
	got := SortUnique(ids)
	want := []Identifier{ids[2], ids[1], ids[0]}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if !slices.Equal(ids, before) {
		t.Error("SortUnique changed its argument")
	}
}

func TestSortUniqueIsASet(t *testing.T) {
	gen := rapid.Custom(func(t *rapid.T) Identifier {
		id, err := ParseDNS(rapid.StringMatching(`[a-c]{1,2}(\.[a-c]{1,2})?`).Draw(t, "name"))
		if err != nil {
			t.Fatal(err)
		}
		return id
	})
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.SliceOf(gen).Draw(t, "ids")
		got := SortUnique(ids)
		for i := 1; i < len(got); i++ {
			if Compare(got[i-1], got[i]) >= 0 || got[i-1] == got[i] {
				t.Fatalf("%v and %v out of order", got[i-1], got[i])
			}
		}
		for _, id := range ids {
			if !slices.Contains(got, id) {
				t.Fatalf("%v lost", id)
			}
		}
	})
}

func mustDNS(t testing.TB, s string) Identifier {
	t.Helper()
	id, err := ParseDNS(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// FuzzParse holds Parse to one canonical text: what it accepts it accepts again, unchanged, and the methods agree.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"example.com", "*.example.com", "WWW.Example.COM", "localhost", "xn--bcher-kva.example", "bücher.example", "1.2.3.4", "0x7f.1",
		"example.com.", "*", "a..b", "_x.example", "2001:db8::1", "::ffff:1.2.3.4", "fe80::1%eth0", "ab--c.example", "*.ck", "co.uk",
	} {
		f.Add("dns", s)
		f.Add("ip", s)
	}
	f.Add("email", "a@example.com")
	f.Fuzz(func(t *testing.T, typ, value string) {
		id, err := Parse(typ, value)
		if err != nil {
			if !id.IsZero() {
				t.Fatalf("refused %q and returned %v", value, id)
			}
			return
		}
		if again, err := Parse(string(id.Type()), id.Value()); err != nil || again != id {
			t.Fatalf("%v does not parse to itself: %v, %v", id, again, err)
		}
		if id.Type() == IP {
			if FromAddr(id.Addr()) != id || id.Value() != value {
				t.Fatalf("%v is not canonical", id)
			}
			return
		}
		if id.Value() != strings.ToLower(value) || len(id.Value()) > 253 {
			t.Fatalf("%q became %q", value, id.Value())
		}
		if base := id.Base(); base.IsWildcard() {
			t.Fatalf("the base of %v is a wildcard", id)
		} else if again, err := ParseDNS(base.Value()); err != nil || again != base {
			t.Fatalf("the base of %v does not parse: %v", id, err)
		}
		if d := id.RegisteredDomain(); d != "" && !strings.HasSuffix("."+id.Value(), "."+d) {
			t.Fatalf("%v has registered domain %q", id, d)
		}
	})
}
