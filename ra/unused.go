package ra

import (
	"context"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// Unused is nil for an organisation that has no valid certificate, no request under way and no domain, so that nothing ends when it is
// closed. Otherwise a Conflict says what it has and what to do. It is for whoever has found that the caller may close the organisation
// (auth.Tenants), and sees what there is at the moment: what is asked for afterwards is treated as under a disabled organisation.
func (r *Registrar) Unused(ctx context.Context, org auth.OrgID) error {
	for _, open := range []struct {
		status     Status
		what, then string
	}{
		{StatusIssued, "a valid certificate", "revoke it, or remove it if it was imported"}, {StatusRequested, "a certificate that is being issued", "revoke it"},
		{StatusWaiting, "a request that waits for approval", "decline it"}, {StatusApproved, "a request that was approved", "end it"},
		{StatusValidating, "a request that waits for its names to be validated", "take it back"},
	} {
		found, err := r.Store.Search(ctx, Query{Org: org, Status: open.status, Limit: 1}, r.Now())
		if err != nil {
			return err
		}
		if len(found.Enrollments) > 0 {
			return problem.New(problem.Conflict, "the organisation has %s, number %d; %s first", open.what, found.Enrollments[0].ID, open.then)
		}
	}
	if r.Domains == nil {
		return nil
	}
	domains, err := r.Domains.Store.ListDomains(ctx, org, "", 1)
	if err != nil {
		return err
	}
	if len(domains) > 0 {
		return problem.New(problem.Conflict, "the organisation has the domain %s, its own or by delegation; remove that first", domains[0].Name.Value())
	}
	return nil
}
