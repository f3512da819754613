package ra

import (
	"context"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/identifier"
)

// Serves says of each name whether it is, or lies in, a domain that an organisation may use for it: its own, or one that is delegated to
// it for such names and whose owner works. Of a name whose nearest domain is suspended it is false. It says nothing of proofs.
func (m *Domains) Serves(ctx context.Context, org auth.OrgID, names []identifier.Identifier) ([]bool, error) {
	serves := make([]bool, len(names))
	if org <= 0 {
		return serves, nil
	}
	c, err := m.candidates(ctx, names)
	if err != nil {
		return nil, err
	}
	for i, name := range names {
		if m.checkSuspended(org, names[i:i+1], c) != nil {
			continue
		}
		for _, d := range c.above(name) {
			if serves[i] = m.serves(d, org, name); serves[i] {
				break
			}
		}
	}
	return serves, nil
}

// serves reports whether an organisation may use a domain for a name at or below it.
func (m *Domains) serves(d *Domain, org auth.OrgID, name identifier.Identifier) bool {
	if !d.Suspended.IsZero() || !d.ServesOrg(org) || m.Directory.Works(d.Org) != nil {
		return false
	}
	return (d.Org == org || m.below(org, d.Org)) && uses(d.privilegesOf(org)).Allow(d.Name, name)
}
