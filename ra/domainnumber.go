package ra

import (
	"context"
	"strconv"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// noNumbered is the answer for a number that is no domain's, and for that of one which the caller does not see.
func noNumbered(n DomainNumber) error {
	return problem.New(problem.NotFound, "there is no domain %d", n)
}

// number gives a domain that is about to be recorded in place of another the number of its name, a new one if it has none.
func (m *Domains) number(ctx context.Context, next, before *Domain) (err error) {
	if before != nil && before.Number != 0 {
		next.Number = before.Number
		return nil
	}
	next.Number, err = m.Store.NextDomain(ctx)
	return err
}

// shown is a domain as a caller who may know of it sees it, with a number. One that was recorded before there were numbers gets its
// number here, by a change like any other: of several gateways that come to it at once one gives it, and the others find it given.
func (m *Domains) shown(ctx context.Context, caller auth.Caller, d *Domain) (*Domain, error) {
	if d.Number == 0 {
		name := d.Name
		numbered, err := m.change(ctx, name, "system", "numbered", func(d *Domain) (*Domain, error) {
			switch {
			case d == nil || !d.Removed.IsZero():
				return nil, noDomain(name)
			case d.Number != 0:
				return d, errUnchanged
			}
			return d.clone(), nil
		})
		if err != nil {
			return nil, err
		}
		d = numbered
	}
	return m.seenBy(caller, d), nil
}

// showAll is shown of several. What was removed meanwhile is left out.
func (m *Domains) showAll(ctx context.Context, caller auth.Caller, found []*Domain) ([]*Domain, error) {
	list := make([]*Domain, 0, len(found))
	for _, d := range found {
		d, err := m.shown(ctx, caller, d)
		switch {
		case problem.Is(err, problem.NotFound):
			continue
		case err != nil:
			return nil, err
		}
		list = append(list, d)
	}
	return list, nil
}

// GetNumbered is Get by the domain's number.
func (m *Domains) GetNumbered(ctx context.Context, caller auth.Caller, n DomainNumber) (*Domain, error) {
	found, err := m.Store.NumberedDomains(ctx, []DomainNumber{n})
	if err != nil {
		return nil, err
	}
	if found[0] == nil || !m.sees(caller, found[0]) {
		return nil, noNumbered(n)
	}
	return m.seenBy(caller, found[0]), nil
}

// String writes the number in decimal.
func (n DomainNumber) String() string { return strconv.Itoa(int(n)) }
