package acme

import (
	"context"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// DeactivateBound deactivates an account that a key for external account binding has bound (RFC 8555, 7.3.6), for whoever may
// manage the keys of its organisation; the journal says who it was. There is no way back. Its certificates stay valid. An account
// that is deactivated already stays so. Errors are *problem.Error: NotFound if there is no such account, it was bound by another
// key, or the caller may not know of it; Unauthorized; Unavailable.
func (s *Server) DeactivateBound(ctx context.Context, caller auth.Caller, kid string, id AccountID) error {
	absent := problem.New(problem.NotFound, "no such ACME account was made by this key")
	if !isID(string(id)) || kid == "" {
		return absent
	}
	found, err := s.reread(ctx, Admission{Account: id})
	if err != nil {
		return err
	}
	a := found.Account
	if a == nil || a.Binding == nil || a.Binding.KeyID != kid {
		return absent
	}
	if err := s.Organisations.May(caller, auth.ManageKeys, a.Org); err != nil {
		if problem.Is(err, problem.NotFound) {
			return absent
		}
		return err
	}
	for attempt := 1; ; attempt++ {
		if !a.Deactivated.IsZero() {
			_, err := s.affirm(ctx, a)
			return err
		}
		next := a.clone()
		next.Deactivated = s.now()
		err := s.recordAs(ctx, caller.Principal, audit.AccountEdited, next, func(ctx context.Context) error { return s.Store.UpdateAccount(ctx, next) })
		if !problem.Is(err, problem.Conflict) || attempt == updateAttempts {
			return err
		}
		if found, err = s.reread(ctx, Admission{Account: id}); err != nil {
			return err
		}
		if a = found.Account; a == nil {
			return absent
		}
	}
}
