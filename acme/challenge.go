package acme

import (
	"context"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme/jws"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// challenge reads a challenge, or hears that the client is ready for its validation (RFC 8555, 7.5.1). Validation starts
// at once; most are over before the answer would have to say "processing", and then nothing of them is recorded but the
// outcome.
func (s *Server) challenge(ctx context.Context, req *signed) (*reply, error) {
	a, position := req.authz, req.target.position
	if position >= len(a.Challenges) {
		return nil, errAbsent
	}
	if req.reads() {
		return s.replyChallenge(a, position), nil
	}
	// RFC 8555, 7.5.1 and 8.3: an empty object. What else it holds is ignored: old clients send a keyAuthorization.
	if err := jws.DecodeStrict(req.payload, &struct{}{}); err != nil {
		return nil, err
	}
	// Telling us twice changes nothing: a client that lost the first answer gets the state.
	if a.Challenges[position].Status() == StatusPending {
		if a.Status(s.Now()) != StatusPending {
			return nil, problem.New(problem.Malformed, "this authorization is no longer pending; make a new order")
		}
		var err error
		if a, err = s.validate(ctx, a, position, req.key); err != nil {
			return nil, err
		}
	}
	return s.replyChallenge(a, position), nil
}

func (s *Server) replyChallenge(a *Authorization, position int) *reply {
	w := s.renderChallenge(a, position)
	rep := &reply{value: w, up: s.links.authz(a.ID)} // RFC 8555, 7.5.1
	if w.Status == StatusProcessing {
		rep.retryAfter = pollAfter // RFC 8555, 8.2
	}
	return rep
}

// validate starts a validation, or joins the one of this authorization that is under way in this process, and waits a
// moment for it. It gives the authorization as it is then recorded.
func (s *Server) validate(ctx context.Context, a *Authorization, position int, key *jws.PublicKey) (*Authorization, error) {
	v, started := s.validations.join(a, position)
	switch {
	case v == nil: // too many under way: the sweep starts it when there is room
		return s.beginLater(ctx, a, position)
	case started:
		if err := s.startValidation(v, key.KeyAuthorization(a.Challenges[position].Token)); err != nil {
			return nil, err
		}
	}
	timer := time.NewTimer(s.ChallengeWait)
	defer timer.Stop()
	select {
	case <-v.done:
	case <-timer.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	a, err := v.begin(ctx, s)
	if problem.Is(err, problem.Conflict) {
		// Another process recorded something first; what it recorded is the answer.
		now, err := s.reread(ctx, Admission{Authz: a.ID})
		if err != nil {
			return nil, err
		}
		if now.Authz == nil {
			return nil, errAbsent
		}
		return now.Authz, nil
	}
	return a, err
}

// beginLater records that a validation is owed, for the sweep.
func (s *Server) beginLater(ctx context.Context, a *Authorization, position int) (*Authorization, error) {
	return s.lease(ctx, a, position, s.Now().UTC().Add(sweepInterval))
}

// lease records that a validation is under way, or owed, until due. The store sets the challenge's Due.
func (s *Server) lease(ctx context.Context, a *Authorization, position int, due time.Time) (*Authorization, error) {
	next := a.clone()
	if c := &next.Challenges[position]; c.Begun.IsZero() {
		c.Begun = s.now()
	}
	if err := s.Store.BeginChallenge(ctx, next, due); err != nil {
		return a, err
	}
	return next, nil
}
