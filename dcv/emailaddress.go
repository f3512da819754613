package dcv

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gatehouse-ca/gatehouse/identifier"
)

const (
	maxLocalPart = 64  // RFC 5321, 4.5.3.1.1
	maxEmail     = 254 // RFC 5321, 4.5.3.1.3: a path of 256 octets with its angle brackets
)

// localPart are the characters of a local part besides the dot. RFC 5322 has more. Those left out mean something to one mail
// server or another: a route ("%", "!"), a pipe or file ("|", "/"), a quotation.
const localPart = alphanumerics + "-_+="

// ParseEmail reads an address of the form local@domain: a dot-atom of letters, digits, "-", "_", "+" and "=" that does not
// begin with a hyphen, and a DNS name, all in ASCII, with nothing around them. No quotation, comment, display name or domain
// literal is one: what a parser makes of those, a mail server may read otherwise. The result has its domain in lower case.
func ParseEmail(text string) (string, error) {
	local, domain, ok := strings.Cut(text, "@")
	switch {
	case !ok || strings.Contains(domain, "@"):
		return "", fmt.Errorf("%s is no address of the form local@domain", quote(text))
	case len(text) > maxEmail || len(local) > maxLocalPart:
		return "", fmt.Errorf("%s is longer than an address may be (RFC 5321, 4.5.3.1)", quote(text))
	}
	for atom := range strings.SplitSeq(local, ".") {
		if atom == "" || strings.Trim(atom, localPart) != "" {
			return "", fmt.Errorf("%s: the part before the @ is not words of letters, digits and - _ + = joined by single dots", quote(text))
		}
	}
	if local[0] == '-' { // some programs would take it for an option
		return "", fmt.Errorf("%s begins with a hyphen", quote(text))
	}
	name, err := identifier.ParseDNS(domain)
	if err == nil && name.IsWildcard() {
		err = errors.New("the part behind the @ is a wildcard")
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", quote(text), err)
	}
	return local + "@" + name.Value(), nil
}

// emailDomain is the part of a parsed address behind the @.
func emailDomain(address string) string {
	_, domain, _ := strings.Cut(address, "@")
	return domain
}
