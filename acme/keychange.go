package acme

import (
	"context"
	"encoding/json"

	"github.com/gatehouse-ca/gatehouse/acme/jws"
	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// rollover is what the new key signs in a key change (RFC 8555, 7.3.5).
type rollover struct {
	Account string          `json:"account"`
	OldKey  json.RawMessage `json:"oldKey"`
}

// errKeyChanged refuses what a key has asked for that is no longer its account's: the request was signed before the
// account's key was changed, and would be carried out after.
var errKeyChanged = problem.New(problem.Unauthorized, "the account's key was changed at the same time; sign with its new key")

// keyChange gives the account that signed another key (RFC 8555, 7.3.5). From the commit on the old one is refused. Orders
// and authorizations stay as they are.
func (s *Server) keyChange(ctx context.Context, req *signed) (*reply, error) {
	key, err := s.newKey(req)
	if err != nil {
		return nil, err
	}
	a, old := req.account, req.account.Thumbprint
	for attempt := 1; ; attempt++ {
		next := a.clone()
		next.Key, next.Thumbprint, next.Rollovers = key.Marshal(), key.Thumbprint(), a.Rollovers+1
		err := s.record(ctx, audit.AccountEdited, next, func(ctx context.Context) error { return s.Store.RollKey(ctx, next, old) })
		if err == nil {
			return &reply{location: s.links.account(next.ID), value: s.renderAccount(next)}, nil
		}
		if !problem.Is(err, problem.Conflict) {
			return nil, err
		}
		if rep, taken := s.keyTaken(ctx, next); taken != nil {
			return rep, taken
		}
		if a, err = s.current(ctx, a); err != nil {
			return nil, err
		}
		if attempt == updateAttempts {
			return nil, errBusyAccount
		}
	}
}

var errBusyAccount = problem.New(problem.Conflict, "the account was changed at the same time; try again")

// newKey holds a key change to steps 2 to 8 of RFC 8555, 7.3.5, and gives the new key.
func (s *Server) newKey(req *signed) (*jws.PublicKey, error) {
	inner, err := jws.ParseInner(req.payload)
	if err != nil {
		return nil, err
	}
	payload, err := inner.Verify(inner.Key())
	if err != nil {
		return nil, err
	}
	var in rollover
	if err := jws.DecodeStrict(payload, &in); err != nil {
		return nil, err
	}
	if inner.URL() != req.url {
		return nil, problem.New(problem.Malformed, `the inner JWS must have the same "url" as the outer one`)
	}
	if id, ok := s.links.accountOf(in.Account); !ok || id != req.account.ID {
		return nil, problem.New(problem.Malformed, `"account" must be the URL of the account that signs the outer JWS`)
	}
	if len(in.OldKey) == 0 {
		return nil, problem.New(problem.Malformed, `"oldKey" is missing; it is the account's present key as a JWK`)
	}
	old, err := jws.ParsePublicKey(in.OldKey)
	if err != nil {
		return nil, problem.Wrap(err, problem.Malformed, `"oldKey" is no public key that an account can have`)
	}
	if !old.Equal(req.key) {
		return nil, problem.New(problem.Malformed, `"oldKey" is not the account's present key`)
	}
	return inner.Key(), nil
}

// keyTaken is the answer if the new key has an account already: 409 and, unless that is another organisation's, its URL,
// for whoever holds the key (RFC 8555, 7.3.5). The account that is to be changed may itself be the one, when a client
// repeats its request. The error is nil if the key is free.
func (s *Server) keyTaken(ctx context.Context, next *Account) (*reply, error) {
	other, err := s.Store.AccountByKey(ctx, next.Thumbprint)
	switch {
	case problem.Is(err, problem.NotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case other.Org != next.Org:
		return nil, errKeyTaken
	}
	if other, err = s.affirm(ctx, other); err != nil {
		return nil, err
	}
	return &reply{location: s.links.account(other.ID)}, errKeyTaken
}

var errKeyTaken = problem.New(problem.Conflict, "the new key has an account already; use another key")

// current reads an account again that somebody else has changed meanwhile, for a request that its old version has signed.
func (s *Server) current(ctx context.Context, a *Account) (*Account, error) {
	now, err := s.reread(ctx, Admission{Account: a.ID})
	switch {
	case err != nil:
		return nil, err
	case now.Account == nil:
		return nil, errNoAccount
	case now.Account.Status() != StatusValid:
		return nil, s.deactivated(ctx, now.Account)
	case now.Account.Thumbprint != a.Thumbprint:
		return nil, errKeyChanged
	}
	return now.Account, nil
}
