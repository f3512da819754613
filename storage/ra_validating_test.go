package storage_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage"
)

// pending records a request of an organisation that waits for validation, with a look at a time.
func pending(ctx context.Context, db *storage.DB, org auth.OrgID, due time.Time, limit int64) (*ra.Enrollment, error) {
	id, err := db.NextEnrollment(ctx)
	if err != nil {
		return nil, err
	}
	name, err := identifier.ParseDNS("www.example.com")
	if err != nil {
		return nil, err
	}
	e := &ra.Enrollment{
		ID: id, Org: org, Door: "test", Requester: "user:1", Profile: "tls", Names: []identifier.Identifier{name}, Phase: ra.Validating,
		Created: due.Truncate(time.Second), CSR: []byte{0x30}, Due: due, ValidateBy: due.Add(time.Hour).Truncate(time.Second),
		Challenges: []ra.Challenge{{Identifier: name}},
	}
	return e, db.BeginValidation(ctx, e, nil, limit)
}

// TestDueValidations: those that are due, in their order, of each organisation a share, however many another one has.
func TestDueValidations(t *testing.T) {
	onBoth(t, func(t *testing.T, db *storage.DB) {
		at := now().Truncate(time.Second)
		var first []ra.ID
		for i := range 6 {
			e, err := pending(t.Context(), db, 1, at.Add(time.Duration(i)*time.Second), 0)
			must(t, err)
			first = append(first, e.ID)
		}
		other, err := pending(t.Context(), db, 2, at.Add(10*time.Second), 0)
		must(t, err)
		due := func(now time.Time, perOrg, limit int) (ids []ra.ID) {
			t.Helper()
			list, err := db.DueValidations(t.Context(), now, perOrg, limit)
			must(t, err)
			for _, e := range list {
				ids = append(ids, e.ID)
			}
			return ids
		}
		for _, row := range []struct {
			now           time.Time
			perOrg, limit int
			want          []ra.ID
		}{
			{at.Add(-time.Millisecond), 10, 10, nil},
			{at, 10, 10, first[:1]},
			{at.Add(9 * time.Second), 10, 10, first},
			{at.Add(10 * time.Second), 2, 10, []ra.ID{first[0], first[1], other.ID}},
			{at.Add(10 * time.Second), 2, 1, first[:1]},
		} {
			if got := due(row.now, row.perOrg, row.limit); !slices.Equal(got, row.want) {
				t.Errorf("%v, %d of each and %d: %v, want %v", row.now.Sub(at), row.perOrg, row.limit, got, row.want)
			}
		}
		// What is looked at moves, and what has ended is no more due.
		e, err := db.Enrollment(t.Context(), first[0])
		must(t, err)
		moved := *e
		moved.Due = at.Add(time.Hour)
		must(t, db.MoveEnrollment(t.Context(), &moved, e, nil))
		e, err = db.Enrollment(t.Context(), first[1])
		must(t, err)
		must(t, db.MoveEnrollment(t.Context(), e.Cancel("user:1", at), e, nil))
		if got := due(at.Add(9*time.Second), 10, 10); !slices.Equal(got, first[2:]) {
			t.Errorf("%v, want %v", got, first[2:])
		}
		list, err := db.DueEnrollments(t.Context(), at.Add(time.Hour), 10)
		if err != nil || len(list) != 0 {
			t.Errorf("among the issuances that are due: %v, %v", list, err)
		}
	})
}

// TestValidationsAreBounded: of those who come at the same time no more than the bound is recorded.
func TestValidationsAreBounded(t *testing.T) {
	bothEngines(t, func(t *testing.T, w *quotaWorld) {
		var wg sync.WaitGroup
		errs := make([]error, 12)
		for i := range errs {
			wg.Go(func() { _, errs[i] = pending(t.Context(), w.dbs[i%2], 1, now(), 5) })
		}
		wg.Wait()
		made := 0
		for _, err := range errs {
			switch {
			case err == nil:
				made++
			case !problem.Is(err, problem.RateLimited):
				t.Errorf("%v", err)
			}
		}
		if made != 5 {
			t.Errorf("%d of 5 were recorded", made)
		}
		_, err := pending(t.Context(), w.dbs[0], 2, now(), 5)
		must(t, err)
	})
}
