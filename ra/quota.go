package ra

import (
	"context"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
)

// QuotaUse is what an organisation holds under a profile now, as its quota counts it. It is for showing: by the time it is
// shown, more may be held.
func (r *Registrar) QuotaUse(ctx context.Context, org auth.OrgID, profile *policy.Profile, names []identifier.Identifier) (policy.QuotaUse, error) {
	if profile.Quota().PerName == 0 {
		names = nil
	}
	return r.Store.QuotaUse(ctx, org, profile.Name(), names, r.Now())
}

// checkQuota refuses one more certificate that is too many already, before a number is taken and the journal told. It is
// the commit of the intent ([Issuance].Quota) that decides among those who come at the same time.
func (r *Registrar) checkQuota(ctx context.Context, org auth.OrgID, profile *policy.Profile, names []identifier.Identifier) error {
	quota := profile.Quota()
	if quota.IsZero() {
		return nil
	}
	use, err := r.QuotaUse(ctx, org, profile, names)
	if err != nil {
		return err
	}
	return quota.Check(profile.Name(), use)
}
