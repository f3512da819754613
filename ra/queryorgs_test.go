package ra_test

import (
	"crypto/x509"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// TestSearchCoversWhatTheCallerMayView: without an organisation the list is of all that the caller's roles reach, and of no
// other, whatever the tree below its home is.
func TestSearchCoversWhatTheCallerMayView(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	own, foreign := w.issue(alice, "a.example.com"), w.issue(eve, "a.example.com")
	may := map[auth.OrgID]error{1: nil, 2: problem.New(problem.NotFound, "there is no such object")}
	r := w.registrar(func(c *ra.Config) {
		c.Below = func(auth.OrgID) []auth.OrgID { return []auth.OrgID{1, 2, 3} }
		c.May = func(_ auth.Caller, a auth.Action, org auth.OrgID) error {
			if err, known := may[org]; known && a == auth.View {
				return err
			}
			return problem.New(problem.NotFound, "there is no such object")
		}
	})
	search := func(q ra.Query) []ra.ID {
		t.Helper()
		q.Limit = 10
		found, err := r.Search(t.Context(), alice, q)
		must(t, err)
		var got []ra.ID
		for _, e := range found.Enrollments {
			got = append(got, e.ID)
		}
		if found.Total != int64(len(got)) {
			t.Errorf("%+v: %d of %d", q, len(got), found.Total)
		}
		return got
	}
	for name, tt := range map[string]struct {
		q    ra.Query
		one  []ra.ID // while the second organisation is not the caller's
		both []ra.ID
	}{
		"all":         {ra.Query{}, []ra.ID{own.ID}, []ra.ID{own.ID, foreign.ID}},
		"status":      {ra.Query{Status: ra.StatusIssued}, []ra.ID{own.ID}, []ra.ID{own.ID, foreign.ID}},
		"name":        {ra.Query{Name: "a.example.com"}, []ra.ID{own.ID}, []ra.ID{own.ID, foreign.ID}},
		"common name": {ra.Query{CommonName: "a.example.com"}, []ra.ID{own.ID}, []ra.ID{own.ID, foreign.ID}},
		"suffix":      {ra.Query{Suffix: "example.com"}, []ra.ID{own.ID}, []ra.ID{own.ID, foreign.ID}},
		"serial":      {ra.Query{Serial: foreign.Serial}, nil, []ra.ID{foreign.ID}},
		"condition": {ra.Query{Where: []ra.Condition{{Certificate: true, Holds: func(_ *ra.Enrollment, cert *x509.Certificate) bool {
			return slices.Contains(cert.DNSNames, "a.example.com")
		}}}}, []ra.ID{own.ID}, []ra.ID{own.ID, foreign.ID}},
	} {
		may[2] = problem.New(problem.NotFound, "there is no such object")
		if got := search(tt.q); !slices.Equal(got, tt.one) {
			t.Errorf("%s of one organisation finds %v, want %v", name, got, tt.one)
		}
		may[2] = nil
		if got := search(tt.q); !slices.Equal(got, tt.both) {
			t.Errorf("%s of both finds %v, want %v", name, got, tt.both)
		}
	}
	may[2] = errors.New("the directory is broken")
	if found, err := r.Search(t.Context(), alice, ra.Query{Limit: 1}); err == nil {
		t.Errorf("an error is no denial, and no consent: %+v", found)
	}
	may[1], may[2] = problem.New(problem.NotFound, "none"), problem.New(problem.Unauthorized, "none")
	_, err := r.Search(t.Context(), alice, ra.Query{Limit: 1})
	wantKind(t, err, problem.Unauthorized)
}

// TestConditionsSeeTheCertificate, wherever it was issued, and none of a request that has none; what need not be read is not.
func TestConditionsSeeTheCertificate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	issued := w.issue(alice, "a.example.com")
	imported := w.imported(ida, ra.ImportItem{Certificate: newElsewhere(t).leaf(nil, "b.example.com")})
	waiting := w.postponed(alice, "c.example.com")
	seen := map[ra.ID]*x509.Certificate{}
	condition := ra.Condition{Certificate: true, Holds: func(e *ra.Enrollment, cert *x509.Certificate) bool {
		seen[e.ID] = cert
		return true
	}}
	found, err := w.Search(t.Context(), alice, ra.Query{Limit: 10, Where: []ra.Condition{condition}})
	must(t, err)
	if found.Total != 3 || len(seen) != 3 {
		t.Errorf("%d found, %d seen", found.Total, len(seen))
	}
	for e, name := range map[*ra.Enrollment]string{issued: "a.example.com", imported: "b.example.com"} {
		if cert := seen[e.ID]; cert == nil || !slices.Contains(cert.DNSNames, name) {
			t.Errorf("of %s the condition sees %v", name, cert)
		}
	}
	if cert := seen[waiting.ID]; cert != nil {
		t.Errorf("a request without a certificate has %v", cert.DNSNames)
	}
	clear(seen)
	never := ra.Condition{Holds: func(*ra.Enrollment, *x509.Certificate) bool { return false }}
	for _, q := range []ra.Query{{Limit: 10, Where: []ra.Condition{condition, never}}, {Limit: 10, Serial: issued.Serial, Where: []ra.Condition{condition, never}}} {
		if found, err := w.Search(t.Context(), alice, q); err != nil || found.Total != 0 || len(seen) != 0 {
			t.Errorf("%+v, %v; %d certificates were read", found, err, len(seen))
		}
	}
	if _, err := w.Search(t.Context(), alice, ra.Query{Limit: 10, Serial: imported.Serial, Where: []ra.Condition{condition}}); err != nil || seen[imported.ID] == nil {
		t.Errorf("by serial: %v", err)
	}
}

// TestSearchLeavesOutWhatWasRemoved, also by its serial, by which it stays revocable.
func TestSearchLeavesOutWhatWasRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := w.issue(alice, "a.example.com")
	must(t, w.Remove(t.Context(), operator, e.ID))
	w.clock.set(start.Add(time.Minute))
	for name, q := range map[string]ra.Query{"all": {Org: 1}, "name": {Org: 1, Name: "a.example.com"}, "common name": {Org: 1, CommonName: "a.example.com"}, "serial": {Org: 1, Serial: e.Serial}} {
		q.Limit = 1
		if found, err := w.Search(t.Context(), operator, q); err != nil || found.Total != 0 || len(found.Enrollments) != 0 {
			t.Errorf("%s: %+v, %v", name, found, err)
		}
	}
}
