package storage

import (
	"context"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// NextDomain implements ra.DomainStore.
func (db *DB) NextDomain(ctx context.Context) (ra.DomainNumber, error) {
	n, err := db.engine.NextID(ctx, seqDomain, 1)
	if err != nil {
		return 0, unavailable(err)
	}
	if n >= 1<<31 {
		return 0, problem.New(problem.Unavailable, "all domain numbers below 2^31 are used")
	}
	return ra.DomainNumber(n), nil
}

// NumberedDomains implements ra.DomainStore. The number is the name's for ever, so the two reads need not be of one moment.
func (db *DB) NumberedDomains(ctx context.Context, numbers []ra.DomainNumber) ([]*ra.Domain, error) {
	list := make([]*ra.Domain, len(numbers))
	keys := make([]Key, len(numbers))
	for i, n := range numbers {
		keys[i] = keyDomainNumber(n)
	}
	if len(keys) == 0 {
		return nil, nil
	}
	items, err := db.read(ctx, keys...)
	if err != nil {
		return nil, err
	}
	var names []identifier.Identifier
	var places []int
	for i, it := range items {
		if !it.Found {
			continue
		}
		name, err := identifier.ParseDNS(string(it.Value))
		if err != nil {
			return nil, damaged(keys[i], err)
		}
		names, places = append(names, name), append(places, i)
	}
	found, err := db.Domains(ctx, names)
	if err != nil {
		return nil, err
	}
	for i, d := range found {
		if d != nil && d.Number == numbers[places[i]] {
			list[places[i]] = d
		}
	}
	return list, nil
}

// numberDomain claims the number of a domain that had none, and keeps that of one that had.
func (b *Batch) numberDomain(next, before *ra.Domain) {
	if next.Number == 0 || before != nil && before.Number != 0 {
		return
	}
	key, name := keyDomainNumber(next.Number), []byte(next.Name.Value())
	b.Conditions = append(b.Conditions, Condition{Key: key, Want: Absent})
	b.Puts = append(b.Puts, Put{Key: key, Value: name})
	b.Adds = append(b.Adds, Entry{Index: indexDomainNumbers, Member: member(int64(next.Number), next.Name.Value())})
}

// domainConflict lifts the sequence if what was in the way was the number, as after a store went back: the next try is given
// one behind all there are.
func (db *DB) domainConflict(ctx context.Context, next *ra.Domain, conflict error) error {
	if next.Number == 0 || !problem.Is(conflict, problem.Conflict) {
		return conflict
	}
	owner, err := db.numberedName(ctx, next.Number)
	if err != nil {
		return err
	}
	if owner == "" || owner == next.Name.Value() {
		return conflict
	}
	last, err := db.engine.Scan(ctx, indexDomainNumbers, Range{}, Page{Limit: 1, Reverse: true})
	if err != nil {
		return unavailable(err)
	}
	for _, m := range last {
		n, _, _ := memberParts(m)
		if err := db.engine.LiftID(ctx, seqDomain, n); err != nil {
			return unavailable(err)
		}
	}
	return conflict
}

// numberedName is the name whose number it is; "" if it is nobody's.
func (db *DB) numberedName(ctx context.Context, n ra.DomainNumber) (string, error) {
	items, err := db.read(ctx, keyDomainNumber(n))
	if err != nil {
		return "", err
	}
	return string(items[0].Value), nil
}

// domainList is the index of an organisation's list, or of all.
func domainList(org auth.OrgID) string {
	if org == 0 {
		return indexDomains
	}
	return indexOrgDomains(org)
}

// DomainNames implements ra.DomainStore.
func (db *DB) DomainNames(ctx context.Context, org auth.OrgID, after string, offset, limit int) ([]identifier.Identifier, error) {
	page := Page{Limit: limit, Offset: offset}
	if after != "" {
		page.After = []byte(after)
	}
	members, err := db.engine.Scan(ctx, domainList(org), Range{}, page)
	if err != nil {
		return nil, unavailable(err)
	}
	names := make([]identifier.Identifier, len(members))
	for i, m := range members {
		if names[i], err = identifier.ParseDNS(string(m)); err != nil {
			return nil, damaged(Key(domainList(org)), err)
		}
	}
	return names, nil
}

// CountDomains implements ra.DomainStore.
func (db *DB) CountDomains(ctx context.Context, org auth.OrgID) (int64, error) {
	n, err := db.engine.Count(ctx, domainList(org), Range{})
	return n, unavailable(err)
}
