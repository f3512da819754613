package identifier

import (
	"net/netip"
	"testing"
)

func TestPublicSuffixes(t *testing.T) {
	for _, c := range []struct {
		name           string
		suffix, listed bool
		registered     string
	}{
		{"com", true, true, ""},
		{"co.uk", true, true, ""},
		{"*.com", true, true, ""},
		{"*.co.uk", true, true, ""},
		{"example.com", false, true, "example.com"},
		{"*.example.com", false, true, "example.com"},
		{"a.b.example.co.uk", false, true, "example.co.uk"},
		{"github.io", true, true, ""}, // private section
		{"*.github.io", true, true, ""},
		{"alice.github.io", false, true, "alice.github.io"},
		{"ck", true, true, ""}, // only a wildcard rule
		{"*.ck", true, true, ""},
		{"x.ck", true, true, ""},
		{"www.ck", false, true, "www.ck"}, // exception rule
		{"example.x.ck", false, true, "example.x.ck"},
		{"kawasaki.jp", false, true, "kawasaki.jp"}, // registrable, but its wildcard is not
		{"*.kawasaki.jp", true, true, "kawasaki.jp"},
		{"city.kawasaki.jp", false, true, "city.kawasaki.jp"},
		{"xn--p1ai", true, true, ""},
		{"localhost", false, false, ""},
		{"server1", false, false, ""},
		{"db.corp", false, false, ""},
		{"*.db.corp", false, false, ""},
		{"x.internal", false, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			id := mustDNS(t, c.name)
			if got := id.IsPublicSuffix(); got != c.suffix {
				t.Errorf("IsPublicSuffix = %v", got)
			}
			if got := id.HasListedSuffix(); got != c.listed {
				t.Errorf("HasListedSuffix = %v", got)
			}
			if got := id.RegisteredDomain(); got != c.registered {
				t.Errorf("RegisteredDomain = %q, want %q", got, c.registered)
			}
		})
	}
	ip := FromAddr(netip.MustParseAddr("192.0.2.1"))
	if ip.IsPublicSuffix() || ip.HasListedSuffix() || ip.RegisteredDomain() != "" {
		t.Error("addresses have no suffix")
	}
}
