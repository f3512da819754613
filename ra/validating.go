package ra

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// A request by a door other than ACME may come without proofs and wait for them: phase Validating. It says what is to be published
// for each name; somebody publishes it; a look, asked for or taken by the gateway itself, finds it. What is found proves control for
// this request alone (policy.Proven.Principal). With a proof for each name the request goes on where one goes that came with
// them: to people, or to the signing gate, which asks policy about all of it again.

const (
	// MaxValidationLifetime is how long a request may wait for validation: a value that is published may be used no longer
	// (Baseline Requirements 3.2.2.4.7 and .18).
	MaxValidationLifetime = publicationLife
	// DefaultValidating is how many requests of one organisation may wait for validation.
	DefaultValidating = 1000
)

// RequestValidation is how requests are validated one by one.
type RequestValidation struct {
	Validator DomainValidator // nil: no request is, and one without proofs is refused
	Target    string          // the DNS name below which the targets of CNAME records are; empty: there are none of random values
	Suffix    string          // what publications derived from a CSR end with where the request names nothing else
	// Lifetime is how long a request waits; at most MaxValidationLifetime, which is the default.
	Lifetime time.Duration
	// MaxWaiting is how many requests of one organisation may wait; default DefaultValidating.
	MaxWaiting int
	// MaxChecks requests are looked at at once by this process; default 16. A quarter of them, at least one, may be one
	// organisation's. Of each at most 8 names are looked at at a time.
	MaxChecks int
}

// withDefaults fills in what is not said.
func (v RequestValidation) withDefaults() RequestValidation {
	v.Lifetime = min(cmp.Or(v.Lifetime, MaxValidationLifetime), MaxValidationLifetime)
	v.MaxWaiting = cmp.Or(v.MaxWaiting, DefaultValidating)
	v.MaxChecks = cmp.Or(v.MaxChecks, 16)
	return v
}

// begin records a request that lacks proofs. It takes a number; nothing is looked at, and nothing is signed.
func (r *Registrar) begin(ctx context.Context, caller auth.Caller, req Request, profile *policy.Profile, q policy.Request, missing []identifier.Identifier) (*Enrollment, error) {
	if r.Validation.Validator == nil || req.Door == DoorACME || req.Holder != "" {
		return nil, problem.New(problem.Unauthorized, "requests are not validated one by one here; validate the domains first")
	}
	if err := profile.CheckDomains(missing, nil); err != nil { // nothing that could be published counts
		return nil, err
	}
	if err := r.checkQuota(ctx, caller.Org, profile, q.Names); err != nil {
		return nil, err
	}
	hash, err := csrHash(req.CSR, cmp.Or(req.Validate.Suffix, r.Validation.Suffix))
	if err != nil {
		return nil, err
	}
	names := identifier.SortUnique(q.Names)
	draft := &Enrollment{Names: names, Challenges: newChallenges(names), CSRHash: hash}
	judge(draft.Challenges, missing, nil, q.Now)
	challenges, err := r.choose(draft, profile, q.CSR, *req.Validate)
	if err != nil {
		return nil, err
	}
	id, err := r.Store.NextEnrollment(ctx) // refused requests must not use numbers up
	if err != nil {
		return nil, err
	}
	e := newEnrollment(id, caller, req, q, profile.CommonName(q))
	e.Phase, e.Attempts, e.Proofs, e.Challenges, e.CSRHash = Validating, 0, lasting(req.Proofs), challenges, hash
	e.ValidateBy, e.Due = e.Created.Add(r.Validation.Lifetime), q.Now.Add(firstLook).Truncate(time.Millisecond)
	if err := r.Store.BeginValidation(ctx, e, begun(req, e.ID), int64(r.Validation.MaxWaiting)); err != nil {
		return nil, err
	}
	r.Log.Info("a request awaits validation", "enrollment", e.ID, "profile", e.Profile, "requester", e.Requester)
	return e, nil
}

// lasting are the proofs that are a request's own. Those of domains are read anew at each look.
func lasting(proofs []policy.Proven) []policy.Proven {
	return slices.DeleteFunc(slices.Clone(proofs), func(p policy.Proven) bool { return p.Owner != 0 })
}

// Challenges is what the names of a request are validated by, and what the last looks found: one for each name, in their order. It
// is empty of one that never waited for validation. Errors are those of [Registrar.Get].
func (r *Registrar) Challenges(ctx context.Context, caller auth.Caller, id ID) ([]Challenge, error) {
	e, err := r.Get(ctx, caller, id)
	if err != nil {
		return nil, err
	}
	return e.Challenges, nil
}

// Validate chooses the methods by which names of a request are validated, where v names any, and looks now whether what is to be
// published is there. That it is not is no error: the result is the request as it then stands, and its Challenges say what was
// seen. With a proof for each name it is Waiting, Requested or Issued then. What was chosen and found is durable on return.
//
// Errors: NotFound for what the caller may not know of; Unauthorized for one who is neither the requester nor manages the
// organisation's domains; Malformed for a method that cannot prove a name; Conflict for a request that does not wait for validation
// (any more), and while another look is under way; Unavailable where too many are.
func (r *Registrar) Validate(ctx context.Context, caller auth.Caller, id ID, v Validation) (*Enrollment, error) {
	for try := 1; ; try++ {
		e, err := r.unvalidated(ctx, caller, id)
		if err != nil {
			return nil, err
		}
		next := *e
		profile, csr, err := r.basis(e)
		if err != nil {
			return nil, err
		}
		if next.Challenges, err = r.choose(e, profile, csr, v); err != nil {
			return nil, err
		}
		done, ok := r.checks.take(e.Org)
		if !ok {
			return nil, problem.New(problem.Unavailable, "too many requests are validated at this moment; try again").After(lookTime)
		}
		checked, err := r.check(ctx, &next, e)
		done()
		if err == errOvertaken && try < moveTries {
			continue
		}
		return checked, err
	}
}

// errOvertaken is for what was read and has moved on.
var errOvertaken = problem.New(problem.Conflict, "the request was changed at the same time; try again")

// unvalidated reads a request that waits for validation, for whoever may see to that.
func (r *Registrar) unvalidated(ctx context.Context, caller auth.Caller, id ID) (*Enrollment, error) {
	e, err := r.own(ctx, caller, id)
	if err != nil {
		return nil, err
	}
	now := r.Now()
	switch {
	case e.Phase != Validating:
		return nil, problem.New(problem.Conflict, "request %d does not wait for validation: it is %s", id, e.Status(now))
	case r.Validation.Validator == nil:
		return nil, problem.New(problem.Unavailable, "requests are not validated one by one here any more")
	case !now.Before(e.ValidateBy):
		return nil, problem.New(problem.Conflict, "request %d has lapsed at %s; ask again", id, e.ValidateBy.UTC().Format(time.RFC3339))
	case now.Before(e.Checking):
		return nil, problem.New(problem.Conflict, "request %d is being validated at this moment; try again", id).After(e.Checking.Sub(now))
	}
	return e, nil
}

// own reads an enrollment for its requester, for whoever manages the domains of its organisation, and for the operator.
func (r *Registrar) own(ctx context.Context, caller auth.Caller, id ID) (*Enrollment, error) {
	e, err := r.Get(ctx, caller, id)
	if err != nil || caller.Operator {
		return e, err
	}
	action := auth.ManageDomains
	if caller.Principal != "" && caller.Principal == e.Requester {
		action = auth.Request
	}
	if err := r.may(caller, action, e.Org, absent(id)); err != nil {
		if action == auth.ManageDomains && problem.Is(err, problem.Unauthorized) {
			err = problem.New(problem.Unauthorized, "request %d is another principal's, and this takes that one or an administrator of its organisation", id)
		}
		return nil, err
	}
	return e, nil
}

// basis is what a request is judged by: its profile and CSR.
func (r *Registrar) basis(e *Enrollment) (*policy.Profile, *policy.CSR, error) {
	profile, ok := r.Profiles[e.Profile]
	if !ok || !r.Allowed(e.Org, e.Profile) {
		return nil, nil, problem.New(problem.Unauthorized, "the profile %q is no longer available to this organisation", e.Profile)
	}
	csr, err := policy.ParseCSR(e.CSR)
	return profile, csr, err
}

// admit sends a request that has a proof for each name on: to people where its profile wants their consent, else to the signing
// gate. The result is the enrollment as it then stands.
func (r *Registrar) admit(ctx context.Context, e *Enrollment) (*Enrollment, error) {
	profile, csr, err := r.basis(e)
	if err != nil {
		return r.refuse(ctx, e, err)
	}
	q := r.asked(e, csr)
	if q.Proofs, err = r.proofs(ctx, profile, q.Requester, q.Names, q.Proofs); err != nil {
		return r.refuse(ctx, e, err)
	}
	content, standing, err := r.stand(ctx, profile, &q)
	if err != nil {
		return r.refuse(ctx, e, err)
	}
	if e.Agent != "" { // as in certify
		q.Approvals = slices.DeleteFunc(slices.Clone(q.Approvals), func(a policy.Approval) bool { return a.Approver == e.Agent })
	}
	if standing.waits(q.Now) {
		return r.refuse(ctx, e, problem.New(problem.Unauthorized, "request %d of the same content waits for approval already; this one is not needed", standing.Enrollment.ID))
	}
	decision, err := profile.Decide(q)
	next := *e
	next.Proofs, next.Content, next.Checking = q.Proofs, content, time.Time{}
	next.Challenges = withoutRecords(e.Challenges)
	switch {
	case policyWaits(err):
		return r.toPeople(ctx, &next, e, profile, q, standing)
	case err != nil:
		return r.refuse(ctx, e, err)
	}
	next.Phase, next.Due, next.Attempts = Requested, q.Now, 0
	if standing != nil && len(decision.Approvers) > 0 {
		next.Approvals = profile.Counting(q.Approvals, content, e.Requester, q.Now)
		err = r.Store.StandEnrollment(ctx, &next, e, standing.Mark, WaitingBounds{})
	} else {
		next.Renews = standing != nil
		err = r.Store.MoveEnrollment(ctx, &next, e, nil)
	}
	if err != nil {
		return r.overtaken(ctx, e, err)
	}
	return r.goOn(ctx, &next)
}

// toPeople makes a request one that waits for approvals.
func (r *Registrar) toPeople(ctx context.Context, next, e *Enrollment, profile *policy.Profile, q policy.Request, s *Standing) (*Enrollment, error) {
	bounds, err := r.checkWaiting(ctx, e.Org, e.Requester)
	if err != nil {
		return r.refuse(ctx, e, err)
	}
	next.Phase, next.Attempts, next.Due = Waiting, 0, q.Now.Add(profile.Approvals().Lifetime)
	next.Approvals = profile.Counting(q.Approvals, next.Content, e.Requester, q.Now)
	if err := r.Store.StandEnrollment(ctx, next, e, s.Mark, bounds); err != nil {
		return r.overtaken(ctx, e, err)
	}
	r.Log.Info("a request awaits approval", "enrollment", e.ID, "profile", e.Profile, "requester", e.Requester)
	return next, nil
}

// overtaken gives an enrollment back as it stands now where somebody else moved it first, or its content; other errors as they are.
func (r *Registrar) overtaken(ctx context.Context, e *Enrollment, err error) (*Enrollment, error) {
	if !problem.Is(err, problem.Conflict) {
		return nil, err
	}
	return r.Store.Enrollment(ctx, e.ID)
}
