package acme

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme/jws"
	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// deactivateAuthorization gives up an authorization, also a valid one (RFC 8555, 7.5.2). It serves no order from then on,
// and orders that rely on it and were not finalized are invalid (7.1.6). There is no way back.
func (s *Server) deactivateAuthorization(ctx context.Context, req *signed) (*reply, error) {
	var in struct {
		Status Status `json:"status"`
	}
	if err := jws.DecodeStrict(req.payload, &in); err != nil {
		return nil, err
	}
	if in.Status != StatusDeactivated {
		return nil, problem.New(problem.Malformed, `an authorization can be changed in one way: {"status": "deactivated"}; to read it, POST an empty payload`)
	}
	a := req.authz
	for attempt := 1; ; attempt++ {
		switch status := a.Status(s.Now()); status {
		case StatusDeactivated: // a client that lost the first answer gets the state
			return s.givenUp(ctx, a)
		case StatusPending, StatusValid:
		default:
			return nil, problem.New(problem.Malformed, "this authorization is %s already; there is nothing left to give up", status)
		}
		next := a.clone()
		next.Deactivated = s.now()
		err := s.Store.DeactivateAuthorization(ctx, next)
		if err == nil {
			return s.givenUp(ctx, next)
		}
		if !problem.Is(err, problem.Conflict) || attempt == updateAttempts {
			return nil, err
		}
		// A validation that ended at the same time.
		now, err := s.reread(ctx, Admission{Authz: a.ID})
		if err != nil {
			return nil, err
		}
		if a = now.Authz; a == nil {
			return nil, errAbsent
		}
	}
}

// givenUp answers once the journal has it, too.
func (s *Server) givenUp(ctx context.Context, a *Authorization) (*reply, error) {
	if err := s.affirmGivenUp(ctx, a); err != nil {
		return nil, err
	}
	return s.renderAuthorization(a), nil
}

// affirmGivenUp is nil once the journal surely holds that an authorization was given up: a store that goes back must not give
// the authority back that its client was told is gone. So nobody is shown it before, also who only reads it after a
// deactivation that failed in between. What this process has not put there itself, or long ago, costs one more entry, and
// nothing else does: repeating the request is no way to fill the journal.
func (s *Server) affirmGivenUp(ctx context.Context, a *Authorization) error {
	if a.Deactivated.IsZero() {
		return nil
	}
	if at, there := s.givenUpHere.get(a.ID); there && at.Equal(a.Deactivated) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	data, err := json.Marshal(givenUpEntry{a.ID, a.Deactivated})
	if err != nil {
		return err
	}
	owner := Account{ID: a.Account}
	event := audit.Event{
		Kind: audit.AuthzGivenUp, At: s.Now().UTC(), Actor: owner.Principal(), Org: int32(a.Org), Account: string(a.Account), Data: data,
	}
	if err := s.Journal.Append(ctx, event); err != nil {
		return problem.Wrap(err, problem.Unavailable, "the deactivation could not be recorded; try again later")
	}
	s.givenUpHere.put(a.ID, func(time.Time) time.Time { return a.Deactivated })
	return nil
}

// givenUpEntry is a deactivation as the journal holds it (audit.Event.Data).
type givenUpEntry struct {
	Authz       AuthzID   `json:"authz"`
	Deactivated time.Time `json:"deactivated"`
}

// ReplayedAuthz is what a replay of the journal makes of an authorization after an event of kind AuthzGivenUp: it is given up
// if it is still there (read, by id, gives nil if it is not). Nil means that there is nothing to write.
func ReplayedAuthz(e audit.Event, read func(AuthzID) (*Authorization, error)) (*Authorization, error) {
	var entry givenUpEntry
	if err := json.Unmarshal(e.Data, &entry); err != nil {
		return nil, fmt.Errorf("acme: the authorization in a journal entry: %w", err)
	}
	if entry.Authz == "" || entry.Deactivated.IsZero() {
		return nil, fmt.Errorf("acme: a journal entry of kind %q names no authorization or no time", e.Kind)
	}
	have, err := read(entry.Authz)
	if err != nil || have == nil || !have.Deactivated.IsZero() || string(have.Account) != e.Account {
		return nil, err
	}
	next := have.clone()
	next.Deactivated = entry.Deactivated
	return next, nil
}
