package ra

import (
	"context"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// retriedLife is how long a mail that was given up is worth sending once somebody has it tried again.
const retriedLife = 24 * time.Hour

// MailStore is what operators' looks into the queue of mails need of the store; see notify.Store.
type MailStore interface {
	Mails(ctx context.Context, lost bool, after *Mail, limit int) ([]*Mail, error)
	Mail(ctx context.Context, id string) (*Mail, error)
	MoveMail(ctx context.Context, next, m *Mail) error
	RemoveMail(ctx context.Context, m *Mail) error
}

// MailQueue lets operators look after the mails that were not delivered. It shows no secret: those are the recipients'. All
// fields are required.
type MailQueue struct {
	Store  MailStore
	Mailer Mailer
	// May is that of [Config].
	May     func(caller auth.Caller, a auth.Action, org auth.OrgID) error
	Journal interface {
		Append(ctx context.Context, events ...audit.Event) error
	}
	Now func() time.Time
}

// List lists the mails that wait by the time at which they are due, or (lost) those that were given up, newest first: behind
// one, "" from the start, at most limit (1 to 1000).
func (q *MailQueue) List(ctx context.Context, caller auth.Caller, lost bool, after string, limit int) ([]*Mail, error) {
	if err := q.May(caller, auth.Operate, 0); err != nil {
		return nil, err
	}
	if limit < 1 || limit > 1000 {
		return nil, problem.New(problem.Malformed, "limit is %d; give 1 to 1000", limit)
	}
	var behind *Mail
	if after != "" {
		var err error
		if behind, err = q.Store.Mail(ctx, after); err != nil {
			return nil, err
		}
	}
	list, err := q.Store.Mails(ctx, lost, behind, limit)
	for i := range list {
		list[i] = shown(list[i])
	}
	return list, err
}

// Get reads one. The operator alone may.
func (q *MailQueue) Get(ctx context.Context, caller auth.Caller, id string) (*Mail, error) {
	m, err := q.read(ctx, caller, id)
	if err != nil {
		return nil, err
	}
	return shown(m), nil
}

func (q *MailQueue) read(ctx context.Context, caller auth.Caller, id string) (*Mail, error) {
	if err := q.May(caller, auth.Operate, 0); err != nil {
		return nil, err
	}
	return q.Store.Mail(ctx, id)
}

// shown is a mail without what only its recipient may know.
func shown(m *Mail) *Mail {
	c := *m
	c.Sealed = nil
	return &c
}

// Retry has a mail tried now, even if the mail server took nothing a moment ago, also one that was given up, which is then worth sending for a day at least. Conflict for one that
// is being sent, and for one whose secret is gone.
func (q *MailQueue) Retry(ctx context.Context, caller auth.Caller, id string) (*Mail, error) {
	m, err := q.read(ctx, caller, id)
	if err != nil {
		return nil, err
	}
	now := q.Now().UTC().Truncate(time.Millisecond)
	if m.Taken && now.Before(m.Due) {
		return nil, problem.New(problem.Conflict, "mail %s is being sent", id)
	}
	next := *m
	next.Due = now
	if !m.GivenUp.IsZero() {
		if m.Kind == MailDomainValidation {
			return nil, problem.New(problem.Conflict, "the secret of mail %s went when it was given up; have a new one sent: gatehouse domain resend %s", id, m.Data["domain"])
		}
		next.GivenUp, next.Attempts = time.Time{}, 0
		if end := now.Add(retriedLife); m.Until.Before(end) {
			next.Until = end.Truncate(time.Second)
		}
	}
	if err := q.Store.MoveMail(ctx, &next, m); err != nil {
		return nil, err
	}
	q.Mailer.TryNow()
	return shown(&next), nil
}

// Cancel forgets a mail that nobody is to be sent, and tells the journal. One that is just being sent may arrive all the same.
func (q *MailQueue) Cancel(ctx context.Context, caller auth.Caller, id string) (*Mail, error) {
	m, err := q.read(ctx, caller, id)
	if err != nil {
		return nil, err
	}
	if err := q.Store.RemoveMail(ctx, m); err != nil {
		return nil, err
	}
	err = q.Journal.Append(ctx, audit.Event{
		Kind: audit.MailCancelled, At: q.Now().UTC(), Actor: caller.Principal, Org: int32(m.Org), Detail: string(m.Kind) + " to " + m.To,
	})
	if err != nil {
		return nil, problem.Wrap(err, problem.Unavailable, "the mail is gone, but the journal could not be told so")
	}
	return shown(m), nil
}
