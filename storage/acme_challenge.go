package storage

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
)

var errShortKey = errors.New("a key is not 32 octets")

// due is when an authorization's validation is due, zero if none is under way. At most one challenge of an
// authorization is under way at a time.
func due(a *acme.Authorization) time.Time {
	for _, c := range a.Challenges {
		if !c.Due.IsZero() {
			return c.Due
		}
	}
	return time.Time{}
}

// BeginChallenge implements acme.Store: the challenge that is begun in a gets the due time.
func (db *DB) BeginChallenge(ctx context.Context, a *acme.Authorization, at time.Time) error {
	next := *a
	next.Challenges = append([]acme.Challenge(nil), a.Challenges...)
	begun := false
	for i := range next.Challenges {
		c := &next.Challenges[i]
		if !c.Begun.IsZero() && c.Proof == nil && c.Failed == nil {
			c.Due, begun = at, true
		}
	}
	if !begun {
		return problem.New(problem.Conflict, "no challenge of this authorization has begun")
	}
	b := &Batch{Adds: []Entry{{Index: indexValidations, Member: timeMember(at, string(a.ID))}}}
	if old := due(a); !old.IsZero() && !old.Equal(at) {
		b.Removes = []Entry{{Index: indexValidations, Member: timeMember(old, string(a.ID))}}
	}
	if err := db.putAuthz(ctx, b, &next); err != nil {
		return err
	}
	*a = next
	return nil
}

// FinishChallenge implements acme.Store.
func (db *DB) FinishChallenge(ctx context.Context, a *acme.Authorization) error {
	next := *a
	next.Challenges = append([]acme.Challenge(nil), a.Challenges...)
	b := &Batch{}
	for i := range next.Challenges {
		c := &next.Challenges[i]
		if !c.Due.IsZero() {
			b.Removes = append(b.Removes, Entry{Index: indexValidations, Member: timeMember(c.Due, string(a.ID))})
			c.Due = time.Time{}
		}
		if c.Proof != nil {
			key, err := usableKey(a)
			if err != nil {
				return err
			}
			b.Puts = []Put{{Key: key, Value: []byte(a.ID), Expires: a.Expires}}
		}
	}
	b.listFailure(&next)
	if err := db.putAuthz(ctx, b, &next); err != nil {
		return err
	}
	*a = next
	return nil
}

// CreateAuthorization implements acme.Store.
func (db *DB) CreateAuthorization(ctx context.Context, a *acme.Authorization) error {
	value, err := encodeAuthz(a)
	if err != nil {
		return err
	}
	b := &Batch{
		Conditions: []Condition{{Key: keyAuthz(a.ID), Want: Absent}},
		Puts:       []Put{{Key: keyAuthz(a.ID), Value: value, Expires: a.Expires.Add(idleRetention)}},
	}
	if err := db.commit(ctx, b); err != nil {
		return err
	}
	a.Version = b.Version
	return nil
}

// DeactivateAuthorization implements acme.Store. A pointer to an authorization that became valid later stays.
func (db *DB) DeactivateAuthorization(ctx context.Context, a *acme.Authorization) error {
	next := *a
	next.Challenges = append([]acme.Challenge(nil), a.Challenges...)
	b := &Batch{}
	for i := range next.Challenges {
		if c := &next.Challenges[i]; !c.Due.IsZero() {
			b.Removes = append(b.Removes, Entry{Index: indexValidations, Member: timeMember(c.Due, string(a.ID))})
			c.Due = time.Time{}
		}
	}
	key, err := usableKey(a)
	if err != nil {
		return err
	}
	items, err := db.read(ctx, key)
	if err != nil {
		return err
	}
	if it := items[0]; it.Found && acme.AuthzID(it.Value) == a.ID {
		b.Conditions = []Condition{{Key: key, Want: Equals, Version: it.Version}}
		b.Deletes = []Key{key}
	}
	if err := db.putAuthz(ctx, b, &next); err != nil {
		return err
	}
	*a = next
	return nil
}

// usableKey is where newOrder finds a valid authorization by account and name.
func usableKey(a *acme.Authorization) (Key, error) {
	id := a.Identifier
	if a.Wildcard {
		var err error
		if id, err = identifier.ParseDNS(wanted(a)); err != nil {
			return "", problem.Wrap(err, problem.Internal, "")
		}
	}
	return keyUsable(a.Account, id), nil
}

// putAuthz commits an authorization in place of the one that was read.
func (db *DB) putAuthz(ctx context.Context, b *Batch, a *acme.Authorization) error {
	value, err := encodeAuthz(a)
	if err != nil {
		return err
	}
	b.Conditions = append(b.Conditions, Condition{Key: keyAuthz(a.ID), Want: Equals, Version: a.Version})
	b.Puts = append([]Put{{Key: keyAuthz(a.ID), Value: value, Expires: authzEnd(a)}}, b.Puts...)
	if err := db.commit(ctx, b); err != nil {
		return err
	}
	a.Version = b.Version
	return nil
}

// DueChallenges implements acme.Store.
func (db *DB) DueChallenges(ctx context.Context, now time.Time, limit int) ([]*acme.Authorization, error) {
	members, err := db.engine.Scan(ctx, indexValidations, until(now), Page{Limit: limit})
	if err != nil {
		return nil, unavailable(err)
	}
	if len(members) == 0 {
		return nil, nil
	}
	var ids []acme.AuthzID
	for _, m := range members {
		if _, id, ok := memberParts(m); ok {
			ids = append(ids, acme.AuthzID(id))
		}
	}
	found, err := db.authorizations(ctx, ids)
	if err != nil {
		return nil, err
	}
	var list []*acme.Authorization
	b := &Batch{}
	for i, a := range found {
		if a == nil || due(a).IsZero() { // the record went at the end of its retention: so does the entry
			b.Removes = append(b.Removes, Entry{Index: indexValidations, Member: members[i]})
			continue
		}
		list = append(list, a)
	}
	if len(b.Removes) > 0 {
		if err := db.commit(ctx, b); err != nil {
			return nil, err
		}
	}
	return list, nil
}
