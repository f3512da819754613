package policy

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
)

// New checks a profile once and for all. The error joins a [*ConfigError] for each field that is wrong.
func New(cfg Config) (*Profile, error) {
	c := &checker{profile: cfg.Name}
	p := &Profile{
		name: cfg.Name, description: cfg.Description, issuer: cfg.Issuer, maxNames: cmp.Or(cfg.MaxNames, MaxNames),
	}
	if !isProfileName(cfg.Name) {
		c.refuse("name", "%q is not 1 to 64 letters, digits, hyphens, underscores and dots; it stands in URLs and records", cfg.Name)
	}
	if cfg.Issuer == "" {
		c.refuse("issuer", "is missing; name the issuer that signs")
	}
	switch cmp.Or(cfg.Mode, Private) {
	case Private:
	case Public:
		p.public = true
		if cfg.Now.IsZero() {
			c.refuse("mode", "a public profile is checked against the limits of a day, and no day was given")
		}
	default:
		c.refuse("mode", `%q is none of "private" and "public"`, cfg.Mode)
	}
	p.setTimes(c, cfg)
	p.setKeys(c, cfg)
	p.setUsages(c, cfg)
	p.setMethods(c, cfg)
	p.setTerms(c, cfg)
	p.setDomains(c, cfg)
	p.setRequested(c, cfg)
	p.setApprovals(c, cfg)
	p.setFields(c, cfg)
	p.setCAA(c, cfg)
	p.setDNSSEC(c, cfg)
	p.setNames(c, cfg)
	p.setSubject(c, cfg)
	p.setLint(c, cfg)
	p.setPrivateRanges(c, cfg)
	p.setNumbers(c, cfg)
	p.setServerKeys(c, cfg)
	if err := c.err(); err != nil {
		return nil, err
	}
	p.hash = p.digest()
	return p, nil
}

func isProfileName(s string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
	return s != "" && len(s) <= 64 && strings.Trim(s, allowed) == "" && strings.Trim(s, ".") != ""
}

// setTimes reads validity, backdate and proof lifetime, in public mode against the limits that hold now.
func (p *Profile) setTimes(c *checker, cfg Config) {
	byDefault := DefaultValidityPrivate
	if p.public {
		byDefault = DefaultValidityPublic
	}
	if len(cfg.Terms) > 0 {
		byDefault = slices.Min(cfg.Terms)
	}
	p.validity, p.backdate = cmp.Or(cfg.Validity, byDefault), cfg.Backdate
	p.proofLifetime = cmp.Or(cfg.ProofLifetime, DefaultProofLifetime)
	if p.validity < time.Second || p.validity%time.Second != 0 {
		c.refuse("validity", "%v is not a positive number of whole seconds; write, for example, 2160h", p.validity)
	}
	if p.backdate < 0 || p.backdate%time.Second != 0 || p.backdate >= p.validity {
		c.refuse("backdate", "%v is not a number of whole seconds from zero to less than the validity (%v)", p.backdate, p.validity)
	}
	if p.proofLifetime < time.Second || p.proofLifetime%time.Second != 0 {
		c.refuse("proof_lifetime", "%v is not a positive number of whole seconds; write, for example, 24h", p.proofLifetime)
	}
	if !p.public {
		return
	}
	l := limitAt(cfg.Now)
	if p.validity > l.validity {
		c.refuse("validity", "%v is more than public trust allows at this date (%v, Baseline Requirements 6.3.2); shorten it", p.validity, l.validity)
	}
	if p.proofLifetime > l.reuse {
		c.refuse("proof_lifetime", "%v is more than public trust allows at this date (%v, Baseline Requirements 4.2.1); shorten it", p.proofLifetime, l.reuse)
	}
	if p.backdate > 2*day {
		c.refuse("backdate", "%v is more than the 48h that public trust allows (Baseline Requirements 7.1.2.7); shorten it", p.backdate)
	}
}

// setMethods reads the validation methods.
func (p *Profile) setMethods(c *checker, cfg Config) {
	p.own = cfg.Own
	if p.own {
		p.setOwn(c, cfg)
		p.setRequirement(c, cfg)
		return
	}
	if p.setRequirement(c, cfg); p.requirement != PerRequest {
		return
	}
	p.methods = slices.Compact(slices.Sorted(slices.Values(cfg.DCVMethods)))
	if len(p.methods) == 0 {
		p.methods = []dcv.Method{dcv.HTTP01}
	}
	for _, m := range p.methods {
		if _, known := provable(m); !known || m == Configured || provesDomain(m) && !m.Published() {
			c.refuse("dcv_methods", "%q is no validation method of this gateway; known are %s", m,
				list(append([]dcv.Method{dcv.HTTP01, dcv.DNS01, dcv.TLSALPN01}, publications...)))
		}
	}
}

// setOwn holds the profile of the gateway's own certificate to names that are listed one by one.
func (p *Profile) setOwn(c *checker, cfg Config) {
	p.methods = []dcv.Method{Configured}
	switch {
	case p.public:
		c.refuse("mode", "the gateway's own certificate is issued without a validation, which public trust does not allow")
	case len(cfg.DCVMethods) > 0:
		c.refuse("dcv_methods", "the gateway's own certificate has no validation; leave it empty")
	case len(cfg.AllowNames) == 0:
		c.refuse("allow_names", "the gateway's own names are missing; list each")
	}
	for _, name := range cfg.AllowNames {
		_, dns := identifier.ParseDNS(name)
		_, ip := identifier.ParseIP(name)
		if dns != nil && ip != nil || strings.HasPrefix(name, "*") {
			c.refuse("allow_names", "%q is no name or address of the gateway itself; list each", name)
		}
	}
}

// setLint reads the level of lints.
func (p *Profile) setLint(c *checker, cfg Config) {
	p.lint = cfg.Lint
	if p.lint == "" {
		p.lint = LintRFC
		if p.public {
			p.lint = LintCABF
		}
	}
	switch {
	case p.lint != LintRFC && p.lint != LintCABF:
		c.refuse("lint", `%q is none of "rfc" and "cabf"`, p.lint)
	case p.public && p.lint != LintCABF:
		c.refuse("lint", `a public profile needs "cabf"`)
	}
}

// setPrivateRanges reads the ranges that validation may enter. What it would never enter, and what it may enter anyway,
// is refused: a range in the file that changes nothing misleads its reader.
func (p *Profile) setPrivateRanges(c *checker, cfg Config) {
	p.privateRanges = slices.Clone(cfg.PrivateRanges)
	if p.public && len(p.privateRanges) > 0 {
		c.refuse("private_ranges", "public trust is validated over the public Internet alone; leave it empty")
	}
	for _, r := range p.privateRanges {
		if !r.IsValid() || r != r.Masked() || r.Addr().Is4In6() {
			c.refuse("private_ranges", "%v is not a network prefix such as 10.0.0.0/8", r)
			continue
		}
		block, special := identifier.Special(r.Addr())
		switch {
		case !special:
			c.refuse("private_ranges", "%v is ordinary global address space, which validation enters anyway; leave it out", r)
		case block.Loopback || block.LinkLocal || block.Multicast || block.Unspecified:
			c.refuse("private_ranges", "%v lies in %v (%s), which validation never enters", r, block.Prefix, block.Name)
		case r.Bits() < block.Prefix.Bits():
			c.refuse("private_ranges", "%v is wider than the special-purpose block %v (%s); name each block", r, block.Prefix, block.Name)
		}
	}
	slices.SortFunc(p.privateRanges, netip.Prefix.Compare)
	p.privateRanges = slices.Compact(p.privateRanges)
}
