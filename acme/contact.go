package acme

import (
	"strings"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

const (
	maxContacts  = 10
	maxLocalPart = 64  // RFC 5321, 4.5.3.1.1
	maxAddress   = 254 // RFC 5321, 4.5.3.1.3, less the angle brackets
)

// checkContacts holds an account's contacts to RFC 8555, 7.3: mailto URLs (RFC 6068) with one plain address each. An
// address that would need quoting, in mail or in a URL, is refused: we write it into mail headers later.
func checkContacts(contacts []string) error {
	if len(contacts) > maxContacts {
		return problem.New(problem.InvalidContact, "%d contacts are given; at most %d are kept", len(contacts), maxContacts)
	}
	for i, contact := range contacts {
		scheme, address, ok := strings.Cut(contact, ":")
		if !ok || !strings.EqualFold(scheme, "mailto") { // RFC 3986, 3.1: schemes are case-insensitive
			return problem.New(problem.UnsupportedContact, "contact %d is no mailto URL; only those are supported, as in mailto:admin@example.com", i+1)
		}
		if reason := checkAddress(address); reason != "" {
			return problem.New(problem.InvalidContact, "contact %d: %s", i+1, reason)
		}
	}
	return nil
}

// checkAddress returns why address is no addr-spec made of a dot-atom and a domain name (RFC 5322, 3.4.1), or "".
func checkAddress(address string) string {
	switch {
	case address == "":
		return "the address is empty"
	case len(address) > maxAddress:
		return "the address is longer than 254 characters"
	case strings.Contains(address, "?"): // RFC 8555, 7.3: no hfields
		return "header fields (everything from the question mark) are not allowed"
	case strings.Contains(address, ","): // RFC 8555, 7.3: no more than one addr-spec
		return "give one address in each contact"
	}
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return "the address has no @"
	}
	local := address[:at]
	if len(local) > maxLocalPart {
		return "what stands before the @ is longer than 64 characters"
	}
	for atom := range strings.SplitSeq(local, ".") {
		if atom == "" || strings.ContainsFunc(atom, notAtext) {
			return "what stands before the @ must be letters, digits and !#$&'*+-/=^_`{|}~, in parts joined by single dots"
		}
	}
	if domain, err := identifier.ParseDNS(address[at+1:]); err != nil || domain.IsWildcard() {
		return "what stands behind the @ is no domain name"
	}
	return ""
}

// notAtext tells what is not atext (RFC 5322, 3.2.3). "%" is atext but begins an escape in a URL (RFC 6068, 2), so it
// could be read in two ways and is refused.
func notAtext(c rune) bool {
	return (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && !strings.ContainsRune("!#$&'*+-/=^_`{|}~", c)
}
