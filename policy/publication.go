package policy

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// Doors other than ACME have something published for one request, and what that proves serves this request alone: the same
// principal, and where the publication was derived from the CSR, that CSR.

// publications are the methods that do so. It is never changed.
var publications = []dcv.Method{
	dcv.HTTPFile, dcv.HTTPSFile, dcv.DNSTXT, dcv.DNSCNAME, dcv.CSRHashHTTP, dcv.CSRHashHTTPS, dcv.CSRHashCNAME,
}

// ChallengesFor lists the methods of [Profile.MethodsFor] that ACME offers as challenges.
func (p *Profile) ChallengesFor(id identifier.Identifier) []dcv.Method {
	return slices.DeleteFunc(p.MethodsFor(id), dcv.Method.Published)
}

// PublicationsFor lists the methods of [Profile.MethodsFor] that other doors offer.
func (p *Profile) PublicationsFor(id identifier.Identifier) []dcv.Method {
	return slices.DeleteFunc(p.MethodsFor(id), func(m dcv.Method) bool { return !m.Published() })
}

// CheckMethod refuses (Malformed) a method that something is published for and that could not prove the name to this profile for
// a request with this CSR.
func (p *Profile) CheckMethod(m dcv.Method, id identifier.Identifier, csr *CSR) error {
	offered := p.PublicationsFor(id)
	switch {
	case len(offered) == 0:
		return problem.New(problem.Malformed, "%s cannot be validated here: the profile %q has no method of publication that proves it; its dcv_methods name those it takes", id.Value(), p.name)
	case !slices.Contains(offered, m):
		return problem.New(problem.Malformed, "%q is no method by which %s can be validated under the profile %q; give one of %s", m, id.Value(), p.name, list(offered))
	}
	if why := p.weaker(m, csr); why != "" {
		return problem.New(problem.Malformed, "%s cannot be validated by %s: %s", id.Value(), m, why)
	}
	return nil
}

// weaker says why a method's hash does not bind a CSR, or "". Of public trust a Request Token must use a hash at least as strong
// as the CSR's signature does (Baseline Requirements 1.6.1), and those here use SHA-256.
func (p *Profile) weaker(m dcv.Method, csr *CSR) string {
	if !m.FromCSR() || !p.public {
		return ""
	}
	if csr != nil {
		switch csr.Signature {
		case x509.SHA256WithRSA, x509.SHA256WithRSAPSS, x509.ECDSAWithSHA256:
			return ""
		}
	}
	return "its hash is SHA-256, and in public mode that must be no weaker than the one that signs the CSR (Baseline Requirements 1.6.1); sign the CSR with SHA-256, or validate by a random value"
}

// madeFor reports whether a proof is none of a publication, or of one that was made for the requester.
func madeFor(proof Proven, r Requester) bool {
	if proof.Principal == "" {
		return !proof.Method.Published()
	}
	return proof.Principal == r.Principal
}

// lackingHere is lacking for a proof in a request, whose CSR it may be bound to.
func (p *Profile) lackingHere(proof Proven, r Request, id identifier.Identifier) string {
	if why := p.lacking(proof, r.Requester, id, r.Now); why != "" || proof.Owner != 0 || !proof.Method.FromCSR() {
		return why
	}
	if r.CSR == nil || proof.CSR != sha256.Sum256(r.CSR.Raw) {
		return fmt.Sprintf("%s was validated for another CSR; validate it for this one", id.Value())
	}
	if why := p.weaker(proof.Method, r.CSR); why != "" {
		return fmt.Sprintf("%s was validated by %s, and %s", id.Value(), proof.Method, why)
	}
	return ""
}

// Lacking lists the names of a request for which it has no proof that suffices, if every other rule but that about approvals lets
// it pass. The error is the refusal of another rule.
func (p *Profile) Lacking(r Request) ([]identifier.Identifier, error) {
	d := &Decision{Profile: p, Requester: r.Requester}
	for _, rule := range rules {
		if rule.later {
			continue
		}
		if err := rule.check(p, r, d); err != nil {
			return nil, err
		}
	}
	var missing []identifier.Identifier
	if err := p.checkProofs(r, d.Names); err != nil {
		refusal := problem.From(err)
		for _, part := range refusal.Parts {
			missing = append(missing, part.Identifier)
		}
		if len(missing) == 0 {
			return nil, err
		}
	}
	return missing, nil
}
