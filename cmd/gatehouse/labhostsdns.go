package main

import (
	"net/netip"

	"github.com/miekg/dns"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// labDNSHosts are names whose addresses are hard to find. What is found at the end is the client's own server.
func labDNSHosts() []labHost {
	host := func(label, trouble, expected string, build func(w *labWorlds, name string) error) labHost {
		return labHost{Name: label + ".dns." + labDomain, Method: dcv.HTTP01, Trouble: trouble, Expected: expected, build: build}
	}
	broken := func(label, trouble, expected string, fault testca.DNSFault) labHost {
		return host(label, trouble, expected, func(w *labWorlds, name string) error {
			w.dns.Break(name, 0, fault)
			return nil
		})
	}
	at := func(label, trouble, expected string, addrs func(w *labWorlds) []netip.Addr) labHost {
		return host(label, trouble, expected, func(w *labWorlds, name string) error {
			w.dns.SetAddrs(name, addrs(w)...)
			return nil
		})
	}
	alias := func(label, trouble, expected string, aliases int) labHost {
		return host(label, trouble, expected, func(w *labWorlds, name string) error {
			w.dns.SetChain(name, "target.dns."+labDomain, aliases)
			return nil
		})
	}
	fixed := func(texts ...string) func(*labWorlds) []netip.Addr {
		return func(*labWorlds) []netip.Addr {
			addrs := make([]netip.Addr, len(texts))
			for i, text := range texts {
				addrs[i] = netip.MustParseAddr(text)
			}
			return addrs
		}
	}
	return []labHost{
		at("no-address", "has no address", problemType("dns"), fixed()),
		at("private", "has a private address alone", problemType("dns"), fixed("10.0.0.7")),
		at("metadata", "has the address where clouds keep their machines' secrets", problemType("dns"), fixed("169.254.169.254")),
		at("mixed", "has a private address beside a good one", labIssued, fixed("10.0.0.7", "127.0.0.1")),
		at("dead-ipv6", "nothing listens at its IPv6 address", labIssued, fixed("::1", "127.0.0.1")),
		at("closed", "nothing listens at its address", problemType("connection"), func(w *labWorlds) []netip.Addr { return []netip.Addr{w.addr.Next()} }),
		alias("alias", "an alias of an alias of an alias", labIssued, 3),
		alias("alias-chain", "twelve aliases before the address", problemType("dns"), 12),
		broken("alias-loop", "two aliases of each other", problemType("dns"), testca.DNSFault{Kind: testca.DNSAliasLoop}),
		broken("nxdomain", "does not exist", problemType("dns"), testca.DNSFault{Kind: testca.DNSNXDomain}),
		broken("servfail", "its name servers are out of order (SERVFAIL)", problemType("dns"), testca.DNSFault{Kind: testca.DNSServFail}),
		broken("refused", "the server refuses questions", problemType("dns"), testca.DNSFault{Kind: testca.DNSRefused}),
		broken("lame", "its name server has lost the zone and points to the root", problemType("dns"), testca.DNSFault{Kind: testca.DNSLame}),
		broken("blocked", "the resolver blocks it, and says so", problemType("dns"), testca.DNSFault{Kind: testca.DNSNXDomain, EDE: dns.ExtendedErrorCodeBlocked, Text: "on a list of the lab"}),
		broken("silent", "its name servers never answer", problemType("dns"), testca.DNSFault{Kind: testca.DNSSilent}),
		broken("slow", "answers take a while", labIssued, testca.DNSFault{Delay: labSlowDNS}),
		broken("truncated", "answers are cut over UDP", labIssued, testca.DNSFault{Kind: testca.DNSTruncated}),
		broken("truncated-tcp", "answers are cut over TCP as well", problemType("dns"), testca.DNSFault{Kind: testca.DNSTruncatedTCP}),
		broken("spoofed", "forged answers come before the right one", labIssued, testca.DNSFault{Kind: testca.DNSSpoofed}),
		broken("flood", "forged answers come instead of the right one, until TCP is used", labIssued, testca.DNSFault{Kind: testca.DNSFlood}),
		broken("wrong-id", "answers are to other questions' ids", problemType("dns"), testca.DNSFault{Kind: testca.DNSWrongID}),
		broken("stranger", "answers are about another name", problemType("dns"), testca.DNSFault{Kind: testca.DNSStranger}),
		broken("malformed", "answers are no DNS messages", problemType("dns"), testca.DNSFault{Kind: testca.DNSMalformed}),
		broken("oversized", "two thousand addresses", problemType("dns"), testca.DNSFault{Kind: testca.DNSOversized}),
	}
}

// labTXTHosts are names whose dns-01 records are hard to find.
func labTXTHosts() []labHost {
	broken := func(label, trouble, expected string, fault testca.DNSFault) labHost {
		return labHost{
			Name: label + ".txt." + labDomain, Method: dcv.DNS01, Trouble: trouble, Expected: expected,
			build: func(w *labWorlds, name string) error {
				w.dns.Break(acmeChallenge+name, dns.TypeTXT, fault)
				return nil
			},
		}
	}
	return []labHost{
		{Name: "ok.txt." + labDomain, Method: dcv.DNS01, Trouble: "nothing", Expected: labIssued},
		{Name: "*.ok.txt." + labDomain, Method: dcv.DNS01, Trouble: "nothing; it is a wildcard", Expected: labIssued},
		{
			Name: "delegated.txt." + labDomain, Method: dcv.DNS01, Trouble: "its challenges are an alias into another zone", Expected: labIssued,
			build: func(w *labWorlds, name string) error {
				return w.dns.Add(acmeChallenge + name + ". 60 IN CNAME delegated.challenges.example.org.")
			},
		},
		{
			Name: "leftovers.txt." + labDomain, Method: dcv.DNS01, Trouble: "records of earlier challenges were left behind", Expected: labIssued,
			build: func(w *labWorlds, name string) error {
				return w.dns.Add(
					acmeChallenge+name+`. 60 IN TXT "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0"`,
					acmeChallenge+name+`. 60 IN TXT "v=spf1 -all"`,
				)
			},
		},
		broken("huge", "two hundred records beside the right one", labIssued, testca.DNSFault{Kind: testca.DNSHuge}),
		broken("oversized", "two thousand records", problemType("dns"), testca.DNSFault{Kind: testca.DNSOversized}),
		broken("nxdomain", "one name server has not got the record yet", problemType("dns"), testca.DNSFault{Kind: testca.DNSNXDomain}),
		broken("servfail", "the name servers are out of order (SERVFAIL)", problemType("dns"), testca.DNSFault{Kind: testca.DNSServFail}),
		broken("silent", "the name servers never answer", problemType("dns"), testca.DNSFault{Kind: testca.DNSSilent}),
		broken("alias-loop", "its challenges are two aliases of each other", problemType("dns"), testca.DNSFault{Kind: testca.DNSAliasLoop}),
		broken("dribble", "over TCP half of the answer comes, byte by byte", problemType("dns"), testca.DNSFault{Kind: testca.DNSDribble}),
	}
}

// labCAAHosts are names with CAA records (RFC 8659), and honest otherwise.
func labCAAHosts() []labHost {
	host := func(label string, method dcv.Method, trouble, expected string, records ...string) labHost {
		return labHost{
			Name: label + ".caa." + labDomain, Method: method, Trouble: trouble, Expected: expected,
			build: func(w *labWorlds, name string) error { return w.addCAA(name, records...) },
		}
	}
	broken := func(label, trouble string, fault testca.DNSFault) labHost {
		return labHost{
			Name: label + ".caa." + labDomain, Method: dcv.HTTP01, Trouble: trouble, Expected: problemType("caa"),
			build: func(w *labWorlds, name string) error {
				w.dns.Break(name, dns.TypeCAA, fault)
				return nil
			},
		}
	}
	const caa, http, txt = "caa", dcv.HTTP01, dcv.DNS01
	return []labHost{
		host("ok", http, "nothing; CAA names this gateway", labIssued, `0 issue "`+labCAA+`"`),
		host("forbidden", http, "CAA lets nobody issue", problemType(caa), `0 issue ";"`),
		host("other", http, "CAA names another authority", problemType(caa), `0 issue "ca.example.com"`),
		host("several", http, "CAA names another authority and this one", labIssued, `0 issue "ca.example.com"`, `0 issue "`+labCAA+`"`),
		host("critical", http, "a critical CAA property that nobody knows", problemType(caa), `128 throwaway "1"`),
		host("unknown", http, "a CAA property that nobody knows, not critical", labIssued, `0 throwaway "1"`),
		host("malformed", http, "a CAA value that cannot be read", problemType(caa), `0 issue "% %"`),
		host("account", http, "CAA names another account", problemType(caa), `0 issue "`+labCAA+`; accounturi=https://`+labCAA+`/acme/r/account/another"`),
		host("method", http, "CAA allows dns-01 alone, and it is validated by http-01", problemType(caa), `0 issue "`+labCAA+`; validationmethods=dns-01"`),
		host("method-dns", txt, "CAA allows dns-01 alone, and it is", labIssued, `0 issue "`+labCAA+`; validationmethods=dns-01"`),
		host("wild", http, "CAA forbids wildcards, and it is none", labIssued, `0 issuewild ";"`),
		{Name: "*.wild.caa." + labDomain, Method: txt, Trouble: "CAA forbids wildcards", Expected: problemType(caa)},
		{Name: "below.forbidden.caa." + labDomain, Method: http, Trouble: "CAA of the name above lets nobody issue", Expected: problemType(caa)},
		broken("servfail", "the name servers are out of order for CAA (SERVFAIL)", testca.DNSFault{Kind: testca.DNSServFail}),
		broken("silent", "the name servers never answer for CAA", testca.DNSFault{Kind: testca.DNSSilent}),
		broken("malformed-reply", "the answer for CAA is no DNS message", testca.DNSFault{Kind: testca.DNSMalformed}),
	}
}

// labDNSSECHosts are names in signed zones.
func labDNSSECHosts() []labHost {
	host := func(label, profile, trouble, expected string, state testca.ZoneState) labHost {
		return labHost{
			Name: label + ".dnssec." + labDomain, Method: dcv.HTTP01, Profile: profile, Trouble: trouble, Expected: expected,
			build: func(w *labWorlds, name string) error { return w.signed(name, state) },
		}
	}
	return []labHost{
		host("ok", labDNSSECProfile, "nothing; its zone is signed, as the profile requires", labIssued, testca.ZoneSigned),
		{Name: "unsigned.dnssec." + labDomain, Method: dcv.HTTP01, Profile: labDNSSECProfile, Trouble: "its zone is not signed, and the profile requires it", Expected: problemType("dns")},
		host("bogus", labProfile, "the signatures of its zone do not verify", problemType("dns"), testca.ZoneBogus),
		host("expired", labProfile, "the signatures of its zone have expired", problemType("dns"), testca.ZoneExpired),
		host("stripped", labProfile, "its zone should be signed, and is not", problemType("dns"), testca.ZoneStripped),
	}
}
