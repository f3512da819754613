package acme

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/gatehouse-ca/gatehouse/acme/jws"
	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// accountRequest is RFC 8555, 7.3.
type accountRequest struct {
	Contact            []string `json:"contact"`
	TermsAgreed        bool     `json:"termsOfServiceAgreed"`
	OnlyReturnExisting bool     `json:"onlyReturnExisting"`

	Binding json.RawMessage `json:"externalAccountBinding"` // RFC 8555, 7.3.4
}

// newAccount makes an account for the key that signed, or finds the one it has (RFC 8555, 7.3).
func (s *Server) newAccount(ctx context.Context, req *signed) (*reply, error) {
	org, err := s.organisation(req.target)
	if err != nil {
		return nil, err
	}
	var in accountRequest
	if err := jws.DecodeStrict(req.payload, &in); err != nil {
		return nil, err
	}
	switch {
	case req.account != nil: // RFC 8555, 7.3.1: contacts in the request change nothing, and a binding binds nothing
		return s.existing(ctx, req.account, req.target, org, in)
	case in.OnlyReturnExisting:
		return nil, errNoAccount
	case s.TermsURL != "" && !in.TermsAgreed:
		return nil, problem.New(problem.UserActionRequired, `"termsOfServiceAgreed" must be true; the terms are at %s`, s.TermsURL)
	}
	if err := checkContacts(in.Contact); err != nil {
		return nil, err
	}
	if err := s.take(ctx, addressClaims(LimitAddressNewAccounts, req.address, s.Limits.AddressNewAccounts, "new accounts from ")); err != nil {
		return nil, err
	}
	by, err := s.externalAccount(ctx, req, org, in.Binding)
	if err != nil {
		return nil, err
	}
	now := s.now()
	a := &Account{
		ID: accountID(req.key.Thumbprint()), Org: org.ID, Key: req.key.Marshal(), Thumbprint: req.key.Thumbprint(),
		Contacts: in.Contact, Created: now,
	}
	if in.TermsAgreed {
		a.TermsAgreed, a.Terms = now, s.TermsURL
	}
	if by != nil {
		a.bind(by)
	}
	late, err := s.create(ctx, a, by)
	switch {
	case err != nil:
		return nil, err
	case late != nil:
		return s.existing(ctx, late, req.target, org, in)
	}
	return &reply{status: http.StatusCreated, location: s.links.account(a.ID), value: s.renderAccount(a)}, nil
}

// create puts a new account, or gives the one that its key was given at the same time.
func (s *Server) create(ctx context.Context, a *Account, by *bound) (late *Account, err error) {
	for attempt := 1; ; attempt++ {
		err := s.record(ctx, audit.AccountMade, a, func(ctx context.Context) error { return s.Store.CreateAccount(ctx, a, by.eabKey()) })
		if !problem.Is(err, problem.Conflict) || attempt == updateAttempts {
			return nil, err
		}
		late, err := s.Store.AccountByKey(ctx, a.Thumbprint)
		switch {
		case err == nil && late.Status() != StatusValid:
			return nil, s.deactivated(ctx, late)
		case !problem.Is(err, problem.NotFound):
			return late, err
		}
		changed, err := s.rebind(ctx, a, by)
		if err != nil {
			return nil, err
		}
		if changed {
			continue
		}
		// The id that follows from this key is that of an account which had the key first and has another now (RFC 8555,
		// 7.3.5). It stays that account's.
		a.ID = AccountID(newID())
	}
}

// existing answers with the account that the key has. In another organisation's own directory it must not pass for one of
// that organisation; who holds the key may know that it is in use. The default directory is everybody's.
func (s *Server) existing(ctx context.Context, a *Account, t target, org auth.Org, in accountRequest) (*reply, error) {
	if t.org != "" && a.Org != org.ID {
		if in.OnlyReturnExisting {
			return nil, errNoAccount
		}
		return nil, problem.New(problem.Unauthorized, "this key has an account in another organisation's directory; use another key here")
	}
	var err error
	if in.TermsAgreed && !in.OnlyReturnExisting {
		if a, err = s.agree(ctx, a); err != nil {
			return nil, err
		}
	}
	if a, err = s.affirm(ctx, a); err != nil {
		return nil, err
	}
	return &reply{location: s.links.account(a.ID), value: s.renderAccount(a)}, nil
}
