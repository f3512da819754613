package policy

import (
	"errors"
	"fmt"
	"net"
	"strings"

	namepolicy "github.com/smallstep/certificates/policy"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// setNames reads the rules about names. It runs after setMethods: wildcards need a method that proves them.
func (p *Profile) setNames(c *checker, cfg Config) {
	p.lists = newNameLists(c, cfg.AllowNames, cfg.DenyNames)
	p.wildcards = cfg.AllowWildcards
	if p.wildcards && !p.wildcardsProvable() {
		c.refuse("allow_wildcards", "none of the methods in dcv_methods (%s) proves a wildcard (Baseline Requirements 3.2.2.4.19, 3.2.2.4.20); add dns-01 there or leave it out", list(p.methods))
	}
	p.internalNames = !p.public
	if cfg.AllowInternalNames != nil {
		p.internalNames = *cfg.AllowInternalNames
		if p.public && p.internalNames {
			c.refuse("allow_internal_names", "public trust has no internal names (Baseline Requirements 7.1.2.7.12); leave it out")
		}
	}
	if p.maxNames < 1 || p.maxNames > MaxNames {
		c.refuse("max_names", "%d is not from 1 to %d", p.maxNames, MaxNames)
	}
}

// CheckNames refuses names that the profile forbids. Every bad name is reported: the error is RejectedIdentifier, or
// UnsupportedIdentifier if all of them are of a kind that is never issued for, with one part each in the request's order
// (RFC 8555, 6.7.1).
func (p *Profile) CheckNames(names []identifier.Identifier) error {
	if len(names) == 0 {
		return problem.New(problem.Malformed, "the request has no names; send at least one")
	}
	if len(names) > p.maxNames {
		return problem.New(problem.RejectedIdentifier, "the request has %d names; the profile %q allows %d in one certificate",
			len(names), p.name, p.maxNames)
	}
	var parts []problem.Part
	kind := problem.UnsupportedIdentifier
	for _, id := range names {
		k, detail := p.checkName(id)
		if detail == "" {
			continue
		}
		parts = append(parts, problem.Part{Identifier: id, Kind: k, Detail: detail})
		if k != problem.UnsupportedIdentifier {
			kind = problem.RejectedIdentifier
		}
	}
	switch len(parts) {
	case 0:
		return nil
	case 1:
		return problem.New(kind, "%s", parts[0].Detail).WithParts(parts)
	default:
		return problem.New(kind, "the profile %q refuses %d of the %d names; each has its reason", p.name, len(parts), len(names)).WithParts(parts)
	}
}

// checkName is the first rule that refuses one name, as what the client reads; detail is empty if none does.
func (p *Profile) checkName(id identifier.Identifier) (kind problem.Kind, detail string) {
	switch id.Type() {
	case identifier.DNS:
		detail = p.checkDNS(id)
	case identifier.IP:
		detail = p.checkIP(id)
	default:
		return problem.UnsupportedIdentifier, fmt.Sprintf("identifiers of type %q are not issued for; send dns or ip", id.Type())
	}
	if detail == "" {
		detail = p.lists.refuse(id, fmt.Sprintf("the profile %q", p.name))
	}
	if detail != "" {
		return problem.RejectedIdentifier, detail
	}
	if !p.Provable(id) {
		return problem.UnsupportedIdentifier, fmt.Sprintf("%s cannot be validated: no method of the profile %q (%s) proves it", id.Value(), p.name, p.provers())
	}
	return 0, ""
}

// checkDNS is about what a DNS name is, whatever the lists say.
func (p *Profile) checkDNS(id identifier.Identifier) string {
	base := id.Base().Value()
	switch {
	case id.IsWildcard() && !p.wildcards:
		return fmt.Sprintf("the profile %q allows no wildcards, and %s is one; name each host", p.name, id.Value())
	case id.IsPublicSuffix(): // Baseline Requirements 3.2.2.6 for wildcards; nobody controls the others alone
		return fmt.Sprintf("%s is a public suffix, under which strangers register names; ask for a name below it", id.Value())
	case base == "onion" || strings.HasSuffix(base, ".onion"): // RFC 7686: never looked up in the DNS
		return fmt.Sprintf("%s is an onion service, which the DNS cannot validate", id.Value())
	case !id.HasListedSuffix() && !p.internalNames:
		return fmt.Sprintf("%s is an internal name: it ends in no public suffix, and the profile %q allows public names alone", id.Value(), p.name)
	case p.public && isReverseZone(base):
		return fmt.Sprintf("%s lies in an IP reverse zone, which public trust excludes (Baseline Requirements 7.1.2.7.12); ask for the address", id.Value())
	}
	return ""
}

func isReverseZone(name string) bool {
	return strings.HasSuffix("."+name, ".in-addr.arpa") || strings.HasSuffix("."+name, ".ip6.arpa")
}

// checkIP is about what an address is, whatever the lists say.
func (p *Profile) checkIP(id identifier.Identifier) string {
	block, special := identifier.Special(id.Addr())
	switch {
	case !special:
		return ""
	case block.Multicast || block.Unspecified:
		return fmt.Sprintf("%s lies in %v (%s) and is no host's address", id.Value(), block.Prefix, block.Name)
	case !p.internalNames:
		return fmt.Sprintf("%s lies in %v (%s), and the profile %q allows global addresses alone", id.Value(), block.Prefix, block.Name, p.name)
	}
	return ""
}

// ask puts one identifier to a list. A name the list cannot be compared with is refused like one that fails.
func ask(rules *namepolicy.NamePolicyEngine, id identifier.Identifier) error {
	if id.Type() == identifier.IP {
		return rules.IsIPAllowed(net.IP(id.Addr().AsSlice()))
	}
	return rules.IsDNSAllowed(id.Value())
}

// reason is the engine's own explanation, which names the entry.
func reason(err error) string {
	if e, ok := errors.AsType[*namepolicy.NamePolicyError](err); ok && e.Detail() != "" {
		return e.Detail()
	}
	return err.Error()
}
