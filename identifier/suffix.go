package identifier

import (
	"strings"

	"golang.org/x/net/publicsuffix"
)

// HasListedSuffix reports whether a rule of the Public Suffix List, in its ICANN or its private section, matches the
// name; the list's default rule does not count. A DNS name without a listed suffix is an internal name ("localhost",
// "db.corp"). False for addresses.
func (id Identifier) HasListedSuffix() bool {
	if id.typ != DNS {
		return false
	}
	_, listed := suffixOf(id.Base().value)
	return listed || coversSuffixes(id.Base().value)
}

// IsPublicSuffix reports whether the name, a leading "*." left aside, is itself a public suffix, or is a wildcard all of
// whose names are public suffixes (as *.ck is). Nobody may have a certificate for such a name. False for internal names
// and addresses.
func (id Identifier) IsPublicSuffix() bool {
	if id.typ != DNS {
		return false
	}
	base := id.Base().value
	if suffix, listed := suffixOf(base); listed && suffix == base {
		return true
	}
	// A top-level domain whose only rule is a wildcard ("*.ck") is registry ground too.
	return (id.IsWildcard() || !strings.Contains(base, ".")) && coversSuffixes(base)
}

// RegisteredDomain is the public suffix and one label more (eTLD+1): "example.co.uk" for "*.www.example.co.uk". It is
// empty for internal names, public suffixes and addresses.
func (id Identifier) RegisteredDomain() string {
	if !id.HasListedSuffix() {
		return ""
	}
	domain, err := publicsuffix.EffectiveTLDPlusOne(id.Base().value)
	if err != nil { // the name is a public suffix
		return ""
	}
	return domain
}

// suffixOf is the public suffix of a name and whether a rule other than the default one gave it. The package says
// so indirectly: the default rule is not managed by ICANN and gives a single label, which no private rule does.
func suffixOf(name string) (suffix string, listed bool) {
	suffix, icann := publicsuffix.PublicSuffix(name)
	return suffix, icann || strings.Contains(suffix, ".")
}

// coversSuffixes reports whether a wildcard rule of the list stands at name. "*" is no label of any rule but a
// wildcard, so no other rule can match the probe.
func coversSuffixes(name string) bool {
	probe := "*." + name
	suffix, listed := suffixOf(probe)
	return listed && suffix == probe
}
