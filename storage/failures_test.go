package storage_test

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/acme"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/embedded"
)

// failing is a new authorization of organisation 1 whose validation failed at a time.
func failing(t *testing.T, db *storage.DB, at time.Time) *acme.Authorization {
	t.Helper()
	return failingIn(t, db, 1, at)
}

func failingIn(t *testing.T, db *storage.DB, org auth.OrgID, at time.Time) *acme.Authorization {
	t.Helper()
	_, a := newOrder(t, db, newAccount(t, db))
	next := *a
	next.Org = org
	next.Challenges = slices.Clone(a.Challenges)
	next.Challenges[0].Begun = at
	next.Challenges[0].Failed = &acme.Failure{Kind: problem.DNS, Detail: "no such name", At: at, Record: []byte("{}")}
	must(t, db.FinishChallenge(t.Context(), &next))
	return &next
}

// listed are the ids of a list of failures, page by page.
func listed(t *testing.T, db *storage.DB, a *acme.Authorization, whole bool) (ids []acme.AuthzID) {
	t.Helper()
	org := a.Org
	if whole {
		org = 0
	}
	for cursor := ""; ; {
		page, err := db.Failures(t.Context(), org, cursor, 2)
		must(t, err)
		for _, f := range page {
			cursor = f.Cursor
			if f.Authorization != nil {
				ids = append(ids, f.Authorization.ID)
			}
		}
		if len(page) < 2 {
			return ids
		}
	}
}

func TestFailuresAreListedNewestFirst(t *testing.T) {
	db, _ := open(t)
	var want []acme.AuthzID
	var last *acme.Authorization
	for i := range 5 {
		last = failing(t, db, now().Add(time.Duration(i)*time.Second))
		want = append([]acme.AuthzID{last.ID}, want...)
	}
	newOrder(t, db, newAccount(t, db)) // whose authorization is pending, and in no list
	for _, whole := range []bool{false, true} {
		if got := listed(t, db, last, whole); !slices.Equal(got, want) {
			t.Errorf("all organisations %v: %v, want %v", whole, got, want)
		}
	}
	if page, err := db.Failures(t.Context(), last.Org+1, "", 10); err != nil || len(page) != 0 {
		t.Errorf("another organisation's list has %d, %v", len(page), err)
	}
	for _, bad := range []string{"x", "12345678", "12345678a/b"} {
		if page, err := db.Failures(t.Context(), 0, bad, 10); !problem.Is(err, problem.Malformed) {
			t.Errorf("the cursor %q gives %d, %v", bad, len(page), err)
		}
	}
}

// TestFailuresAreForgotten: after their days the list has them no more, and of too many the oldest go with their records.
func TestFailuresAreForgotten(t *testing.T) {
	db, engine := open(t)
	a := failing(t, db, now())
	day := 24 * time.Hour
	if n, err := db.SweepFailures(t.Context(), now().Add(29*day), 10); n != 0 || err != nil {
		t.Errorf("%d went before their time, %v", n, err)
	}
	if n, err := db.SweepFailures(t.Context(), now().Add(31*day), 10); n != 1 || err != nil {
		t.Errorf("%d went, %v", n, err)
	}
	for _, whole := range []bool{false, true} {
		if got := listed(t, db, a, whole); len(got) != 0 {
			t.Errorf("still listed: %v", got)
		}
	}
	for key := range contents(t, engine) {
		if len(key) > 8 && key[:8] == "failures" {
			t.Error("left over:", key)
		}
	}

	few, err := embedded.Open(embedded.Config{Dir: filepath.Join(t.TempDir(), "store")})
	must(t, err)
	t.Cleanup(func() { few.Close() })
	db, err = storage.Open(t.Context(), storage.Config{Engine: few, KeptFailures: 2})
	must(t, err)
	var made []*acme.Authorization
	for i := range 5 {
		made = append(made, failing(t, db, now().Add(time.Duration(i)*time.Second)))
	}
	if n, err := db.SweepFailures(t.Context(), now(), 2); n != 2 || err != nil {
		t.Errorf("%d went, %v; the turn is bounded", n, err)
	}
	if n, err := db.SweepFailures(t.Context(), now(), 2); n != 1 || err != nil {
		t.Errorf("%d went, %v", n, err)
	}
	if got := listed(t, db, made[0], true); !slices.Equal(got, []acme.AuthzID{made[4].ID, made[3].ID}) {
		t.Errorf("left are %v", got)
	}
	for i, a := range made {
		admitted, err := db.Admit(t.Context(), acme.Admission{Authz: a.ID})
		must(t, err)
		if kept := admitted.Authz != nil; kept != (i >= 3) {
			t.Errorf("authorization %d is there: %v", i, kept)
		}
	}
}

// TestFailuresOfOneCostNoOther: an organisation that never gets anything right gives up its own records, not another's older ones.
func TestFailuresOfOneCostNoOther(t *testing.T) {
	engine, err := embedded.Open(embedded.Config{Dir: filepath.Join(t.TempDir(), "store")})
	must(t, err)
	t.Cleanup(func() { engine.Close() })
	db, err := storage.Open(t.Context(), storage.Config{Engine: engine, KeptFailures: 4})
	must(t, err)
	quiet := failing(t, db, now())
	var noisy []*acme.Authorization
	for i := range 8 {
		noisy = append(noisy, failingIn(t, db, 2, now().Add(time.Duration(i+1)*time.Second)))
	}
	for range 4 {
		_, err := db.SweepFailures(t.Context(), now(), 2)
		must(t, err)
	}
	if got := listed(t, db, quiet, false); !slices.Equal(got, []acme.AuthzID{quiet.ID}) {
		t.Errorf("of the quiet organisation are left %v", got)
	}
	if got := listed(t, db, noisy[0], false); !slices.Equal(got, []acme.AuthzID{noisy[7].ID, noisy[6].ID, noisy[5].ID}) {
		t.Errorf("of the noisy one are left %v", got)
	}
	if got := listed(t, db, quiet, true); len(got) != 4 {
		t.Errorf("in all there are %v", got)
	}
}
