package storage_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/storetest"
)

// inventory is enrollments of two organisations in every phase.
func inventory(t *testing.T, db *storage.DB) []*ra.Enrollment {
	t.Helper()
	ctx := t.Context()
	var all []*ra.Enrollment
	for n := range 40 {
		i := unbegun(t, db)
		e := i.Enrollment
		e.Org = auth.OrgID(1 + n%2)
		e.Profile = []string{"tls", "short"}[n%3%2]
		e.Requester = fmt.Sprintf("acme:%d", n%5)
		e.Names = names(t, fmt.Sprintf("h%d.example.com", n%7), fmt.Sprintf("h%d.example.net", n))
		switch n % 5 {
		case 0:
			e.CommonName = e.Names[1].Value()
		case 1:
			e.CommonName = fmt.Sprintf("Server %d", n%3) // as of what was imported
		}
		in := intent(e)
		in.NotAfter = now().Add(time.Duration(n-10) * time.Hour)
		must(t, db.RecordIntent(ctx, in, i))
		switch n % 4 {
		case 1:
			must(t, db.FailEnrollment(ctx, i.Enrollment, ra.Failure{Kind: problem.CAA, At: now()}))
		case 2, 3:
			must(t, db.RecordCertificate(ctx, ca.Certificate{Intent: in, DER: []byte{1}, Issued: now()}, i))
			if n%8 == 3 {
				c, err := db.Certificate(ctx, in.Issuer, in.Serial)
				must(t, err)
				must(t, db.RecordRevocation(ctx, *c, ca.Revocation{At: now(), Actor: "a"}))
			}
		}
		e, err := db.Enrollment(ctx, e.ID)
		must(t, err)
		all = append(all, e)
	}
	return all
}

// TestSearchFindsWhatMatches holds every combination of filters to what reading all records finds.
func TestSearchFindsWhatMatches(t *testing.T) {
	t.Parallel()
	db, _ := open(t)
	all := inventory(t, db)
	at := now().Add(500 * time.Millisecond)
	for _, q := range queries() {
		var want []ra.ID
		for _, e := range all {
			if q.Matches(e, at) && !slices.ContainsFunc(q.Where, func(c ra.Condition) bool { return !c.Holds(e, nil) }) {
				want = append(want, e.ID)
			}
		}
		q.Limit = 1000
		found, err := db.Search(t.Context(), q, at)
		if err != nil {
			t.Fatalf("%+v: %v", q, err)
		}
		got := ids(found.Enrollments)
		slices.Sort(got)
		if !slices.Equal(got, want) || found.Total != int64(len(want)) {
			t.Errorf("%+v finds %v of %d, want %v", q, got, found.Total, want)
		}
		checkPages(t, db, q, at, ids(found.Enrollments))
	}
}

// queries are all combinations of some values of every filter.
func queries() []ra.Query {
	out := []ra.Query{{Org: 1}, {Org: 2}, {Orgs: []auth.OrgID{1, 2}}, {Orgs: []auth.OrgID{2, 5, 7}}}
	add := func(set ...func(*ra.Query)) {
		for _, q := range slices.Clone(out) {
			for _, s := range set {
				s(&q)
				out = append(out, q)
			}
		}
	}
	for _, s := range []ra.Status{ra.StatusRequested, ra.StatusIssued, ra.StatusExpired, ra.StatusRevoked, ra.StatusFailed} {
		out = append(out, ra.Query{Org: 1, Status: s}, ra.Query{Org: 2, Status: s})
	}
	add(func(q *ra.Query) { q.Profile = "short" })
	add(func(q *ra.Query) { q.Requester = "acme:3" })
	add(func(q *ra.Query) { q.Suffix = "example.net" }, func(q *ra.Query) { q.Suffix = ""; q.Name = "h3.example.com" })
	add(func(q *ra.Query) { q.NotAfterFrom = now().Add(-3 * time.Hour) }, func(q *ra.Query) { q.NotAfterTo = now().Add(9 * time.Hour) })
	for n, q := range slices.Clone(out) {
		if n%10 == 0 {
			named, other, third := q, q, q
			named.CommonName, other.CommonName = "H10.example.NET", "server 1"
			third.Where = []ra.Condition{{Holds: func(e *ra.Enrollment, _ *x509.Certificate) bool { return e.ID%3 == 0 }}}
			out = append(out, named, other, third)
		}
	}
	both := []auth.OrgID{1, 2}
	for _, s := range []ra.Status{ra.StatusIssued, ra.StatusExpired, ra.StatusRevoked} {
		out = append(out, ra.Query{Orgs: both, Status: s})
	}
	return append(out, ra.Query{}, ra.Query{Org: 3}, ra.Query{Org: 1, Suffix: ".com"}, ra.Query{Orgs: []auth.OrgID{}}, ra.Query{Orgs: []auth.OrgID{}, Status: ra.StatusIssued})
}

// checkPages demands that pages of three, by offset and in either order, give the same as one page of all.
func checkPages(t *testing.T, db *storage.DB, q ra.Query, at time.Time, want []ra.ID) {
	t.Helper()
	for _, newest := range []bool{false, true} {
		if newest {
			want = slices.Clone(want)
			slices.Reverse(want)
		}
		q.Limit, q.Newest = 3, newest
		var got []ra.ID
		for q.Offset = 0; ; q.Offset += 3 {
			found, err := db.Search(t.Context(), q, at)
			must(t, err)
			got = append(got, ids(found.Enrollments)...)
			if len(found.Enrollments) < 3 {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%+v in pages finds %v, want %v", q, got, want)
		}
	}
}

func ids(list []*ra.Enrollment) []ra.ID {
	var out []ra.ID
	for _, e := range list {
		out = append(out, e.ID)
	}
	return out
}

// TestSearchPagesBehindAnEnrollment, whether or not it is there.
func TestSearchPagesBehindAnEnrollment(t *testing.T) {
	db, _ := open(t)
	all := ids(inventory(t, db))
	for _, newest := range []bool{false, true} {
		var got []ra.ID
		q := ra.Query{Limit: 7, Newest: newest}
		for {
			found, err := db.Search(t.Context(), q, now())
			must(t, err)
			if len(found.Enrollments) == 0 {
				break
			}
			got = append(got, ids(found.Enrollments)...)
			q.After = got[len(got)-1]
		}
		if newest {
			slices.Reverse(got)
		}
		if !slices.Equal(got, all) {
			t.Errorf("pages give %v, want %v", got, all)
		}
	}
}

// TestSearchRefusesWhatItCannotCompare and names a filter that would help.
func TestSearchRefusesWhatItCannotCompare(t *testing.T) {
	_, c := open(t)
	db, err := storage.Open(t.Context(), storage.Config{Engine: crowded{c}})
	must(t, err)
	_, err = db.Search(t.Context(), ra.Query{Org: 1, Profile: "tls", Status: ra.StatusIssued, Limit: 1}, now())
	if p := problem.From(err); !problem.Is(err, problem.Malformed) || p.Detail == "" {
		t.Errorf("a query over too many candidates: %v", err)
	}
	for name, q := range map[string]ra.Query{
		"a condition alone":     {Org: 1, Where: []ra.Condition{{Holds: func(*ra.Enrollment, *x509.Certificate) bool { return true }}}},
		"a common name":         {Org: 1, CommonName: "www.example.com"},
		"several organisations": {Orgs: []auth.OrgID{1, 2}, Profile: "tls", Status: ra.StatusIssued},
	} {
		c.Reset()
		q.Limit = 1
		_, err := db.Search(t.Context(), q, now())
		if many, ok := errors.AsType[*ra.TooManyError](err); !ok || many.Candidates <= ra.MaxCandidates || !problem.Is(err, problem.Malformed) {
			t.Errorf("%s: %v", name, err)
		}
		if trips := c.Trips(); trips.By[storetest.Get] > 0 {
			t.Errorf("%s: records were read: %v", name, trips.By)
		}
	}
	if _, err := db.Search(t.Context(), ra.Query{Org: 1, Suffix: "example.com", Limit: 1}, now()); err != nil {
		t.Errorf("a suffix alone: %v", err)
	}
}

// crowded is an engine whose every index is long.
type crowded struct{ *storetest.Counting }

func (crowded) Count(context.Context, string, storage.Range) (int64, error) {
	return ra.MaxCandidates + 1, nil
}

// TestBySerial finds the enrollment whichever issuer signed.
func TestBySerial(t *testing.T) {
	db, _ := open(t)
	e, c := issued(t, db)
	if found, err := db.EnrollmentsBySerial(t.Context(), c.Serial); err != nil || len(found) != 1 || found[0].ID != e.ID {
		t.Errorf("by serial: %v, %v", found, err)
	}
	if found, err := db.EnrollmentsBySerial(t.Context(), "02"); err != nil || len(found) != 0 {
		t.Errorf("by a serial that is not there: %v, %v", found, err)
	}
}
