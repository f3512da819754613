package acme

import (
	"context"
	"slices"

	"github.com/gatehouse-ca/gatehouse/acme/jws"
	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// updateAttempts is how often an update is applied to an account that changes at the same time.
const updateAttempts = 3

// accountUpdate is what RFC 8555, 7.3.2 and 7.3.6 let a client change. Clients send the whole account object back, so
// whatever else it holds is ignored.
type accountUpdate struct {
	Contact     *[]string `json:"contact"`
	Status      *Status   `json:"status"`
	TermsAgreed bool      `json:"termsOfServiceAgreed"`
}

// account reads, updates or deactivates the account that signed.
func (s *Server) account(ctx context.Context, req *signed) (*reply, error) {
	if req.reads() {
		return &reply{location: s.links.account(req.account.ID), value: s.renderAccount(req.account)}, nil
	}
	var in accountUpdate
	if err := jws.DecodeStrict(req.payload, &in); err != nil {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	a := req.account
	for attempt := 1; ; attempt++ {
		next, changed := s.apply(in, a)
		if !changed {
			break
		}
		err := s.journalled(ctx, audit.AccountEdited, next, func(ctx context.Context) error { return s.Store.UpdateAccount(ctx, next) })
		if err == nil {
			a = next
			break
		}
		if !problem.Is(err, problem.Conflict) || attempt == updateAttempts {
			return nil, err
		}
		if a, err = s.Store.AccountByKey(ctx, a.Thumbprint); err != nil {
			return nil, err
		}
		if a.Status() != StatusValid {
			return nil, errDeactivated
		}
	}
	return &reply{location: s.links.account(a.ID), value: s.renderAccount(a)}, nil
}

func (in *accountUpdate) check() error {
	if in.Status != nil && *in.Status != StatusValid && *in.Status != StatusDeactivated {
		return problem.New(problem.Malformed, `"status" can only be set to "deactivated" (RFC 8555, 7.3.6)`)
	}
	if in.Contact != nil {
		return checkContacts(*in.Contact)
	}
	return nil
}

// apply is the account after the update, and whether that is a change.
func (s *Server) apply(in accountUpdate, a *Account) (next *Account, changed bool) {
	next = a.clone()
	if in.Status != nil && *in.Status == StatusDeactivated { // RFC 8555, 7.3.6: nothing else matters any more
		next.Deactivated = s.now()
		return next, true
	}
	if in.Contact != nil && !slices.Equal(*in.Contact, a.Contacts) {
		next.Contacts, changed = slices.Clone(*in.Contact), true
	}
	if in.TermsAgreed && a.TermsAgreed.IsZero() {
		next.TermsAgreed, changed = s.now(), true
	}
	return next, changed
}
