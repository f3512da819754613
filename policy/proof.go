package policy

import (
	"fmt"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
)

// acmePrincipal begins the principal of an ACME account; its number follows.
const acmePrincipal = "acme:"

// System is the principal of the gateway itself.
const System = "system"

// Configured is the method of a proof that nothing was asked for: the operator's configuration says which names are the
// gateway's own ([Config.Own]). It is no validation, so no door offers it and no other profile takes it.
const Configured dcv.Method = "configured"

// maxSkew is how far a proof's time may lie ahead of ours: another gateway made it, by its own clock. Offsets beyond this
// stop issuance altogether.
const maxSkew = 30 * time.Second

// scope says what proofs by one method can prove.
type scope struct {
	wildcards bool // a proof for the base name covers its wildcard
	addresses bool // IP identifiers
}

// provable is the scope of a method; false for a method whose proofs count for nothing.
func provable(m dcv.Method) (scope, bool) {
	switch m {
	case dcv.HTTP01:
		// Baseline Requirements 3.2.2.4.19: control of a web server shows nothing about other hosts below the name.
		return scope{addresses: true}, true // RFC 8738, section 4
	case dcv.DNS01:
		// Baseline Requirements 3.2.2.4.7; RFC 8738, section 7, rules out addresses.
		return scope{wildcards: true}, true
	case dcv.TLSALPN01:
		// Baseline Requirements 3.2.2.4.20: as http-01; RFC 8738, section 5.
		return scope{addresses: true}, true
	case dcv.HTTPFile, dcv.HTTPSFile, dcv.CSRHashHTTP, dcv.CSRHashHTTPS:
		// Baseline Requirements 3.2.2.4.18: since 2021-12-01 neither wildcards nor anything below the name; addresses 3.2.2.5.1.
		return scope{addresses: true}, true
	case dcv.DNSTXT, dcv.DNSCNAME, dcv.CSRHashCNAME:
		return scope{wildcards: true}, true // Baseline Requirements 3.2.2.4.7
	case dcv.EmailConstructed:
		return scope{wildcards: true}, true // Baseline Requirements 3.2.2.4.4
	case dcv.EmailCAA, dcv.EmailTXT:
		// Baseline Requirements 3.2.2.4.13 and .14 would let them cover wildcards and names below. Certificates were
		// misissued on published addresses, so here they are about the name that published them.
		return scope{}, true
	case Configured:
		return scope{addresses: true}, true
	default:
		return scope{}, false
	}
}

// canProve reports whether a method can prove control over an identifier.
func canProve(m dcv.Method, id identifier.Identifier) bool {
	s, known := provable(m)
	switch {
	case !known || id.IsZero():
		return false
	case id.Type() == identifier.IP:
		return s.addresses
	case id.IsWildcard():
		return s.wildcards
	}
	return true
}

// ProofLifetime is how long after its validation a proof may be used, as configured. A limit of public mode that falls
// later shortens it from that day on.
func (p *Profile) ProofLifetime() time.Duration { return p.proofLifetime }

// ProofUntil is the end of use of a proof whose validation ended at a time: what [dcv.Proof.Until] is set to.
func (p *Profile) ProofUntil(at time.Time) time.Time { return at.Add(p.reuseAt(at)) }

func (p *Profile) reuseAt(now time.Time) time.Duration {
	if p.public {
		return min(p.proofLifetime, limitAt(now).reuse)
	}
	return p.proofLifetime
}

// Suffices reports whether a proof lets the requester have a certificate for the identifier at now.
func (p *Profile) Suffices(proof Proven, r Requester, id identifier.Identifier, now time.Time) bool {
	return p.lacking(proof, r, id, now) == ""
}

// lacking says why a proof does not let the requester have the identifier, or "". The owner comes first: nothing about
// another's proof is told.
func (p *Profile) lacking(proof Proven, r Requester, id identifier.Identifier, now time.Time) string {
	if p.requirement == NoValidation {
		return p.lackingRecord(proof, r, id, now)
	}
	if proof.Owner != 0 {
		return p.lackingDomain(proof, r, id, now)
	}
	switch {
	case proof.Org != r.Org || proof.Account != accountOf(r) || !madeFor(proof, r):
		return fmt.Sprintf("%s has no proof of control that belongs to the requester; validate it", id.Value())
	case proof.Identifier != id && proof.Identifier != id.Base():
		return fmt.Sprintf("%s has no proof of control; validate it", id.Value())
	case p.requirement == PerDomain:
		return fmt.Sprintf("%s was validated by %s, and the profile %q takes proofs of domains alone; %s", id.Value(), proof.Method, p.name, domainRemedy)
	case !p.counts(proof.Method):
		return fmt.Sprintf("%s was validated by %s, which the profile %q does not take; validate it by one of %s",
			id.Value(), proof.Method, p.name, list(p.methods))
	case !canProve(proof.Method, id):
		return fmt.Sprintf("%s cannot be proved by %s", id.Value(), proof.Method)
	case proof.At.IsZero() || proof.At.After(now.Add(maxSkew)):
		return fmt.Sprintf("%s was validated at no possible time (%s); validate it again", id.Value(), proof.At.UTC().Format(time.RFC3339))
	case !p.secureEnough(proof.Secure):
		return fmt.Sprintf("%s was validated by DNS answers that DNSSEC did not authenticate, which the profile %q requires; validate it again", id.Value(), p.name)
	case !now.Before(proof.At.Add(p.reuseAt(now))) || !proof.Until.IsZero() && !now.Before(proof.Until):
		return fmt.Sprintf("%s was validated at %s, which is too long ago; validate it again", id.Value(), proof.At.UTC().Format(time.RFC3339))
	}
	return ""
}

// accountOf is the ACME account whose proofs a requester may use. It is empty for everyone else, whose proofs are the
// organisation's own: a proof made in a challenge never leaves its account.
func accountOf(r Requester) string {
	account, _ := strings.CutPrefix(r.Principal, acmePrincipal)
	if account == r.Principal {
		return ""
	}
	return account
}

func (p *Profile) counts(m dcv.Method) bool {
	for _, own := range p.methods {
		if m == own {
			return true
		}
	}
	return false
}
