package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// MaxTerms is how many terms a profile can have.
const MaxTerms = 20

// ErrTerm is in the chain of the refusal of a term that cannot be had.
var ErrTerm = errors.New("policy: the term cannot be had")

// Terms are the validities that a request may choose from at a time, shortest first: those of the profile that the dates of
// public mode allow then. A profile without terms of its own has one, its validity. The caller owns the slice.
func (p *Profile) Terms(now time.Time) []time.Duration {
	terms := slices.Clone(p.terms)
	if p.public {
		limit := limitAt(now).validity
		terms = slices.DeleteFunc(terms, func(t time.Duration) bool { return t > limit })
	}
	return terms
}

// RenewalTerm is the term for a certificate that takes the place of one with a term, without anybody having chosen anew: the
// longest that can be had now and is no longer. It is the old one, which is then refused, if none is; zero stays zero.
func (p *Profile) RenewalTerm(old time.Duration, now time.Time) time.Duration {
	for _, t := range slices.Backward(p.Terms(now)) {
		if t <= old {
			return t
		}
	}
	return old
}

// granted is the validity of a certificate whose request names a term, or none (zero). The profile's own validity is
// shortened by a limit of public mode that fell after it was configured. A term that was asked for is not: whoever chose it was
// promised that and nothing shorter, so it is refused.
func (p *Profile) granted(asked time.Duration, now time.Time) (time.Duration, error) {
	if asked == 0 {
		if p.public {
			return min(p.validity, limitAt(now).validity), nil
		}
		return p.validity, nil
	}
	terms := p.Terms(now)
	switch {
	case slices.Contains(terms, asked):
		return asked, nil
	case slices.Contains(p.terms, asked):
		return 0, refuseTerm("the term %s is more than public trust allows at this date (%s, Baseline Requirements 6.3.2); %s",
			inDays(asked), days(limitAt(now).validity), remedyOf(terms))
	default:
		return 0, refuseTerm("the term %s is not one of the profile %q; %s", inDays(asked), p.name, remedyOf(terms))
	}
}

func refuseTerm(format string, args ...any) error {
	return problem.Wrap(ErrTerm, problem.Malformed, format, args...)
}

func remedyOf(terms []time.Duration) string {
	if len(terms) == 0 {
		return "ask for none"
	}
	return fmt.Sprintf("ask for one of %s, or for none", termList(terms))
}

// termList is terms as the configuration writes them.
func termList(terms []time.Duration) string {
	words := make([]string, len(terms))
	for i, t := range terms {
		words[i] = inDays(t)
	}
	return strings.Join(words, ", ")
}

func (p *Profile) decideTerm(r Request, d *Decision) (err error) {
	d.Term, err = p.granted(r.Term, r.Now)
	return err
}

func foundTerm(p *Profile, r Request, _ *Decision) string {
	if r.Term == 0 {
		return "none asked for, so " + inDays(p.validity)
	}
	return inDays(r.Term)
}

func wantedTerm(p *Profile, r Request) string {
	terms := p.Terms(r.Now)
	if len(terms) == 0 {
		return "none asked for: public trust allows none of the profile's at this date"
	}
	text := fmt.Sprintf("one of %s; none is %s", termList(terms), inDays(p.validity))
	if len(p.terms) == 1 {
		text = fmt.Sprintf("%s, or none, which is the same", termList(terms))
	}
	if hidden := len(p.terms) - len(terms); hidden > 0 {
		text += fmt.Sprintf("; %d more are too long for public trust at this date", hidden)
	}
	return text
}

// setTerms reads what a request may choose from. It runs after setTimes.
func (p *Profile) setTerms(c *checker, cfg Config) {
	p.terms = slices.Compact(slices.Sorted(slices.Values(cfg.Terms)))
	if len(p.terms) == 0 {
		p.terms = []time.Duration{p.validity}
		return
	}
	if p.own {
		c.refuse("terms", "nobody asks for the gateway's own certificate; leave it out")
	}
	if len(p.terms) > MaxTerms {
		c.refuse("terms", "there are %d; at most %d are offered", len(p.terms), MaxTerms)
	}
	for _, t := range p.terms {
		switch {
		case t < day || t%day != 0:
			c.refuse("terms", "%v is not a positive number of whole days, in which terms are counted; write, for example, 90d", t)
		case p.public && t > limitAt(cfg.Now).validity:
			c.refuse("terms", "%s is more than public trust allows at this date (%s, Baseline Requirements 6.3.2); take it out", inDays(t), days(limitAt(cfg.Now).validity))
		case p.backdate >= t:
			c.refuse("terms", "%s is not longer than backdate (%v); take it out", inDays(t), p.backdate)
		}
	}
	if !slices.Contains(p.terms, p.validity) {
		c.refuse("validity", "%s is what a request without a term gets, and is not one of terms (%s); add it there or change it", inDays(p.validity), termList(p.terms))
	}
}

// termsHashed are the terms in the profile's hash, in seconds: nothing where a request has no choice.
func (p *Profile) termsHashed() []int64 {
	if len(p.terms) < 2 {
		return nil
	}
	seconds := make([]int64, len(p.terms))
	for i, t := range p.terms {
		seconds[i] = int64(t.Seconds())
	}
	return seconds
}
