package acme

import (
	"context"
	"net/http"

	"github.com/gatehouse-ca/gatehouse/acme/jws"
	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// newAccount makes an account for the key that signed, or finds the one it has (RFC 8555, 7.3).
func (s *Server) newAccount(ctx context.Context, req *signed) (*reply, error) {
	org, err := s.organisation(req.target)
	if err != nil {
		return nil, err
	}
	var in struct {
		Contact            []string `json:"contact"`
		TermsAgreed        bool     `json:"termsOfServiceAgreed"`
		OnlyReturnExisting bool     `json:"onlyReturnExisting"`
	}
	if err := jws.DecodeStrict(req.payload, &in); err != nil {
		return nil, err
	}
	switch {
	case req.account != nil: // RFC 8555, 7.3.1: whatever the request says, the account stays as it is
		return s.existing(ctx, req.account, org, in.OnlyReturnExisting)
	case in.OnlyReturnExisting:
		return nil, errNoAccount
	case s.TermsURL != "" && !in.TermsAgreed:
		return nil, problem.New(problem.UserActionRequired, `"termsOfServiceAgreed" must be true; the terms are at %s`, s.TermsURL)
	}
	if err := checkContacts(in.Contact); err != nil {
		return nil, err
	}
	now := s.now()
	a := &Account{
		ID: accountID(req.key.Thumbprint()), Org: org.ID, Key: req.key.Marshal(), Thumbprint: req.key.Thumbprint(),
		Contacts: in.Contact, Created: now,
	}
	if in.TermsAgreed {
		a.TermsAgreed = now
	}
	err = s.record(ctx, audit.AccountMade, a, func(ctx context.Context) error { return s.Store.CreateAccount(ctx, a) })
	if problem.Is(err, problem.Conflict) {
		return s.lateExisting(ctx, a.Thumbprint, org)
	}
	if err != nil {
		return nil, err
	}
	return &reply{status: http.StatusCreated, location: s.links.account(a.ID), value: s.renderAccount(a)}, nil
}

// existing answers with the account that the key has. In another organisation's directory it must not pass for one of
// that organisation; who holds the key may know that it is in use.
func (s *Server) existing(ctx context.Context, a *Account, org auth.Org, only bool) (*reply, error) {
	if a.Org != org.ID {
		if only {
			return nil, errNoAccount
		}
		return nil, problem.New(problem.Unauthorized, "this key has an account in another organisation's directory; use another key here")
	}
	a, err := s.affirm(ctx, a)
	if err != nil {
		return nil, err
	}
	return &reply{location: s.links.account(a.ID), value: s.renderAccount(a)}, nil
}

// lateExisting is existing for the loser of two requests that made an account for one key at the same time.
func (s *Server) lateExisting(ctx context.Context, thumbprint string, org auth.Org) (*reply, error) {
	a, err := s.Store.AccountByKey(ctx, thumbprint)
	if err != nil {
		return nil, err
	}
	if a.Status() != StatusValid {
		return nil, s.deactivated(ctx, a)
	}
	return s.existing(ctx, a, org, false)
}
