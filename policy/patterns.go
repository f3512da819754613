package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	namepolicy "github.com/smallstep/certificates/policy"

	"github.com/gatehouse-ca/gatehouse/identifier"
)

// patterns is an allow or deny list, split as the engine wants it; both halves sorted and without duplicates.
type patterns struct {
	dns []string // names and *.names
	ips []string // addresses and ranges
}

// all is the list in one piece, for hashing and messages; never nil, so that it always encodes alike.
func (l patterns) all() []string { return append(append([]string{}, l.dns...), l.ips...) }

// String shows the first entries, for messages.
func (l patterns) String() string {
	const shown = 8
	all := l.all()
	if len(all) > shown {
		return fmt.Sprintf("%s and %d more", strings.Join(all[:shown], ", "), len(all)-shown)
	}
	return strings.Join(all, ", ")
}

// parsePatterns reads one list of the configuration.
func parsePatterns(c *checker, field string, entries []string) patterns {
	var l patterns
	for _, entry := range entries {
		if prefix, err := netip.ParsePrefix(entry); err == nil {
			if prefix != prefix.Masked() || prefix.Addr().Is4In6() {
				c.refuse(field, "%q has bits behind its prefix length; write %v", entry, prefix.Masked())
				continue
			}
			l.ips = append(l.ips, prefix.String())
			continue
		}
		if _, err := netip.ParseAddr(entry); err == nil {
			id, err := identifier.ParseIP(entry)
			if err != nil {
				c.refuse(field, "%v", err)
				continue
			}
			l.ips = append(l.ips, id.Value())
			continue
		}
		id, err := identifier.ParseDNS(entry)
		if err != nil {
			c.refuse(field, "%v; an entry is a name, *.name, an address or a range such as 10.0.0.0/8", err)
			continue
		}
		l.dns = append(l.dns, id.Value())
	}
	slices.Sort(l.dns)
	slices.Sort(l.ips)
	l.dns, l.ips = slices.Compact(l.dns), slices.Compact(l.ips)
	return l
}

// nameLists are an allow and a deny list, ready to be asked.
type nameLists struct {
	allow, deny     patterns
	allowed, denied *namepolicy.NamePolicyEngine
}

// newNameLists reads both lists, as fields allow_names and deny_names.
func newNameLists(c *checker, allow, deny []string) *nameLists {
	l := &nameLists{allow: parsePatterns(c, "allow_names", allow), deny: parsePatterns(c, "deny_names", deny)}
	var err error
	if l.allowed, err = allowing(l.allow); err != nil {
		c.refuse("allow_names", "%v", err)
	}
	if l.denied, err = denying(l.deny); err != nil {
		c.refuse("deny_names", "%v", err)
	}
	return l
}

// refuse says why the lists refuse a name, or "": the deny list is asked first, then the allow list. Whose lists they are
// stands in the text.
func (l *nameLists) refuse(id identifier.Identifier, whose string) string {
	if err := ask(l.denied, id); err != nil {
		return fmt.Sprintf("%s is denied by %s (%s)", id.Value(), whose, reason(err))
	}
	if covered := l.deny.below(id); covered != "" {
		return fmt.Sprintf("%s would also cover %s, which %s denies; name each host", id.Value(), covered, whose)
	}
	if err := ask(l.allowed, id); err != nil {
		return fmt.Sprintf("%s is not among what %s allows: %v", id.Value(), whose, l.allow)
	}
	return ""
}

// below is the first entry that a wildcard would cover. A wildcard stands for exactly one label (RFC 9525, 6.3), and the
// engine compares it as a name of its own.
func (l patterns) below(id identifier.Identifier) string {
	if !id.IsWildcard() {
		return ""
	}
	for _, entry := range l.dns {
		if _, parent, ok := strings.Cut(entry, "."); ok && parent == id.Base().Value() {
			return entry
		}
	}
	return ""
}

// The two lists are two engines. One engine for both would take any address for allowed as soon as an address is denied,
// although the allow list names none. Literal wildcard names are let in by both: whether a profile has wildcards at all is
// decided before the lists are asked. An engine without entries lets everything pass.

func allowing(l patterns) (*namepolicy.NamePolicyEngine, error) {
	return namepolicy.New(
		namepolicy.WithAllowLiteralWildcardNames(),
		namepolicy.WithPermittedDNSDomains(l.dns...),
		namepolicy.WithPermittedIPsOrCIDRs(l.ips...),
	)
}

func denying(l patterns) (*namepolicy.NamePolicyEngine, error) {
	return namepolicy.New(
		namepolicy.WithAllowLiteralWildcardNames(),
		namepolicy.WithExcludedDNSDomains(l.dns...),
		namepolicy.WithExcludedIPsOrCIDRs(l.ips...),
	)
}
