package storage

import (
	"bytes"
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// A quota cannot be overrun, by any number of gateways: whoever begins a certificate under one reads the version of the
// quota's record, counts, and commits on the condition that the version is still that, putting a new one. Of two who counted
// at the same time one commits, and the other counts again. What takes a certificate away needs no such care. Requests that
// wait are bounded in the same way.

const (
	// maxCounts bounds how often one issuance counts anew because another one came first.
	maxCounts = 100
	// maxCountPause is the longest pause before that.
	maxCountPause = 20 * time.Millisecond
)

// held reports whether an enrollment counts towards a quota, until it expires: it has a certificate of ours that is not revoked,
// or an intent of one.
func held(e *ra.Enrollment) bool {
	return !e.NotAfter.IsZero() && (e.Phase == ra.Requested || e.Phase == ra.Issued) && !e.Imported
}

// QuotaUse implements ra.Store. The index has the number of all; for names, each certificate's record that ever had the name
// is read.
func (db *DB) QuotaUse(ctx context.Context, org auth.OrgID, profile string, names []identifier.Identifier, now time.Time) (policy.QuotaUse, error) {
	n, err := db.engine.Count(ctx, indexHeld(org, profile), Range{From: member(ceil(now), "")})
	if err != nil {
		return policy.QuotaUse{}, unavailable(err)
	}
	use := policy.QuotaUse{Certificates: n}
	for _, name := range names {
		n, err := db.heldWithName(ctx, org, profile, name, now)
		if err != nil {
			return policy.QuotaUse{}, err
		}
		use.Names = append(use.Names, policy.NameUse{Name: name, Certificates: n})
	}
	return use, nil
}

// heldWithName counts what is held with one name, in lists or removed from them.
func (db *DB) heldWithName(ctx context.Context, org auth.OrgID, profile string, name identifier.Identifier, now time.Time) (int64, error) {
	listed, err := db.heldIn(ctx, indexName(org), profile, name, now)
	if err != nil {
		return 0, err
	}
	removed, err := db.heldIn(ctx, indexRemovedName(org), profile, name, now)
	return listed + removed, err
}

// heldIn is the same in one index of names.
func (db *DB) heldIn(ctx context.Context, index, profile string, name identifier.Identifier, now time.Time) (n int64, err error) {
	span := Prefix(append(reversed(name.Value()), 0))
	for page := (Page{Limit: 500}); ; {
		members, err := db.engine.Scan(ctx, index, span, page)
		if err != nil {
			return 0, unavailable(err)
		}
		var ids []ra.ID
		for _, m := range members {
			if id, ok := lastID(m); ok {
				ids = append(ids, id)
			}
		}
		list, err := db.enrollments(ctx, ids)
		if err != nil {
			return 0, err
		}
		for _, e := range list {
			if e.Profile == profile && held(e) && !now.After(e.NotAfter) {
				n++
			}
		}
		if len(members) < page.Limit {
			return n, nil
		}
		page.After = bytes.Clone(members[len(members)-1])
	}
}

// countRecord is there for its version alone.
type countRecord struct {
	Changed seconds `cbor:"1,keyasint"`
}

// commitWithinQuota commits an intent if its quota has room, and refuses it with a RateLimited otherwise.
func (db *DB) commitWithinQuota(ctx context.Context, in ca.Intent, issuance *ra.Issuance, after *ra.Enrollment) (*Batch, error) {
	var names []identifier.Identifier
	if issuance.Quota.PerName > 0 {
		names = after.Names
	}
	return db.commitCounted(ctx, keyQuota(after.Org, after.Profile), in.Opened, func() (*Batch, error) {
		use, err := db.QuotaUse(ctx, after.Org, after.Profile, names, in.Opened)
		if err != nil {
			return nil, err
		}
		if err := issuance.Quota.Check(after.Profile, use); err != nil {
			return nil, err
		}
		return intentBatch(in, issuance, after)
	})
}

// commitCounted commits what build makes from a count, on the condition that nobody else who counts under the key has
// committed since; otherwise it is built, and so counted, again.
func (db *DB) commitCounted(ctx context.Context, key Key, at time.Time, build func() (*Batch, error)) (*Batch, error) {
	done, err := db.turns.take(ctx, key) // this process's own do not race each other
	if err != nil {
		return nil, err
	}
	defer done()
	mark, err := encode(countRecord{Changed: toSeconds(at)})
	if err != nil {
		return nil, err
	}
	before, err := db.countVersion(ctx, key)
	for range maxCounts {
		if err != nil {
			return nil, err
		}
		b, err := build()
		if err != nil {
			return nil, err
		}
		b.Conditions = append(b.Conditions, before)
		b.Puts = append(b.Puts, Put{Key: key, Value: mark})
		conflict := db.commit(ctx, b)
		if conflict == nil || !problem.Is(conflict, problem.Conflict) {
			return b, conflict
		}
		now, err := db.countVersion(ctx, key)
		if err != nil {
			return nil, err
		}
		if now == before {
			return nil, conflict // over something else
		}
		before = now
		if err := pause(ctx, rand.N(maxCountPause)); err != nil {
			return nil, err
		}
	}
	return nil, problem.New(problem.Unavailable, "too many others of the same organisation are begun at the same time to count them; try again").After(time.Second)
}

// countVersion is the condition that nobody has begun anything since.
func (db *DB) countVersion(ctx context.Context, key Key) (Condition, error) {
	items, err := db.read(ctx, key)
	if err != nil {
		return Condition{}, err
	}
	if !items[0].Found {
		return Condition{Key: key, Want: Absent}, nil
	}
	return Condition{Key: key, Want: Equals, Version: items[0].Version}, nil
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return unavailable(ctx.Err())
	}
}

// turns lets one at a time work on a key. The keys are few, and are kept: one for each organisation and profile.
type turns struct {
	sync.Mutex
	of map[Key]chan struct{}
}

// take waits for the turn, and gives what ends it.
func (t *turns) take(ctx context.Context, key Key) (done func(), err error) {
	t.Lock()
	if t.of == nil {
		t.of = make(map[Key]chan struct{})
	}
	turn := t.of[key]
	if turn == nil {
		turn = make(chan struct{}, 1)
		t.of[key] = turn
	}
	t.Unlock()
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, unavailable(ctx.Err())
	}
}
