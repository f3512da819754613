package notify

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

const (
	// sweepBatch bounds what one turn of a sweep takes of one kind.
	sweepBatch = 50
	// handOvers bounds the batches of events in one turn.
	handOvers = 20
	// eventMailLife is how long a mail about an event is worth sending.
	eventMailLife = 3 * 24 * time.Hour
	// clearEvery is how often old mails that were given up are removed.
	clearEvery = time.Minute
	// clearTurns bounds the batches of those in one turn: as many as are kept.
	clearTurns = 200
	// expiryEvery is how often what expires is looked for.
	expiryEvery = 15 * time.Minute
	// expiryTurns bounds how often one list is gone on with in a turn.
	expiryTurns = 20
	// shownNames is how many names of a certificate a mail lists.
	shownNames = 20
)

// Rule tells addresses of events.
type Rule struct {
	Events []ra.EventKind
	To     []string // addresses; see [CheckAddress]
	// Days before the end of a certificate at which [ra.EventExpiring] tells of it.
	Days []int
	// Covers reports whether it is about events of such an organisation and profile. Nil: of all.
	Covers func(e *ra.Event) bool
}

// Tells reports whether the rule's addresses are to be told of an event.
func (r *Rule) Tells(e *ra.Event) bool {
	return slices.Contains(r.Events, e.Kind) && (e.Kind != ra.EventExpiring || slices.Contains(r.Days, e.Days)) &&
		(r.Covers == nil || r.Covers(e))
}

// Receives is a function that reports whether any rule tells anybody of an event. It is nil if there are no rules, so that
// nothing is recorded for nobody.
func Receives(rules []Rule) func(*ra.Event) bool {
	if len(rules) == 0 {
		return nil
	}
	return func(e *ra.Event) bool {
		return slices.ContainsFunc(rules, func(r Rule) bool { return r.Tells(e) })
	}
}

// handOver makes mails of events. An event and its mails change places in one commit, so each becomes mails once.
func (c *Courier) handOver(ctx context.Context) error {
	for range handOvers {
		events, err := c.Store.Events(ctx, sweepBatch)
		if err != nil || len(events) == 0 || len(c.Rules) == 0 { // another gateway may have rules
			return err
		}
		var mails []*ra.Mail
		for _, e := range events {
			made, err := c.mailsOf(ctx, e)
			if err != nil {
				return err
			}
			mails = append(mails, made...)
		}
		switch err := c.Store.HandOver(ctx, events, mails); {
		case problem.Is(err, problem.Conflict): // another gateway has some of them; the next turn sees which
			return nil
		case err != nil:
			return err
		case len(events) < sweepBatch:
			return nil
		}
	}
	return nil
}

// mailsOf are the mails of one event, one to each address.
func (c *Courier) mailsOf(ctx context.Context, e *ra.Event) ([]*ra.Mail, error) {
	var to []string
	for _, r := range c.Rules {
		if r.Tells(e) {
			to = append(to, r.To...)
		}
	}
	slices.Sort(to)
	to = slices.Compact(to)
	if len(to) == 0 {
		return nil, nil
	}
	data, err := c.words(ctx, e)
	if err != nil || data == nil {
		return nil, err
	}
	now := c.Now().UTC().Truncate(time.Second)
	mails := make([]*ra.Mail, 0, len(to))
	for _, address := range to {
		mails = append(mails, &ra.Mail{
			ID: ra.NewMailID(), Org: e.Org, Kind: ra.MailEvent, To: address, Data: data, Created: now, Until: now.Add(eventMailLife),
		})
	}
	return mails, nil
}

// words are what a mail about an event says; nil if nobody is to be told after all: of what is gone, or was told to be silent.
func (c *Courier) words(ctx context.Context, e *ra.Event) (map[string]string, error) {
	data := map[string]string{"event": string(e.Kind), "organisation": c.organisation(int32(e.Org)), "time": stamp(e.At), "actor": e.Actor}
	if e.Domain != "" {
		data["domain"] = e.Domain
		return data, nil
	}
	enrollment, err := c.Store.Enrollment(ctx, e.Enrollment)
	switch {
	case problem.Is(err, problem.NotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case enrollment.SuspendNotifications || enrollment.Org != e.Org:
		return nil, nil
	}
	data["enrollment"] = strconv.FormatInt(int64(e.Enrollment), 10)
	data["profile"], data["names"], data["requester"] = enrollment.Profile, names(enrollment), enrollment.Requester
	if e.Replaces != 0 {
		data["replaces"] = strconv.FormatInt(int64(e.Replaces), 10)
	}
	switch e.Kind {
	case ra.EventWaiting:
		data["lapses"] = stamp(enrollment.Due)
	case ra.EventDeclined, ra.EventFailed:
		if f := enrollment.Failure; f != nil {
			data["detail"] = f.Detail
		}
	case ra.EventIssued, ra.EventRevoked, ra.EventExpiring:
		data["serial"], data["not_after"] = string(enrollment.Serial), stamp(enrollment.NotAfter)
		if r := enrollment.Revocation; r != nil {
			data["reason"] = strconv.Itoa(int(r.Reason))
		}
	}
	return data, nil
}

func (c *Courier) organisation(org int32) string {
	if c.Organisation != nil {
		if slug := c.Organisation(org); slug != "" {
			return slug
		}
	}
	return strconv.Itoa(int(org))
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04 UTC")
}

func names(e *ra.Enrollment) string {
	var list []string
	for i, n := range e.Names {
		if i == shownNames {
			list = append(list, "and "+strconv.Itoa(len(e.Names)-shownNames)+" more")
			break
		}
		list = append(list, n.Value())
	}
	return strings.Join(list, ", ")
}

// noteExpiring looks for certificates that end soon, now and then.
func (c *Courier) noteExpiring(ctx context.Context) error {
	days := c.days()
	now := c.Now()
	c.mu.Lock()
	due := len(days) > 0 && !now.Before(c.noted.Add(expiryEvery))
	c.mu.Unlock()
	if !due || c.Organisations == nil {
		return nil
	}
	var errs []error
	for _, org := range c.Organisations() {
		shorter := 0
		for _, d := range days {
			errs = append(errs, c.noteOrganisation(ctx, org, d, shorter, now))
			shorter = d
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	err := errors.Join(errs...)
	if err == nil {
		c.mu.Lock()
		c.noted = now
		c.mu.Unlock()
	}
	return err
}

// noteOrganisation notes what of an organisation ends within d days, and not within the next shorter time of which somebody is
// told, too: nobody is told twice at once.
func (c *Courier) noteOrganisation(ctx context.Context, org int32, d, shorter int, now time.Time) error {
	for range expiryTurns {
		more, err := c.Store.NoteExpiring(ctx, ra.ExpiryNote{
			Org: org, Days: d, At: now, From: now.AddDate(0, 0, shorter), To: now.AddDate(0, 0, d), Limit: 4 * sweepBatch, Replaced: c.Replaced,
		})
		if problem.Is(err, problem.Conflict) { // another gateway is at it
			return nil
		}
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// days are all at which a rule tells of what expires, the shortest first.
func (c *Courier) days() []int {
	var days []int
	for _, r := range c.Rules {
		if slices.Contains(r.Events, ra.EventExpiring) {
			days = append(days, r.Days...)
		}
	}
	slices.Sort(days)
	return slices.Compact(days)
}
