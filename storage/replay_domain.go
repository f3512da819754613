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
	r.lastDomain = max(r.lastDomain, said.Number)
	next := ra.ReplayedDomain(found[0], said)
	if next == nil {
		return false, nil
	}
	if next.Number != 0 && (found[0] == nil || found[0].Number == 0) {
		// While the store did not know of it the number may have become another name's, which keeps it: this one gets another when
		// it is next looked at.
		owner, err := r.db.numberedName(ctx, next.Number)
		if err != nil {
			return false, err
		}
		if owner != "" && owner != next.Name.Value() {
			next.Number = 0
		}
	}
	return true, r.db.PutDomain(ctx, next, found[0], time.Time{})
}
