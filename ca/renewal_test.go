package ca

import (
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/problem"
)

func suggestion(c *Certificate) SuggestRequest {
	now := time.Now().Truncate(time.Second)
	return SuggestRequest{Issuer: c.Issuer, Serial: c.Serial, Start: now, End: now.Add(time.Hour), Explanation: "https://status.example.com/7", Actor: "uid:0"}
}

func TestSuggestRenewal(t *testing.T) {
	w := newWorld(t, nil)
	c := w.issue(t)
	req := suggestion(c)
	got, err := w.authority.SuggestRenewal(t.Context(), req)
	if err != nil || !got.Stands() || !got.Start.Equal(req.Start) || !got.End.Equal(req.End) || got.Actor != "uid:0" {
		t.Fatalf("%+v, %v", got, err)
	}
	stored, err := w.store.Certificate(t.Context(), c.Issuer, c.Serial)
	if err != nil || stored.Renewal == nil || *stored.Renewal != *got {
		t.Fatalf("stored %+v, %v", stored.Renewal, err)
	}
	// Its entry alone says everything: what, about which certificate, and by whom.
	entries := w.journal.of(audit.RenewalSuggested)
	if len(entries) != 1 || entries[0].Actor != "uid:0" || entries[0].Requester != "acme:a1" || string(entries[0].DER) != string(c.DER) || entries[0].Detail != req.Explanation {
		t.Fatalf("%+v", entries)
	}
	if said, err := RenewalFromEvent(entries[0]); err != nil || *said != *got {
		t.Errorf("%+v, %v", said, err)
	}
	// Taken back within the same second, and by a word that is later all the same.
	cleared, err := w.authority.SuggestRenewal(t.Context(), SuggestRequest{Issuer: c.Issuer, Serial: c.Serial, Actor: "uid:1"})
	if err != nil || cleared.Stands() || !got.Later(cleared) || cleared.Later(got) {
		t.Errorf("%+v, %v", cleared, err)
	}
}

func TestSuggestRenewalRefuses(t *testing.T) {
	w := newWorld(t, nil)
	c := w.issue(t)
	revoked := w.issue(t, "b.example.com")
	if _, err := w.authority.Revoke(t.Context(), RevokeRequest{Issuer: "main", Serial: revoked.Serial, Actor: "uid:0"}); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		change func(r *SuggestRequest)
		kind   problem.Kind
	}{
		"half a window":                {func(r *SuggestRequest) { r.End = time.Time{} }, problem.Malformed},
		"the other half":               {func(r *SuggestRequest) { r.Start = time.Time{} }, problem.Malformed},
		"RFC 9773, 4.2: it ends first": {func(r *SuggestRequest) { r.End = r.Start }, problem.Malformed},
		"no URL":                       {func(r *SuggestRequest) { r.Explanation = "see the wiki" }, problem.Malformed},
		"a URL without a host":         {func(r *SuggestRequest) { r.Explanation = "https:///x" }, problem.Malformed},
		"a script":                     {func(r *SuggestRequest) { r.Explanation = "javascript://example.com/%0aalert(1)" }, problem.Malformed},
		"an escape sequence":           {func(r *SuggestRequest) { r.Explanation = "https://example.com/\x1b[2J" }, problem.Malformed},
		"a user in the URL":            {func(r *SuggestRequest) { r.Explanation = "https://a:b@example.com/" }, problem.Malformed},
		"a book":                       {func(r *SuggestRequest) { r.Explanation = "https://example.com/" + strings.Repeat("a", 2000) }, problem.Malformed},
		"an unknown serial":            {func(r *SuggestRequest) { r.Serial = "0199" }, problem.NotFound},
		"a revoked one":                {func(r *SuggestRequest) { r.Serial = revoked.Serial }, problem.Conflict},
	} {
		req := suggestion(c)
		tt.change(&req)
		if got, err := w.authority.SuggestRenewal(t.Context(), req); !problem.Is(err, tt.kind) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if n := len(w.journal.of(audit.RenewalSuggested)); n != 0 {
		t.Errorf("%d refused words are in the journal", n)
	}
}

// TestSuggestRenewalIsDurable: nothing is acknowledged that the journal or the store does not have, and a change that came
// first is no obstacle.
func TestSuggestRenewalIsDurable(t *testing.T) {
	w := newWorld(t, nil)
	c := w.issue(t)
	w.journal.faults[audit.RenewalSuggested] = fails
	if _, err := w.authority.SuggestRenewal(t.Context(), suggestion(c)); !problem.Is(err, problem.Unavailable) {
		t.Errorf("without the journal: %v", err)
	}
	if stored, _ := w.store.Certificate(t.Context(), c.Issuer, c.Serial); stored.Renewal != nil {
		t.Error("recorded before it was journaled")
	}
	delete(w.journal.faults, audit.RenewalSuggested)
	w.store.faults["RecordRenewal"] = fails
	if _, err := w.authority.SuggestRenewal(t.Context(), suggestion(c)); !problem.Is(err, problem.Unavailable) {
		t.Errorf("without the store: %v", err)
	}
	w.store.faults["RecordRenewal"] = conflictsOnce
	if _, err := w.authority.SuggestRenewal(t.Context(), suggestion(c)); err != nil {
		t.Errorf("after a lost race: %v", err)
	}
	for _, bad := range []string{"", "{}", `{"at":"2026-01-01T00:00:00Z","start":"2026-01-01T00:00:00Z"}`} {
		if r, err := RenewalFromEvent(audit.Event{Kind: audit.RenewalSuggested, Data: []byte(bad)}); err == nil {
			t.Errorf("%s is read as %+v", bad, r)
		}
	}
}

// TestSuggestRenewalAfterAnother: two words at once. The one that is on record in the end is the one that a replay of the
// journal gives back, in whichever sequence it comes.
func TestSuggestRenewalAfterAnother(t *testing.T) {
	w := newWorld(t, nil)
	c := w.issue(t)
	first := Renewal{Start: time.Now().UTC().Truncate(time.Second), Actor: "uid:1"}
	first.End, first.At = first.Start.Add(time.Hour), first.Start.Add(time.Minute)
	w.store.before["RecordRenewal"] = func() {
		delete(w.store.before, "RecordRenewal")
		have, err := w.store.Certificate(t.Context(), c.Issuer, c.Serial)
		if err == nil {
			err = w.store.RecordRenewal(t.Context(), *have, first)
		}
		if err != nil {
			t.Error(err)
		}
	}
	got, err := w.authority.SuggestRenewal(t.Context(), SuggestRequest{Issuer: c.Issuer, Serial: c.Serial, Actor: "uid:0"})
	if err != nil || got.Stands() || !got.At.After(first.At) {
		t.Fatalf("%+v, %v", got, err)
	}
	entries := w.journal.of(audit.RenewalSuggested)
	last, err := RenewalFromEvent(entries[len(entries)-1])
	if err != nil || *last != *got {
		t.Errorf("the journal ends with %+v, on record is %+v: %v", last, got, err)
	}
}
