package policy

import (
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// RequestedRule says what becomes of a validity that the client itself asks for (RFC 8555, 7.4: notBefore and notAfter of
// an order).
type RequestedRule string

// The rules.
const (
	RefuseRequested RequestedRule = "refuse" // a request that names one is refused: the profile alone decides
	ClampRequested  RequestedRule = "clamp"  // issued is what lies both in the requested and in the permitted period
)

// maxAhead is how far notBefore may lie in the future. Baseline Requirements 7.1.2.7 allow 48 hours; a private issuer that
// hands out certificates for a later time yet could not take a name's change into account either.
const maxAhead = 48 * time.Hour

// Period is from when until when a certificate is, or is asked to be, valid: both ends included, whole seconds. Where it is
// asked for, a zero end is left to the profile.
type Period struct{ NotBefore, NotAfter time.Time }

// IsZero reports whether neither end is named.
func (v Period) IsZero() bool { return v.NotBefore.IsZero() && v.NotAfter.IsZero() }

// CheckRequested refuses, with a Malformed, a period that cannot be issued for at a time, so that a client hears so
// before it validates anything. [Profile.Decide] checks again.
func (p *Profile) CheckRequested(asked Period, now time.Time) error {
	_, err := p.period(Request{Requested: asked, Now: now})
	return err
}

// TakesRequested reports whether a request may name a validity.
func (p *Profile) TakesRequested() bool { return p.requested == ClampRequested }

// period is the validity of a certificate issued now. Without a wish it is the term's, or the profile's. A wish only ever narrows: what is
// issued begins no earlier and ends no later than was asked for, nor than the profile and the issuer permit. What is left of
// a wish by that can be nothing, and then the request is refused.
func (p *Profile) period(r Request) (Period, error) {
	term, err := p.granted(r.Term, r.Now)
	if err != nil {
		return Period{}, err
	}
	notBefore, notAfter := p.lifetime(r.Now, term)
	asked := r.Requested
	switch {
	case asked.IsZero():
		return Period{notBefore, notAfter}, nil
	case !p.TakesRequested():
		return Period{}, problem.New(problem.Malformed, `"notBefore" and "notAfter" are not supported by the profile %q; leave them out, the profile decides the validity`, p.name)
	case !asked.NotAfter.IsZero() && !asked.NotAfter.After(r.Now):
		return Period{}, problem.New(problem.Malformed, `the requested "notAfter", %s, has passed; ask for a later one`, asked.NotAfter.UTC().Format(time.RFC3339))
	case asked.NotBefore.After(r.Now.Add(maxAhead)):
		return Period{}, problem.New(problem.Malformed, `the requested "notBefore", %s, is more than 48 hours ahead; ask for an earlier one, or later`, asked.NotBefore.UTC().Format(time.RFC3339))
	}
	validity := notAfter.Sub(notBefore)
	for _, earliest := range []time.Time{asked.NotBefore, r.Within.NotBefore} {
		if earliest.After(notBefore) {
			notBefore = earliest.UTC()
		}
	}
	notAfter = notBefore.Add(validity)
	for _, latest := range []time.Time{asked.NotAfter, r.Within.NotAfter} {
		if !latest.IsZero() && latest.Before(notAfter) {
			notAfter = latest.UTC()
		}
	}
	if !notAfter.After(notBefore) || !notAfter.After(r.Now) {
		return Period{}, problem.New(problem.Malformed, `the requested "notAfter" must be after "notBefore", and both in a time that profile and issuer allow: of the request nothing is left after %s`, notBefore.Format(time.RFC3339))
	}
	return Period{notBefore, notAfter}, nil
}

// setRequested reads the rule.
func (p *Profile) setRequested(c *checker, cfg Config) {
	p.requested = cfg.RequestedValidity
	if p.requested == "" {
		p.requested = RefuseRequested
	}
	switch {
	case p.requested != RefuseRequested && p.requested != ClampRequested:
		c.refuse("requested_validity", `%q is none of "refuse" and "clamp"`, p.requested)
	case p.own && p.requested != RefuseRequested:
		c.refuse("requested_validity", "nobody asks for the gateway's own certificate; leave it out")
	}
}

// requestedHashed is the rule for the profile's hash: nothing at its default.
func (p *Profile) requestedHashed() RequestedRule {
	if p.requested == RefuseRequested {
		return ""
	}
	return p.requested
}
