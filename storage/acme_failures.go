package storage

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

const (
	// failureRetention is how long the record of a failed validation can be read.
	failureRetention = acme.FailureDays * 24 * time.Hour
	// maxFailures bounds how many there are: beyond it the organisation that has most gives up its oldest, so that the store does not follow the traffic of
	// clients that never get anything right.
	maxFailures = 50_000
	// maxFailureCursor is more than a member of the lists can have.
	maxFailureCursor = 100
)

// failedAt is when a validation of an authorization failed, zero if none did.
func failedAt(a *acme.Authorization) time.Time {
	for _, c := range a.Challenges {
		if c.Failed != nil {
			return c.Failed.At
		}
	}
	return time.Time{}
}

// authzEnd is when an authorization's record goes.
func authzEnd(a *acme.Authorization) time.Time {
	end := a.Expires.Add(idleRetention)
	if at := failedAt(a); !at.IsZero() && at.Add(failureRetention).After(end) {
		return at.Add(failureRetention)
	}
	return end
}

// listFailure adds to a batch that an authorization is in the lists of failures.
func (b *Batch) listFailure(a *acme.Authorization) {
	at := failedAt(a)
	if at.IsZero() {
		return
	}
	b.Adds = append(b.Adds,
		Entry{Index: indexFailures, Member: timeMember(at, strconv.Itoa(int(a.Org))+"/"+string(a.ID))},
		Entry{Index: indexOrgFailures(a.Org), Member: timeMember(at, string(a.ID))},
	)
}

// failureParts takes apart a member of either list; the organisation is zero in an organisation's own.
func failureParts(m []byte) (at int64, org auth.OrgID, id acme.AuthzID, ok bool) {
	at, rest, ok := memberParts(m)
	number, name, both := strings.Cut(rest, "/")
	if !both {
		return at, 0, acme.AuthzID(rest), ok && rest != ""
	}
	n, err := strconv.ParseInt(number, 10, 32)
	return at, auth.OrgID(n), acme.AuthzID(name), ok && err == nil && name != ""
}

// Failures implements acme.Store.
func (db *DB) Failures(ctx context.Context, org auth.OrgID, cursor string, limit int) ([]acme.ListedFailure, error) {
	page := Page{Limit: limit, Reverse: true}
	if cursor != "" {
		page.After = []byte(cursor)
		if _, _, _, ok := failureParts(page.After); !ok || len(cursor) > maxFailureCursor {
			return nil, problem.New(problem.Malformed, "the list of failures has no such place; begin at its start")
		}
	}
	index := indexFailures
	if org != 0 {
		index = indexOrgFailures(org)
	}
	members, err := db.engine.Scan(ctx, index, Range{}, page)
	if err != nil {
		return nil, unavailable(err)
	}
	if len(members) == 0 {
		return nil, nil
	}
	list := make([]acme.ListedFailure, len(members))
	ids := make([]acme.AuthzID, len(members))
	for i, m := range members {
		list[i].Cursor = string(m)
		_, _, ids[i], _ = failureParts(m)
	}
	found, err := db.authorizations(ctx, ids)
	if err != nil {
		return nil, err
	}
	for i, a := range found {
		if a != nil && (org == 0 || a.Org == org) { // the list is ours, but a record is shown to whom it says itself
			list[i].Authorization = a
		}
	}
	return list, nil
}

// SweepFailures implements acme.Store. Of those beyond the bound the record goes, too: of the organisations that the oldest and
// the newest are of, the one that has most gives up its oldest. So one that never gets anything right does not cost others
// their records.
func (db *DB) SweepFailures(ctx context.Context, now time.Time, limit int) (int, error) {
	members, err := db.engine.Scan(ctx, indexFailures, until(now.Add(-failureRetention)), Page{Limit: limit})
	if err != nil {
		return 0, unavailable(err)
	}
	b := &Batch{}
	if len(members) > 0 {
		for _, m := range members {
			b.Removes = append(b.Removes, Entry{Index: indexFailures, Member: m})
			if at, org, id, ok := failureParts(m); ok {
				b.Removes = append(b.Removes, Entry{Index: indexOrgFailures(org), Member: member(at, string(id))})
			}
		}
		return len(members), db.commit(ctx, b)
	}
	count, err := db.engine.Count(ctx, indexFailures, Range{})
	if err != nil || count <= db.maxFailures {
		return 0, unavailable(err)
	}
	org, err := db.mostFailures(ctx, limit)
	if err != nil {
		return 0, err
	}
	members, err = db.engine.Scan(ctx, indexOrgFailures(org), Range{}, Page{Limit: int(min(int64(limit), count-db.maxFailures))})
	if err != nil || len(members) == 0 {
		return 0, unavailable(err)
	}
	for _, m := range members {
		b.Removes = append(b.Removes, Entry{Index: indexOrgFailures(org), Member: m})
		if at, _, id, ok := failureParts(m); ok {
			b.Removes = append(b.Removes, Entry{Index: indexFailures, Member: member(at, strconv.Itoa(int(org))+"/"+string(id))})
			b.Deletes = append(b.Deletes, keyAuthz(id))
		}
	}
	return len(members), db.commit(ctx, b)
}

// mostFailures is the organisation that has most failures, of those that the oldest and the newest are of.
func (db *DB) mostFailures(ctx context.Context, limit int) (most auth.OrgID, err error) {
	counts := map[auth.OrgID]int64{}
	for _, newest := range []bool{false, true} {
		members, err := db.engine.Scan(ctx, indexFailures, Range{}, Page{Limit: limit, Reverse: newest})
		if err != nil {
			return 0, unavailable(err)
		}
		for _, m := range members {
			_, org, _, ok := failureParts(m)
			if _, counted := counts[org]; !ok || counted {
				continue
			}
			if counts[org], err = db.engine.Count(ctx, indexOrgFailures(org), Range{}); err != nil {
				return 0, unavailable(err)
			}
			if counts[org] > counts[most] || most == 0 {
				most = org
			}
		}
	}
	return most, nil
}
