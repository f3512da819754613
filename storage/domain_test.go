package storage_test

import (
	"context"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage"
)

// TestDomainRecords: what was put is read as it was, stands in the lists it belongs to, and changes only as it was read.
func TestDomainRecords(t *testing.T) {
	onBoth(t, func(t *testing.T, db *storage.DB) {
		ctx, name := t.Context(), names(t, "example.com")[0]
		at := now()
		d := &ra.Domain{
			Name: name, Number: 5, Org: 1, Description: "for us", Created: at, Suspended: at, Own: []ra.Privilege{ra.PrivilegeWildcard}, Edits: 7,
			Delegations: []ra.Delegation{
				{Org: 3, State: ra.DelegationApproved, Requested: at, Decided: at.Add(time.Second), Privileges: []ra.Privilege{ra.PrivilegeDomain, ra.PrivilegeSubdomains}}, {Org: 4, State: ra.DelegationRejected, Requested: at},
			},
			Proof: &dcv.Proof{Method: dcv.DNSTXT, Identifier: name, At: at, Seen: "here", Secure: true},
			Validation: &ra.DomainValidation{
				Method: dcv.HTTPFile, Publication: dcv.Publication{Place: "a.txt", Value: "value"}, Begun: at, Submitted: at.Add(time.Second), Expires: at.Add(time.Hour), Due: at.Add(time.Minute),
				Attempts: 2, Failed: &ra.DomainFailure{Kind: problem.DNS, Detail: "nothing", At: at, Record: []byte(`{}`)},
			},
			Email: &ra.EmailValidation{
				Begun: at, Expires: at.Add(time.Hour), Wrong: 3, Outcome: ra.EmailConfirmed, Ended: at.Add(time.Minute), Address: "admin@example.com", From: "192.0.2.1",
				Links: []ra.EmailLink{
					{ID: "first", Code: [32]byte{1, 31: 2}, Address: "admin@example.com", Method: dcv.EmailConstructed, Source: "constructed", Sent: at, Sends: 2},
					{ID: "second", Code: [32]byte{3}, Address: "certs@example.com", Method: dcv.EmailTXT, Source: "TXT", Secure: true, Sent: at, Sends: 1},
				},
			},
		}
		must(t, db.PutDomain(ctx, d, nil, at))
		found, err := db.Domains(ctx, names(t, "example.com", "example.org"))
		must(t, err)
		if !reflect.DeepEqual(found[0], d) || found[1] != nil {
			t.Errorf("it is read as %+v, want %+v", found[0], d)
		}
		stale := *d
		conflicts(t, "another one of the name", db.PutDomain(ctx, &stale, nil, time.Time{}))
		lists := func(want map[auth.OrgID]int) {
			t.Helper()
			for org, n := range want {
				if list, err := db.ListDomains(ctx, org, "", 10); err != nil || len(list) != n {
					t.Errorf("the list of %d has %d, %v", org, len(list), err)
				}
			}
		}
		lists(map[auth.OrgID]int{0: 1, 1: 1, 2: 0, 3: 1, 4: 0})
		if list, err := db.ListDomains(ctx, 0, "example.com", 10); err != nil || len(list) != 0 {
			t.Errorf("behind the last are %v, %v", list, err)
		}
		for before, want := range map[time.Time]int{at: 0, at.Add(time.Minute): 1} {
			if due, err := db.DueDomains(ctx, before, 10); err != nil || len(due) != want {
				t.Errorf("due are %d, %v; want %d", len(due), err, want)
			}
		}
		removed := &ra.Domain{Name: name, Org: 1, Created: at, Removed: at, Edits: 8}
		must(t, db.PutDomain(ctx, removed, d, time.Time{}))
		conflicts(t, "a change of what was changed", db.PutDomain(ctx, &stale, &stale, time.Time{}))
		lists(map[auth.OrgID]int{0: 0, 1: 0, 3: 0})
		if due, err := db.DueDomains(ctx, at.Add(time.Hour), 10); err != nil || len(due) != 0 {
			t.Errorf("due are %v, %v", due, err)
		}
		if found, err = db.NumberedDomains(ctx, []ra.DomainNumber{4, 5}); err != nil || found[0] != nil || !reflect.DeepEqual(found[1], removed) {
			t.Errorf("by its number the removed one is %+v, %v", found, err)
		}
		other := &ra.Domain{Name: names(t, "example.org")[0], Number: 5, Org: 1, Created: at, Edits: 1}
		conflicts(t, "a number that is another's", db.PutDomain(ctx, other, nil, time.Time{}))
		if n, err := db.NextDomain(ctx); err != nil || n != 6 {
			t.Errorf("the next number is %d, %v", n, err)
		}
		if found, err = db.Domains(ctx, names(t, "example.com")); err != nil || !reflect.DeepEqual(found[0], removed) {
			t.Errorf("the removed one is %+v, %v", found[0], err)
		}
		notes, err := db.UnjournaledDomains(ctx, at.Add(time.Hour), 10)
		if err != nil || len(notes) != 1 || notes[0].Name != name || !notes[0].At.Equal(at) {
			t.Fatalf("notes are %v, %v", notes, err)
		}
		must(t, db.DomainJournaled(ctx, notes[0]))
		if notes, err = db.UnjournaledDomains(ctx, at.Add(time.Hour), 10); err != nil || len(notes) != 0 {
			t.Errorf("left are %v, %v", notes, err)
		}
	})
}

type untold struct{}

func (untold) Append(context.Context, ...audit.Event) error { return nil }

// always finds what was published.
type always struct{}

func (always) Check(_ context.Context, r dcv.Request) (*dcv.Proof, *dcv.Record, error) {
	return &dcv.Proof{Method: r.Method, Identifier: r.Identifier, At: time.Now().UTC().Truncate(time.Second)}, &dcv.Record{}, nil
}

func domainsOn(t *testing.T, db *storage.DB) *ra.Domains {
	t.Helper()
	dir, err := auth.NewDirectory([]auth.Org{{ID: 1, Slug: "one"}, {ID: 2, Slug: "two"}})
	must(t, err)
	return ra.NewDomains(ra.DomainsConfig{Store: db, Directory: dir, Validator: always{}, Journal: untold{}})
}

// TestRacesForADomain: of two organisations that add one name, one owns it; of a look and a removal at once, a proof stays only
// if the domain does.
func TestRacesForADomain(t *testing.T) {
	onBoth(t, func(t *testing.T, db *storage.DB) {
		ctx, m, operator := t.Context(), domainsOn(t, db), ra.Operator("uid:0")
		for range 10 {
			var wg sync.WaitGroup
			errs := make([]error, 8)
			for i := range errs {
				wg.Go(func() { _, errs[i] = m.Add(ctx, operator, "example.com", []string{"one", "two"}[i%2]) })
			}
			wg.Wait()
			won := 0
			for _, err := range errs {
				if err == nil {
					won++
				} else if !problem.Is(err, problem.Conflict) {
					t.Error(err)
				}
			}
			one, err := db.ListDomains(ctx, 1, "", 10)
			must(t, err)
			two, err := db.ListDomains(ctx, 2, "", 10)
			must(t, err)
			if won != 1 || len(one)+len(two) != 1 {
				t.Fatalf("%d won; %d and %d are listed", won, len(one), len(two))
			}
			_, err = m.Validate(ctx, operator, "example.com", dcv.DNSTXT)
			must(t, err)
			wg.Go(func() { _, _ = m.Check(ctx, operator, "example.com") })
			wg.Go(func() { _, _ = m.Check(ctx, operator, "example.com") })
			wg.Go(func() {
				if _, err := m.Remove(ctx, operator, "example.com"); err != nil {
					t.Error(err)
				}
			})
			wg.Wait()
			found, err := db.Domains(ctx, names(t, "example.com"))
			must(t, err)
			if d := found[0]; d.Removed.IsZero() || d.Proof != nil || d.Validation != nil {
				t.Fatalf("after a removal: %+v", d)
			}
		}
	})
}
