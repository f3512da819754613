package identifier

import "net/netip"

// The blocks that carry an IPv4 address inside and that [embedded] opens.
var (
	compatible = netip.MustParsePrefix("::/96")
	nat64      = netip.MustParsePrefix("64:ff9b::/96")
	nat64Local = netip.MustParsePrefix("64:ff9b:1::/48")
	sixToFour  = netip.MustParsePrefix("2002::/16")
	teredo     = netip.MustParsePrefix("2001::/32")
)

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// specialRanges holds the IANA IPv4 and IPv6 special-purpose address registries (RFC 6890, as updated by RFC 8190),
// followed by what they leave out and validation must still not reach. It is read only.
var specialRanges = []SpecialRange{
	// iana-ipv4-special-registry
	{Prefix: pfx("0.0.0.0/8"), Name: "this network", RFC: "RFC 791, 3.2", Unspecified: true},
	{Prefix: pfx("0.0.0.0/32"), Name: "this host on this network", RFC: "RFC 1122, 3.2.1.3", Unspecified: true},
	{Prefix: pfx("10.0.0.0/8"), Name: "private use", RFC: "RFC 1918", Private: true},
	{Prefix: pfx("100.64.0.0/10"), Name: "shared address space", RFC: "RFC 6598", Private: true},
	{Prefix: pfx("127.0.0.0/8"), Name: "loopback", RFC: "RFC 1122, 3.2.1.3", Loopback: true},
	{Prefix: pfx("169.254.0.0/16"), Name: "link local", RFC: "RFC 3927", LinkLocal: true},
	{Prefix: pfx("172.16.0.0/12"), Name: "private use", RFC: "RFC 1918", Private: true},
	{Prefix: pfx("192.0.0.0/24"), Name: "IETF protocol assignments", RFC: "RFC 6890, 2.1"},
	{Prefix: pfx("192.0.0.0/29"), Name: "IPv4 service continuity prefix", RFC: "RFC 7335"},
	{Prefix: pfx("192.0.0.8/32"), Name: "IPv4 dummy address", RFC: "RFC 7600"},
	{Prefix: pfx("192.0.0.9/32"), Name: "port control protocol anycast", RFC: "RFC 7723"},
	{Prefix: pfx("192.0.0.10/32"), Name: "TURN anycast", RFC: "RFC 8155"},
	{Prefix: pfx("192.0.0.170/32"), Name: "NAT64/DNS64 discovery", RFC: "RFC 8880"},
	{Prefix: pfx("192.0.0.171/32"), Name: "NAT64/DNS64 discovery", RFC: "RFC 8880"},
	{Prefix: pfx("192.0.2.0/24"), Name: "documentation (TEST-NET-1)", RFC: "RFC 5737"},
	{Prefix: pfx("192.31.196.0/24"), Name: "AS112-v4", RFC: "RFC 7535"},
	{Prefix: pfx("192.52.193.0/24"), Name: "AMT", RFC: "RFC 7450"},
	{Prefix: pfx("192.88.99.0/24"), Name: "deprecated 6to4 relay anycast", RFC: "RFC 7526"},
	{Prefix: pfx("192.88.99.2/32"), Name: "6a44 relay anycast", RFC: "RFC 6751"},
	{Prefix: pfx("192.168.0.0/16"), Name: "private use", RFC: "RFC 1918", Private: true},
	{Prefix: pfx("192.175.48.0/24"), Name: "direct delegation AS112 service", RFC: "RFC 7534"},
	{Prefix: pfx("198.18.0.0/15"), Name: "benchmarking", RFC: "RFC 2544"},
	{Prefix: pfx("198.51.100.0/24"), Name: "documentation (TEST-NET-2)", RFC: "RFC 5737"},
	{Prefix: pfx("203.0.113.0/24"), Name: "documentation (TEST-NET-3)", RFC: "RFC 5737"},
	{Prefix: pfx("240.0.0.0/4"), Name: "reserved", RFC: "RFC 1112, section 4"},
	{Prefix: pfx("255.255.255.255/32"), Name: "limited broadcast", RFC: "RFC 919, section 7", Unspecified: true},

	// iana-ipv6-special-registry
	{Prefix: pfx("::1/128"), Name: "loopback", RFC: "RFC 4291, 2.5.3", Loopback: true},
	{Prefix: pfx("::/128"), Name: "unspecified address", RFC: "RFC 4291, 2.5.2", Unspecified: true},
	{Prefix: pfx("::ffff:0:0/96"), Name: "IPv4-mapped", RFC: "RFC 4291, 2.5.5.2"},
	{Prefix: nat64, Name: "IPv4-IPv6 translation", RFC: "RFC 6052"},
	{Prefix: nat64Local, Name: "local-use IPv4-IPv6 translation", RFC: "RFC 8215"},
	{Prefix: pfx("100::/64"), Name: "discard only", RFC: "RFC 6666"},
	{Prefix: pfx("100:0:0:1::/64"), Name: "dummy IPv6 prefix", RFC: "RFC 9780"},
	{Prefix: pfx("2001::/23"), Name: "IETF protocol assignments", RFC: "RFC 2928"},
	{Prefix: teredo, Name: "Teredo", RFC: "RFC 4380"},
	{Prefix: pfx("2001:1::1/128"), Name: "port control protocol anycast", RFC: "RFC 7723"},
	{Prefix: pfx("2001:1::2/128"), Name: "TURN anycast", RFC: "RFC 8155"},
	{Prefix: pfx("2001:1::3/128"), Name: "DNS-SD service registration protocol anycast", RFC: "RFC 9665"},
	{Prefix: pfx("2001:2::/48"), Name: "benchmarking", RFC: "RFC 5180"},
	{Prefix: pfx("2001:3::/32"), Name: "AMT", RFC: "RFC 7450"},
	{Prefix: pfx("2001:4:112::/48"), Name: "AS112-v6", RFC: "RFC 7535"},
	{Prefix: pfx("2001:10::/28"), Name: "deprecated ORCHID", RFC: "RFC 4843"},
	{Prefix: pfx("2001:20::/28"), Name: "ORCHIDv2", RFC: "RFC 7343"},
	{Prefix: pfx("2001:30::/28"), Name: "drone remote ID entity tags", RFC: "RFC 9374"},
	{Prefix: pfx("2001:db8::/32"), Name: "documentation", RFC: "RFC 3849"},
	{Prefix: sixToFour, Name: "6to4", RFC: "RFC 3056"},
	{Prefix: pfx("2620:4f:8000::/48"), Name: "direct delegation AS112 service", RFC: "RFC 7534"},
	{Prefix: pfx("3fff::/20"), Name: "documentation", RFC: "RFC 9637"},
	{Prefix: pfx("5f00::/16"), Name: "segment routing (SRv6) SIDs", RFC: "RFC 9602"},
	{Prefix: pfx("fc00::/7"), Name: "unique local", RFC: "RFC 4193", Private: true},
	{Prefix: pfx("fe80::/10"), Name: "link local", RFC: "RFC 4291, 2.5.6", LinkLocal: true},

	// Multicast has registries of its own.
	{Prefix: pfx("224.0.0.0/4"), Name: "multicast", RFC: "RFC 5771", Multicast: true},
	{Prefix: pfx("ff00::/8"), Name: "multicast", RFC: "RFC 4291, 2.7", Multicast: true},

	// Deprecated, no longer registered, still routed inside some networks.
	{Prefix: compatible, Name: "deprecated IPv4-compatible", RFC: "RFC 4291, 2.5.5.1"},
	{Prefix: pfx("fec0::/10"), Name: "deprecated site local", RFC: "RFC 3879", Private: true},
}

// metadataAddresses lists where clouds serve instance metadata and machine credentials. It is read only.
var metadataAddresses = []netip.Addr{
	netip.MustParseAddr("169.254.169.254"),    // Amazon, Google, Microsoft, Oracle, OpenStack and most others
	netip.MustParseAddr("169.254.170.2"),      // Amazon ECS task credentials
	netip.MustParseAddr("169.254.170.23"),     // Amazon EKS pod identity
	netip.MustParseAddr("169.254.42.42"),      // Scaleway
	netip.MustParseAddr("169.254.0.23"),       // Tencent
	netip.MustParseAddr("100.100.100.200"),    // Alibaba
	netip.MustParseAddr("168.63.129.16"),      // Microsoft's host agent
	netip.MustParseAddr("192.0.0.192"),        // Oracle, older generation
	netip.MustParseAddr("fd00:ec2::254"),      // Amazon over IPv6
	netip.MustParseAddr("fd00:ec2::23"),       // Amazon EKS pod identity over IPv6
	netip.MustParseAddr("fd20:ce::254"),       // Google over IPv6
	netip.MustParseAddr("fd00:42::42"),        // Scaleway over IPv6
	netip.MustParseAddr("fd00:c1::a9fe:a9fe"), // Oracle over IPv6
	netip.MustParseAddr("fe80::a9fe:a9fe"),    // OpenStack over IPv6
}
