package ra

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
)

// Proofs finds for each name the proof of a domain that lets the requester have it under a profile at a time, or nil: of
// several domains that cover it the nearest. The domain must be the requester's organisation's, or be delegated to it, and the
// owner must work. It reads the store unless the profile takes no such proofs.
func (m *Domains) Proofs(ctx context.Context, profile *policy.Profile, r policy.Requester, names []identifier.Identifier, at time.Time) ([]*policy.Proven, error) {
	out := make([]*policy.Proven, len(names))
	if !profile.DelegatedDomains() || r.Org <= 0 {
		return out, nil
	}
	places := map[identifier.Identifier]int{} // of a candidate in all
	var all []identifier.Identifier
	for _, name := range names {
		for _, c := range above(name) {
			if _, known := places[c]; !known {
				places[c] = len(all)
				all = append(all, c)
			}
		}
	}
	if len(all) == 0 {
		return out, nil
	}
	found, err := m.Store.Domains(ctx, all)
	if err != nil {
		return nil, err
	}
	for i, name := range names {
		for _, c := range above(name) {
			proven, ok := m.proven(found[places[c]], auth.OrgID(r.Org))
			if ok && profile.Suffices(proven, r, name, at) {
				out[i] = &proven
				break
			}
		}
	}
	return out, nil
}

// above are a name without its wildcard and the names above it that can be domains, nearest first.
func above(name identifier.Identifier) []identifier.Identifier {
	if name.IsZero() || name.Type() != identifier.DNS {
		return nil
	}
	var list []identifier.Identifier
	for at := name.Base(); !at.IsPublicSuffix(); {
		list = append(list, at)
		_, parent, more := strings.Cut(at.Value(), ".")
		next, err := identifier.ParseDNS(parent)
		if !more || err != nil {
			break
		}
		at = next
	}
	return list
}

// proven is the proof of a domain, which may be nil, as one that an organisation may use; false if it has none for it.
func (m *Domains) proven(d *Domain, org auth.OrgID) (policy.Proven, bool) {
	if d == nil || d.Proof == nil || !d.ServesOrg(org) || m.Directory.Works(d.Org) != nil {
		return policy.Proven{}, false
	}
	if d.Org != org && !m.below(org, d.Org) {
		return policy.Proven{}, false
	}
	proven := policy.Proven{Proof: *d.Proof, Org: int32(org), Owner: int32(d.Org)}
	if d.Org != org { // where it was found, and who answered a mail, is the owner's; its domain and the journal say so
		proven.Seen = ""
	}
	return proven, true
}

// proofs are those of a request as they stand now: proofs of domains are read anew, because a domain may have been removed,
// its delegation taken back or its owner disabled since the request began. Others are as they were.
// Under a profile that requires no validation there are none, and the record of that is made anew.
func (r *Registrar) proofs(ctx context.Context, profile *policy.Profile, by policy.Requester, names []identifier.Identifier, given []policy.Proven) ([]policy.Proven, error) {
	if records := profile.Unvalidated(by, names, r.Now()); records != nil {
		return records, nil
	}
	own := slices.DeleteFunc(slices.Clone(given), func(p policy.Proven) bool { return p.Owner != 0 })
	if r.Domains == nil {
		return own, nil
	}
	found, err := r.Domains.Proofs(ctx, profile, by, names, r.Now())
	if err != nil {
		return nil, err
	}
	for _, p := range found {
		if p != nil && !slices.Contains(own, *p) {
			own = append(own, *p)
		}
	}
	return own, nil
}
