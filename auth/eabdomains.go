package auth

import (
	"context"
	"slices"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// MaxEABDomains is how many domains one key has at most.
const MaxEABDomains = 1000

// AddDomains lets the accounts of a key by domains ask for what further domains cover. A domain must be one that the organisation
// may use, or below one; of "*.example.com" example.com is looked at. The result are those that were not added, as they were
// given; one that the key has already counts as added. Conflict for a key of another kind, and for too many.
func (x *ExternalAccounts) AddDomains(ctx context.Context, caller Caller, number int32, names []string) (refused []string, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeTime)
	defer cancel()
	k, err := x.byDomains(ctx, caller, number)
	if err != nil {
		return nil, err
	}
	added, refused, err := x.served(ctx, k.Org, names)
	if err != nil || len(added) == 0 {
		return refused, err
	}
	return refused, x.changeOrTell(ctx, caller, k, func(k *EABKey) (bool, error) {
		if !k.Removed.IsZero() {
			return false, noEABNumber(number)
		}
		next := slices.Concat(k.Domains, added)
		slices.Sort(next)
		next = slices.Compact(next)
		if len(next) > MaxEABDomains {
			return false, problem.New(problem.Conflict, "the external account binding key would have %d domains; at most %d can be", len(next), MaxEABDomains)
		}
		changed := len(next) > len(k.Domains)
		k.Domains = next
		return changed, nil
	})
}

// RemoveDomains takes domains away from a key by domains. The result are those that it does not have, as they were given.
func (x *ExternalAccounts) RemoveDomains(ctx context.Context, caller Caller, number int32, names []string) (refused []string, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeTime)
	defer cancel()
	k, err := x.byDomains(ctx, caller, number)
	if err != nil {
		return nil, err
	}
	err = x.changeOrTell(ctx, caller, k, func(k *EABKey) (bool, error) {
		refused = nil
		next := slices.Clone(k.Domains)
		for _, text := range names {
			id, err := identifier.ParseDNS(text)
			if err != nil || !slices.Contains(k.Domains, id.Value()) {
				refused = append(refused, text)
				continue
			}
			next = slices.DeleteFunc(next, func(d string) bool { return d == id.Value() })
		}
		changed := len(next) < len(k.Domains)
		k.Domains = next
		return changed, nil
	})
	if err != nil {
		return nil, err
	}
	return refused, nil
}

// byDomains is a key that a caller may manage and whose accounts are held to its domains.
func (x *ExternalAccounts) byDomains(ctx context.Context, caller Caller, number int32) (*EABKey, error) {
	k, err := x.numbered(ctx, caller, ManageKeys, number)
	if err == nil && !k.ByDomains {
		return nil, problem.New(problem.Conflict, "the external account binding key was made by the operator (gatehouse eab add) and has no domains; make another")
	}
	return k, err
}

// served divides names into those, normalised, that an organisation may have in its keys, and others, as they were given.
func (x *ExternalAccounts) served(ctx context.Context, org OrgID, names []string) (served, refused []string, err error) {
	var ids, bases []identifier.Identifier
	for _, text := range names {
		if id, err := identifier.ParseDNS(text); err == nil {
			ids, bases = append(ids, id), append(bases, id.Base())
		}
	}
	if len(ids) == 0 || x.Serves == nil {
		return nil, names, nil
	}
	may, err := x.Serves(ctx, org, bases)
	if err != nil {
		return nil, nil, err
	}
	for _, text := range names { // in the sequence in which they were given
		id, err := identifier.ParseDNS(text)
		if i := slices.Index(ids, id); err != nil || i < 0 || i >= len(may) || !may[i] {
			refused = append(refused, text)
		} else {
			served = append(served, id.Value())
		}
	}
	return served, refused, nil
}
