package auth

import (
	"context"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// ByLogin finds who has a login, in any case, in the customer that the caller's own login is of; ok is false for anybody else, and
// for a caller who has no login. It is for filters of what the caller may view anyway: whether there is such a login is not to be
// told.
func (x *Principals) ByLogin(ctx context.Context, caller Caller, login string) (id PrincipalID, ok bool, err error) {
	own, ok := ParsePrincipalID(caller.Principal)
	folded, usable := foldLogin(login)
	if !ok || !usable {
		return 0, false, nil
	}
	p, err := x.Store.Principal(ctx, own)
	if err == nil {
		id, err = x.Store.PrincipalByLogin(ctx, p.Customer, folded)
	}
	if problem.Is(err, problem.NotFound) {
		return 0, false, nil
	}
	return id, err == nil, err
}
