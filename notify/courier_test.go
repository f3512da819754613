package notify_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/notify"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/testca"
)

// TestDeadServer: however many mails wait, a dead server is asked once a pause, and then all of them go at once.
func TestDeadServer(t *testing.T) {
	w := newWorld(t, nil, nil)
	w.server.SetFault(testca.SMTPFault{Stage: testca.SMTPHello, Code: 421, Text: "later"})
	for range 10 {
		w.mail("admin@example.com")
	}
	c, wait := w.courier(func(c *notify.Config) { c.Connections = 1 })
	for until := time.Duration(0); until < time.Hour; {
		w.await(func() bool {
			if err := c.Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			return c.Server().Next.After(w.clock.Now())
		})
		pause := c.Server().Next.Sub(w.clock.Now())
		if pause > 5*time.Minute {
			t.Errorf("a pause of %s", pause)
		}
		w.clock.pass(pause)
		until += pause
	}
	w.mu.Lock()
	asked := w.outcomes[notify.Unreached]
	w.mu.Unlock()
	if asked < 12 || asked > 40 {
		t.Errorf("the server was asked %d times in an hour", asked)
	}
	w.server.SetFault(testca.SMTPFault{})
	w.await(func() bool {
		if err := c.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		return len(w.server.Mails()) == 10
	})
	wait()
	if queued, lost, err := w.db.MailQueue(t.Context()); queued+lost != 0 || err != nil || len(w.server.Mails()) != 10 {
		t.Errorf("%d queued, %d lost, %v, %d sent", queued, lost, err, len(w.server.Mails()))
	}
}

// await polls until something is so.
func (w *world) await(so func() bool) {
	w.t.Helper()
	for end := time.Now().Add(20 * time.Second); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatal("it does not come about")
		}
	}
}

// TestTryNow: an operator's word ends the pause after a failure.
func TestTryNow(t *testing.T) {
	w := newWorld(t, nil, nil)
	w.server.SetFault(testca.SMTPFault{Stage: testca.SMTPHello, Code: 421, Text: "later"})
	first := w.mail("admin@example.com")
	c, wait := w.courier(nil)
	if err := c.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.await(func() bool { m := w.stored(first); return !m.Taken && m.Trouble != "" })
	w.server.SetFault(testca.SMTPFault{})
	second := w.mail("admin@example.com")
	if err := c.Sweep(t.Context()); err != nil || len(w.server.Mails()) != 0 {
		t.Errorf("the pause did not last: %d mails, %v", len(w.server.Mails()), err)
	}
	c.TryNow()
	w.await(func() bool {
		if err := c.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		return w.stored(second) == nil
	})
	wait()
}

// TestTwoGateways: each mail is sent once, though two gateways look after them.
func TestTwoGateways(t *testing.T) {
	w := newWorld(t, nil, nil)
	for range 12 {
		w.mail("admin@example.com")
	}
	var wg sync.WaitGroup
	for range 2 {
		c, wait := w.courier(nil)
		wg.Go(func() {
			defer wait()
			for end := time.Now().Add(time.Minute); len(w.server.Mails()) < 12 && time.Now().Before(end); {
				if err := c.Sweep(t.Context()); err != nil && !problem.Is(err, problem.Conflict) {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for _, m := range w.server.Mails() {
		id := must(m.Message())(t).Header.Get("Message-Id")
		if seen[id] {
			t.Errorf("%s was sent twice", id)
		}
		seen[id] = true
	}
	if queued, lost, err := w.db.MailQueue(t.Context()); queued+lost != 0 || err != nil || len(seen) != 12 {
		t.Errorf("%d queued, %d lost, %v, %d sent", queued, lost, err, len(seen))
	}
}

// dying is a store whose gateway dies when it has told the server and not yet the store.
type dying struct {
	notify.Store
	dead bool
}

func (d *dying) RemoveMail(ctx context.Context, m *ra.Mail) error {
	if d.dead {
		return problem.New(problem.Unavailable, "dead")
	}
	return d.Store.RemoveMail(ctx, m)
}

// TestSentAndNotRecorded: the gateway that knows that the server took a mail does not send it again; another one does, once the
// first one's lease is over, with the same Message-ID.
func TestSentAndNotRecorded(t *testing.T) {
	w := newWorld(t, nil, nil)
	m := w.mail("admin@example.com")
	store := &dying{w.db, true}
	c, wait := w.courier(func(c *notify.Config) { c.Store = store })
	if err := c.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	must(w.server.Await(t.Context(), 1))(t)
	w.turn(nil)
	if len(w.server.Mails()) != 1 {
		t.Fatal("another gateway sent it while the first one had it")
	}
	w.clock.pass(5 * time.Minute)
	w.await(func() bool {
		if err := c.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		return strings.Count(w.log.text(), "could not be seen to") >= 2
	})
	wait()
	if len(w.server.Mails()) != 1 {
		t.Fatal("the gateway that sent it sent it again")
	}
	w.turn(nil)
	mails := w.server.Mails()
	if len(mails) != 2 || w.stored(m) != nil {
		t.Fatalf("%d mails", len(mails))
	}
	if a, b := must(mails[0].Message())(t), must(mails[1].Message())(t); a.Header.Get("Message-Id") != b.Header.Get("Message-Id") {
		t.Error("the second one has another Message-ID")
	}
}

// TestGivenUp: a mail is given up when its time is over, with its secret; also where no server is configured. After a month
// nobody is told any more.
func TestGivenUp(t *testing.T) {
	for name, change := range map[string]func(*notify.Config){
		"server": nil, "no server": func(c *notify.Config) { c.Transport, c.Work = nil, nil },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil, nil)
			m := w.mail("admin@example.com")
			w.clock.pass(24 * time.Hour)
			w.turn(change)
			w.outcome(notify.Expired)
			if got := w.stored(m); got == nil || got.GivenUp.IsZero() || got.Sealed != nil || len(w.server.Mails()) != 0 {
				t.Errorf("it is %+v", got)
			}
			w.clock.pass(31 * 24 * time.Hour)
			w.turn(change)
			if w.stored(m) != nil {
				t.Error("it is there after a month")
			}
		})
	}
}

// TestSecretThatDoesNotOpen: the mail waits for the key to be configured again.
func TestSecretThatDoesNotOpen(t *testing.T) {
	w := newWorld(t, nil, nil)
	m := w.mail("admin@example.com")
	w.turn(func(c *notify.Config) { c.Sealer = nil })
	w.outcome(notify.Deferred)
	w.clock.pass(2 * time.Minute)
	w.turn(nil)
	if len(w.server.Mails()) != 1 || w.stored(m) != nil {
		t.Error("it was not sent")
	}
}

// TestCheck: the check meets what a delivery would.
func TestCheck(t *testing.T) {
	w := newWorld(t, nil, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := must(notify.NewSMTP(w.config))(t).Check(ctx); err != nil {
		t.Error(err)
	}
	w.config.Password = "wrong"
	if err := must(notify.NewSMTP(w.config))(t).Check(ctx); err == nil {
		t.Error("it accepts a wrong password")
	}
	if _, err := notify.New(notify.Config{}); err == nil {
		t.Error("a courier without a store")
	}
	var refusal *notify.Refusal
	if err := must(notify.NewSMTP(w.config))(t).Send(ctx, &notify.Message{To: "a@b.c\r\nRCPT TO:<x@y.z>"}); !errors.As(err, &refusal) || refusal.Scope != notify.OfMail {
		t.Errorf("%v", err)
	}
}

// TestLostMailsGo: however many mails were given up, none is kept beyond its time.
func TestLostMailsGo(t *testing.T) {
	w := newWorld(t, nil, nil)
	var mails []*ra.Mail
	for range 170 {
		mails = append(mails, &ra.Mail{
			ID: ra.NewMailID(), Org: 1, Kind: ra.MailEvent, To: "a@example.com", Data: map[string]string{"event": "issued"}, Created: w.clock.Now(),
			Until: w.clock.Now().Add(time.Hour), GivenUp: w.clock.Now(),
		})
	}
	if err := w.db.HandOver(t.Context(), nil, mails); err != nil {
		t.Fatal(err)
	}
	w.clock.pass(29 * 24 * time.Hour)
	w.turn(nil)
	if _, lost, err := w.db.MailQueue(t.Context()); lost != 170 || err != nil {
		t.Fatalf("%d are kept, %v", lost, err)
	}
	w.clock.pass(2 * 24 * time.Hour)
	w.turn(nil)
	if _, lost, err := w.db.MailQueue(t.Context()); lost != 0 || err != nil {
		t.Errorf("%d are left after their time, %v", lost, err)
	}
}
