package ra

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// To renew and to replace are requests like any other: policy and the signing gate look at everything again, and approvals are
// needed unless the content is the one that was approved (docs/approvals.md). What makes them more is the lineage: the new
// enrollment takes the place of the old one, which has one successor at a time.

// RenewRequest asks for a certificate of the same names, profile and length of validity in place of one that ends.
type RenewRequest struct {
	Door    Door   // by which it is asked, and whose enrollment the new one is
	ID      ID     // of the enrollment that is renewed, or
	RenewID string // its renew id, by the same door
	CSR     []byte // DER; nil: the one that its certificate was issued for

	Validate *Validation // as in [Request]: proofs of the old one's names serve that one alone
}

// ReplaceRequest asks for another certificate in place of one.
type ReplaceRequest struct {
	Door   Door
	ID     ID
	CSR    []byte                  // DER
	Names  []identifier.Identifier // nil: those of the one that is replaced
	Reason string                  // for the record, one line; may be empty

	Validate *Validation // as in [RenewRequest]
}

// Renew renews an enrollment that was issued, also one that has expired: the result is a new enrollment, as [Registrar.Submit]
// gives it back. Comments, custom fields and the settings that go with the old one go on with it.
//
// Errors are those of Submit, and NotFound for an enrollment that the caller may not know of; Unauthorized for one who may not
// ask for certificates there; Conflict if there is nothing to renew, if no CSR is given or kept, or if another enrollment takes
// its place already, whose number it names.
func (r *Registrar) Renew(ctx context.Context, caller auth.Caller, q RenewRequest) (*Enrollment, error) {
	return r.succeed(ctx, caller, q.Door, func() (*Enrollment, Request, error) {
		old, err := r.renewing(ctx, caller, q)
		if err != nil {
			return nil, Request{}, err
		}
		req, err := r.renewal(old, q.CSR)
		req.Validate = q.Validate
		return old, req, err
	})
}

// renewing reads the enrollment that is to be renewed.
func (r *Registrar) renewing(ctx context.Context, caller auth.Caller, q RenewRequest) (*Enrollment, error) {
	if q.RenewID == "" {
		return r.editable(ctx, caller, q.ID)
	}
	if q.ID != 0 {
		return nil, problem.New(problem.Malformed, "an enrollment is named by its number or by its renew id, not by both")
	}
	e, err := r.byRenewID(ctx, q.Door, q.RenewID)
	if err != nil {
		return nil, err
	}
	if err := r.mayEdit(caller, e, problem.New(problem.NotFound, "no enrollment has this renew id")); err != nil {
		return nil, err
	}
	return r.reissued(ctx, caller, e)
}

// renewal is the request that renews an enrollment, with its own CSR if there is none.
func (r *Registrar) renewal(old *Enrollment, csr []byte) (Request, error) {
	if len(csr) == 0 {
		csr = old.KeptCSR
	}
	if len(csr) == 0 {
		return Request{}, problem.New(problem.Conflict, "no CSR is kept of enrollment %d; send one to renew it with", old.ID)
	}
	return Request{
		Org: old.Org, Profile: old.Profile, Names: old.Names, CSR: csr, Requested: r.sameValidity(old), Term: old.Term, CustomFields: old.CustomFields,
	}, nil
}

// sameValidity asks for as long as was asked for of an enrollment: for a certificate that begins now.
func (r *Registrar) sameValidity(old *Enrollment) policy.Period {
	if old.Requested.NotAfter.IsZero() {
		return policy.Period{}
	}
	begin := old.Requested.NotBefore
	if begin.IsZero() {
		begin = old.Created
	}
	return policy.Period{NotAfter: r.Now().UTC().Truncate(time.Second).Add(old.Requested.NotAfter.Sub(begin))}
}

// Replace asks for a new certificate, of another key and perhaps other names, in place of one that is valid or has expired. If
// Config.RevokeReplaced says so, the one that is replaced is revoked as superseded that long after the new one was issued.
// Errors are as those of [Registrar.Renew].
func (r *Registrar) Replace(ctx context.Context, caller auth.Caller, q ReplaceRequest) (*Enrollment, error) {
	if err := checkLine("reason", q.Reason, maxReplaceReason); err != nil {
		return nil, err
	}
	if len(q.CSR) == 0 {
		return nil, problem.New(problem.BadCSR, "the request has no CSR; a certificate is replaced by one for a new CSR")
	}
	return r.succeed(ctx, caller, q.Door, func() (*Enrollment, Request, error) {
		old, err := r.editable(ctx, caller, q.ID)
		if err != nil {
			return nil, Request{}, err
		}
		req := Request{
			Org: old.Org, Profile: old.Profile, Names: q.Names, CSR: q.CSR, Requested: r.sameValidity(old), Term: old.Term,
			CustomFields: old.CustomFields, reissue: true, replaceReason: q.Reason, supersedes: r.RevokeReplaced > 0, Validate: q.Validate,
		}
		if len(req.Names) == 0 {
			req.Names = old.Names
		}
		return old, req, nil
	})
}

// maxReplaceReason is how long the reason of a replacement may be, in characters.
const maxReplaceReason = 512

// succeed submits what plan makes of an enrollment that is to have a successor, and plans anew if that changed meanwhile.
func (r *Registrar) succeed(ctx context.Context, caller auth.Caller, door Door, plan func() (*Enrollment, Request, error)) (*Enrollment, error) {
	if !door.keepsCSR() {
		return nil, problem.Wrap(fmt.Errorf("ra: the door %q renews nothing", door), problem.Internal, "")
	}
	for try := 1; ; try++ {
		old, req, err := plan()
		if err != nil {
			return nil, err
		}
		req.Door = door
		if err := r.follow(ctx, old, &req); err != nil {
			return nil, err
		}
		e, err := r.Submit(ctx, caller, req)
		if !problem.Is(err, problem.Conflict) || try == moveTries {
			return e, err
		}
	}
}

// follow makes a request one that takes the place of an enrollment, if that may have a successor now.
func (r *Registrar) follow(ctx context.Context, old *Enrollment, req *Request) error {
	switch status := old.Status(r.Now()); status {
	case StatusIssued, StatusExpired:
	case StatusRevoked:
		return problem.New(problem.Conflict, "the certificate of enrollment %d is revoked; make a new request", old.ID)
	default:
		return problem.New(problem.Conflict, "enrollment %d is %s and has no certificate to renew or replace", old.ID, status)
	}
	if old.Profile == "" {
		return problem.New(problem.Conflict, "enrollment %d was imported under no profile, so nothing says what may take its place; make a new request, and mark it as renewed by that", old.ID)
	}
	s, err := r.Store.Succession(ctx, old, r.Now())
	if err != nil {
		return err
	}
	if s.Next != 0 {
		return problem.New(problem.Conflict, "enrollment %d takes the place of enrollment %d already", s.Next, old.ID)
	}
	if s.Ordered {
		return problem.New(problem.Conflict, "an ACME order is about to take the place of enrollment %d; wait for its end", old.ID)
	}
	if p := r.Profiles[req.Profile]; p != nil {
		req.Term, req.CustomFields = p.RenewalTerm(req.Term, r.Now()), p.Remaining(req.CustomFields)
	}
	req.Replaces, req.follows = old.ID, old
	req.Begin = func(id ID) any {
		f := &Successor{Of: old, Next: id, Mark: s.Mark}
		after := *old
		after.RevokeFrom = time.Time{} // that of a replacement which came to nothing
		if req.supersedes {
			after.RevokeFrom = r.Now().Add(r.RevokeReplaced)
		}
		if !after.RevokeFrom.Equal(old.RevokeFrom) {
			f.After = &after
		}
		return f
	}
	return nil
}

// Successor is the fact that an enrollment takes the place of another. It begins with the former's first commit, if the latter
// and the record of what takes its place are then as they were read.
type Successor struct {
	Of    *Enrollment // as read
	After *Enrollment // what it becomes in the same commit; nil: it stays as it is
	Next  ID
	Mark  [16]byte // of the record, as read; zero: there was none
}

// Succession is what takes the place of an enrollment.
type Succession struct {
	Next    ID       // the enrollment that does or is about to; zero: none, or it came to nothing
	Ordered bool     // an ACME order is about to, and has proven its names
	Mark    [16]byte // of the record; zero: there is none
}

// inherit gives a new enrollment what goes with the one whose place it takes.
func (e *Enrollment) inherit(req Request) {
	old := req.follows
	if old == nil {
		return
	}
	e.Comments, e.ExternalRequesters, e.AutoRenew, e.SuspendNotifications = old.Comments, old.ExternalRequesters, old.AutoRenew, old.SuspendNotifications
	e.Reissue, e.ReplaceReason = req.reissue, req.replaceReason
}

// MarkRenewed records that an enrollment needs no renewal here any more: because another one of the same organisation, by, took
// its place, or, if that is zero, one that is not managed here. Nothing is sent about its end then and it is not renewed by
// itself. Saying so again changes nothing. Durable in store and journal on return; that by takes its place is in the store
// alone, as lineages are.
//
// Errors: NotFound, Unauthorized as of [Registrar.Renew]; Conflict if it has no certificate, or has another successor, or if by
// has none or takes another's place.
func (r *Registrar) MarkRenewed(ctx context.Context, caller auth.Caller, id, by ID) (*Enrollment, error) {
	if id == by {
		return nil, problem.New(problem.Malformed, "enrollment %d cannot take its own place", id)
	}
	return r.edit(ctx, caller, id, "marked as renewed", func(e *Enrollment) (any, error) {
		if e.Issued.IsZero() {
			return nil, problem.New(problem.Conflict, "enrollment %d has no certificate that could have been renewed", id)
		}
		e.RenewedManually = cmp.Or(e.RenewedManually, r.Now().UTC().Truncate(time.Second))
		if by == 0 {
			return nil, nil
		}
		fact, err := r.link(ctx, caller, e, by)
		if fact != nil {
			e.RevokeFrom = time.Time{} // it was not replaced by that one
		}
		return fact, err
	})
}

// link is the fact that an enrollment which is there takes the place of another; nil if it does so already.
func (r *Registrar) link(ctx context.Context, caller auth.Caller, old *Enrollment, by ID) (any, error) {
	next, err := r.editable(ctx, caller, by)
	if err != nil {
		return nil, err
	}
	s, err := r.Store.Succession(ctx, old, r.Now())
	switch {
	case err != nil:
		return nil, err
	case next.Replaces == old.ID && s.Next == by:
		return nil, nil
	case next.Org != old.Org:
		return nil, problem.New(problem.Conflict, "enrollments %d and %d are of two organisations", old.ID, by)
	case next.Issued.IsZero():
		return nil, problem.New(problem.Conflict, "enrollment %d has no certificate that could take the place of another", by)
	case next.Replaces != 0:
		return nil, problem.New(problem.Conflict, "enrollment %d takes the place of enrollment %d", by, next.Replaces)
	case s.Next != 0 || s.Ordered:
		return nil, problem.New(problem.Conflict, "enrollment %d has another successor, enrollment %d", old.ID, s.Next)
	case next.Created.Before(old.Created):
		return nil, problem.New(problem.Conflict, "enrollment %d is older than enrollment %d", by, old.ID)
	}
	after := *next
	after.Replaces = old.ID
	return &Linked{Old: old, Mark: s.Mark, Next: next, After: &after}, nil
}

// Linked is the fact that an enrollment which is there takes the place of another from now on.
type Linked struct {
	Old         *Enrollment
	Mark        [16]byte // of the record of what takes its place, as read
	Next, After *Enrollment
}
