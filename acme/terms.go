package acme

import (
	"context"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// agreed is nil if an account has agreed to the terms that are configured now (RFC 8555, 7.3.3). Only what asks for new
// authority is held to it: reading, revoking and leaving stay possible.
func (s *Server) agreed(a *Account) error {
	if s.TermsURL == "" || a.Terms == s.TermsURL {
		return nil
	}
	return problem.New(problem.UserActionRequired,
		`the terms of service are now those at %s; to agree, send newAccount again with the account's key and "termsOfServiceAgreed": true`, s.TermsURL)
}

// agree records that an account agrees to the terms that are configured now. RFC 8555, 7.3.2 lets no update say so, so
// newAccount does, whose client has read in the directory what it agrees to.
func (s *Server) agree(ctx context.Context, a *Account) (*Account, error) {
	return s.edit(ctx, a, func(a *Account) (*Account, bool) {
		if s.agreed(a) == nil {
			return a, false
		}
		next := a.clone()
		next.TermsAgreed, next.Terms = s.now(), s.TermsURL
		return next, true
	})
}
