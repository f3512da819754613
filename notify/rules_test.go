package notify_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/notify"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// subjects are those of the mails that wait, by recipient.
func (w *world) subjects() map[string][]string {
	w.t.Helper()
	w.turn(nil) // hands over, and begins to send
	for range 20 {
		if queued, _, err := w.db.MailQueue(w.t.Context()); err != nil || queued == 0 {
			break
		}
		w.turn(nil)
	}
	found := map[string][]string{}
	for _, m := range w.server.Mails() {
		found[m.To] = append(found[m.To], must(m.Message())(w.t).Header.Get("Subject"))
	}
	return found
}

// TestRules: who is told is who the rules name for what happened, once each.
func TestRules(t *testing.T) {
	rules := []notify.Rule{
		{Events: []ra.EventKind{ra.EventWaiting, ra.EventIssued}, To: []string{"all@example.com", "both@example.com"}},
		{Events: []ra.EventKind{ra.EventWaiting}, To: []string{"both@example.com"}},
		{Events: []ra.EventKind{ra.EventWaiting}, To: []string{"other@example.com"}, Covers: func(e *ra.Event) bool { return e.Org == 2 }},
	}
	w := newWorld(t, rules, nil)
	w.waiting(1, nil)
	w.issued(1, time.Hour, func(e *ra.Enrollment) { e.SuspendNotifications = true })
	w.issued(1, time.Hour, func(e *ra.Enrollment) { e.Imported = true })
	failed := w.waiting(2, nil)
	next := *failed
	next.Phase, next.Failure = ra.Failed, &ra.Failure{Detail: "nobody is told of this"}
	if err := w.db.MoveEnrollment(t.Context(), &next, failed, nil); err != nil {
		t.Fatal(err)
	}
	got := w.subjects()
	for to, want := range map[string]int{"all@example.com": 2, "both@example.com": 2, "other@example.com": 1} {
		if len(got[to]) != want {
			t.Errorf("%s got %q, want %d", to, got[to], want)
		}
	}
	if len(got) != 3 || !strings.Contains(got["other@example.com"][0], "waits for approval: www.example.com") {
		t.Errorf("%q", got)
	}
	if events, err := w.db.Events(t.Context(), 10); len(events) != 0 || err != nil {
		t.Errorf("%d events are left, %v", len(events), err)
	}
	if again := w.subjects(); len(again["all@example.com"]) != 2 {
		t.Errorf("told again: %q", again)
	}
}

// TestTransitions: each end of a request is told once, and what people said stands in the mail.
func TestTransitions(t *testing.T) {
	w := newWorld(t, []notify.Rule{{Events: ra.EventKinds(), To: []string{"all@example.com"}}}, nil)
	e := w.waiting(1, nil)
	declined := e.Decline("user:7", "not this name\nBcc: all@evil.example", w.clock.Now())
	if err := w.db.MoveEnrollment(t.Context(), declined, e, nil); err != nil {
		t.Fatal(err)
	}
	again := *declined
	if err := w.db.MoveEnrollment(t.Context(), &again, declined, nil); err != nil { // nothing happened
		t.Fatal(err)
	}
	got := w.subjects()["all@example.com"]
	if len(got) != 3 {
		t.Fatalf("%q", got)
	}
	for i, word := range []string{"waits", "Request 1: www", "declined"} {
		if !strings.Contains(strings.Join(got, "\n"), word) {
			t.Errorf("mail %d: %q has no %q", i, got, word)
		}
	}
	for _, m := range w.server.Mails() {
		if text := body(t, m); strings.Contains(text, "declined") {
			if !strings.Contains(text, "message:      not this name Bcc: all@evil.example\n") || !strings.Contains(text, "by user:7") {
				t.Errorf("the mail is\n%s", text)
			}
		}
	}
}

// TestNobodyIsTold: without rules nothing is recorded, and a gateway without rules leaves others' events alone.
func TestNobodyIsTold(t *testing.T) {
	w := newWorld(t, nil, nil)
	w.waiting(1, nil)
	if events, err := w.db.Events(t.Context(), 10); len(events) != 0 || err != nil {
		t.Errorf("%d events, %v", len(events), err)
	}
	w = newWorld(t, []notify.Rule{{Events: ra.EventKinds(), To: []string{"all@example.com"}}}, nil)
	w.waiting(1, nil)
	w.turn(func(c *notify.Config) { c.Rules, c.Transport, c.Work = nil, nil, nil })
	if events, err := w.db.Events(t.Context(), 10); len(events) != 2 || err != nil {
		t.Errorf("%d events, %v", len(events), err)
	}
}

// TestExpiring: what ends is told of once for each number of days, and not what another certificate has replaced.
func TestExpiring(t *testing.T) {
	const day = 24 * time.Hour
	rules := []notify.Rule{{Events: []ra.EventKind{ra.EventExpiring}, To: []string{"all@example.com"}, Days: []int{30, 7}}}
	w := newWorld(t, rules, nil)
	name := func(n string) func(*ra.Enrollment) {
		return func(e *ra.Enrollment) {
			e.Names = []identifier.Identifier{must(identifier.ParseDNS(n))(t)}
		}
	}
	w.issued(1, 40*day, name("forty.example.com"))
	w.issued(1, 20*day, name("twenty.example.com"))
	w.issued(2, 5*day, name("five.example.com"))
	w.issued(1, 20*day, func(e *ra.Enrollment) { name("quiet.example.com")(e); e.SuspendNotifications = true })
	w.issued(1, 20*day, func(e *ra.Enrollment) { name("revoked.example.com")(e); e.Phase = ra.Revoked })
	w.issued(1, 20*day, func(e *ra.Enrollment) { name("removed.example.com")(e); e.Removed = w.clock.Now() })
	w.issued(1, -day, name("over.example.com"))
	w.issued(1, 20*day, func(e *ra.Enrollment) { name("imported.example.com")(e); e.Imported = true })
	w.issued(1, 20*day, name("renewed.example.com"))
	w.issued(1, 90*day, name("renewed.example.com"))
	w.issued(2, 20*day, name("tenants.example.com"))
	w.issued(1, 90*day, name("tenants.example.com")) // another organisation's takes nobody's place
	replaced := w.issued(1, 21*day, name("replaced.example.com"))
	w.replaced = func(_ context.Context, e *ra.Enrollment) (ra.ID, error) {
		if e.ID == replaced.ID {
			return 99, nil
		}
		return 0, nil
	}
	told := func(want ...string) {
		t.Helper()
		before := len(w.server.Mails())
		w.subjects()
		var got []string
		for _, m := range w.server.Mails()[before:] {
			got = append(got, must(m.Message())(t).Header.Get("Subject"))
		}
		text := strings.Join(got, "\n")
		for _, n := range want {
			if strings.Count(text, n+".example.com") != 1 {
				t.Errorf("told of %s %d times", n, strings.Count(text, n))
			}
		}
		if len(got) != len(want) {
			t.Errorf("told\n%s\nwant %q", text, want)
		}
	}
	told("twenty", "five", "tenants", "imported")
	w.clock.pass(time.Hour)
	told()
	w.clock.pass(14 * day)
	told("twenty", "forty", "tenants", "imported") // of 7, 30, 7 and 7 days
	w.clock.pass(time.Hour)
	told()
}
