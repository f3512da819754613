package notify

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
	"unicode"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/seal"
)

const (
	// firstRetry and lastRetry bound the pause after a server did not take a mail; it doubles.
	firstRetry = time.Minute
	lastRetry  = time.Hour
	// firstPause and lastPause bound the pause after a server took nothing at all. Then one mail is tried at a time, whatever
	// their number, until one is taken.
	firstPause = 2 * time.Second
	lastPause  = 5 * time.Minute
	// leaseMargin is how much longer a gateway has a mail than it may try to send it.
	leaseMargin = time.Minute
	// settleTimeout bounds how long the store is asked to record an outcome.
	settleTimeout = 10 * time.Second
)

// serverState is what this process knows of the mail server.
type serverState struct {
	failures int       // in a row
	until    time.Time // it is not tried before
	trouble  string
}

// ServerStatus is what is known of the mail server, for operators.
type ServerStatus struct {
	Trouble string    // "" if it took the last mail, or was not asked yet
	Next    time.Time // when it is tried again
}

// Server tells how the mail server does.
func (c *Courier) Server() ServerStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server.failures == 0 {
		return ServerStatus{}
	}
	return ServerStatus{Trouble: c.server.trouble, Next: c.server.until}
}

// dispatch starts the delivery of as many mails as there is room for. Where no server is configured, those whose time is over
// are given up all the same.
func (c *Courier) dispatch(ctx context.Context) error {
	now, room := c.Now(), c.room()
	if room == 0 {
		return nil
	}
	due, err := c.Store.DueMails(ctx, now, room)
	if err != nil {
		return err
	}
	for _, m := range due {
		if c.Transport == nil {
			if now.Before(m.Until) {
				continue
			}
			err = errors.Join(err, c.giveUp(ctx, m, Expired, "no mail server is configured"))
			continue
		}
		c.begin(m)
	}
	return err
}

// room is how many deliveries may begin now.
func (c *Courier) room() int {
	if c.Transport == nil {
		return sweepBatch
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	places := c.Connections
	if c.server.failures > 0 {
		if c.Now().Before(c.server.until) {
			return 0
		}
		places = 1
	}
	return max(0, places-len(c.inFlight))
}

// begin starts one delivery.
func (c *Courier) begin(m *ra.Mail) {
	c.mu.Lock()
	busy := c.inFlight[m.ID]
	c.inFlight[m.ID] = true
	c.mu.Unlock()
	if busy {
		return
	}
	end := func(again bool) {
		c.mu.Lock()
		delete(c.inFlight, m.ID)
		c.mu.Unlock()
		if again {
			c.Kick() // there is room for the next
		}
	}
	started := c.Work.Go("mail", c.SendTimeout+leaseMargin/2, func(ctx context.Context) {
		moved := false
		defer func() { end(moved) }()
		err := c.deliver(ctx, m)
		moved = err == nil || problem.Is(err, problem.Conflict) // if another gateway has it, the next one may be free
		if !moved {
			c.Log.Warn("a mail could not be seen to", "mail", m.ID, "error", err)
		}
	})
	if !started {
		end(false)
	}
}

// deliver takes a mail, so that no other gateway does, and tries it once.
func (c *Courier) deliver(ctx context.Context, m *ra.Mail) error {
	now := c.Now()
	if c.wasTaken(m.ID) {
		return c.sent(ctx, m)
	}
	if !now.Before(m.Until) {
		return c.giveUp(ctx, m, Expired, m.Trouble)
	}
	taken := *m
	taken.Taken, taken.Due = true, now.Add(c.SendTimeout+leaseMargin)
	if err := c.Store.MoveMail(ctx, &taken, m); err != nil {
		return err // Conflict: another gateway has it, or an operator canceled it
	}
	secret, err := c.secret(ctx, &taken)
	if err != nil {
		return c.later(ctx, &taken, fmt.Sprintf("its secret does not open: %v", err))
	}
	defer clear(secret)
	message, err := render(&taken, string(secret))
	if err != nil {
		return c.giveUp(ctx, &taken, Refused, fmt.Sprintf("it cannot be written: %v", err))
	}
	sending, cancel := context.WithTimeout(ctx, c.SendTimeout)
	err = c.Transport.Send(sending, message)
	cancel()
	return c.settle(ctx, &taken, err, string(secret))
}

// secret opens that of a mail; nil if it has none.
func (c *Courier) secret(ctx context.Context, m *ra.Mail) ([]byte, error) {
	if m.Sealed == nil {
		return nil, nil
	}
	return c.Sealer.Open(ctx, seal.MailSecret, m.ID, m.Sealed)
}

// settle records what became of an attempt.
func (c *Courier) settle(ctx context.Context, m *ra.Mail, err error, secret string) error {
	if err == nil {
		c.serverWorks()
		c.mu.Lock()
		c.taken[m.ID] = m.Until
		c.mu.Unlock()
		c.Observe(Sent)
		c.Log.Info("mail sent", "mail", m.ID, "kind", m.Kind, "org", m.Org)
		return c.sent(ctx, m)
	}
	trouble := explain(err, secret)
	scope := OfServer
	if r, ok := errors.AsType[*Refusal](err); ok {
		scope = r.Scope
	}
	switch scope {
	case OfMail:
		c.serverWorks()
		return c.giveUp(ctx, m, Refused, trouble)
	case OfNow:
		c.serverWorks()
		return c.later(ctx, m, trouble)
	default:
		return c.unreached(ctx, m, trouble)
	}
}

// sent forgets a mail that the server took. While the store does not answer, this process remembers that, and does not send it
// again.
func (c *Courier) sent(ctx context.Context, m *ra.Mail) error {
	err := c.record(ctx, func(ctx context.Context) error { return c.Store.RemoveMail(ctx, m) })
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		delete(c.taken, m.ID)
	}
	for id, until := range c.taken {
		if c.Now().After(until) {
			delete(c.taken, id)
		}
	}
	return err
}

func (c *Courier) wasTaken(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.taken[id]
	return ok
}

// later puts a mail back that the server did not take now.
func (c *Courier) later(ctx context.Context, m *ra.Mail, trouble string) error {
	next := *m
	next.Attempts++
	next.Taken, next.Trouble, next.Due = false, trouble, c.Now().Add(pause(next.Attempts, firstRetry, lastRetry))
	c.Observe(Deferred)
	c.Log.Warn("a mail was not taken; it is tried again", "mail", m.ID, "attempt", next.Attempts, "due", next.Due, "trouble", trouble)
	return c.record(ctx, func(ctx context.Context) error { return c.Store.MoveMail(ctx, &next, m) })
}

// unreached puts a mail back because the server takes none. That is not held against the mail.
func (c *Courier) unreached(ctx context.Context, m *ra.Mail, trouble string) error {
	c.mu.Lock()
	c.server.failures++
	c.server.trouble, c.server.until = trouble, c.Now().Add(pause(c.server.failures, firstPause, lastPause))
	state := c.server
	c.mu.Unlock()
	c.Observe(Unreached)
	c.Log.Warn("the mail server takes nothing; mail waits", "failures", state.failures, "next", state.until, "trouble", trouble)
	next := *m
	next.Taken, next.Trouble, next.Due = false, trouble, state.until
	return c.record(ctx, func(ctx context.Context) error { return c.Store.MoveMail(ctx, &next, m) })
}

func (c *Courier) serverWorks() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server.failures > 0 {
		c.Log.Info("the mail server takes mail again", "failures", c.server.failures)
	}
	c.server = serverState{}
}

// giveUp ends a mail that will not be delivered. Its secret goes with the hope; the rest is kept for operators.
func (c *Courier) giveUp(ctx context.Context, m *ra.Mail, how Outcome, trouble string) error {
	next := *m
	next.GivenUp, next.Due, next.Taken, next.Sealed, next.Trouble = c.Now().UTC(), time.Time{}, false, nil, trouble
	err := c.record(ctx, func(ctx context.Context) error { return c.Store.MoveMail(ctx, &next, m) })
	if err == nil {
		c.Observe(how)
		c.Log.Error("a mail is given up; see gatehouse mail list --lost", "mail", m.ID, "kind", m.Kind, "org", m.Org, "outcome", how, "trouble", trouble)
	}
	return err
}

// record tells the store an outcome, also when the time for sending is over or the gateway stops.
func (c *Courier) record(ctx context.Context, tell func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	return tell(ctx)
}

// pause is how long to wait after so many failures: doubling, a fifth shorter or longer by chance.
func pause(failures int, first, last time.Duration) time.Duration {
	d := last
	if failures < 16 {
		d = min(last, first<<max(0, failures-1))
	}
	return min(last, d*4/5+rand.N(d*2/5))
}

// explain is an error as operators see it: one line, without the mail's secret, which a server may repeat.
func explain(err error, secret string) string {
	text := err.Error()
	if secret != "" {
		text = strings.ReplaceAll(text, secret, "[secret]")
	}
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	if len(text) > ra.MaxTrouble {
		text = strings.ToValidUTF8(text[:ra.MaxTrouble-3], "") + "..."
	}
	return text
}
