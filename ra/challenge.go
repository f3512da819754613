package ra

import (
	"slices"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// maxChallengeRecords bounds what is kept of the last looks of one request, in bytes of JSON. Of one name it is an equal share.
const maxChallengeRecords = 64 << 10

// Validation says by which methods the names of a request are validated.
type Validation struct {
	Method  dcv.Method                           // of every name that Methods does not have; empty: as before, or chosen later
	Methods map[identifier.Identifier]dcv.Method // of single names, as the request has them
	// Suffix is the DNS name that publications derived from the CSR end with; empty: the gateway's own. It is the request's from
	// its beginning on, and then no more looked at.
	Suffix string
}

// of is the method that is chosen for a name, or none.
func (v Validation) of(id identifier.Identifier) dcv.Method {
	if m, ok := v.Methods[id]; ok {
		return m
	}
	return v.Method
}

// Challenge is what one name of a request is validated by.
type Challenge struct {
	Identifier  identifier.Identifier // as it is to be certified; a wildcard is validated by its base name
	Method      dcv.Method            // empty: none was chosen yet
	Publication dcv.Publication       // what is to be published ([dcv.Location] says where); zero without a method
	Validated   time.Time             // when the proof was made that the name has, which may be a domain's; zero: it has none
	Failed      *ChallengeFailure     // what the last look found; nil before it, and once the name has a proof
}

// ChallengeFailure is why a look at a name did not prove control.
type ChallengeFailure struct {
	Kind    problem.Kind
	Detail  string
	At      time.Time
	Finding *dcv.Finding // nil if there was no look at the name's servers
	Record  []byte       // dcv.Record as JSON; never a body. Gone once the request ends
}

// newChallenges is one for each name, without a method.
func newChallenges(names []identifier.Identifier) []Challenge {
	list := make([]Challenge, len(names))
	for i, id := range names {
		list[i].Identifier = id
	}
	return list
}

// choose gives challenges the methods that a Validation names. What is to be published stays where the method does: a client that
// says the same again has not published in vain. The error (Malformed) says which name cannot be validated so.
func (r *Registrar) choose(e *Enrollment, profile *policy.Profile, csr *policy.CSR, v Validation) ([]Challenge, error) {
	for id := range v.Methods {
		if !slices.Contains(e.Names, id) {
			return nil, problem.New(problem.Malformed, "methods: %s is no name of the request", id.Value())
		}
	}
	list := slices.Clone(e.Challenges)
	for i := range list {
		c := &list[i]
		m := v.of(c.Identifier)
		if m == "" || m == c.Method || !c.Validated.IsZero() && v.Methods[c.Identifier] == "" {
			continue
		}
		if err := profile.CheckMethod(m, c.Identifier, csr); err != nil {
			return nil, err
		}
		p, err := r.publication(e, list[:i], c.Identifier, m)
		if err != nil {
			return nil, err
		}
		c.Method, c.Publication, c.Failed = m, p, nil
	}
	return list, nil
}

// publication makes what is to be published for a name: from the CSR, the same as for a name with the same place before it, or of
// random bits.
func (r *Registrar) publication(e *Enrollment, before []Challenge, id identifier.Identifier, m dcv.Method) (dcv.Publication, error) {
	if p, ok := e.CSRHash.Publication(m); ok {
		return p, nil
	}
	if m.FromCSR() {
		return dcv.Publication{}, problem.New(problem.Malformed, "method: the gateway has no DNS name that publications from a CSR could end with; validate by a random value, or give request_validation: {csr_hash_suffix: NAME} in the configuration")
	}
	for _, c := range before {
		if c.Method == m && c.Identifier.Base() == id.Base() {
			return c.Publication, nil
		}
	}
	return newPublication(m, r.Validation.Target)
}

// judge notes which names have a proof now, by those that are missing one.
func judge(list []Challenge, missing []identifier.Identifier, proofs []policy.Proven, now time.Time) {
	for i := range list {
		c := &list[i]
		if slices.Contains(missing, c.Identifier) {
			c.Validated = time.Time{}
			continue
		}
		at := now // of what needs none, or has a domain's
		for _, p := range proofs {
			if p.Principal != "" && p.Identifier == c.Identifier.Base() {
				at = p.At
			}
		}
		c.Validated, c.Failed = at.UTC().Truncate(time.Second), nil
	}
}
