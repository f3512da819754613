package ra_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/embedded"
)

// kicks counts what a mailer is told.
type kicks int

func (k *kicks) Kick()   {}
func (k *kicks) TryNow() { *k++ }

// entries is a journal in memory.
type entries []audit.Event

func (e *entries) Append(_ context.Context, events ...audit.Event) error {
	*e = append(*e, events...)
	return nil
}

// TestMailQueue: the operator alone looks after mails, sees no secret, and has one tried again that is not being sent.
func TestMailQueue(t *testing.T) {
	engine, err := embedded.Open(embedded.Config{Dir: filepath.Join(t.TempDir(), "store")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	db, err := storage.Open(t.Context(), storage.Config{Engine: engine})
	if err != nil {
		t.Fatal(err)
	}
	directory, err := auth.NewDirectory([]auth.Org{{ID: 1, Slug: "main"}})
	if err != nil {
		t.Fatal(err)
	}
	now, kicked, journal := start, new(kicks), new(entries)
	q := &ra.MailQueue{Store: db, Mailer: kicked, May: directory.May, Journal: journal, Now: func() time.Time { return now }}
	record := func(kind ra.MailKind, change func(*ra.Mail)) *ra.Mail {
		t.Helper()
		m := &ra.Mail{ID: ra.NewMailID(), Org: 1, Kind: kind, To: "a@example.com", Sealed: []byte{1, 2}, Created: start, Until: start.Add(time.Hour), Due: start.Add(time.Minute)}
		if change != nil {
			change(m)
		}
		if err := db.HandOver(t.Context(), nil, []*ra.Mail{m}); err != nil {
			t.Fatal(err)
		}
		return m
	}
	waiting := record(ra.MailEvent, nil)
	sending := record(ra.MailEvent, func(m *ra.Mail) { m.Taken = true })
	lost := record(ra.MailEvent, func(m *ra.Mail) { m.GivenUp, m.Attempts = start, 9 })
	code := record(ra.MailDomainValidation, func(m *ra.Mail) { m.GivenUp, m.Sealed = start, nil })

	for _, caller := range []auth.Caller{{}, alice, {Principal: "user:7", Org: 1}, {Operator: true}} {
		_, err := q.List(t.Context(), caller, false, "", 10)
		_, err2 := q.Get(t.Context(), caller, waiting.ID)
		_, err3 := q.Retry(t.Context(), caller, waiting.ID)
		_, err4 := q.Cancel(t.Context(), caller, waiting.ID)
		for _, err := range []error{err, err2, err3, err4} {
			if !problem.Is(err, problem.NotFound) && !problem.Is(err, problem.Unauthorized) {
				t.Errorf("%+v: %v", caller, err)
			}
		}
	}
	for wasLost, want := range map[bool]int{false: 2, true: 2} {
		list, err := q.List(t.Context(), operator, wasLost, "", 10)
		if err != nil || len(list) != want {
			t.Errorf("lost %v: %d, %v", wasLost, len(list), err)
		}
		for _, m := range list {
			if m.Sealed != nil {
				t.Error("a secret is shown")
			}
		}
	}
	if page, err := q.List(t.Context(), operator, false, "", 1); err != nil || len(page) != 1 {
		t.Errorf("a page of %d, %v", len(page), err)
	} else if next, err := q.List(t.Context(), operator, false, page[0].ID, 1); err != nil || len(next) != 1 || next[0].ID == page[0].ID {
		t.Errorf("behind it %+v, %v", next, err)
	}
	if m, err := q.Get(t.Context(), operator, waiting.ID); err != nil || m.Sealed != nil || m.To != waiting.To {
		t.Errorf("%+v, %v", m, err)
	}
	for id, want := range map[string]problem.Kind{sending.ID: problem.Conflict, code.ID: problem.Conflict, "nothing": problem.NotFound} {
		if _, err := q.Retry(t.Context(), operator, id); !problem.Is(err, want) {
			t.Errorf("retry of %s: %v", id, err)
		}
	}
	if *kicked != 0 {
		t.Error("something was kicked for nothing")
	}
	if m, err := q.Retry(t.Context(), operator, waiting.ID); err != nil || !m.Due.Equal(now) || *kicked != 1 {
		t.Errorf("%+v, %v, %d kicks", m, err, *kicked)
	}
	if m, err := db.Mail(t.Context(), waiting.ID); err != nil || m.Sealed == nil {
		t.Errorf("its secret is gone: %v", err)
	}
	if m, err := q.Retry(t.Context(), operator, lost.ID); err != nil || !m.GivenUp.IsZero() || m.Attempts != 0 || m.Until.Sub(now) != 24*time.Hour {
		t.Errorf("%+v, %v", m, err)
	}
	now = now.Add(2 * time.Minute) // the gateway that was sending it is dead
	if _, err := q.Retry(t.Context(), operator, sending.ID); err != nil {
		t.Error(err)
	}
	if _, err := q.Cancel(t.Context(), operator, lost.ID); err != nil {
		t.Error(err)
	}
	if _, err := q.Cancel(t.Context(), operator, lost.ID); !problem.Is(err, problem.NotFound) {
		t.Errorf("again: %v", err)
	}
	if len(*journal) != 1 || (*journal)[0].Kind != audit.MailCancelled || (*journal)[0].Actor != operator.Principal || (*journal)[0].Detail != "event to a@example.com" {
		t.Errorf("the journal has %+v", *journal)
	}
	if _, err := q.List(t.Context(), operator, false, "", 1001); !problem.Is(err, problem.Malformed) {
		t.Errorf("a limit too high: %v", err)
	}
}
