package acme

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme/jws"
	"github.com/gatehouse-ca/gatehouse/problem"
)

const (
	sweepInterval = 5 * time.Second
	// sweepOrdersAtOnce bounds one turn of removing lapsed orders from lists. Turns follow each other while there is more.
	sweepOrdersAtOnce = 1000
)

// startSweeps begins what this door does without being asked. Every turn is bounded, may be lost, and can run in several
// processes at once.
func (s *Server) startSweeps() {
	s.Work.Every("acme-validations", sweepInterval, s.sweepValidations)
	s.Work.Every("acme-nonce-keys", nonceRefresh, s.nonces.refresh)
	s.Work.Every("acme-orders", time.Minute, s.sweepOrders)
	s.Work.Every("acme-failures", time.Minute, s.sweepFailures)
}

// sweepOrders removes lapsed orders from the accounts' lists.
func (s *Server) sweepOrders(ctx context.Context) error {
	for {
		n, err := s.Store.SweepOrders(ctx, s.Now(), sweepOrdersAtOnce)
		if err != nil || n < sweepOrdersAtOnce {
			return err
		}
	}
}

// sweepFailures forgets failed validations that are old or too many.
func (s *Server) sweepFailures(ctx context.Context) error {
	for {
		n, err := s.Store.SweepFailures(ctx, s.Now(), sweepOrdersAtOnce)
		if err != nil || n < sweepOrdersAtOnce {
			return err
		}
	}
}

// sweepValidations takes up validations that are due: those a process began and did not finish, and those nobody had
// room for.
func (s *Server) sweepValidations(ctx context.Context) error {
	room := min(s.validations.room(), 100)
	if room <= 0 {
		return nil
	}
	due, err := s.Store.DueChallenges(ctx, s.Now(), room)
	if err != nil {
		return err
	}
	var failed []error
	for _, a := range due {
		if err := s.resume(ctx, a); err != nil && !problem.Is(err, problem.Conflict) { // a conflict: somebody else has it
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// resume goes on with one validation that is due.
func (s *Server) resume(ctx context.Context, a *Authorization) error {
	position, ok := a.underWay()
	if !ok {
		return nil
	}
	key, lost, err := s.stillWanted(ctx, a)
	if err != nil {
		return err
	}
	if lost != nil {
		next := a.clone()
		next.Challenges[position].Failed = lost
		return s.Store.FinishChallenge(ctx, next)
	}
	// Claimed first, so that of several processes one goes on.
	if a, err = s.lease(ctx, a, position, s.Now().UTC().Add(validationLease)); err != nil {
		return err
	}
	v, made := s.validations.join(a, position)
	if !made { // it is under way here after all, or there is no room: the lease brings it back
		return nil
	}
	s.log.LogAttrs(ctx, slog.LevelInfo, "taking up a validation", slog.String("authorization", string(a.ID)))
	return s.startValidation(v, key.KeyAuthorization(a.Challenges[position].Token))
}

// underWay is the position of the challenge whose validation is recorded as begun and has no outcome.
func (a *Authorization) underWay() (int, bool) {
	for i := range a.Challenges {
		if a.Challenges[i].Status() == StatusProcessing {
			return i, true
		}
	}
	return 0, false
}

// stillWanted gives the account's key, or why the validation has become pointless.
func (s *Server) stillWanted(ctx context.Context, a *Authorization) (*jws.PublicKey, *Failure, error) {
	lost := func(detail string) *Failure {
		return &Failure{Kind: problem.Unauthorized, Detail: detail, At: s.now()}
	}
	if a.Status(s.Now()) != StatusPending {
		return nil, lost("the authorization lapsed before it could be validated"), nil
	}
	owner, err := s.reread(ctx, Admission{Account: a.Account})
	if err != nil {
		return nil, nil, err
	}
	if owner.Account == nil || owner.Account.Status() != StatusValid { // RFC 8555, 7.3.6
		return nil, lost("the account was deactivated"), nil
	}
	key, err := jws.ParsePublicKey(owner.Account.Key)
	return key, nil, err
}
