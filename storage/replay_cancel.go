package storage

import (
	"context"
	"slices"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// cancelled takes back a request that was taken back, if a store which went back still has it. In such a store its number can be
// another's: it must be the same organisation's, requester's, and for the same names, and not be younger.
func (r *Replay) cancelled(ctx context.Context, e audit.Event) (bool, error) {
	have, err := r.db.Enrollment(ctx, ra.ID(e.Enrollment))
	switch {
	case problem.Is(err, problem.NotFound):
		return false, nil
	case err != nil:
		return false, err
	}
	at := e.At.UTC().Truncate(time.Second)
	if have.Phase != ra.Validating && !waits(have) || int32(have.Org) != e.Org || have.Requester != e.Requester || have.Created.After(at) {
		return false, nil
	}
	if !slices.EqualFunc(have.Names, e.Names, func(id identifier.Identifier, name string) bool { return id.Value() == name }) {
		return false, nil
	}
	return true, r.db.MoveEnrollment(ctx, have.Cancel(e.Actor, at), have, nil)
}
