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
// several domains that cover it the nearest. The domain must be the requester's organisation's, or be delegated to it for such
// names, and the owner must work. A name whose domain is suspended is refused (RejectedIdentifier, [ErrDomainSuspended]). It reads the
// store unless the profile takes no such proofs, and then refuses nothing: a request is held to that where it is issued.
func (m *Domains) Proofs(ctx context.Context, profile *policy.Profile, r policy.Requester, names []identifier.Identifier, at time.Time) ([]*policy.Proven, error) {
	if !profile.DelegatedDomains() {
		return make([]*policy.Proven, len(names)), nil
	}
	return m.proofs(ctx, profile, r, names, at)
}

// proofs is Proofs that also refuses names of suspended domains under a profile that takes no proofs of domains.
func (m *Domains) proofs(ctx context.Context, profile *policy.Profile, r policy.Requester, names []identifier.Identifier, at time.Time) ([]*policy.Proven, error) {
	out := make([]*policy.Proven, len(names))
	org := auth.OrgID(r.Org)
	if org <= 0 {
		return out, nil
	}
	c, err := m.candidates(ctx, names)
	if err != nil {
		return nil, err
	}
	if err := m.checkSuspended(org, names, c); err != nil {
		return nil, err
	}
	if !profile.DelegatedDomains() {
		return out, nil
	}
	for i, name := range names {
		for _, d := range c.above(name) {
			proven, ok := m.proven(d, org, name)
			if ok && profile.Suffices(proven, r, name, at) {
				out[i] = &proven
				break
			}
		}
	}
	return out, nil
}

// candidates are the records of all domains that some names may be of, as they were at one moment.
type candidates struct {
	places map[identifier.Identifier]int // in found
	found  []*Domain
}

func (m *Domains) candidates(ctx context.Context, names []identifier.Identifier) (*candidates, error) {
	c := &candidates{places: map[identifier.Identifier]int{}}
	var all []identifier.Identifier
	for _, name := range names {
		for _, at := range over(name) {
			if _, known := c.places[at]; !known {
				c.places[at] = len(all)
				all = append(all, at)
			}
		}
	}
	if len(all) == 0 {
		return c, nil
	}
	var err error
	c.found, err = m.Store.Domains(ctx, all)
	return c, err
}

// above are the domains at or above a name whose proofs can cover it, nearest first, removed ones too.
func (c *candidates) above(name identifier.Identifier) []*Domain { return c.of(above(name)) }

// over are all domains at or above a name, in the same order.
func (c *candidates) over(name identifier.Identifier) []*Domain { return c.of(over(name)) }

func (c *candidates) of(names []identifier.Identifier) (list []*Domain) {
	for _, at := range names {
		if d := c.found[c.places[at]]; d != nil {
			list = append(list, d)
		}
	}
	return list
}

// above are a name without its wildcard and the names above it that can be domains, nearest first, up to a public suffix: no proof
// reaches below one.
func above(name identifier.Identifier) []identifier.Identifier {
	list := over(name)
	if len(list) == 0 || list[0] != name.Base() { // it is a public suffix itself
		return nil
	}
	for i := range list[1:] { // a gap is a public suffix that was passed over
		if _, parent, _ := strings.Cut(list[i].Value(), "."); parent != list[i+1].Value() {
			return list[:i+1]
		}
	}
	return list
}

// over are a name without its wildcard and all names above it that can be domains, nearest first. A public suffix cannot, but a name
// above it can: some are registered by those who own what they are below.
func over(name identifier.Identifier) (list []identifier.Identifier) {
	if name.IsZero() || name.Type() != identifier.DNS {
		return nil
	}
	for at := name.Base(); ; {
		if !at.IsPublicSuffix() {
			list = append(list, at)
		}
		_, parent, more := strings.Cut(at.Value(), ".")
		next, err := identifier.ParseDNS(parent)
		if !more || err != nil {
			return list
		}
		at = next
	}
}

// proven is the proof of a domain as one that an organisation may use for a name; false if it has none for it.
func (m *Domains) proven(d *Domain, org auth.OrgID, name identifier.Identifier) (policy.Proven, bool) {
	if d.Proof == nil || !m.serves(d, org, name) {
		return policy.Proven{}, false
	}
	proven := policy.Proven{Proof: *d.Proof, Org: int32(org), Owner: int32(d.Org), Uses: uses(d.privilegesOf(org))}
	if d.Org != org { // where it was found, and who answered a mail, is the owner's; its domain and the journal say so
		proven.Seen = ""
	}
	return proven, true
}

// proofs are those of a request as they stand now: proofs of domains are read anew, because a domain may have been removed,
// its delegation taken back or its owner disabled since the request began. Others are as they were.
// Under a profile that requires no validation there are none, and the record of that is made anew. Under any profile a name whose
// domain is suspended is refused.
func (r *Registrar) proofs(ctx context.Context, profile *policy.Profile, by policy.Requester, names []identifier.Identifier, given []policy.Proven) ([]policy.Proven, error) {
	var found []*policy.Proven
	if r.Domains != nil {
		var err error
		if found, err = r.Domains.proofs(ctx, profile, by, names, r.Now()); err != nil {
			return nil, err
		}
	}
	if records := profile.Unvalidated(by, names, r.Now()); records != nil {
		return records, nil
	}
	own := slices.DeleteFunc(slices.Clone(given), func(p policy.Proven) bool { return p.Owner != 0 })
	for _, p := range found {
		if p != nil && !slices.Contains(own, *p) {
			own = append(own, *p)
		}
	}
	return own, nil
}
