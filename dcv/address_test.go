package dcv

import (
	"net/netip"
	"testing"
)

func TestGuard(t *testing.T) {
	private := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("192.0.2.0/24")}
	everything := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	for _, row := range []struct {
		addr string
		// allowed with: nothing named, private ranges named, everything named and loopback open
		plain, named, all bool
	}{
		{"8.8.8.8", true, true, true},
		{"2606:4700::1", true, true, true},
		{"10.1.2.3", false, true, true},
		{"192.168.0.1", false, false, true},
		{"fd12::1", false, true, true},
		{"100.64.0.1", false, false, true},
		{"198.18.0.1", false, false, true},
		{"192.0.2.1", false, true, true},
		{"240.0.0.1", false, false, true},
		{"2001:db8::1", false, false, true},
		{"127.0.0.1", false, false, true},
		{"127.255.255.254", false, false, true},
		{"::1", false, false, true},
		// Shut whatever anybody says.
		{"169.254.169.254", false, false, false},
		{"fd00:ec2::254", false, false, false},
		{"169.254.1.1", false, false, false},
		{"fe80::1", false, false, false},
		{"224.0.0.1", false, false, false},
		{"ff02::1", false, false, false},
		{"0.0.0.0", false, false, false},
		{"0.1.2.3", false, false, false},
		{"255.255.255.255", false, false, false},
		{"::", false, false, false},
		{"::ffff:127.0.0.1", false, false, false},
		{"::ffff:169.254.169.254", false, false, false},
		{"64:ff9b::7f00:1", false, false, false},
		{"64:ff9b::a9fe:a9fe", false, false, false},
		{"2002:7f00:1::1", false, false, false},
		{"2606:4700::1%eth0", false, false, false},
	} {
		to := netip.AddrPortFrom(netip.MustParseAddr(row.addr), 80)
		for _, c := range []struct {
			name    string
			guard   *guard
			private []netip.Prefix
			want    bool
		}{
			{"plain", &guard{}, nil, row.plain},
			{"named", &guard{}, private, row.named},
			{"all", &guard{loopback: true}, everything, row.all},
		} {
			if why := c.guard.refusal(to, c.private); (why == "") != c.want {
				t.Errorf("%s, %s: refusal %q", row.addr, c.name, why)
			}
		}
	}
	if (&guard{loopback: true}).refusal(netip.AddrPort{}, everything) == "" {
		t.Error("the invalid address is allowed")
	}
}

func TestGuardOwnListeners(t *testing.T) {
	own := []netip.AddrPort{
		netip.MustParseAddrPort("203.0.113.7:443"), // outside of an address translator
		netip.MustParseAddrPort("[::ffff:127.0.0.9]:80"),
		netip.MustParseAddrPort("0.0.0.0:8080"),
	}
	g := &guard{loopback: true, own: func() []netip.AddrPort { return own }}
	test := []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	for addr, allowed := range map[string]bool{
		"203.0.113.7:443": false,
		"203.0.113.7:80":  true,
		"203.0.113.8:443": true,
		"127.0.0.9:80":    false,
		"127.0.0.1:80":    true,
		"127.0.0.1:8080":  false,
		"127.8.8.8:8080":  false,
		"[::1]:8080":      false,
		"8.8.8.8:8080":    true,
	} {
		if why := g.refusal(netip.MustParseAddrPort(addr), test); (why == "") != allowed {
			t.Errorf("%s: refusal %q", addr, why)
		}
	}
}

func TestLocalAddrsKnowThisHost(t *testing.T) {
	var l localAddrs
	l.contain(netip.MustParseAddr("8.8.8.8"))
	if !l.known {
		t.Skip("the interfaces cannot be read")
	}
	for addr := range l.addrs {
		if !l.contain(addr) {
			t.Errorf("%s is not known", addr)
		}
	}
	if l.contain(netip.MustParseAddr("203.0.113.99")) {
		t.Error("a documentation address is one of ours")
	}
}
