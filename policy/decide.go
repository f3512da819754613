package policy

import (
	"fmt"
	"slices"
	"time"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// maxCommonName is the longest CN (RFC 5280, A.1: ub-common-name).
const maxCommonName = 64

// Decide says what is issued for a request, or refuses it with a [problem.Error]: Unauthorized if the requester, the
// pinned profile or a proof does not suffice, the same with [ErrNotApproved] if nothing but approvals is missing, BadCSR if the
// CSR is not for these names or its key or subject is refused, RejectedIdentifier or UnsupportedIdentifier for names, Malformed
// for a requested validity, a term ([ErrTerm]) or custom fields.
//
// In public mode the limit that holds at r.Now shortens the validity and the reuse of proofs if the profile was
// configured before a stricter limit fell: a gateway that runs past such a day goes on, inside the rules, and its next
// start asks for a new configuration.
func (p *Profile) Decide(r Request) (*Decision, error) {
	d := &Decision{Profile: p, Requester: r.Requester}
	for _, rule := range rules {
		if err := rule.check(p, r, d); err != nil {
			return nil, err
		}
	}
	d.CommonName, d.PublicKey, d.CAA = p.pickCommonName(d.Names, r.CSR.CommonName), r.CSR.PublicKey, p.permissions(r, d.Names)
	return d, nil
}

// checkRequester refuses a request that cannot be laid to anybody, or to nobody who may use the profile.
func (p *Profile) checkRequester(r Request, _ *Decision) error {
	switch {
	case r.Requester.Org <= 0 || r.Requester.Principal == "" || r.Requester.Principal == acmePrincipal:
		return problem.New(problem.Unauthorized, "the request belongs to nobody")
	case p.own != (r.Requester.Principal == System):
		return problem.New(problem.Unauthorized, "the profile %q is not the requester's to use", p.name)
	case r.Now.IsZero():
		return fmt.Errorf("policy: a request without a time")
	}
	return nil
}

// checkPinned refuses a request that began under another state of the profile.
func (p *Profile) checkPinned(r Request, _ *Decision) error {
	if r.ProfileHash != "" && r.ProfileHash != p.hash {
		return problem.New(problem.Unauthorized, "the profile %q has changed since the request was made; make a new request", p.name)
	}
	return nil
}

// checkCSR wants one, for the names of the request.
func (p *Profile) checkCSR(r Request, _ *Decision) error {
	if r.CSR == nil {
		return problem.New(problem.BadCSR, "the request has no CSR")
	}
	if r.Requester.Door != acmeDoor {
		return checkNoOtherNames(r.Names, r.CSR.Names)
	}
	return checkSameNames(r.Names, r.CSR.Names)
}

// checkNoOtherNames holds the CSR to names of the request, which may have more of them: programs for vendors' APIs send a CSR
// with a CN alone and the other names beside it. What the CSR names and nobody asked for would be lost in silence.
func checkNoOtherNames(request, csr []identifier.Identifier) error {
	if extra := minus(csr, request); len(extra) > 0 {
		return problem.New(problem.BadCSR, "the CSR adds %s, which is not among the names that are asked for; ask for it too, or make a CSR without it", few(extra))
	}
	return nil
}

func (p *Profile) decideNames(r Request, d *Decision) error {
	d.Names = identifier.SortUnique(r.Names)
	return p.CheckNames(r.Names)
}

func (p *Profile) checkCSRKey(r Request, _ *Decision) error { return p.CheckKey(r.CSR.PublicKey) }

func (p *Profile) decideSubject(r Request, d *Decision) (err error) {
	d.Subject, err = p.resolveSubject(r.CSR)
	return err
}

func (p *Profile) decideProofs(r Request, d *Decision) error { return p.checkProofs(r, d.Names) }

func (p *Profile) decideValidity(r Request, d *Decision) error {
	valid, err := p.period(r)
	d.NotBefore, d.NotAfter = valid.NotBefore, valid.NotAfter
	return err
}

// checkSameNames holds the CSR to exactly the names of the order, no more and no fewer (RFC 8555, 7.4).
func checkSameNames(order, csr []identifier.Identifier) error {
	missing, extra := minus(order, csr), minus(csr, order)
	switch {
	case len(missing) > 0 && len(extra) > 0:
		return problem.New(problem.BadCSR, "the CSR is for other names than the request (RFC 8555, 7.4): it lacks %s and adds %s", few(missing), few(extra))
	case len(missing) > 0:
		return problem.New(problem.BadCSR, "the CSR lacks %s, which the request names (RFC 8555, 7.4)", few(missing))
	case len(extra) > 0:
		return problem.New(problem.BadCSR, "the CSR adds %s, which the request does not name (RFC 8555, 7.4)", few(extra))
	}
	return nil
}

// minus is what of a is not in b.
func minus(a, b []identifier.Identifier) []identifier.Identifier {
	in := make(map[identifier.Identifier]bool, len(b))
	for _, id := range b {
		in[id] = true
	}
	return slices.DeleteFunc(slices.Clone(a), func(id identifier.Identifier) bool { return in[id] })
}

// few shows the first of some names, for a message.
func few(ids []identifier.Identifier) string {
	const shown = 5
	values := make([]string, 0, shown)
	for _, id := range ids[:min(len(ids), shown)] {
		values = append(values, id.Value())
	}
	text := list(values)
	if len(ids) > shown {
		text += fmt.Sprintf(" and %d more", len(ids)-shown)
	}
	return text
}

// checkProofs wants for every name a proof that suffices, and reports every name that has none.
func (p *Profile) checkProofs(r Request, names []identifier.Identifier) error {
	var parts []problem.Part
	for _, id := range names {
		if why := p.unproved(r, id); why != "" {
			parts = append(parts, problem.Part{Identifier: id, Kind: problem.Unauthorized, Detail: why})
		}
	}
	switch len(parts) {
	case 0:
		return nil
	case 1:
		return problem.New(problem.Unauthorized, "%s", parts[0].Detail).WithParts(parts)
	default:
		return problem.New(problem.Unauthorized, "%d of the %d names lack a usable proof of control; each has its reason", len(parts), len(names)).WithParts(parts)
	}
}

// unproved says why no proof suffices for a name, or "". Of several that do not, the first that speaks about the name
// gives the reason.
func (p *Profile) unproved(r Request, id identifier.Identifier) string {
	why := ""
	for _, proof := range r.Proofs {
		lack := p.lackingHere(proof, r, id)
		if lack == "" {
			return ""
		}
		if why == "" && (proof.Identifier == id || proof.Identifier == id.Base() || proof.Owner != 0 && covers(proof, id)) {
			why = lack
		}
	}
	if why == "" {
		return p.unvalidated(id)
	}
	return why
}

// lifetime is the validity period of a certificate issued now. Both ends belong to it (RFC 5280, 4.1.2.5), so that the
// last second is one before the first plus the validity.
func (p *Profile) lifetime(now time.Time, validity time.Duration) (notBefore, notAfter time.Time) {
	notBefore = now.Add(-p.backdate).UTC().Truncate(time.Second)
	return notBefore, notBefore.Add(validity - time.Second)
}

// CommonName is the CN of the certificate that a request is about; empty if it has none. The request must have a CSR.
func (p *Profile) CommonName(r Request) string {
	return p.pickCommonName(identifier.SortUnique(r.Names), r.CSR.CommonName)
}

// pickCommonName is the CN by the profile's rule; empty if there is none that fits.
func (p *Profile) pickCommonName(names []identifier.Identifier, requested string) string {
	switch p.commonName {
	case CommonNameFromCSR:
		if len(requested) <= maxCommonName {
			return requested
		}
	case CommonNameFirstSAN:
		for _, id := range names {
			if len(id.Value()) <= maxCommonName {
				return id.Value()
			}
		}
	}
	return ""
}
