package identifier

import (
	"net/netip"
)

// SpecialRange is a block of addresses with a meaning of its own: an entry of the IANA special-purpose registries
// (RFC 6890) or of the multicast registries. The flags class what the block holds; an address that carries an IPv4
// address inside (mapped, 6to4, NAT64 …) has that address's flags too.
type SpecialRange struct {
	Prefix      netip.Prefix
	Name        string // as the registry calls it
	RFC         string // the defining document
	Loopback    bool   // the host itself
	LinkLocal   bool   // the attached link
	Multicast   bool   // a group
	Private     bool   // a site or operator: RFC 1918, RFC 4193, RFC 6598, site-local
	Unspecified bool   // no host at all: "this network", the unspecified and the broadcast address
}

// Special finds the most specific special-purpose block that addr lies in; false means an ordinary global address.
// IPv4-mapped addresses are found as ::ffff:0:0/96, so callers need not unmap first; a zone is ignored. The invalid
// address counts as special and unspecified: a caller that forgot an error check refuses.
func Special(addr netip.Addr) (SpecialRange, bool) {
	if !addr.IsValid() {
		return SpecialRange{Name: "invalid address", Unspecified: true}, true
	}
	addr = addr.WithZone("")
	best, found := SpecialRange{}, false
	for _, r := range specialRanges {
		if r.Prefix.Contains(addr) && (!found || r.Prefix.Bits() > best.Prefix.Bits()) {
			best, found = r, true
		}
	}
	if inner, ok := embedded(addr); ok && found {
		if r, special := Special(inner); special {
			best.Loopback = best.Loopback || r.Loopback
			best.LinkLocal = best.LinkLocal || r.LinkLocal
			best.Multicast = best.Multicast || r.Multicast
			best.Private = best.Private || r.Private
			best.Unspecified = best.Unspecified || r.Unspecified
		}
	}
	return best, found
}

// Metadata reports whether addr is where a cloud hands credentials to its own machines. Some of these look like ordinary
// global or private addresses, so no rule about ranges covers them. An address that carries such an IPv4 address counts.
func Metadata(addr netip.Addr) bool {
	addr = addr.WithZone("")
	for _, m := range metadataAddresses {
		if m == addr {
			return true
		}
	}
	inner, ok := embedded(addr)
	return ok && Metadata(inner)
}

// embedded is the IPv4 address that an IPv6 address carries and that a router or the host's own stack would reach
// through it: mapped and compatible (RFC 4291, 2.5.5), NAT64 (RFC 6052, 2.2; RFC 8215 with the /96 format), 6to4
// (RFC 3056, section 2) and Teredo (RFC 4380, section 4, inverted).
func embedded(addr netip.Addr) (netip.Addr, bool) {
	if !addr.Is6() {
		return netip.Addr{}, false
	}
	b := addr.As16()
	switch {
	case addr.Is4In6(), compatible.Contains(addr) && !isLowest(addr), nat64.Contains(addr), nat64Local.Contains(addr):
		return netip.AddrFrom4([4]byte(b[12:16])), true
	case sixToFour.Contains(addr):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	case teredo.Contains(addr):
		return netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]}), true
	}
	return netip.Addr{}, false
}

// isLowest reports whether addr is :: or ::1, which have their own registry entries and carry nothing.
func isLowest(addr netip.Addr) bool {
	return addr == netip.IPv6Unspecified() || addr == netip.IPv6Loopback()
}
