package storage

import (
	"context"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// domain gives back a domain, with its delegations and its proof, by the rule of package ra. The journal has it, so there is
// no note.
func (r *Replay) domain(ctx context.Context, e audit.Event) (bool, error) {
	said, err := ra.DomainFromEvent(e)
	if err != nil {
		return false, err
	}
	found, err := r.db.Domains(ctx, []identifier.Identifier{said.Name})
	if err != nil {
		return false, err
	}
	next := ra.ReplayedDomain(found[0], said)
	if next == nil {
		return false, nil
	}
	return true, r.db.PutDomain(ctx, next, found[0], time.Time{})
}
