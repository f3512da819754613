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

// accountUpdate is what a client can change. RFC 8555, 7.3.2: updates to anything else, "orders" and
// "termsOfServiceAgreed" among it, must be ignored, and clients do send the whole account object back.
type accountUpdate struct {
	Contact *[]string `json:"contact"`
	Status  *Status   `json:"status"`
}

// account reads, updates or deactivates the account that signed.
func (s *Server) account(ctx context.Context, req *signed) (*reply, error) {
	a := req.account
	if !req.reads() {
		var in accountUpdate
		err := jws.DecodeStrict(req.payload, &in)
		if err == nil {
			err = in.check()
		}
		if err == nil {
			a, err = s.edit(ctx, a, func(a *Account) (*Account, bool) { return s.apply(in, a) })
		}
		if err != nil {
			return nil, err
		}
	}
	a, err := s.affirm(ctx, a)
	if err != nil {
		return nil, err
	}
	return &reply{location: s.links.account(a.ID), value: s.renderAccount(a)}, nil
}

// edit applies a change to an account until it was not changed by somebody else meanwhile, and records it. change makes what
// an account becomes, or says that there is nothing to do.
func (s *Server) edit(ctx context.Context, a *Account, change func(*Account) (next *Account, changed bool)) (*Account, error) {
	for attempt := 1; ; attempt++ {
		next, changed := change(a)
		if !changed {
			return a, nil
		}
		err := s.record(ctx, audit.AccountEdited, next, func(ctx context.Context) error { return s.Store.UpdateAccount(ctx, next) })
		if err == nil {
			return next, nil
		}
		if !problem.Is(err, problem.Conflict) || attempt == updateAttempts {
			return nil, err
		}
		if a, err = s.current(ctx, a); err != nil {
			return nil, err
		}
	}
}

// deactivates is the one update of "status" that RFC 8555, 7.3.6 allows. Any other must be ignored (7.3.2).
func (in *accountUpdate) deactivates() bool {
	return in.Status != nil && *in.Status == StatusDeactivated
}

func (in *accountUpdate) check() error {
	if in.Contact == nil || in.deactivates() {
		return nil
	}
	return checkContacts(*in.Contact)
}

// apply is the account after the update, and whether that is a change.
func (s *Server) apply(in accountUpdate, a *Account) (next *Account, changed bool) {
	next = a.clone()
	switch {
	case in.deactivates(): // RFC 8555, 7.3.6: nothing else matters any more
		next.Deactivated, changed = s.now(), true
	case in.Contact != nil && !slices.Equal(*in.Contact, a.Contacts):
		next.Contacts, changed = slices.Clone(*in.Contact), true
	}
	return next, changed
}
