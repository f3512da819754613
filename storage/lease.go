package storage

import (
	"context"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
)

// A lease gives one piece of work to one process for a time. Its record expires in the store, so the store's clock alone
// decides when it ends, at the moment of each commit; no process compares its own clock with anything. Its version is the
// fence: commits of the work carry it as a condition, so that of a process whose lease ran out, was taken over or given
// back nothing is kept, even if it was stopped in between and has not noticed.

// leaseRecord is a lease that somebody has.
type leaseRecord struct {
	Holder string `cbor:"1,keyasint"`
	Until  millis `cbor:"2,keyasint"` // by the store's clock; the record expires at that time
}

// lease is a lease as it was read or taken; the zero value is a free one.
type lease struct {
	holder  string
	left    time.Duration // by the store's clock, above zero unless it is free
	version Version
}

// readLease tells who has a lease.
func (db *DB) readLease(ctx context.Context, key Key) (lease, error) {
	items, err := db.read(ctx, key)
	if err != nil || !items[0].Found {
		return lease{}, err
	}
	var r leaseRecord
	if err := decode(items[0].Value, &r); err != nil {
		return lease{}, damaged(key, err)
	}
	now, err := db.engine.Now(ctx)
	if err != nil {
		return lease{}, unavailable(err)
	}
	// It was there a moment ago, so there was something left then.
	left := max(r.Until.time().Sub(now), time.Millisecond)
	return lease{holder: r.Holder, left: left, version: items[0].Version}, nil
}

// takeLease gives a lease to a holder for d from now, durable on return. Conflict if it is no longer as it was read, or
// if somebody else had it then. Each time it is taken it gets another version.
func (db *DB) takeLease(ctx context.Context, key Key, read lease, holder string, d time.Duration) (lease, error) {
	c := Condition{Key: key, Want: Absent}
	switch read.holder {
	case "":
	case holder:
		c = fence(key, read.version)
	default:
		return lease{}, problem.New(problem.Conflict, "%s is taken by %s", key, read.holder).After(read.left)
	}
	now, err := db.engine.Now(ctx)
	if err != nil {
		return lease{}, unavailable(err)
	}
	until := now.Add(d)
	value, err := encode(leaseRecord{Holder: holder, Until: toMillis(until)})
	if err != nil {
		return lease{}, err
	}
	b := &Batch{Conditions: []Condition{c}, Puts: []Put{{Key: key, Value: value, Expires: until}}}
	if err := db.commit(ctx, b); err != nil {
		return lease{}, err
	}
	return lease{holder: holder, left: d, version: b.Version}, nil
}

// returnLease ends a lease before its time; Conflict if it has ended already.
func (db *DB) returnLease(ctx context.Context, key Key, v Version) error {
	return db.commit(ctx, &Batch{Conditions: []Condition{fence(key, v)}, Deletes: []Key{key}})
}

// fence is the condition that a lease is still the one that was taken, and has not run out.
func fence(key Key, v Version) Condition { return Condition{Key: key, Want: Equals, Version: v} }
