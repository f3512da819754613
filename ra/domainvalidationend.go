package ra

import (
	"context"

	"github.com/gatehouse-ca/gatehouse/auth"
)

// CancelValidation ends the validation of a domain that is under way, and forgets one that has come to nothing. Links that were
// sent for it lead to nothing, and what it had published proves nothing any more. The proof stays, with what is known of a mail that
// gave it. Durable on return; without any such validation nothing is done.
func (m *Domains) CancelValidation(ctx context.Context, caller auth.Caller, domain string) (*Domain, error) {
	return m.edit(ctx, caller, domain, "validation cancelled", func(d *Domain) error {
		confirmed := d.Email != nil && d.Email.Outcome == EmailConfirmed
		if d.Validation == nil && (d.Email == nil || confirmed) {
			return errUnchanged
		}
		d.Validation = nil
		if !confirmed {
			d.Email = nil
		}
		return nil
	})
}

// Invalidate forgets the proof of a domain, and ends a validation that is under way: nothing is issued on it from then on, not
// even for orders that were ready. Owner and delegations stay, and so does what was issued. Durable on return; without a proof and
// a validation nothing is done.
func (m *Domains) Invalidate(ctx context.Context, caller auth.Caller, domain string) (*Domain, error) {
	return m.edit(ctx, caller, domain, "proof forgotten", func(d *Domain) error {
		if d.Proof == nil && d.Validation == nil && d.Email == nil {
			return errUnchanged
		}
		d.Proof, d.Validation, d.Email = nil, nil, nil
		return nil
	})
}
