package identifier

import (
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

const (
	maxName  = 253 // RFC 1035, 2.3.4: 255 octets on the wire leave 253 in text without the trailing dot
	maxLabel = 63  // RFC 1035, 2.3.4
)

// registration validates labels as a registry would (RFC 5891, section 4), without any mapping. Symbols and emoji, which
// IDNA 2008 forbids and UTS 46 permits, pass: such names are registered and resolve. It is read only.
var registration = idna.New(idna.ValidateForRegistration())

// ParseDNS makes an identifier from a DNS name: letters, digits and hyphens (RFC 1123, 2.1), internationalised labels as
// valid, canonical A-labels (RFC 5890, 2.3.2.1; RFC 8555, 7.1.4 asks for them on input), "*" only as the whole leftmost
// label. Upper case is folded. A name of one label passes: whether internal names may be issued for is policy. The error
// is a [*ParseError] that says what would pass.
func ParseDNS(s string) (Identifier, error) {
	if reason := checkName(s); reason != "" {
		return refuse(s, "%s", reason)
	}
	value := strings.ToLower(s) // ASCII only, as checked
	for label := range strings.SplitSeq(value, ".") {
		if reason := checkALabel(label); reason != "" {
			return refuse(s, "%s", reason)
		}
	}
	return Identifier{typ: DNS, value: value}, nil
}

// checkName returns why s is no LDH name with an optional wildcard label, or "".
func checkName(s string) string {
	switch {
	case s == "":
		return "a DNS name is empty"
	case !isASCII(s):
		return adviseALabel(s)
	case strings.HasSuffix(s, "."):
		return "a trailing dot is refused; leave it out"
	case s == "*":
		return "a wildcard needs a name after it, as in *.example.com"
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return `this is an IP address; send it with type "ip" (RFC 8738)`
	}
	// The length limit holds for the name as it stands in the certificate, wildcard label included.
	if len(s) > maxName {
		return "the name is longer than 253 characters (RFC 1035, 2.3.4)"
	}
	rest := strings.TrimPrefix(s, "*.")
	last := ""
	for label := range strings.SplitSeq(rest, ".") {
		if reason := checkLabel(label); reason != "" {
			return reason
		}
		last = label
	}
	// URL parsers take a host that ends in a number for an IPv4 address, in decimal, octal or hexadecimal.
	if isNumber(last) {
		return "the last label is a number, so the name could be taken for an IP address"
	}
	return ""
}

// checkLabel returns why label is no LDH label (RFC 5890, 2.3.1), or "".
func checkLabel(label string) string {
	switch {
	case label == "":
		return "a label is empty: a dot stands at the start or two dots stand together"
	case len(label) > maxLabel:
		return "the label " + shorten(label) + " is longer than 63 characters (RFC 1035, 2.3.4)"
	case strings.Contains(label, "*"):
		return `"*" is allowed only as the whole leftmost label, as in *.example.com`
	case strings.Contains(label, "_"):
		return "the label " + shorten(label) + " holds an underscore, which host names do not (RFC 1123, 2.1)"
	}
	for i := range len(label) {
		if c := label[i]; !isLetterOrDigit(c) && c != '-' {
			return "the label " + shorten(label) + " holds something other than letters, digits and hyphens (RFC 1123, 2.1)"
		}
	}
	if label[0] == '-' || label[len(label)-1] == '-' {
		return "the label " + shorten(label) + " begins or ends with a hyphen (RFC 1123, 2.1)"
	}
	return ""
}

// checkALabel returns why a lower-case LDH label with hyphens in third and fourth place is no A-label, or "".
func checkALabel(label string) string {
	if len(label) < 4 || label[2:4] != "--" {
		return ""
	}
	if !strings.HasPrefix(label, "xn--") {
		// RFC 5890, 2.3.1: reserved LDH labels other than A-labels have no meaning.
		return "the label " + shorten(label) + " has hyphens in third and fourth place but is no A-label (RFC 5890, 2.3.1)"
	}
	unicode, err := registration.ToUnicode(label)
	if err != nil || isASCII(unicode) {
		return "the label " + shorten(label) + " does not decode to a valid U-label (RFC 5890, 2.3.2.1)"
	}
	// RFC 5890, 2.3.2.1: an A-label and its U-label convert into each other without loss.
	if back, err := registration.ToASCII(unicode); err != nil || back != label {
		return "the label " + shorten(label) + " is not the canonical A-label of its U-label (RFC 5890, 2.3.2.1)"
	}
	return ""
}

// adviseALabel words the refusal of a name with U-labels (RFC 8555, 7.1.4) and says which form to send.
func adviseALabel(s string) string {
	wildcard, rest := "", s
	if after, ok := strings.CutPrefix(s, "*."); ok {
		wildcard, rest = "*.", after
	}
	// Lookup maps what people type (case, width, dots) to the form a registry holds; it lets a few invalid characters
	// through, so what is advised is parsed like any other input.
	ascii, err := idna.Lookup.ToASCII(rest)
	if err == nil {
		_, err = ParseDNS(wildcard + ascii)
	}
	if err != nil {
		return "the name holds characters outside ASCII that form no internationalised domain name (RFC 5891)"
	}
	return "internationalised names are sent as A-labels (RFC 8555, 7.1.4); send " + shorten(wildcard+ascii)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func isLetterOrDigit(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// isNumber reports whether a label is digits, or 0x with nothing but hexadecimal digits behind it.
func isNumber(label string) bool {
	digits, hex := strings.CutPrefix(strings.ToLower(label), "0x")
	for i := range len(digits) {
		c := digits[i]
		if '0' <= c && c <= '9' || hex && 'a' <= c && c <= 'f' {
			continue
		}
		return false
	}
	return true
}
