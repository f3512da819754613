package ra

import (
	"context"
	"errors"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
)

const (
	// moveTries bounds how often a transition is tried on what somebody else has just changed.
	moveTries = 5
	// maxMessage is how long an approver's message may be, in characters.
	maxMessage = 512
)

// ErrOwnRequest is in the chain of the refusal of an approval by the requester, for doors that have a word for it.
var ErrOwnRequest = errors.New("ra: the approver is the requester")

// Approve records that the caller consents to a request, and has it issued once enough people have: at once, or, of a request
// whose client makes a new key with each try, when the client next asks. Doing so again counts once and changes nothing. The
// result is the enrollment as it then stands. Durable in store and journal on return.
//
// Errors: NotFound for what the caller may not know of; Unauthorized for one who may not decide, and for the requester;
// Conflict if the request does not wait (any more), has lapsed, or its profile has changed since; BadPublicKey if what it takes the
// place of was revoked because its key is known to others, and the request is for that key.
func (r *Registrar) Approve(ctx context.Context, caller auth.Caller, id ID, message string) (*Enrollment, error) {
	if err := checkMessage(message, false); err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		e, profile, err := r.undecided(ctx, caller, id)
		if err != nil {
			return nil, err
		}
		if given, ok := approvalOf(e, caller.Principal); ok && e.consented() {
			// Said again, after an answer that was lost or a journal that failed.
			return e, r.journalApproval(ctx, e, given)
		}
		now := r.Now()
		switch {
		case e.Phase != Waiting || !now.Before(e.Due):
			return nil, settled(e, now)
		case caller.Principal == e.Requester, caller.Principal == e.Agent:
			return nil, problem.Wrap(ErrOwnRequest, problem.Unauthorized, "nobody approves their own request; somebody else must")
		case profile == nil:
			return nil, problem.New(problem.Conflict, "the profile %q has changed since request %d was made, so it cannot be issued; decline it", e.Profile, id)
		}
		if err := r.checkReplaced(ctx, e.Replaces, e.CSR); err != nil {
			return nil, err
		}
		given := policy.Approval{Content: e.Content, Approver: caller.Principal, At: now.UTC().Truncate(time.Second), Message: message}
		next := *e
		next.Approvals = append(slices.Clone(profile.Counting(e.Approvals, e.Content, e.Requester, now)), given)
		if first, ok := approvalOf(&Enrollment{Approvals: next.Approvals[:len(next.Approvals)-1]}, caller.Principal); ok {
			next.Approvals, given = next.Approvals[:len(next.Approvals)-1], first
		}
		advance(&next, profile, now)
		if err = r.Store.MoveEnrollment(ctx, &next, e, nil); problem.Is(err, problem.Conflict) && try < moveTries {
			continue
		} else if err != nil {
			return nil, err
		}
		if err := r.journalApproval(ctx, &next, given); err != nil {
			return nil, err
		}
		return r.goOn(ctx, &next)
	}
}

// consented reports whether enough people have approved and nothing has undone that.
func (e *Enrollment) consented() bool {
	switch e.Phase {
	case Approved, Requested, Issued, Revoked:
		return true
	default:
		return false
	}
}

// goOn makes the certificate of a request that has just become due.
func (r *Registrar) goOn(ctx context.Context, e *Enrollment) (*Enrollment, error) {
	if e.Phase != Requested {
		return e, nil
	}
	if err := r.resume(ctx, e, time.Time{}); err != nil {
		r.Log.Warn("issuing what was approved failed", "enrollment", e.ID, "error", err)
	}
	return r.Store.Enrollment(context.WithoutCancel(ctx), e.ID)
}

// advance moves a waiting request on if enough people have approved: to Approved where its client has to ask once more, which
// it may until the first approval lapses, and to Requested, due now, where nobody does.
func advance(e *Enrollment, profile *policy.Profile, now time.Time) {
	rule := profile.Approvals()
	counting := profile.Counting(e.Approvals, e.Content, e.Requester, now)
	if e.Phase != Waiting || len(counting) < rule.Required {
		return
	}
	if e.Holder == "" {
		e.Phase, e.Due = Requested, now
		return
	}
	e.Phase, e.Due = Approved, counting[0].At.Add(rule.Lifetime)
	for _, a := range counting {
		if end := a.At.Add(rule.Lifetime); end.Before(e.Due) {
			e.Due = end
		}
	}
}

// Decline ends a request that waits, or that was approved and has no certificate yet, with a message that the requester is
// shown. Saying so again changes nothing. Durable in store and journal on return. Errors are as those of [Registrar.Approve];
// a requester who may decide may also decline.
func (r *Registrar) Decline(ctx context.Context, caller auth.Caller, id ID, message string) (*Enrollment, error) {
	if err := checkMessage(message, true); err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		e, _, err := r.undecided(ctx, caller, id)
		if err != nil {
			return nil, err
		}
		now := r.Now().UTC().Truncate(time.Second)
		switch {
		case e.Phase == Declined && e.Decliner == caller.Principal:
			return e, r.journalDecline(ctx, e)
		case e.Phase != Waiting && e.Phase != Approved:
			return nil, settled(e, now)
		}
		next := e.Decline(caller.Principal, message, now)
		if err = r.Store.MoveEnrollment(ctx, next, e, nil); problem.Is(err, problem.Conflict) && try < moveTries {
			continue
		} else if err != nil {
			return nil, err
		}
		return next, r.journalDecline(ctx, next)
	}
}

// Decline is the enrollment as it stands once somebody declined it. What only an unfinished one needs is gone.
func (e *Enrollment) Decline(by, message string, at time.Time) *Enrollment {
	n := e.ended(Declined, Failure{Kind: problem.Unauthorized, Detail: message, At: at})
	n.Decliner = by
	return n
}

// ended is the enrollment as it stands at an end without a certificate.
func (e *Enrollment) ended(phase Phase, f Failure) *Enrollment {
	n := *e
	n.Phase, n.Failure, n.CSR, n.Proofs, n.Restriction, n.Due = phase, &f, nil, nil, policy.Restriction{}, time.Time{}
	n.Checking, n.Challenges = time.Time{}, withoutRecords(e.Challenges)
	n.endKey(f.At)
	return &n
}

// undecided reads a request that the caller may decide, and its profile, nil if that is not what it was any more.
func (r *Registrar) undecided(ctx context.Context, caller auth.Caller, id ID) (*Enrollment, *policy.Profile, error) {
	if r.Journal == nil || caller.Principal == "" {
		return nil, nil, problem.New(problem.Unauthorized, "nobody can decide here")
	}
	e, err := r.Store.Enrollment(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	if err := r.mayDecide(caller, e); err != nil {
		if problem.Is(err, problem.NotFound) {
			err = absent(id)
		}
		return nil, nil, err
	}
	if !e.Removed.IsZero() {
		return nil, nil, absent(id)
	}
	if e.Content == "" {
		return nil, nil, problem.New(problem.Conflict, "enrollment %d needs no approval", id)
	}
	profile := r.Profiles[e.Profile]
	if profile != nil && profile.Hash() != e.ProfileHash {
		profile = nil
	}
	return e, profile, nil
}

// mayDecide is nil if the caller may approve and decline a request. Where the profile is gone, what its absence leaves is to
// decline, and that takes the lesser role.
func (r *Registrar) mayDecide(caller auth.Caller, e *Enrollment) error {
	role := policy.ByApprover
	if p := r.Profiles[e.Profile]; p != nil && p.Approvals().Required > 0 {
		role = p.Approvals().Role
	}
	return r.MayDecide(caller, role, e.Org)
}

// operatorDecides is who may decide where nobody has roles.
func operatorDecides(caller auth.Caller, _ policy.ApproverRole, _ auth.OrgID) error {
	if caller.Operator {
		return nil
	}
	return problem.New(problem.NotFound, "there is no such object")
}

// settled says why a request cannot be decided.
func settled(e *Enrollment, now time.Time) error {
	switch e.Phase {
	case Waiting:
		return problem.New(problem.Conflict, "request %d has lapsed at %s; its requester must ask again", e.ID, e.Due.UTC().Format(time.RFC3339))
	case Approved, Requested:
		return problem.New(problem.Conflict, "request %d is approved already", e.ID)
	case Declined:
		return problem.New(problem.Conflict, "request %d was declined by %s", e.ID, e.Decliner)
	case Issued, Revoked:
		return problem.New(problem.Conflict, "request %d was issued; revoke the certificate if it should not be", e.ID)
	default:
		return problem.New(problem.Conflict, "request %d is %s", e.ID, e.Status(now))
	}
}

func approvalOf(e *Enrollment, principal string) (policy.Approval, bool) {
	i := slices.IndexFunc(e.Approvals, func(a policy.Approval) bool { return a.Approver == principal })
	if i < 0 {
		return policy.Approval{}, false
	}
	return e.Approvals[i], true
}

// checkMessage holds a message to what can be shown on a line.
func checkMessage(message string, needed bool) error {
	switch {
	case message == "" && needed:
		return problem.New(problem.Malformed, "message is missing; say why, because the requester is shown it")
	case !utf8.ValidString(message) || utf8.RuneCountInString(message) > maxMessage:
		return problem.New(problem.Malformed, "message must be at most %d characters of UTF-8", maxMessage)
	case slices.ContainsFunc([]rune(message), unicode.IsControl):
		return problem.New(problem.Malformed, "message must be one line without control characters")
	}
	return nil
}

// Decisions go to the store first, which decides between those that collide, and then to the journal; whoever decides is told
// after both. One that the journal did not take is said again to bring it there. An approval that could be used in between is
// named by the journal's entry of the signature.

func (r *Registrar) journalApproval(ctx context.Context, e *Enrollment, a policy.Approval) error {
	return r.journal(ctx, audit.Approved, e, a.Approver, a.Message, a.At)
}

func (r *Registrar) journalDecline(ctx context.Context, e *Enrollment) error {
	return r.journal(ctx, audit.Declined, e, e.Decliner, e.Failure.Detail, e.Failure.At)
}

func (r *Registrar) journal(ctx context.Context, kind audit.Kind, e *Enrollment, by, message string, at time.Time) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	event := audit.Event{
		Kind: kind, At: at.UTC(), Actor: by, Org: int32(e.Org), Enrollment: int64(e.ID), Door: string(e.Door), Profile: e.Profile,
		Requester: e.Requester, Content: e.Content, Detail: message,
	}
	for _, n := range e.Names {
		event.Names = append(event.Names, n.Value())
	}
	if err := r.Journal.Append(ctx, event); err != nil {
		return problem.Wrap(err, problem.Unavailable, "the decision could not be journaled; say it again later")
	}
	return nil
}
