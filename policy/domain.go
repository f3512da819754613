package policy

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
)

// A domain is validated once for its organisation, and its proof then stands for whoever asks on behalf of that organisation
// or of one it is delegated to. By Baseline Requirements 3.2.2.4.7 a proof in the DNS covers the name and all below it; one
// by a file covers the very name alone (3.2.2.4.18). By 3.2.2.4.4 one by a mail to a constructed address covers the validated
// name and all below it, also if the address is a parent domain's: never another name below that parent. One by a mail to an
// address that the name publishes covers that name alone.

// provesDomain reports whether a method is one that domains are validated by. No profile lists them: [Config.DelegatedDomains]
// takes them all.
func provesDomain(m dcv.Method) bool {
	switch m {
	case dcv.HTTPFile, dcv.HTTPSFile, dcv.DNSTXT, dcv.DNSCNAME:
		return true
	default:
		return byEmail(m)
	}
}

// byEmail reports whether a person confirmed a mail.
func byEmail(m dcv.Method) bool {
	return m == dcv.EmailConstructed || m == dcv.EmailCAA || m == dcv.EmailTXT
}

// coversBelow reports whether a domain's proof covers the names below it.
func coversBelow(m dcv.Method) bool {
	return m == dcv.DNSTXT || m == dcv.DNSCNAME || m == dcv.EmailConstructed
}

// covers reports whether a domain's proof is about an identifier.
func covers(proof Proven, id identifier.Identifier) bool {
	domain := proof.Identifier
	if id.IsZero() || id.Type() != identifier.DNS || domain.Type() != identifier.DNS || domain.IsWildcard() || !provesDomain(proof.Method) {
		return false
	}
	if !coversBelow(proof.Method) {
		return id == domain
	}
	if domain.IsPublicSuffix() || id.IsPublicSuffix() || !inside(domain.Value(), cmp.Or(id.RegisteredDomain(), domain.Value())) {
		return false // a public suffix lies at the name, at the domain or between them (Baseline Requirements 3.2.2.6)
	}
	return inside(id.Base().Value(), domain.Value())
}

// inside reports whether a name is another one or below it.
func inside(name, other string) bool {
	return name == other || strings.HasSuffix(name, "."+other)
}

// lackingDomain is lacking for the proof of a domain.
func (p *Profile) lackingDomain(proof Proven, r Requester, id identifier.Identifier, now time.Time) string {
	switch {
	case proof.Org != r.Org || proof.Account != "":
		return fmt.Sprintf("%s has no proof of control that belongs to the requester; validate it", id.Value())
	case !covers(proof, id):
		return fmt.Sprintf("%s is not covered by what was validated for the domain %s by %s; validate it", id.Value(), proof.Identifier.Value(), proof.Method)
	case !proof.Uses.Allow(proof.Identifier, id):
		return fmt.Sprintf("the organisation may not use the domain %s for %s; who manages the owner's domains gives it more, or validate the name", proof.Identifier.Value(), id.Value())
	case !p.domains:
		return fmt.Sprintf("%s was validated for the domain %s, which does not count under the profile %q; validate it by one of %s",
			id.Value(), proof.Identifier.Value(), p.name, list(p.methods))
	case p.public && byEmail(proof.Method) && limitAt(now).noEmail:
		return fmt.Sprintf("the domain %s was validated by e-mail, which public trust takes no more since %s (Baseline Requirements 3.2.2.4); validate it by a TXT record",
			proof.Identifier.Value(), EmailEnds().Format(time.DateOnly))
	case proof.At.IsZero() || proof.At.After(now.Add(maxSkew)):
		return fmt.Sprintf("the domain %s was validated at no possible time (%s); validate it again", proof.Identifier.Value(), proof.At.UTC().Format(time.RFC3339))
	case !p.secureEnough(proof.Secure):
		return fmt.Sprintf("the domain %s was validated by DNS answers that DNSSEC did not authenticate, which the profile %q requires; validate it again", proof.Identifier.Value(), p.name)
	case !now.Before(proof.At.Add(p.domainReuseAt(now))) || !proof.Until.IsZero() && !now.Before(proof.Until):
		return fmt.Sprintf("the domain %s was validated at %s, which is too long ago; validate it again", proof.Identifier.Value(), proof.At.UTC().Format(time.RFC3339))
	}
	return ""
}

// DelegatedDomains reports whether proofs of domains count.
func (p *Profile) DelegatedDomains() bool { return p.domains }

// DomainProofUntil is the end of use, under this profile and by what holds at now, of a domain's proof that was made by a method
// at a time. It is at itself where such proofs do not count.
func (p *Profile) DomainProofUntil(m dcv.Method, at, now time.Time) time.Time {
	until := at.Add(p.domainReuseAt(now))
	if ends := EmailEnds(); p.public && byEmail(m) && until.After(ends) {
		return ends
	}
	return until
}

func (p *Profile) domainReuseAt(now time.Time) time.Duration {
	if p.public {
		return min(p.domainReuse, limitAt(now).reuse)
	}
	return p.domainReuse
}

// setDomains reads whether proofs of domains count, and for how long.
func (p *Profile) setDomains(c *checker, cfg Config) {
	if p.requirement == NoValidation {
		return // setRequirement has refused what is not for it
	}
	if !cfg.DelegatedDomains && p.requirement != PerDomain {
		if cfg.DomainProofLifetime != 0 {
			c.refuse("domain_proof_lifetime", "the profile takes no proofs of domains; add delegated_domains: true or leave it out")
		}
		return
	}
	if p.own {
		c.refuse("delegated_domains", "the gateway's own certificate has no validation; leave it out")
	}
	byDefault := DefaultDomainProofLifetimePrivate
	if p.public {
		byDefault = DefaultDomainProofLifetimePublic
	}
	p.domains, p.domainReuse = true, cmp.Or(cfg.DomainProofLifetime, byDefault)
	switch {
	case p.domainReuse < time.Second || p.domainReuse%time.Second != 0:
		c.refuse("domain_proof_lifetime", "%v is not a positive number of whole seconds; write, for example, 2160h", p.domainReuse)
	case p.public && p.domainReuse > limitAt(cfg.Now).reuse:
		c.refuse("domain_proof_lifetime", "%v is more than public trust allows at this date (%v, Baseline Requirements 4.2.1); shorten it", p.domainReuse, limitAt(cfg.Now).reuse)
	}
}
