package auth

import (
	"cmp"
	"context"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// Acting is the caller that a principal is, for the operator, who may act in anybody's name: with the principal's roles and no
// more. Its Credential is the operator's principal. A principal that could not act itself, because it or its home is disabled
// or has expired, is Unauthorized. Whoever uses the caller records who is behind it.
func (x *Principals) Acting(ctx context.Context, caller Caller, ref Ref) (Caller, error) {
	if err := onlyOperator(caller); err != nil {
		return Caller{}, err
	}
	p, err := x.find(ctx, caller, ref)
	if err != nil {
		return Caller{}, err
	}
	if err := cmp.Or(p.works(x.Now()), x.Directory.Works(p.Org)); err != nil {
		return Caller{}, problem.New(problem.Unauthorized, "%s cannot act: %v; gatehouse user show %s tells more", p.Login, err, p.ID)
	}
	return p.caller(caller.Principal), nil
}
