package ra_test

import (
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// TestGet: whoever is not of the organisation hears what is heard of a number that nobody has.
func TestGet(t *testing.T) {
	w := newWorld(t)
	e := w.issue(alice, "a.example.com")
	for name, caller := range map[string]auth.Caller{"own": alice, "same organisation": bob, "operator": operator} {
		if got, err := w.Get(t.Context(), caller, e.ID); err != nil || got.Serial != e.Serial {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for name, caller := range map[string]auth.Caller{"foreign": eve, "nobody": {}, "no organisation": {Principal: "acme:alice"}} {
		got, err := w.Get(t.Context(), caller, e.ID)
		wantKind(t, err, problem.NotFound)
		if got != nil {
			t.Errorf("%s got %+v", name, got)
		}
		empty := newWorld(t)
		_, missing := empty.Get(t.Context(), caller, e.ID)
		if p, m := problem.From(err), problem.From(missing); p.Detail != m.Detail || p.Kind != m.Kind {
			t.Errorf("%s: %q, but of a missing one %q", name, p.Detail, m.Detail)
		}
	}
}

// TestBySerial is as silent as Get.
func TestBySerial(t *testing.T) {
	w := newWorld(t)
	e, foreign := w.issue(alice, "a.example.com"), w.issue(eve, "e.example.com")
	for name, caller := range map[string]auth.Caller{"own": alice, "same organisation": bob, "operator": operator} {
		if got, err := w.BySerial(t.Context(), caller, e.Serial); err != nil || len(got) != 1 || got[0].ID != e.ID {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for _, tt := range []struct {
		name   string
		caller auth.Caller
		serial ca.Serial
	}{
		{"foreign", alice, foreign.Serial}, {"foreign", eve, e.Serial}, {"nobody", auth.Caller{}, e.Serial}, {"missing", alice, "01ab"},
		{"missing", operator, "01ab"}, {"empty", alice, ""}, {"too long", alice, "01010101010101010101010101010101010101010101010101"},
	} {
		got, err := w.BySerial(t.Context(), tt.caller, tt.serial)
		wantKind(t, err, problem.NotFound)
		if want := "no certificate has serial " + string(tt.serial); len(got) != 0 || problem.From(err).Detail != want {
			t.Errorf("%s: %v, %q", tt.name, got, problem.From(err).Detail)
		}
	}
	abandoned := w.postponed(alice, "a.example.com")
	_, err := w.BySerial(t.Context(), alice, abandoned.Serial)
	wantKind(t, err, problem.NotFound)
}

// TestSearchStaysInTheOrganisation of its caller, unless an operator asks.
func TestSearchStaysInTheOrganisation(t *testing.T) {
	w := newWorld(t)
	own, other, foreign := w.issue(alice, "a.example.com"), w.issue(bob, "b.example.com"), w.issue(eve, "a.example.com")
	for _, tt := range []struct {
		name   string
		caller auth.Caller
		q      ra.Query
		want   []ra.ID
	}{
		{"all", alice, ra.Query{}, []ra.ID{own.ID, other.ID}},
		{"named", alice, ra.Query{Org: 1}, []ra.ID{own.ID, other.ID}},
		{"newest", alice, ra.Query{Newest: true}, []ra.ID{other.ID, own.ID}},
		{"after", alice, ra.Query{After: own.ID}, []ra.ID{other.ID}},
		{"foreign organisation", eve, ra.Query{}, []ra.ID{foreign.ID}},
		{"name that both have", eve, ra.Query{Name: "a.example.com"}, []ra.ID{foreign.ID}},
		{"name in capitals", alice, ra.Query{Name: "A.Example.COM"}, []ra.ID{own.ID}},
		{"suffix in capitals", alice, ra.Query{Suffix: "EXAMPLE.com"}, []ra.ID{own.ID, other.ID}},
		{"several filters", alice, ra.Query{Suffix: ".com", Requester: "acme:bob", Status: ra.StatusIssued}, []ra.ID{other.ID}},
		{"foreign requester", eve, ra.Query{Requester: "acme:alice"}, nil},
		{"operator", operator, ra.Query{}, []ra.ID{own.ID, other.ID, foreign.ID}},
		{"operator in one", operator, ra.Query{Org: 2, Name: "a.example.com"}, []ra.ID{foreign.ID}},
		{"common name", alice, ra.Query{CommonName: "A.Example.com"}, []ra.ID{own.ID}},
		{"serial", alice, ra.Query{Serial: own.Serial}, []ra.ID{own.ID}},
		{"serial and another name", alice, ra.Query{Serial: own.Serial, Name: "b.example.com"}, nil},
		{"serial of another organisation", alice, ra.Query{Serial: foreign.Serial}, nil},
		{"serial of an organisation that is not asked for", operator, ra.Query{Org: 1, Serial: foreign.Serial}, nil},
		{"serial on the second page", alice, ra.Query{Serial: own.Serial, Offset: 1}, nil},
	} {
		tt.q.Limit = 10
		found, err := w.Search(t.Context(), tt.caller, tt.q)
		if tt.q.Serial != "" && tt.q.Offset == 0 && found.Total != int64(len(tt.want)) {
			t.Errorf("%s: %d in all", tt.name, found.Total)
		}
		if err != nil || found.Total < int64(len(tt.want)) || len(found.Enrollments) != len(tt.want) {
			t.Errorf("%s: %+v, %v", tt.name, found, err)
			continue
		}
		for n, e := range found.Enrollments {
			if e.ID != tt.want[n] {
				t.Errorf("%s: place %d has %d, want %d", tt.name, n, e.ID, tt.want[n])
			}
		}
	}
	// The status is the registrar's clock's.
	w.clock.set(own.NotAfter.Add(time.Second))
	if found, err := w.Search(t.Context(), alice, ra.Query{Status: ra.StatusExpired, Limit: 10}); err != nil || found.Total != 2 {
		t.Errorf("expired: %+v, %v", found, err)
	}
}

// TestSearchRefuses callers and parameters before the store is asked.
func TestSearchRefuses(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		name   string
		caller auth.Caller
		q      ra.Query
		want   problem.Kind
	}{
		{"nobody", auth.Caller{}, ra.Query{Limit: 1}, problem.Unauthorized},
		{"nobody, who names an organisation", auth.Caller{}, ra.Query{Org: 1, Limit: 1}, problem.Unauthorized},
		{"negative organisation", auth.Caller{Org: -1}, ra.Query{Org: -1, Limit: 1}, problem.Unauthorized},
		{"another organisation", alice, ra.Query{Org: 2, Limit: 1}, problem.Unauthorized},
		{"status", alice, ra.Query{Status: "valid", Limit: 1}, problem.Malformed},
		{"no limit", alice, ra.Query{}, problem.Malformed},
		{"negative limit", alice, ra.Query{Limit: -1}, problem.Malformed},
		{"limit too large", alice, ra.Query{Limit: 1001}, problem.Malformed},
		{"negative offset", alice, ra.Query{Limit: 1, Offset: -1}, problem.Malformed},
		{"negative after", alice, ra.Query{Limit: 1, After: -1}, problem.Malformed},
		{"after and offset", alice, ra.Query{Limit: 1, After: 1, Offset: 1}, problem.Malformed},
		{"one organisation and several", operator, ra.Query{Limit: 1, Org: 1, Orgs: []auth.OrgID{2}}, problem.Malformed},
		{"several, one of them another's", alice, ra.Query{Limit: 1, Orgs: []auth.OrgID{1, 2}}, problem.Unauthorized},
		{"too many organisations", operator, ra.Query{Limit: 1, Orgs: make([]auth.OrgID, ra.MaxOrgs+1)}, problem.Malformed},
		{"after in several", operator, ra.Query{Limit: 1, After: 1, Orgs: []auth.OrgID{1, 2}}, problem.Malformed},
		{"a condition over all organisations", operator, ra.Query{Limit: 1, Where: make([]ra.Condition, 1)}, problem.Malformed},
		{"a serial over all organisations", operator, ra.Query{Limit: 1, Serial: "01"}, problem.Malformed},
		{"after and a filter", alice, ra.Query{Limit: 1, After: 1, Profile: "tls"}, problem.Malformed},
		{"a filter over all organisations", operator, ra.Query{Limit: 1, Name: "a.example.com"}, problem.Malformed},
		{"a bound over all organisations", operator, ra.Query{Limit: 1, NotAfterTo: start}, problem.Malformed},
	} {
		w.engine.Reset()
		found, err := w.Search(t.Context(), tt.caller, tt.q)
		if !problem.Is(err, tt.want) || problem.From(err).Detail == "" || len(found.Enrollments) != 0 {
			t.Errorf("%s: %+v, %v", tt.name, found, err)
		}
		if trips := w.engine.Trips(); trips.Total != 0 {
			t.Errorf("%s: the store was asked: %v", tt.name, trips.By)
		}
	}
	for _, limit := range []int{1, 1000} {
		if _, err := w.Search(t.Context(), alice, ra.Query{Limit: limit}); err != nil {
			t.Errorf("limit %d: %v", limit, err)
		}
	}
}

// TestMatches holds one enrollment against one filter after the other.
func TestMatches(t *testing.T) {
	end := start.Add(time.Hour)
	e := &ra.Enrollment{
		Org: 1, Phase: ra.Issued, Profile: "tls", Requester: "acme:alice", NotAfter: end,
		Names: ids(t, "www.example.com", "mail.example.net"),
	}
	for _, tt := range []struct {
		name string
		q    ra.Query
		want bool
	}{
		{"nothing asked", ra.Query{}, true},
		{"organisation", ra.Query{Org: 1}, true},
		{"another organisation", ra.Query{Org: 2}, false},
		{"status", ra.Query{Status: ra.StatusIssued}, true},
		{"another status", ra.Query{Status: ra.StatusExpired}, false},
		{"profile", ra.Query{Profile: "tls"}, true},
		{"a profile's beginning", ra.Query{Profile: "tl"}, false},
		{"requester", ra.Query{Requester: "acme:alice"}, true},
		{"another requester", ra.Query{Requester: "acme:bob"}, false},
		{"name", ra.Query{Name: "mail.example.net"}, true},
		{"a name's end", ra.Query{Name: "example.net"}, false},
		{"suffix", ra.Query{Suffix: "example.net"}, true},
		{"suffix inside a label", ra.Query{Suffix: "xample.com"}, true},
		{"whole name as suffix", ra.Query{Suffix: "www.example.com"}, true},
		{"a name's beginning as suffix", ra.Query{Suffix: "www.example"}, false},
		{"name and suffix of one name", ra.Query{Name: "www.example.com", Suffix: ".com"}, true},
		{"name and suffix of different names", ra.Query{Name: "www.example.com", Suffix: ".net"}, false},
		{"from notAfter itself", ra.Query{NotAfterFrom: end}, true},
		{"from a second later", ra.Query{NotAfterFrom: end.Add(time.Second)}, false},
		{"to notAfter itself, which is left out", ra.Query{NotAfterTo: end}, false},
		{"to a second later", ra.Query{NotAfterTo: end.Add(time.Second)}, true},
		{"all of it", ra.Query{
			Org: 1, Status: ra.StatusIssued, Profile: "tls", Requester: "acme:alice", Name: "www.example.com", Suffix: "com",
			NotAfterFrom: end, NotAfterTo: end.Add(1),
		}, true},
		{"several organisations", ra.Query{Orgs: []auth.OrgID{3, 1}}, true},
		{"several others", ra.Query{Orgs: []auth.OrgID{3, 2}}, false},
		{"none", ra.Query{Orgs: []auth.OrgID{}}, false},
		{"common name", ra.Query{CommonName: "WWW.example.com"}, true}, // the first name, as it has no CN
		{"another common name", ra.Query{CommonName: "mail.example.net"}, false},
		{"serial", ra.Query{Serial: "01"}, false},
		{"all but one", ra.Query{
			Org: 1, Status: ra.StatusIssued, Profile: "tls", Requester: "acme:bob", Name: "www.example.com", Suffix: "com",
		}, false},
	} {
		if got := tt.q.Matches(e, start); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
	if q := (ra.Query{Status: ra.StatusExpired}); !q.Matches(e, end.Add(time.Second)) || q.Matches(e, end) {
		t.Error("the status does not follow the time")
	}
	if q := (ra.Query{Name: "www.example.com"}); q.Matches(&ra.Enrollment{}, start) {
		t.Error("a name is found where there is none")
	}
}

// TestSimpleAndUnfiltered count filters; the bounds of notAfter are one, organisation and page are none.
func TestSimpleAndUnfiltered(t *testing.T) {
	for _, tt := range []struct {
		name               string
		q                  ra.Query
		simple, unfiltered bool
	}{
		{"page", ra.Query{Org: 1, Limit: 5, Offset: 2, Newest: true}, true, true},
		{"one", ra.Query{Status: ra.StatusIssued}, true, false},
		{"both bounds", ra.Query{NotAfterFrom: start, NotAfterTo: start}, true, false},
		{"name and suffix", ra.Query{Name: "a", Suffix: "b"}, false, false},
		{"profile and requester", ra.Query{Profile: "a", Requester: "b"}, false, false},
		{"several organisations", ra.Query{Orgs: []auth.OrgID{1, 2}}, true, true},
		{"a common name", ra.Query{CommonName: "a"}, false, false}, // which the index of names alone does not tell
		{"a condition", ra.Query{Where: make([]ra.Condition, 1)}, false, false},
	} {
		if tt.q.Simple() != tt.simple || tt.q.Unfiltered() != tt.unfiltered {
			t.Errorf("%s: simple %t, unfiltered %t", tt.name, tt.q.Simple(), tt.q.Unfiltered())
		}
	}
}
