package storage_test

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/storage"
	"github.com/gatehouse-ca/gatehouse/storage/embedded"
	"github.com/gatehouse-ca/gatehouse/storage/storetest"
)

// telling is a DB whose events of some organisations somebody is to be told of.
func telling(t *testing.T, orgs ...auth.OrgID) (*storage.DB, *storetest.Counting, *int) {
	t.Helper()
	e, err := embedded.Open(embedded.Config{Dir: filepath.Join(t.TempDir(), "store")})
	must(t, err)
	t.Cleanup(func() { e.Close() })
	c, recorded := storetest.NewCounting(e), new(int)
	db, err := storage.Open(t.Context(), storage.Config{
		Engine: c, Issuers: []string{"main"}, Recorded: func() { *recorded++ },
		Receives: func(e *ra.Event) bool {
			for _, o := range orgs {
				if e.Org == o {
					return true
				}
			}
			return false
		},
	})
	must(t, err)
	return db, c, recorded
}

// TestTripBudgetWithReceivers: telling people of an issuance costs it no trip and no durable commit.
func TestTripBudgetWithReceivers(t *testing.T) {
	const budget, durable = 12, 4
	db, counting, recorded := telling(t, 1)
	client := newWorld(t, db)
	client.issue(t)
	counting.Reset()
	client.issue(t)
	if trips := counting.Trips(); trips.Total > budget || trips.Durable > durable {
		t.Errorf("one issuance took %d trips, %d of them durable: %v", trips.Total, trips.Durable, trips.By)
	}
	events, err := db.Events(t.Context(), 100)
	must(t, err)
	count := map[ra.EventKind]int{}
	for _, e := range events {
		count[e.Kind]++
		if e.Org != 1 || e.Enrollment == 0 || e.Profile != "tls" || e.At.IsZero() {
			t.Errorf("%+v", e)
		}
	}
	if count[ra.EventRequested] != 2 || count[ra.EventIssued] != 2 || len(count) != 2 || *recorded != 4 {
		t.Errorf("events %v, %d commits told", count, *recorded)
	}
}

// TestNoReceivers: what nobody is to be told of leaves nothing behind.
func TestNoReceivers(t *testing.T) {
	db, _, recorded := telling(t, 2)
	newWorld(t, db).issue(t)
	if events, err := db.Events(t.Context(), 100); len(events) != 0 || err != nil || *recorded != 0 {
		t.Errorf("%d events, %v, %d commits told", len(events), err, *recorded)
	}
}

// TestHandOver: of two gateways that make mails of the same events one alone does.
func TestHandOver(t *testing.T) {
	db, _, _ := telling(t, 1)
	newWorld(t, db).issue(t)
	events, err := db.Events(t.Context(), 100)
	must(t, err)
	mail := func() *ra.Mail {
		return &ra.Mail{ID: ra.NewMailID(), Org: 1, Kind: ra.MailEvent, To: "a@example.com", Created: now(), Until: now().Add(time.Hour), Data: map[string]string{"x": "y"}, Sealed: []byte{1}}
	}
	first, second := mail(), mail()
	must(t, db.HandOver(t.Context(), events, []*ra.Mail{first}))
	if err := db.HandOver(t.Context(), events, []*ra.Mail{second}); !problem.Is(err, problem.Conflict) {
		t.Errorf("the second hand-over: %v", err)
	}
	if left, err := db.Events(t.Context(), 100); len(left) != 0 || err != nil {
		t.Errorf("%d events are left, %v", len(left), err)
	}
	due, err := db.DueMails(t.Context(), now().Add(time.Second), 10)
	must(t, err)
	if len(due) != 1 || due[0].ID != first.ID || due[0].Data["x"] != "y" || due[0].Sealed[0] != 1 || due[0].To != "a@example.com" || due[0].Due.IsZero() {
		t.Fatalf("due are %+v", due)
	}
	taken := *due[0]
	taken.Taken, taken.Due, taken.Attempts, taken.Trouble = true, now().Add(time.Minute), 3, "full"
	must(t, db.MoveMail(t.Context(), &taken, due[0]))
	if err := db.MoveMail(t.Context(), due[0], due[0]); !problem.Is(err, problem.Conflict) {
		t.Errorf("it was taken twice: %v", err)
	}
	if err := db.RemoveMail(t.Context(), due[0]); !problem.Is(err, problem.Conflict) {
		t.Errorf("it was removed as it was: %v", err)
	}
	if due, err := db.DueMails(t.Context(), now().Add(time.Second), 10); len(due) != 0 || err != nil {
		t.Errorf("%d are due while one is sent, %v", len(due), err)
	}
	read, err := db.Mail(t.Context(), first.ID)
	must(t, err)
	if !read.Taken || read.Attempts != 3 || read.Trouble != "full" {
		t.Errorf("it is %+v", read)
	}
	lost := *read
	lost.Taken, lost.GivenUp, lost.Due, lost.Sealed = false, now(), time.Time{}, nil
	must(t, db.MoveMail(t.Context(), &lost, read))
	if queued, gone, err := db.MailQueue(t.Context()); queued != 0 || gone != 1 || err != nil {
		t.Errorf("%d queued, %d given up, %v", queued, gone, err)
	}
	list, err := db.Mails(t.Context(), true, nil, 10)
	must(t, err)
	if len(list) != 1 || list[0].Sealed != nil || list[0].GivenUp.IsZero() {
		t.Errorf("given up are %+v", list)
	}
	if list, err = db.Mails(t.Context(), true, list[0], 10); len(list) != 0 || err != nil {
		t.Errorf("behind it are %+v, %v", list, err)
	}
	_, err = db.SweepLostMails(t.Context(), now().Add(31*24*time.Hour), 10)
	must(t, err)
	if _, err := db.Mail(t.Context(), first.ID); !problem.Is(err, problem.NotFound) {
		t.Errorf("after a month: %v", err)
	}
	if _, err := db.Mail(t.Context(), ""); !problem.Is(err, problem.NotFound) {
		t.Errorf("no id: %v", err)
	}
	if errors.Is(db.HandOver(t.Context(), nil, nil), storage.ErrConflict) {
		t.Error("nothing is a conflict")
	}
}

// TestReplayTellsNobody: what a journal gives back has not happened now.
func TestReplayTellsNobody(t *testing.T) {
	db, _, recorded := telling(t, 1)
	p := newPaper(t)
	replay(t, db, p.willSign(), p.signed(), p.revoked(4, time.Second))
	p.state(t, db, ca.Issued, ra.Revoked, 4)
	if events, err := db.Events(t.Context(), 100); len(events) != 0 || err != nil || *recorded != 0 {
		t.Errorf("%d events, %v, %d commits told", len(events), err, *recorded)
	}
	db, _, _ = telling(t, 1)
	p.issue(t, db)
	if events, err := db.Events(t.Context(), 100); len(events) != 2 || err != nil {
		t.Errorf("by its ordinary way it is %d events, %v", len(events), err)
	}
}

// TestOldEvents: an event that no gateway has told of for a week is gone, with its list entry.
func TestOldEvents(t *testing.T) {
	db, c, _ := telling(t, 1)
	for name, age := range map[string]time.Duration{"old.example.com": 8 * 24 * time.Hour, "new.example.com": time.Hour} {
		id := names(t, name)[0]
		at := time.Now().UTC().Add(-age).Truncate(time.Second)
		must(t, db.PutDomain(t.Context(), &ra.Domain{Name: id, Org: 1, Created: at, Proof: &dcv.Proof{Method: dcv.DNSTXT, Identifier: id, At: at}}, nil, time.Time{}))
	}
	if n, err := c.Count(t.Context(), "events", storage.Range{}); n != 2 || err != nil {
		t.Errorf("%d entries, %v", n, err)
	}
	events, err := db.Events(t.Context(), 100)
	must(t, err)
	if len(events) != 1 || events[0].Domain != "new.example.com" || events[0].Kind != ra.EventDomainValidated {
		t.Errorf("%+v", events)
	}
	if n, err := c.Count(t.Context(), "events", storage.Range{}); n != 1 || err != nil {
		t.Errorf("afterwards %d entries, %v", n, err)
	}
}

// TestRetriedMailIsNotSwept: what an operator has tried again at the moment at which it is swept away stays.
func TestRetriedMailIsNotSwept(t *testing.T) {
	inner, err := embedded.Open(embedded.Config{Dir: filepath.Join(t.TempDir(), "store")})
	must(t, err)
	t.Cleanup(func() { inner.Close() })
	engine := storetest.NewCounting(inner)
	db, err := storage.Open(t.Context(), storage.Config{Engine: engine})
	must(t, err)
	operators, err := storage.Open(t.Context(), storage.Config{Engine: inner})
	must(t, err)
	at := time.Now().UTC().Truncate(time.Second)
	m := &ra.Mail{ID: ra.NewMailID(), Org: 1, Kind: ra.MailEvent, To: "a@example.com", Created: at, Until: at.Add(time.Hour), GivenUp: at}
	must(t, db.HandOver(t.Context(), nil, []*ra.Mail{m}))
	read, err := db.Mail(t.Context(), m.ID)
	must(t, err)
	hold, reached := make(chan struct{}), make(chan struct{}, 1)
	engine.Inject(storetest.Fault{Method: storetest.Commit, Delay: hold, Reached: reached})
	swept := make(chan error)
	go func() {
		_, err := db.SweepLostMails(t.Context(), at.Add(31*24*time.Hour), 10)
		swept <- err
	}()
	<-reached
	again := *read
	again.GivenUp, again.Due = time.Time{}, at.Add(31*24*time.Hour)
	must(t, operators.MoveMail(t.Context(), &again, read))
	close(hold)
	if err := <-swept; err != nil && !problem.Is(err, problem.Conflict) {
		t.Error(err)
	}
	if queued, lost, err := db.MailQueue(t.Context()); queued != 1 || lost != 0 || err != nil {
		t.Errorf("%d queued, %d given up, %v", queued, lost, err)
	}
	if _, err := db.Mail(t.Context(), m.ID); err != nil {
		t.Errorf("it is gone: %v", err)
	}
}
