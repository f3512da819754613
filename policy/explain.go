package policy

import (
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// Outcome is what became of a request at one rule.
type Outcome string

// The outcomes.
const (
	Pass Outcome = "pass"
	Fail Outcome = "fail" // the request is refused
	Open Outcome = "open" // nothing refuses the request, and something must be done first: a validation
	Skip Outcome = "skip" // it could not be asked, because the request lacks what it is about
)

// Check is one rule as one request met it.
type Check struct {
	Rule    string // "requester", "names", …: stable words
	Outcome Outcome
	Found   string         // the value that the rule looked at
	Wanted  string         // what passes
	Detail  string         // why it does not pass, as a client reads it; empty if it does
	Parts   []problem.Part // the same by name, where names differ
}

// Explanation is every rule that a decision rests on, in the sequence in which they are asked.
type Explanation []Check

// Refused reports whether a rule refuses the request.
func (e Explanation) Refused() bool {
	for _, c := range e {
		if c.Outcome == Fail || c.Outcome == Skip {
			return true
		}
	}
	return false
}

// Rules lists every rule of the profile with what passes it at a time, whoever asks and for whatever: the rules that a
// request alone fills in are left out.
func (p *Profile) Rules(now time.Time) []Check {
	var list []Check
	for _, rule := range rules {
		if !rule.ofRequest {
			list = append(list, Check{Rule: rule.name, Outcome: Skip, Wanted: rule.wanted(p, Request{Now: now})})
		}
	}
	return list
}

// Explain says for a request how each rule of [Profile.Decide] takes it: the first that fails is the one Decide refuses by,
// and if all pass it issues. Missing proofs are [Open] and no failure, because a validation makes them. A rule that fails
// does not keep the others from being asked.
func (p *Profile) Explain(r Request) Explanation {
	d := &Decision{Profile: p, Requester: r.Requester}
	var e Explanation
	for _, rule := range rules {
		if rule.ofCSR && r.CSR == nil {
			e = append(e, Check{Rule: rule.name, Outcome: Skip, Wanted: rule.wanted(p, r), Detail: "there is no CSR to look at"})
			continue
		}
		err := rule.check(p, r, d)
		c := Check{Rule: rule.name, Outcome: Pass, Found: rule.found(p, r, d), Wanted: rule.wanted(p, r)}
		if err != nil {
			c.Outcome = Fail
			refusal := problem.From(err)
			c.Detail, c.Parts = refusal.Detail, refusal.Parts
			if c.Detail == "" { // the gateway's own fault, which the log describes where it happens
				c.Detail = err.Error()
			}
			if rule.later && refusal.Kind == problem.Unauthorized {
				c.Outcome = Open
			}
		}
		e = append(e, c)
	}
	return e
}
