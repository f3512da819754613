package acme

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/problem"
)

const (
	// validationTime bounds one validation, the wait for a slot in dcv included.
	validationTime = 60 * time.Second
	// validationLease is when the sweep of any process may take over a validation that is recorded as under way. It is
	// longer than a validation can last, so nobody is overtaken who is merely slow.
	validationLease = 75 * time.Second
	// validationPatience is how long validations that cannot be carried out, for reasons that say nothing about the name,
	// are tried again before the challenge fails.
	validationPatience = time.Hour
)

// validation is one that is under way in this process.
type validation struct {
	id       AuthzID
	account  AccountID
	position int
	done     chan struct{} // closed when there is an outcome, or an error

	mu    sync.Mutex
	authz *Authorization // as last recorded; replaced, never changed
	ended bool
	err   error // why nothing could be recorded
}

// validations are those under way in this process, at most one for each authorization.
type validations struct {
	limit int
	share int // how many of them may be one account's

	mu      sync.Mutex
	running map[AuthzID]*validation
	of      map[AccountID]int // how many are running
}

// init sets the limits. An account whose names' servers answer slowly, or whose validations wait for each other in dcv, holds
// its place for a minute each time; a share keeps room for everybody else. It is never less than sixteen, if there are as many.
func (vs *validations) init(limit int) {
	vs.limit, vs.share = limit, max(limit/8, min(limit, 16))
	vs.running, vs.of = make(map[AuthzID]*validation), make(map[AccountID]int)
}

// join finds the validation of an authorization or makes one, which the caller must then start. It is nil if as many are
// under way as may be, in all or of the account.
func (vs *validations) join(a *Authorization, position int) (v *validation, made bool) {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	if v = vs.running[a.ID]; v != nil {
		return v, false
	}
	if len(vs.running) >= vs.limit || vs.of[a.Account] >= vs.share {
		return nil, false
	}
	v = &validation{id: a.ID, account: a.Account, position: position, authz: a, done: make(chan struct{})}
	vs.running[a.ID] = v
	vs.of[a.Account]++
	return v, true
}

// room is how many more may be started.
func (vs *validations) room() int {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	return vs.limit - len(vs.running)
}

func (vs *validations) leave(v *validation) {
	vs.mu.Lock()
	delete(vs.running, v.id)
	if vs.of[v.account]--; vs.of[v.account] == 0 {
		delete(vs.of, v.account)
	}
	vs.mu.Unlock()
	close(v.done)
}

// begin gives the authorization as recorded. If the validation is still under way and not recorded as such, that is done
// first: from now on the client has our word that somebody works on it.
func (v *validation) begin(ctx context.Context, s *Server) (*Authorization, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ended || !v.authz.Challenges[v.position].Begun.IsZero() {
		return v.authz, v.err
	}
	a, err := s.lease(ctx, v.authz, v.position, s.Now().UTC().Add(validationLease))
	v.authz = a
	return a, err
}

// startValidation runs a validation beyond the request that asked for it.
func (s *Server) startValidation(v *validation, keyAuthorization string) error {
	started := s.Work.Go("acme-validation", validationLease, func(ctx context.Context) {
		defer s.validations.leave(v)
		s.run(ctx, v, keyAuthorization)
	})
	if !started {
		v.mu.Lock()
		v.ended, v.err = true, errStopping
		v.mu.Unlock()
		s.validations.leave(v)
		return errStopping
	}
	return nil
}

var errStopping = problem.New(problem.Unavailable, "the gateway is stopping; try again").After(busyAfter)

// run validates once and records the outcome. RFC 8555, 8.2 would let a server try again before it gives up; a client
// that was told what is wrong is served better by a new order.
func (s *Server) run(ctx context.Context, v *validation, keyAuthorization string) {
	// Canceled, not timed out: dcv takes the end of a deadline for the name's own slowness, and what ends here may be the
	// wait for a slot.
	checking, cancel := context.WithCancel(ctx)
	timer := time.AfterFunc(validationTime, cancel)
	a := v.recorded()
	c := &a.Challenges[v.position]
	req := dcv.Request{Method: c.Method, Identifier: a.Identifier, Token: c.Token, KeyAuthorization: keyAuthorization}
	if profile, ok := s.Profiles[a.Profile]; ok {
		req.Private, req.CAA, req.DNSSEC = profile.PrivateRanges(), s.caaFor(a, profile), profile.DNSSEC()
	}
	proof, record, err := s.Validator.Check(checking, req)
	timer.Stop()
	cancel()

	// The outcome is recorded even if the gateway is stopping.
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ended = true
	next := s.conclude(v.authz, v.position, proof, record, err)
	if next == nil {
		v.err = s.postpone(ctx, v, record, err)
		return
	}
	s.failed(ctx, next, v.position) // first, so that whoever is told of a failure meets the limit
	if err := s.Store.FinishChallenge(ctx, next); err != nil {
		v.err = err
		s.log.LogAttrs(ctx, slog.LevelWarn, "a validation's outcome was not recorded",
			slog.String("authorization", string(next.ID)), slog.Any("error", err))
		return
	}
	v.authz = next
}

func (v *validation) recorded() *Authorization {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.authz
}

// conclude is the authorization after a validation, or nil if the validation says nothing about the name. The store ends
// the lease.
func (s *Server) conclude(a *Authorization, position int, proof *dcv.Proof, record *dcv.Record, err error) *Authorization {
	next, now := a.clone(), s.now()
	c := &next.Challenges[position]
	if c.Begun.IsZero() {
		c.Begun = now
	}
	profile, ok := s.Profiles[a.Profile]
	switch {
	case !ok: // configured away meanwhile
		c.Failed = &Failure{Kind: problem.RejectedIdentifier, At: now,
			Detail: "the profile of this authorization is no longer offered; make a new order", Record: encodeRecord(record)}
	case !now.Before(a.Expires): // RFC 8555, 7.1.6: what lapsed is not brought back by an outcome that comes late
		c.Failed = &Failure{Kind: problem.Unauthorized, At: now, Record: encodeRecord(record),
			Detail: "the authorization lapsed before it was validated; make a new order"}
	case err == nil && (proof == nil || proof.Method != c.Method || proof.Identifier != a.Identifier):
		err = errors.New("the validator proved something else than it was asked to")
		fallthrough
	case err != nil:
		e := problem.From(err)
		if inconclusive(e.Kind) && now.Sub(c.Begun) < validationPatience {
			return nil
		}
		c.Failed = &Failure{Kind: e.Kind, Detail: e.Detail, At: now, Record: encodeRecord(record)}
	default:
		c.Proof = proof
		c.Proof.Until = profile.ProofUntil(proof.At)
		next.Expires = c.Proof.Until
	}
	c.Hindered = nil
	return next
}

// inconclusive tells errors that are ours from verdicts about the name.
func inconclusive(k problem.Kind) bool {
	return k == problem.Internal || k == problem.Unavailable || k == problem.RateLimited
}

// maxRecord bounds a record that is kept, in bytes of JSON. An ordinary one has one or two KiB; a hostile zone and server
// make one of hundreds, for each of an order's hundred names, and it stays for days.
const maxRecord = 16 << 10

// encodeRecord is the record with as many entries in its lists as fit.
func encodeRecord(record *dcv.Record) []byte { return record.Encoded(maxRecord) }

// postpone leaves a validation that could not be carried out to the sweep, with a note of what hindered it. v.mu is held.
func (s *Server) postpone(ctx context.Context, v *validation, record *dcv.Record, cause error) error {
	s.log.LogAttrs(ctx, slog.LevelWarn, "a validation could not be carried out; it will be tried again",
		slog.String("authorization", string(v.authz.ID)), slog.Any("error", cause))
	p := problem.From(cause)
	noted := v.authz.clone()
	noted.Challenges[v.position].Hindered = &Failure{Kind: p.Kind, Detail: p.Detail, At: s.now(), Record: encodeRecord(record)}
	a, err := s.lease(ctx, noted, v.position, s.Now().UTC().Add(max(p.RetryAfter, sweepInterval)))
	if err == nil {
		v.authz = a
	}
	return err
}
