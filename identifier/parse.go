package identifier

import (
	"fmt"
	"net/netip"
	"strings"
)

// ParseError says why a text is no identifier. Its text may be shown to the client: it repeats nothing but the client's
// own input, quoted and cut to a readable length.
type ParseError struct {
	Value  string // as given
	Reason string // what is wrong and what would pass
	// UnknownType is set when the type, not the value, was refused (RFC 8555, 7.4: unsupportedIdentifier).
	UnknownType bool
}

// Error is the quoted value and the reason.
func (e *ParseError) Error() string { return shorten(e.Value) + ": " + e.Reason }

// shorten quotes s for a message; input is bounded by the door, but nobody wants to read 64 KiB back.
func shorten(s string) string {
	const limit = 256 // longer than any valid name
	if len(s) > limit {
		return fmt.Sprintf("%q… (%d bytes)", s[:limit], len(s))
	}
	return fmt.Sprintf("%q", s)
}

func refuse(value, format string, args ...any) (Identifier, error) {
	return Identifier{}, &ParseError{Value: value, Reason: fmt.Sprintf(format, args...)}
}

// Parse makes an identifier from a type and a value as they stand in an order (RFC 8555, 7.1.3) or a record. The error
// is a [*ParseError].
func Parse(typ, value string) (Identifier, error) {
	switch Type(typ) {
	case DNS:
		return ParseDNS(value)
	case IP:
		return ParseIP(value)
	default:
		return Identifier{}, &ParseError{
			Value:       typ,
			Reason:      `this identifier type is not known; send "dns" (RFC 8555) or "ip" (RFC 8738)`,
			UnknownType: true,
		}
	}
}

// ParseIP makes an identifier from the text of an IPv4 or IPv6 address in its one canonical form (RFC 8738, section 3:
// IPv4 as in RFC 1123, 2.1; IPv6 as in RFC 5952, section 4). Zones and IPv4-mapped IPv6 addresses are refused: the first
// mean something on one host only, the second are a second spelling of an IPv4 address. The error is a [*ParseError].
func ParseIP(s string) (Identifier, error) {
	if s == "" {
		return refuse(s, "an IP address is empty")
	}
	addr, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return refuse(s, "this is not an IPv4 or IPv6 address; send it without brackets, port or prefix length")
	case addr.Zone() != "":
		return refuse(s, "an IPv6 zone has no meaning in a certificate; send %q", addr.WithZone("").String())
	case addr.Is4In6():
		return refuse(s, "an IPv4-mapped IPv6 address is refused; send %q", addr.Unmap().String())
	case addr.String() != s:
		return refuse(s, "the address is not in its canonical form (RFC 8738, section 3); send %q", addr.String())
	}
	return Identifier{typ: IP, value: s}, nil
}

// FromAddr is the identifier of an address that was decoded from bytes, such as an iPAddress in a CSR. An IPv4-mapped
// address becomes the IPv4 address, a zone is dropped; the invalid address gives the zero Identifier.
func FromAddr(addr netip.Addr) Identifier {
	if !addr.IsValid() {
		return Identifier{}
	}
	return Identifier{typ: IP, value: addr.Unmap().WithZone("").String()}
}

// Addr is the address of an IP identifier; for any other the invalid address.
func (id Identifier) Addr() netip.Addr {
	if id.typ != IP {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(id.value)
	if err != nil {
		return netip.Addr{} // cannot happen: only this package makes the value
	}
	return addr
}

// IsWildcard reports whether id is a DNS name whose leftmost label is "*" (RFC 8555, 7.1.3; RFC 9525, 6.3).
func (id Identifier) IsWildcard() bool { return id.typ == DNS && strings.HasPrefix(id.value, "*.") }

// Base is id without a leading "*.": the name that is validated and that ACME authorizations carry (RFC 8555, 7.1.4).
func (id Identifier) Base() Identifier {
	if !id.IsWildcard() {
		return id
	}
	return Identifier{typ: DNS, value: id.value[len("*."):]}
}
