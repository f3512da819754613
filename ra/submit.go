package ra

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
)

const (
	// lease is how long one worker may take over one attempt before another may start the next. It is longer than any
	// signing deadline, so a worker that is merely slow is not overtaken.
	lease = time.Minute
	// maxAttempts bounds how often an enrollment that passed policy is tried before it fails; with the back-off below
	// that is about an hour and a half.
	maxAttempts = 16
	firstDelay  = 5 * time.Second
	maxDelay    = 10 * time.Minute
)

// Request asks for one certificate.
type Request struct {
	Door Door
	Org  auth.OrgID // that is to have the certificate; zero: the caller's
	// Agent is the principal of an operator who asks in the caller's name (auth.Principals.Acting); empty: the caller asks itself.
	// No more than the caller may it approve the request.
	Agent       string
	Profile     string
	ProfileHash string // as the door pinned it; empty pins it now
	Names       []identifier.Identifier
	CSR         []byte // DER
	// Key, in place of a CSR, has a key made here of that type, kept sealed, and a CSR made for it whose CN is the first of Names.
	Key    policy.KeyType
	Proofs []policy.Proven
	// Validate has a request wait for the proofs that its names lack, by a door other than ACME: it comes back Validating, and its
	// Challenges say what is to be published. Nil: such a request is refused.
	Validate    *Validation
	Restriction policy.Restriction // of what the caller may ask for; zero: none
	Claims      []Claim
	Requested   policy.Period // the validity that is asked for; zero leaves it to the profile
	Term        time.Duration // of the profile's ([policy.Profile.Terms]); zero leaves it to the profile
	// CustomFields name fields by number or by name. Which of them a request must have is up to its door and profile.
	CustomFields []policy.FieldValue
	// Comments and ExternalRequesters go with the enrollment, as [Registrar.Update] has them. What joins a request that is there
	// already leaves that one's as they are, and what takes another's place has the other's.
	Comments           string
	ExternalRequesters []string
	Replaces           ID // the enrollment that this one takes the place of; zero: none. That it may is the door's decision
	// Begin gives the door's own fact that is recorded in the same commit as the first intent, once the enrollment has a
	// number. Nil if the door has none.
	Begin func(ID) any
	// Holder names the door's object that is to get the certificate, if a later one of the same content may take its place
	// before there is one: the enrollment is the newest one's, made when that asks. Empty: the request is issued by itself.
	Holder string

	follows       *Enrollment // whose place it takes, as read: what goes with it goes on
	reissue       bool        // by Replace
	replaceReason string
	supersedes    bool // that one is to be revoked later

	made *StoredKey // for Key
}

// Submit asks for a certificate, and waits for it, but not for people: under a profile that demands approvals a request
// without them comes back Waiting, once nothing else is missing. A request of the same content as one that waits or was
// approved joins it (docs/approvals.md), and what was approved is issued now.
//
// An error means that nothing was recorded: the request was refused (BadCSR, RejectedIdentifier, Unauthorized, …), the
// object behind Begin moved on first (Conflict), or nothing can be issued now (Unavailable). An enrollment that comes back
// still Requested was accepted and will be finished, or failed, by [Registrar.Sweep].
func (r *Registrar) Submit(ctx context.Context, caller auth.Caller, req Request) (*Enrollment, error) {
	// From here on the caller acts in the organisation that is to have the certificate. Where its roles reach is asked now:
	// nothing below looks at them again.
	if org := cmp.Or(req.Org, caller.Org); org != caller.Org || caller.IsPrincipal() {
		if err := r.May(caller, auth.Request, org); err != nil {
			return nil, err
		}
		caller.Org = org
	}
	if err := r.journalAgent(ctx, caller, req); err != nil {
		return nil, err
	}
	return r.submitAs(ctx, caller, req)
}

// journalAgent notes who asks in a caller's name, before anything comes of it.
func (r *Registrar) journalAgent(ctx context.Context, caller auth.Caller, req Request) error {
	if req.Agent == "" {
		return nil
	}
	if r.Journal == nil {
		return problem.New(problem.Unavailable, "nobody can ask in another's name where there is no journal")
	}
	event := audit.Event{
		Kind: audit.AskedFor, At: r.Now().UTC(), Actor: req.Agent, Org: int32(caller.Org), Door: string(req.Door), Profile: req.Profile, Requester: caller.Principal,
	}
	for _, n := range req.Names {
		event.Names = append(event.Names, n.Value())
	}
	if err := r.Journal.Append(ctx, event); err != nil {
		return problem.Wrap(err, problem.Unavailable, "the request could not be journaled; say it again later")
	}
	return nil
}

// submitAs is Submit for a caller who may ask for certificates in his organisation.
func (r *Registrar) submitAs(ctx context.Context, caller auth.Caller, req Request) (*Enrollment, error) {
	profile, ok := r.Profiles[req.Profile]
	if !ok || !r.Allowed(caller.Org, req.Profile) {
		return nil, problem.New(problem.Unauthorized, "the profile %q is not available to this organisation", req.Profile)
	}
	if err := cmp.Or(checkComments(req.Comments), checkAddresses(req.ExternalRequesters)); err != nil {
		return nil, err
	}
	e, err := r.submitWithKey(ctx, caller, profile, req)
	if err != nil {
		return e, err
	}
	return e, r.keepDetails(ctx, caller, e)
}

// certify is submitAs for a request that has a CSR, under a profile of the organisation's.
func (r *Registrar) certify(ctx context.Context, caller auth.Caller, profile *policy.Profile, req Request) (*Enrollment, error) {
	csr, err := policy.ParseCSR(req.CSR)
	if err != nil {
		return nil, err
	}
	hash := req.ProfileHash
	if hash == "" {
		hash = profile.Hash()
	}
	q := policy.Request{
		Requester:   policy.Requester{Org: int32(caller.Org), Door: string(req.Door), Principal: caller.Principal},
		Restriction: req.Restriction, ProfileHash: hash, Names: req.Names, CSR: csr, Proofs: req.Proofs, Now: r.Now(),
		Requested: req.Requested, NameRules: r.NameRules(caller.Org),
	}
	if req.CustomFields, err = profile.CustomFields(string(req.Door), req.CustomFields); err != nil {
		return nil, err
	}
	q.Term, q.CustomFields = req.Term, req.CustomFields
	if req.Proofs, err = r.proofs(ctx, profile, q.Requester, q.Names, req.Proofs); err != nil {
		return nil, err
	}
	q.Proofs = req.Proofs
	if req.Validate != nil {
		if missing, err := profile.Lacking(q); err != nil {
			return nil, err
		} else if len(missing) > 0 {
			return r.begin(ctx, caller, req, profile, q, missing)
		}
	}
	for try := 1; ; try++ {
		content, standing, err := r.stand(ctx, profile, &q)
		if err != nil {
			return nil, err
		}
		if req.Agent != "" {
			q.Approvals = slices.DeleteFunc(slices.Clone(q.Approvals), func(a policy.Approval) bool { return a.Approver == req.Agent })
		}
		if !standing.waits(q.Now) {
			var e *Enrollment
			if e, err = r.issue(ctx, caller, req, profile, q, content, standing); !errors.Is(err, policy.ErrNotApproved) {
				return e, err
			}
		}
		var e *Enrollment
		if standing.waits(q.Now) {
			e, err = r.join(ctx, req, profile, q, standing.Enrollment)
		} else {
			e, err = r.await(ctx, caller, req, profile, q, content, standing)
		}
		if !problem.Is(err, problem.Conflict) || try == moveTries { // what was read has moved on, or the door's object has
			return e, err
		}
	}
}

// newEnrollment is what is recorded of a request first.
func newEnrollment(id ID, caller auth.Caller, req Request, q policy.Request, commonName string) *Enrollment {
	e := &Enrollment{
		ID: id, Org: caller.Org, Door: req.Door, Requester: caller.Principal, Agent: req.Agent,
		Profile: req.Profile, ProfileHash: q.ProfileHash, Names: identifier.SortUnique(q.Names), CommonName: commonName,
		Created: q.Now.UTC().Truncate(time.Second), Claims: req.Claims, Phase: Requested,
		CSR: req.CSR, Proofs: req.Proofs, Restriction: req.Restriction, Due: q.Now.Add(lease), Attempts: 1, Replaces: req.Replaces,
		Requested: req.Requested, Term: req.Term, CustomFields: req.CustomFields,
		Comments: req.Comments, ExternalRequesters: slices.Clone(req.ExternalRequesters),
	}
	if req.Door.keepsCSR() {
		e.Claims = append(slices.Clone(e.Claims), renewClaim(req.Door))
	}
	e.inherit(req)
	if e.hasDetails() {
		e.Edits = 1 // what the journal says of it is later than nothing
	}
	if req.made != nil {
		e.storeKey(req.made, q.Now)
	}
	return e
}

// issue takes a request to the signing gate.
func (r *Registrar) issue(ctx context.Context, caller auth.Caller, req Request, profile *policy.Profile, q policy.Request, content string, s *Standing) (*Enrollment, error) {
	issuance := &Issuance{Quota: profile.Quota()}
	_, err := r.Authority.Issue(ctx, ca.Request{
		Profile: profile,
		Policy:  q,
		// The number is taken only after policy has accepted: refused requests must not use numbers up.
		Begin: func(ctx context.Context, d *policy.Decision) (int64, ca.Owner, error) {
			if err := r.checkQuota(ctx, caller.Org, profile, d.Names); err != nil {
				return 0, nil, err
			}
			if req.follows == nil { // otherwise the commit demands that it is as it was read, not revoked
				if err := r.checkReplaced(ctx, req.Replaces, req.CSR); err != nil {
					return 0, nil, err
				}
			}
			id, err := r.Store.NextEnrollment(ctx)
			if err != nil {
				return 0, nil, err
			}
			issuance.Enrollment, issuance.Begin = newEnrollment(id, caller, req, q, d.CommonName), begun(req, id)
			if s != nil {
				issuance.take(content, req.Holder, d, profile.Counting(q.Approvals, content, caller.Principal, q.Now), s.Mark)
			}
			return int64(id), issuance, nil
		},
	})
	if err == nil {
		return issuance.Enrollment, nil
	}
	if issuance.Enrollment == nil || issuance.Enrollment.Version == [16]byte{} {
		return nil, err
	}
	// The intent was recorded: the enrollment exists and is owed an outcome.
	e := r.postpone(ctx, issuance.Enrollment, time.Time{})
	if e.Phase == Issued || e.Phase == Revoked {
		// The certificate is recorded, but the journal did not take it: it is not released by this answer.
		return nil, err
	}
	r.Log.Warn("issuance did not finish; it will be tried again", "enrollment", e.ID, "due", e.Due, "error", err)
	return e, nil
}

// postpone makes the next attempt due after a back-off instead of at the end of the lease, but not before a time, and
// returns the enrollment as it stands. If that cannot be recorded the lease stands, and the attempt comes later. What
// another worker has taken over meanwhile is that worker's: moving it would refuse the certificate that is being made.
func (r *Registrar) postpone(ctx context.Context, e *Enrollment, after time.Time) *Enrollment {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if current, err := r.Store.Enrollment(ctx, e.ID); err == nil {
		if current.Phase != Requested || current.Version != e.Version {
			return current
		}
		e = current
	}
	delay := min(firstDelay<<min(e.Attempts-1, 10), maxDelay)
	if err := r.Store.TakeEnrollment(ctx, e, r.dueIn(delay, after)); err != nil {
		r.Log.Warn("postponing an enrollment failed", "enrollment", e.ID, "error", err)
	}
	return e
}

// dueIn is a time from now, moved behind another one, at the precision at which the store lists what is due.
func (r *Registrar) dueIn(d time.Duration, after time.Time) time.Time {
	due := r.Now().Add(d)
	if earliest := after.Add(time.Millisecond); due.Before(earliest) {
		return earliest
	}
	return due
}
