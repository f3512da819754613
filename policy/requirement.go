package policy

import (
	"fmt"
	"slices"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// Requirement says which validation of control over its names a certificate needs.
type Requirement string

// The requirements.
const (
	// PerRequest is a validation for the requester by one of the profile's methods; with [Config.DelegatedDomains] the proof of a
	// domain stands for it.
	PerRequest Requirement = "request"
	// PerDomain is the proof of a domain that the organisation owns or that is delegated to it, and nothing else.
	PerDomain Requirement = "domain"
	// NoValidation is none: the profile's list of names decides alone. It is for issuers of the operator's own.
	NoValidation Requirement = "none"
)

// NotRequired is the method of what stands in a proof's place where a profile requires none ([Profile.Unvalidated]): it records
// that control was not validated, and why it had not to be. No door offers it and no profile that requires a validation takes it.
const NotRequired dcv.Method = "not-required"

// domainRemedy is what a requester whose name no domain covers can do about it.
const domainRemedy = "have a domain that covers it validated for the organisation (gatehouse domain add), or delegated to it by the organisation that owns it"

// Requirement is the profile's.
func (p *Profile) Requirement() Requirement { return p.requirement }

// Unvalidated is what stands in the place of proofs for a requester and names at a time, under a profile that requires no
// validation: one for each name, to be recorded with the certificate. Nil under every other profile.
func (p *Profile) Unvalidated(r Requester, names []identifier.Identifier, at time.Time) []Proven {
	if p.requirement != NoValidation {
		return nil
	}
	var all []Proven
	for _, id := range identifier.SortUnique(names) {
		all = append(all, Proven{
			Proof: dcv.Proof{
				Method: NotRequired, Identifier: id, At: at.UTC().Truncate(time.Second),
				Seen: fmt.Sprintf("no validation was required: the profile %q allows the name and has dcv: none", p.name),
			},
			Org: r.Org, Account: accountOf(r),
		})
	}
	return all
}

// Provable reports whether an identifier can be had under the profile at all: some method proves it, or none is required.
func (p *Profile) Provable(id identifier.Identifier) bool {
	switch p.requirement {
	case NoValidation:
		return !id.IsZero()
	case PerDomain: // domains are names
		return !id.IsZero() && id.Type() == identifier.DNS
	default:
		return len(p.MethodsFor(id)) > 0
	}
}

// CheckDomains refuses (RejectedIdentifier, one part for each) names that have no proof of a domain, under a profile that takes
// nothing else: a door asks before it makes anything that could never be finished. found has the proof of each name, nil for those
// that have none; what it lacks at its end counts as nil. The signing gate asks again ([Profile.Decide]).
func (p *Profile) CheckDomains(names []identifier.Identifier, found []*Proven) error {
	if p.requirement != PerDomain {
		return nil
	}
	var parts []problem.Part
	for i, id := range names {
		if i >= len(found) || found[i] == nil {
			parts = append(parts, problem.Part{Identifier: id, Kind: problem.RejectedIdentifier, Detail: p.unvalidated(id)})
		}
	}
	switch len(parts) {
	case 0:
		return nil
	case 1:
		return problem.New(problem.RejectedIdentifier, "%s", parts[0].Detail).WithParts(parts)
	default:
		return problem.New(problem.RejectedIdentifier, "%d of the %d names are covered by no validated domain of the organisation, and the profile %q takes nothing else; %s",
			len(parts), len(names), p.name, domainRemedy).WithParts(parts)
	}
}

// provers says what could prove an identifier and does not, for the refusal of one that nothing proves.
func (p *Profile) provers() string {
	if p.requirement == PerDomain {
		return "validated domains alone"
	}
	return list(p.methods)
}

// lackingRecord is lacking under a profile that requires no validation: what it wants is the record of that, made for this very
// requester and name. It does not grow old.
func (p *Profile) lackingRecord(proof Proven, r Requester, id identifier.Identifier, now time.Time) string {
	switch {
	case proof.Method != NotRequired || proof.Owner != 0 || proof.Org != r.Org || proof.Account != accountOf(r) || proof.Identifier != id:
		return noRecord(id)
	case proof.At.IsZero() || proof.At.After(now.Add(maxSkew)):
		return fmt.Sprintf("%s has a record of no possible time (%s); make a new request", id.Value(), proof.At.UTC().Format(time.RFC3339))
	}
	return ""
}

func noRecord(id identifier.Identifier) string {
	return fmt.Sprintf("%s has no record that no validation was required of the requester; make a new request", id.Value())
}

// unvalidated is the refusal of a name about which there is no proof at all.
func (p *Profile) unvalidated(id identifier.Identifier) string {
	switch p.requirement {
	case NoValidation:
		return noRecord(id)
	case PerDomain:
		return fmt.Sprintf("%s is covered by no validated domain of the organisation, and the profile %q takes nothing else; %s", id.Value(), p.name, domainRemedy)
	}
	return fmt.Sprintf("%s has no proof of control; validate it", id.Value())
}

// setRequirement reads which validation is needed. Of a profile that needs none, or that of a domain alone, it reads the methods
// as well: there are none to choose.
func (p *Profile) setRequirement(c *checker, cfg Config) {
	p.requirement = cfg.DCV
	switch cfg.DCV {
	case "", PerRequest:
		p.requirement = PerRequest
		return
	case PerDomain, NoValidation:
	default:
		c.refuse("dcv", "%q is none of %q, %q and %q", cfg.DCV, NoValidation, PerDomain, PerRequest)
		return
	}
	if p.own {
		c.refuse("dcv", "the gateway's own certificate has no validation; leave it out")
		return
	}
	needless := func(field, what string, given bool) {
		if given {
			c.refuse(field, "with dcv: %s %s; leave it out", p.requirement, what)
		}
	}
	needless("dcv_methods", "nobody is asked to prove control of a name by request", len(cfg.DCVMethods) > 0)
	needless("proof_lifetime", "no proofs are made by request", cfg.ProofLifetime != 0)
	needless("private_ranges", "no host is contacted for a request", len(cfg.PrivateRanges) > 0)
	if p.requirement == PerDomain {
		return
	}
	needless("delegated_domains", "proofs of domains are not looked at", cfg.DelegatedDomains)
	needless("domain_proof_lifetime", "proofs of domains are not looked at", cfg.DomainProofLifetime != 0)
	needless("dnssec", "and without CAA the DNS is not asked", cfg.DNSSEC != "" && cfg.CAA != CAAOn)
	if p.public {
		c.refuse("dcv", "public trust requires control of every name to be validated (Baseline Requirements 3.2.2.4); write domain or request")
	}
	if len(cfg.AllowNames) == 0 {
		c.refuse("allow_names", "is missing: with dcv: none nothing but this list keeps anybody from having a certificate for any name; list what may be issued for")
	}
}

// requirementHashed is the requirement in the profile's hash: empty at the default.
func (p *Profile) requirementHashed() Requirement {
	if p.requirement == PerRequest {
		return ""
	}
	return p.requirement
}

// wildcardsProvable reports whether the profile can have a proof of a wildcard.
func (p *Profile) wildcardsProvable() bool {
	return p.requirement != PerRequest || slices.ContainsFunc(p.methods, func(m dcv.Method) bool { s, _ := provable(m); return s.wildcards })
}
