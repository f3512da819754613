package ra

import (
	"context"
	"fmt"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// What the gateway does about an enrollment by itself: it renews it, and revokes it once it has been replaced. Each has a time;
// the enrollment is listed under the earlier one. Whoever takes a turn moves that on first, so that of several processes one
// does it, and so that one that dies is followed by another.

// AutoRenew says that the gateway renews an enrollment by itself.
type AutoRenew struct {
	On   bool
	Days int // before its end, from 1; but never before half of its validity is over
}

// RenewalTrial is how far the gateway is with renewing an enrollment by itself.
type RenewalTrial struct {
	Next     time.Time // not before that; zero: when AutoRenew says
	Attempts int       // that came to nothing
	Failure  *Failure  // why the last of them did
	Done     bool      // it needs no more
}

const (
	// upkeepLease is how long one worker may take over one turn.
	upkeepLease = 5 * time.Minute
	// firstRenewalDelay and maxRenewalDelay bound the pauses between attempts: most of what hinders a renewal takes people.
	firstRenewalDelay = 15 * time.Minute
	maxRenewalDelay   = 24 * time.Hour
	// successorPause is how often it is looked whether a successor has its certificate.
	successorPause = time.Hour
)

// RenewalDue is when the gateway renews the enrollment, or tries again; zero if it does not.
func (e *Enrollment) RenewalDue() time.Time {
	if !e.AutoRenew.On || e.Trial.Done || e.Phase != Issued || !e.Removed.IsZero() || !e.RenewedManually.IsZero() {
		return time.Time{}
	}
	due := e.NotAfter.Add(-time.Duration(e.AutoRenew.Days) * 24 * time.Hour)
	if half := e.NotBefore.Add(e.NotAfter.Sub(e.NotBefore) / 2); due.Before(half) {
		due = half
	}
	if due.Before(e.Trial.Next) {
		due = e.Trial.Next
	}
	if due.After(e.NotAfter) {
		return time.Time{} // what has expired is a person's matter
	}
	return due
}

// UpkeepDue is when the gateway has something to do about the enrollment; zero if it has nothing.
func (e *Enrollment) UpkeepDue() time.Time {
	due := e.RenewalDue()
	if e.Phase == Issued && !e.RevokeFrom.IsZero() && (due.IsZero() || e.RevokeFrom.Before(due)) {
		due = e.RevokeFrom
	}
	return due
}

// renewsItself is nil if an enrollment can be renewed without anybody sending a CSR.
func (r *Registrar) renewsItself(e *Enrollment) error {
	switch {
	case !e.Door.keepsCSR():
		return problem.New(problem.Conflict, "enrollment %d is renewed by its client, which has its key; the gateway cannot", e.ID)
	case len(e.KeptCSR) == 0 && len(e.CSR) == 0:
		return problem.New(problem.Conflict, "no CSR is kept of enrollment %d, so it cannot renew itself", e.ID)
	}
	return nil
}

// Upkeep does what is due: at most 50 enrollments a turn. It is safe to run in several processes at once.
func (r *Registrar) Upkeep(ctx context.Context) error {
	due, err := r.Store.UpkeepEnrollments(ctx, r.Now(), sweepBatch)
	if err != nil {
		return err
	}
	for _, e := range due {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := r.upkeep(ctx, e); err != nil {
			r.Log.Warn("looking after an enrollment failed", "enrollment", e.ID, "error", err)
		}
	}
	return nil
}

// upkeep does what is due about one enrollment.
func (r *Registrar) upkeep(ctx context.Context, e *Enrollment) error {
	now := r.Now()
	taken := *e
	revokes := !e.RevokeFrom.IsZero() && !now.Before(e.RevokeFrom)
	if revokes {
		taken.RevokeFrom = now.Add(upkeepLease)
	} else {
		taken.Trial.Next = now.Add(upkeepLease)
	}
	if err := r.Store.MoveEnrollment(ctx, &taken, e, nil); problem.Is(err, problem.Conflict) {
		return nil // another process has it, or it has just changed and is listed anew
	} else if err != nil {
		return err
	}
	if revokes {
		return r.revokeReplaced(ctx, &taken)
	}
	return r.renewByItself(ctx, &taken)
}

// revokeReplaced revokes what was replaced, once the successor has its certificate for as long as Config.RevokeReplaced says.
// A successor that came to nothing leaves it as it is.
func (r *Registrar) revokeReplaced(ctx context.Context, e *Enrollment) error {
	next := *e
	s, err := r.Store.Succession(ctx, e, r.Now())
	if err != nil {
		return err
	}
	if s.Next == 0 {
		next.RevokeFrom = time.Time{}
		return r.Store.MoveEnrollment(ctx, &next, e, nil)
	}
	successor, err := r.Store.Enrollment(ctx, s.Next)
	if err != nil {
		return err
	}
	switch due := successor.Issued.Add(r.RevokeReplaced); {
	case r.RevokeReplaced <= 0, !successor.Door.keepsCSR(): // no more; or a client has renewed what was not replaced in the end
		next.RevokeFrom = time.Time{}
	case successor.Issued.IsZero():
		next.RevokeFrom = r.Now().Add(successorPause)
	case r.Now().Before(due):
		next.RevokeFrom = due
	default:
		_, err := r.Authority.Revoke(ctx, ca.RevokeRequest{
			Issuer: e.Issuer, Serial: e.Serial, Reason: ca.Superseded, Actor: systemPrincipal, Comment: fmt.Sprintf("enrollment %d has taken its place", successor.ID),
		})
		if problem.Is(err, problem.Conflict) || problem.Is(err, problem.AlreadyRevoked) { // it has expired, or somebody was first
			next.RevokeFrom = time.Time{}
			break
		}
		return err
	}
	return r.Store.MoveEnrollment(ctx, &next, e, nil)
}

// renewByItself renews an enrollment that this process has taken, for whoever asked for it.
func (r *Registrar) renewByItself(ctx context.Context, e *Enrollment) error {
	next := *e
	if e.Status(r.Now()) != StatusIssued { // it expired while no gateway looked; what that means is for people to say
		next.Trial.Done = true
		return r.Store.MoveEnrollment(ctx, &next, e, nil)
	}
	s, err := r.Store.Succession(ctx, e, r.Now())
	if err != nil {
		return err
	}
	if s.Next != 0 || s.Ordered {
		return r.awaitSuccessor(ctx, e, s)
	}
	successor, err := r.renewFor(ctx, e)
	if err == nil {
		r.Log.Info("an enrollment was renewed by itself", "enrollment", e.ID, "successor", successor.ID, "status", successor.Status(r.Now()))
		return nil // the next turn sees what became of it
	}
	p := problem.From(err)
	next.Trial.Attempts++
	next.Trial.Failure = &Failure{Kind: p.Kind, Detail: p.Detail, At: r.Now().UTC().Truncate(time.Second)}
	next.Trial.Next = r.Now().Add(min(firstRenewalDelay<<min(next.Trial.Attempts-1, 10), maxRenewalDelay))
	if moved := r.Store.MoveEnrollment(ctx, &next, e, nil); moved != nil {
		return moved
	}
	r.Log.Warn("an enrollment could not be renewed by itself", "enrollment", e.ID, "attempts", next.Trial.Attempts, "next", next.Trial.Next, "error", err)
	return r.journalTrial(ctx, &next)
}

// awaitSuccessor comes again until the successor has a certificate, and is then done.
func (r *Registrar) awaitSuccessor(ctx context.Context, e *Enrollment, s Succession) error {
	next := *e
	next.Trial.Next = r.Now().Add(successorPause)
	if s.Next != 0 {
		successor, err := r.Store.Enrollment(ctx, s.Next)
		if err != nil {
			return err
		}
		if !successor.Issued.IsZero() {
			next.Trial = RenewalTrial{Done: true}
		}
	}
	return r.Store.MoveEnrollment(ctx, &next, e, nil)
}

// renewFor asks for the renewal in the name of the enrollment's requester: what that one may ask for was decided when it was set
// to renew itself, and whether the organisation still may, is now.
func (r *Registrar) renewFor(ctx context.Context, e *Enrollment) (*Enrollment, error) {
	req, err := r.renewal(e, nil)
	if err != nil {
		return nil, err
	}
	if req.Key, err = r.madeKey(ctx, e); err != nil {
		return nil, err
	}
	if req.Key != "" { // nobody but the gateway has to change anything for a new one
		req.CSR = nil
	}
	req.Door, req.Agent = e.Door, e.Agent
	if err := r.follow(ctx, e, &req); err != nil {
		return nil, err
	}
	return r.submitAs(ctx, auth.Caller{Principal: e.Requester, Org: e.Org}, req)
}

// madeKey is the type of the enrollment's private key, if it was made here and is kept; otherwise it is empty.
func (r *Registrar) madeKey(ctx context.Context, e *Enrollment) (policy.KeyType, error) {
	if e.KeyStored.IsZero() || r.Escrow.Store == nil {
		return "", nil
	}
	k, err := r.Escrow.Store.PrivateKey(ctx, e.ID)
	switch {
	case problem.Is(err, problem.NotFound) || err == nil && k.Origin != KeyMade:
		return "", nil
	case err != nil:
		return "", err
	}
	return k.Type, nil
}

// journalTrial tells the journal of an attempt that came to nothing.
func (r *Registrar) journalTrial(ctx context.Context, e *Enrollment) error {
	if r.Journal == nil {
		return nil
	}
	event := e.event(audit.RenewalFailed, systemPrincipal, e.Trial.Failure.Detail, e.Trial.Failure.At)
	return r.Journal.Append(ctx, event)
}

// systemPrincipal is who acts where nobody asked.
const systemPrincipal = "system"
