package storage

import (
	"context"

	"github.com/gatehouse-ca/gatehouse/acme"
)

// limits are the takes as an engine counts them.
func limits(takes []acme.Take) []Limit {
	if len(takes) == 0 {
		return nil
	}
	list := make([]Limit, len(takes))
	for i, t := range takes {
		list[i] = Limit{Key: keyLimit(t), Interval: t.Interval, Burst: t.Burst, Cost: t.Cost}
	}
	return list
}

// refused is an *acme.Refused if a limit refused.
func refused(s Spent) error {
	if s.Limited < 0 {
		return nil
	}
	return &acme.Refused{Take: s.Limited, Wait: s.RetryAfter}
}

// Take implements acme.Store.
func (db *DB) Take(ctx context.Context, takes ...acme.Take) error {
	_, err := db.takeAndRead(ctx, takes)
	return err
}

// takeAndRead takes from limits and reads keys in one trip. Without takes it is a read, which an engine serves also when it
// cannot write.
func (db *DB) takeAndRead(ctx context.Context, takes []acme.Take, keys ...Key) ([]Item, error) {
	switch {
	case len(takes) > 0:
	case len(keys) == 0:
		return nil, nil
	default:
		return db.read(ctx, keys...)
	}
	spent, err := db.engine.Spend(ctx, Token{}, limits(takes), keys...)
	if err != nil {
		return nil, unavailable(err)
	}
	if err := refused(spent); err != nil {
		return nil, err
	}
	return spent.Items, nil
}
