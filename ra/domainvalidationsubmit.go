package ra

import (
	"context"
	"strconv"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// Some doors have two steps where [Domains.Validate] is one: what is to be published is asked for, as often as the client likes,
// and later the client says that it is there. Until then the gateway does not look, so that a client that takes its time finds no
// name server that remembers for an hour that there was nothing.

// submitGrace is how long after a proof its validation may still be submitted: a client does so again when an answer got lost,
// or when the gateway found by itself what was published. After that it has forgotten to begin a new one.
const submitGrace = 24 * time.Hour

// looksAt bounds how often looks at one domain are asked for, also by one new validation after the other.
func looksAt(name identifier.Identifier) auth.AttemptRate {
	return auth.AttemptRate{Rate: auth.Rate{Burst: 5, Interval: 30 * time.Second}, Name: "domain-look", Of: name.Value()}
}

// lookupsOf bounds how much a customer has the gateway ask the network about domains, so that its many domains, at servers that never
// answer, leave room for other customers' validations.
func lookupsOf(customer auth.OrgID) auth.AttemptRate {
	return auth.AttemptRate{Rate: auth.Rate{Burst: 100, Interval: time.Second}, Name: "domain-lookups", Of: strconv.Itoa(int(customer))}
}

// ValidationStage is how far the validation of a domain is, whatever its proof.
type ValidationStage string

// The stages.
const (
	StageNone      ValidationStage = "none"      // none is under way
	StageBegun     ValidationStage = "begun"     // it waits until somebody says that it is published
	StageSubmitted ValidationStage = "submitted" // the gateway looks, or somebody was sent mail
	StageRejected  ValidationStage = "rejected"  // somebody at an address of the domain did not want it, or tried too many codes
)

// Stage is how far the validation of a domain is at a moment.
func (d *Domain) Stage(now time.Time) ValidationStage {
	switch v := d.Validation; {
	case v == nil || !now.Before(v.Expires):
	case v.Submitted.IsZero():
		return StageBegun
	default:
		return StageSubmitted
	}
	if d.Email != nil {
		switch d.Email.State(now) {
		case EmailPending:
			return StageSubmitted
		case EmailRejected, EmailLocked:
			return StageRejected
		case EmailConfirmed, EmailExpired:
		}
	}
	return StageNone
}

// underWay is the validation by a method, or nil if there is none whose value may be used.
func (d *Domain) underWay(method dcv.Method, now time.Time) *DomainValidation {
	if v := d.Validation; v != nil && v.Method == method && now.Before(v.Expires) {
		return v
	}
	return nil
}

// Begin says what is to be published for a validation by a method. One that is under way by that method stays, with its values,
// as long as they may be used; one by another method is replaced. The gateway does not look for a new one before
// [Domains.Submit]. A file's content gets a second line, for clients that publish two; empty: one. Durable on return.
func (m *Domains) Begin(ctx context.Context, caller auth.Caller, domain string, method dcv.Method, secondLine string) (*Domain, error) {
	return m.edit(ctx, caller, domain, "validation by "+string(method)+" begun, and not submitted yet", func(d *Domain) error {
		if d.underWay(method, m.Now()) != nil {
			return errUnchanged
		}
		return m.begin(d, method, secondLine)
	})
}

// Submit says that what a validation by a method wants is published: the gateway looks at once, unless that was asked for too often,
// and then by itself as after [Domains.Validate]. That nothing is found is no error. With orBegin a validation is begun where none
// is under way, and not looked for yet: the result says what is to be published.
//
// Errors: Conflict if none is under way, and the domain was not proved by that method a moment ago.
func (m *Domains) Submit(ctx context.Context, caller auth.Caller, domain string, method dcv.Method, orBegin bool) (*Domain, error) {
	look := false
	d, err := m.edit(ctx, caller, domain, "validation by "+string(method)+" submitted", func(d *Domain) error {
		v, now := d.underWay(method, m.Now()), m.second()
		look = v != nil
		switch {
		case v != nil && !v.Submitted.IsZero():
			return errUnchanged
		case v != nil:
			v.submit(now)
			return nil
		case orBegin:
			if err := m.begin(d, method, ""); err != nil {
				return err
			}
			d.Validation.submit(now)
			return nil
		case d.Proof != nil && d.Proof.Method == method && now.Sub(d.Proof.At) < submitGrace:
			return errUnchanged
		default:
			return problem.New(problem.Conflict, "no validation of %s by this method is under way; begin one, which says what to publish", d.Name.Value())
		}
	})
	if err != nil || !look {
		return d, err
	}
	return m.lookAsked(ctx, caller, d)
}

// Recheck looks now for what a validation wants that was submitted, unless that was asked for too often, and otherwise says how the
// domain stands.
func (m *Domains) Recheck(ctx context.Context, caller auth.Caller, domain string) (*Domain, error) {
	d, err := m.Get(ctx, caller, domain)
	if err != nil {
		return nil, err
	}
	if err := m.may(caller, auth.ManageDomains, d.Org, d.Name); err != nil {
		return nil, err
	}
	if v := d.Validation; v == nil || v.Submitted.IsZero() || !m.Now().Before(v.Expires) {
		return d, nil
	}
	return m.lookAsked(ctx, caller, d)
}

// lookAsked looks at a domain that the caller manages. If it is not the time for that, or another look is faster, the result is the
// domain as it stands.
func (m *Domains) lookAsked(ctx context.Context, caller auth.Caller, d *Domain) (*Domain, error) {
	wait, err := m.Store.Attempt(ctx, looksAt(d.Name), lookupsOf(m.Directory.Customer(d.Org)))
	if err != nil || wait > 0 {
		return d, err
	}
	next, err := m.look(ctx, d, caller.Principal)
	if problem.Is(err, problem.Conflict) {
		return m.Get(ctx, caller, d.Name.Value())
	}
	return next, err
}
