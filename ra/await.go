package ra

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// Standing is what there is about a content that may need approvals ([policy.Profile.Content]).
type Standing struct {
	Enrollment *Enrollment // the newest of the content; nil if there is none
	// Approvals are those that a store which went back was given again, while it lacks the request that they were given to.
	Approvals []policy.Approval
	Mark      [16]byte // of this record as read; zero before it exists
}

// waits reports whether there is a request that another of the same content joins. One that has lapsed is none.
func (s *Standing) waits(now time.Time) bool {
	return s != nil && s.Enrollment != nil && (s.Enrollment.Phase == Waiting || s.Enrollment.Phase == Approved) && now.Before(s.Enrollment.Due)
}

// unused are the approvals that have made no certificate.
func (s *Standing) unused() []policy.Approval {
	switch {
	case s.Enrollment == nil:
		return s.Approvals
	case !s.Enrollment.Removed.IsZero(): // they went with it
		return nil
	case s.Enrollment.Phase == Failed: // it never had a certificate that anybody was given
		return s.Enrollment.Approvals
	default:
		return nil
	}
}

// renewable reports whether the newest certificate of the content is good, so that it may be renewed.
func (s *Standing) renewable(now time.Time) bool {
	return s.Enrollment != nil && s.Enrollment.Removed.IsZero() && s.Enrollment.Status(now) == StatusIssued
}

// errBeingIssued is for a second request of a content whose approved certificate is on its way to the first.
var errBeingIssued = problem.New(problem.Unavailable, "the approved certificate is being issued to an earlier request; try again").After(firstDelay)

// stand reads what there is about a request's content and adds it to what policy decides on. It is nil for a profile that
// demands no approvals.
func (r *Registrar) stand(ctx context.Context, profile *policy.Profile, q *policy.Request) (content string, s *Standing, err error) {
	if profile.Approvals().Required == 0 {
		return "", nil, nil
	}
	if content, err = profile.Content(*q); err != nil {
		return "", nil, err
	}
	found, err := r.Store.Standing(ctx, content)
	if err != nil {
		return "", nil, err
	}
	if e := found.Enrollment; e != nil && e.Phase == Requested {
		return "", nil, errBeingIssued
	}
	q.Approvals, q.Renews = found.unused(), ""
	if found.renewable(q.Now) {
		q.Renews = content
	}
	return content, &found, nil
}

// await records a request that lacks nothing but approvals. It takes a number, and nothing is signed.
func (r *Registrar) await(ctx context.Context, caller auth.Caller, req Request, profile *policy.Profile, q policy.Request, content string, s *Standing) (*Enrollment, error) {
	if err := r.checkQuota(ctx, caller.Org, profile, q.Names); err != nil {
		return nil, err
	}
	bounds, err := r.checkWaiting(ctx, caller.Org, caller.Principal)
	if err != nil {
		return nil, err
	}
	id, err := r.Store.NextEnrollment(ctx)
	if err != nil {
		return nil, err
	}
	e := newEnrollment(id, caller, req, q, profile.CommonName(q))
	e.Phase, e.Content, e.Holder, e.Attempts = Waiting, content, req.Holder, 0
	e.Approvals = profile.Counting(q.Approvals, content, caller.Principal, q.Now)
	e.Due = q.Now.Add(profile.Approvals().Lifetime)
	if err := r.Store.AwaitEnrollment(ctx, e, s.Mark, begun(req, id), bounds); err != nil {
		return nil, err
	}
	r.Log.Info("a request awaits approval", "enrollment", e.ID, "profile", e.Profile, "requester", e.Requester)
	return e, nil
}

// join makes a request the newest of those that wait for the same content: the certificate will be for its key. What it
// joins is as it was read, or the result is a Conflict.
func (r *Registrar) join(ctx context.Context, req Request, profile *policy.Profile, q policy.Request, e *Enrollment) (*Enrollment, error) {
	// The same rules as at the signing gate, so that what is refused for its CSR or proofs leaves the one that waits alone.
	if _, err := profile.Decide(q); err != nil && !errors.Is(err, policy.ErrNotApproved) {
		return nil, err
	}
	next := *e
	if req.Holder != "" {
		next.CSR, next.Proofs, next.Restriction, next.Holder = req.CSR, req.Proofs, req.Restriction, req.Holder
		if req.Replaces != 0 {
			next.Replaces = req.Replaces
		}
	} else if req.Replaces != 0 && req.Replaces != e.Replaces {
		if e.Replaces != 0 {
			return nil, problem.New(problem.Conflict, "request %d waits for the same certificate, in place of enrollment %d; have it decided first", e.ID, e.Replaces)
		}
		next.Replaces = req.Replaces
	}
	advance(&next, profile, r.Now())
	if err := r.Store.MoveEnrollment(ctx, &next, e, begun(req, e.ID)); err != nil {
		return nil, err
	}
	if next.Phase == Requested {
		return r.goOn(ctx, &next)
	}
	return r.Proceed(ctx, &next)
}

// take makes an issuance one that uses up approvals, or that renews freely what was approved.
func (i *Issuance) take(content, holder string, d *policy.Decision, given []policy.Approval, mark [16]byte) {
	i.Enrollment.Content, i.Enrollment.Holder = content, holder
	if len(d.Approvers) == 0 {
		i.Enrollment.Renews = true
		return
	}
	i.Enrollment.Approvals, i.Mark = given, &mark
}

func begun(req Request, id ID) any {
	if req.Begin == nil {
		return nil
	}
	return req.Begin(id)
}

// Proceed issues what was approved, for the client that has come back for it, and gives back the enrollment as it then
// stands. One that is not approved, or that somebody else has moved meanwhile, is given back as it is. If policy refuses now,
// because a proof has run out for example, the enrollment fails, and its approvals serve the next request of the same content.
// A replay gives approvals back and not what followed from them, so that a request which has enough of them may still wait.
func (r *Registrar) Proceed(ctx context.Context, e *Enrollment) (*Enrollment, error) {
	next, now := *e, r.Now()
	if profile := r.Profiles[e.Profile]; e.Phase == Waiting && now.Before(e.Due) && profile != nil && profile.Hash() == e.ProfileHash {
		advance(&next, profile, now)
	}
	if next.Phase != Approved {
		return e, nil
	}
	next.Phase, next.Due, next.Attempts = Requested, r.dueIn(lease, time.Time{}), 1
	if err := r.Store.MoveEnrollment(ctx, &next, e, nil); err != nil && !problem.Is(err, problem.Conflict) {
		return nil, err
	} else if err == nil {
		if err := r.attempt(ctx, &next, time.Time{}); err != nil {
			r.Log.Warn("issuing what was approved failed", "enrollment", e.ID, "error", err)
		}
	}
	return r.Store.Enrollment(context.WithoutCancel(ctx), e.ID)
}

// renewed is the evidence of an enrollment that renews freely what was approved: it was there when this began.
func (e *Enrollment) renewed() string {
	if e.Renews {
		return e.Content
	}
	return ""
}

// lapse ends a request that waited too long: for approvals, or for its client to come back for what was approved.
func (r *Registrar) lapse(ctx context.Context, e *Enrollment) error {
	detail := "nobody decided the request in time; ask again"
	if e.Phase == Approved {
		detail = "the approval has lapsed before the certificate was asked for; ask again"
	}
	next := e.ended(Failed, Failure{Kind: problem.Unauthorized, Detail: detail, At: r.Now().UTC().Truncate(time.Second)})
	if err := r.Store.MoveEnrollment(ctx, next, e, nil); err != nil && !problem.Is(err, problem.Conflict) {
		return err
	}
	return nil
}
