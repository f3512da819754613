package identifier

import (
	"net/netip"
	"testing"
)

func TestSpecial(t *testing.T) {
	type flags struct{ loopback, linkLocal, multicast, private, unspecified bool }
	for _, c := range []struct {
		addr, prefix string // prefix empty: an ordinary address
		want         flags
	}{
		{"8.8.8.8", "", flags{}},
		{"192.0.1.1", "", flags{}},
		{"100.128.0.0", "", flags{}},
		{"172.32.0.1", "", flags{}},
		{"198.20.0.0", "", flags{}},
		{"2606:4700:4700::1111", "", flags{}},
		{"2001:200::1", "", flags{}},
		{"3ffe::1", "", flags{}},
		{"3fff:1000::", "", flags{}},
		{"0.0.0.0", "0.0.0.0/32", flags{unspecified: true}},
		{"0.1.2.3", "0.0.0.0/8", flags{unspecified: true}},
		{"10.255.255.255", "10.0.0.0/8", flags{private: true}},
		{"100.64.0.1", "100.64.0.0/10", flags{private: true}},
		{"127.255.0.1", "127.0.0.0/8", flags{loopback: true}},
		{"169.254.169.254", "169.254.0.0/16", flags{linkLocal: true}},
		{"172.31.255.255", "172.16.0.0/12", flags{private: true}},
		{"192.0.0.1", "192.0.0.0/29", flags{}},
		{"192.0.0.9", "192.0.0.9/32", flags{}},
		{"192.0.0.100", "192.0.0.0/24", flags{}},
		{"192.0.0.171", "192.0.0.171/32", flags{}},
		{"192.0.2.7", "192.0.2.0/24", flags{}},
		{"192.88.99.1", "192.88.99.0/24", flags{}},
		{"192.168.0.1", "192.168.0.0/16", flags{private: true}},
		{"198.19.255.255", "198.18.0.0/15", flags{}},
		{"203.0.113.9", "203.0.113.0/24", flags{}},
		{"224.0.0.1", "224.0.0.0/4", flags{multicast: true}},
		{"239.255.255.255", "224.0.0.0/4", flags{multicast: true}},
		{"240.0.0.1", "240.0.0.0/4", flags{}},
		{"255.255.255.255", "255.255.255.255/32", flags{unspecified: true}},
		{"::", "::/128", flags{unspecified: true}},
		{"::1", "::1/128", flags{loopback: true}},
		{"::7f00:1", "::/96", flags{loopback: true}},
		{"::ffff:127.0.0.1", "::ffff:0.0.0.0/96", flags{loopback: true}},
		{"::ffff:8.8.8.8", "::ffff:0.0.0.0/96", flags{}},
		{"64:ff9b::a00:1", "64:ff9b::/96", flags{private: true}},
		{"64:ff9b::808:808", "64:ff9b::/96", flags{}},
		{"64:ff9b:1::7f00:1", "64:ff9b:1::/48", flags{loopback: true}},
		{"100::1", "100::/64", flags{}},
		{"100:0:0:1::1", "100:0:0:1::/64", flags{}},
		{"2001::1", "2001::/32", flags{unspecified: false}},
		{"2001:0:4136:e378:8000:63bf:80ff:fffe", "2001::/32", flags{loopback: true}}, // ^80ff:fffe = 127.0.0.1
		{"2001:1::1", "2001:1::1/128", flags{}},
		{"2001:1::9", "2001::/23", flags{}},
		{"2001:2::1", "2001:2::/48", flags{}},
		{"2001:4:112::1", "2001:4:112::/48", flags{}},
		{"2001:1f::1", "2001:10::/28", flags{}},
		{"2001:2f::1", "2001:20::/28", flags{}},
		{"2001:3f::1", "2001:30::/28", flags{}},
		{"2001:db8::1", "2001:db8::/32", flags{}},
		{"2002:7f00:1::", "2002::/16", flags{loopback: true}},
		{"2002:a9fe:a9fe::1", "2002::/16", flags{linkLocal: true}},
		{"2002:808:808::1", "2002::/16", flags{}},
		{"2620:4f:8000::1", "2620:4f:8000::/48", flags{}},
		{"3fff:fff::1", "3fff::/20", flags{}},
		{"5f00::1", "5f00::/16", flags{}},
		{"fd12::1", "fc00::/7", flags{private: true}},
		{"fe80::1%eth0", "fe80::/10", flags{linkLocal: true}},
		{"fec0::1", "fec0::/10", flags{private: true}},
		{"ff02::1", "ff00::/8", flags{multicast: true}},
	} {
		t.Run(c.addr, func(t *testing.T) {
			r, special := Special(netip.MustParseAddr(c.addr))
			if special != (c.prefix != "") {
				t.Fatalf("special = %v (%v)", special, r)
			}
			if special && r.Prefix.String() != c.prefix {
				t.Errorf("found as %v, want %s", r.Prefix, c.prefix)
			}
			if got := (flags{r.Loopback, r.LinkLocal, r.Multicast, r.Private, r.Unspecified}); got != c.want {
				t.Errorf("flags %+v, want %+v", got, c.want)
			}
		})
	}
	if r, special := Special(netip.Addr{}); !special || !r.Unspecified {
		t.Error("the invalid address must be special: a forgotten check has to refuse")
	}
}

func TestSpecialTableIsWellFormed(t *testing.T) {
	seen := map[netip.Prefix]bool{}
	for _, r := range specialRanges {
		if r.Prefix != r.Prefix.Masked() || seen[r.Prefix] {
			t.Errorf("%v has host bits or stands twice", r.Prefix)
		}
		seen[r.Prefix] = true
		if r.Name == "" || r.RFC == "" {
			t.Errorf("%v has no name or no RFC", r.Prefix)
		}
		for _, edge := range []netip.Addr{r.Prefix.Addr(), last(r.Prefix)} {
			if found, ok := Special(edge); !ok || found.Prefix.Bits() < r.Prefix.Bits() {
				t.Errorf("%v of %v is found as %v", edge, r.Prefix, found.Prefix)
			}
		}
	}
}

// last is the highest address of a prefix.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 1 << (7 - bit%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func TestMetadata(t *testing.T) {
	for addr, want := range map[string]bool{
		"169.254.169.254": true, "100.100.100.200": true, "168.63.129.16": true, "fd00:ec2::254": true,
		"::ffff:169.254.169.254": true, "64:ff9b::a9fe:a9fe": true, "2002:a9fe:a9fe::1": true, "::a9fe:a9fe": true,
		"fe80::a9fe:a9fe%eth0": true,
		"169.254.169.1":        false, "100.100.100.201": false, "8.8.8.8": false, "::1": false, "2001:db8::1": false,
	} {
		if got := Metadata(netip.MustParseAddr(addr)); got != want {
			t.Errorf("Metadata(%s) = %v", addr, got)
		}
	}
	if Metadata(netip.Addr{}) {
		t.Error("the invalid address is nobody's metadata service")
	}
}
