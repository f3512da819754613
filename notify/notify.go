// Package notify tells people what happened, by mail: it takes from the outbox that ra commits what is to be told, and
// delivers it through one mail server.
//
// It decides who is told of which event, what a mail says, when it is tried again and when it is given up. It trusts ra for
// what happened, the configuration for the addresses, and the store for giving each mail to one gateway at a time. It never
// writes to an address that is not plainly one, never puts what a stranger chose into a header as it is, and never logs or
// keeps a secret: it opens one while it renders the mail, and the record goes when the server has taken the mail.
//
// A mail is delivered at least once. A gateway that dies, or loses the store, after the server took a mail and before that is
// recorded, leaves it to be sent again, with the same Message-ID.
package notify

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/gatehouse-ca/gatehouse/internal/work"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/seal"
)

// Sweep is the name under which a gateway's work.Group runs [Courier.Sweep], and [Courier.Kick] kicks it.
const Sweep = "outbox"

var _ ra.Mailer = (*Courier)(nil)

// Store is what the courier needs of the store. Every write is durable on return and a transition: it applies only if the
// record is as it was read, else it is a Conflict and nothing changes. Errors are *problem.Error: NotFound, Conflict or
// Unavailable. All methods are safe for concurrent use.
type Store interface {
	// Events lists those that nobody was told of yet, oldest first, at most limit.
	Events(ctx context.Context, limit int) ([]*ra.Event, error)
	// HandOver removes events and records the mails that they became.
	HandOver(ctx context.Context, events []*ra.Event, mails []*ra.Mail) error
	// Enrollment reads one.
	Enrollment(ctx context.Context, id ra.ID) (*ra.Enrollment, error)
	// NoteExpiring records an [ra.EventExpiring].
	NoteExpiring(ctx context.Context, n ra.ExpiryNote) (more bool, err error)

	// DueMails lists mails that are due at a time, longest due first, at most limit.
	DueMails(ctx context.Context, now time.Time, limit int) ([]*ra.Mail, error)
	// Mails lists those in the queue by the time they are due, or (lost) those that were given up, newest first: behind one,
	// nil for the start, at most limit.
	Mails(ctx context.Context, lost bool, after *ra.Mail, limit int) ([]*ra.Mail, error)
	// Mail reads one.
	Mail(ctx context.Context, id string) (*ra.Mail, error)
	// MoveMail records next in place of m; next then carries the new version.
	MoveMail(ctx context.Context, next, m *ra.Mail) error
	// RemoveMail forgets one that was delivered, or that nobody wants any more.
	RemoveMail(ctx context.Context, m *ra.Mail) error
	// SweepLostMails removes mails that were given up so long ago that nobody asks any more, at most limit, and says
	// whether there may be more.
	SweepLostMails(ctx context.Context, now time.Time, limit int) (more bool, err error)
	// MailQueue counts.
	MailQueue(ctx context.Context) (queued, lost int64, err error)
}

// Transport hands messages to a mail server. It is safe for concurrent use.
type Transport interface {
	// Send returns nil once the server has taken the message. It returns no later than ctx ends. A *[Refusal] says how far
	// the refusal goes; anything else is taken for the server's.
	Send(ctx context.Context, m *Message) error
}

// Refusal is why a server did not take a message.
type Refusal struct {
	Scope Scope
	Err   error
}

// Error is the cause's text.
func (r *Refusal) Error() string { return r.Err.Error() }

// Unwrap is the cause.
func (r *Refusal) Unwrap() error { return r.Err }

// Scope is how far a refusal goes.
type Scope uint8

// The scopes.
const (
	OfServer Scope = iota + 1 // the server takes no mail from us now: it cannot be reached, or refuses us or our sender
	OfNow                     // it does not take this mail now (RFC 5321, 4.2.1: 4yz)
	OfMail                    // it will never take this mail (5yz)
)

// Config is what a Courier needs. Store is required, and with a Transport also Work.
type Config struct {
	Store     Store
	Sealer    *seal.Sealer // opens the secrets of mails
	Transport Transport    // nil: no mail server is configured, and nothing is sent
	Work      *work.Group
	Rules     []Rule // who is told of what
	// Organisation is the slug of an organisation, "" if it is not there any more. Nil: there are numbers only.
	Organisation func(org int32) string
	// Organisations are the numbers of all. Needed where a rule tells of what expires.
	Organisations func() []int32
	// Replaced is the enrollment whose certificate took the place of one's; zero if none did. Nil: none ever does.
	Replaced    func(ctx context.Context, e *ra.Enrollment) (ra.ID, error)
	Connections int           // to the server at once; default 2
	SendTimeout time.Duration // of one mail; default 1 min
	Observe     func(Outcome) // counts; nil: nobody does
	Now         func() time.Time
	Log         *slog.Logger
}

// Outcome is what became of one attempt at a mail.
type Outcome string

// The outcomes.
const (
	Sent      Outcome = "sent"
	Deferred  Outcome = "deferred"  // the server did not take it now
	Unreached Outcome = "unreached" // the server took nothing
	Refused   Outcome = "refused"   // for good
	Expired   Outcome = "expired"   // its time was over
)

// Outcomes lists all.
func Outcomes() []Outcome { return []Outcome{Sent, Deferred, Unreached, Refused, Expired} }

// Courier delivers the outbox. It is safe for concurrent use, but only one Sweep at a time.
type Courier struct {
	Config

	mu       sync.Mutex
	inFlight map[string]bool      // mails that this process is about
	taken    map[string]time.Time // that the server took, while the store was not told
	server   serverState
	noted    time.Time // when this process last looked for what expires
	swept    time.Time // when it last cleared away what nobody asks for any more
}

// New makes a Courier. It does nothing before Sweep is called.
func New(c Config) (*Courier, error) {
	if c.Store == nil {
		return nil, errors.New("notify: a store is needed")
	}
	if c.Transport != nil && c.Work == nil {
		return nil, errors.New("notify: a work group is needed to send mail")
	}
	if c.Transport == nil && len(c.Rules) > 0 {
		return nil, errors.New("notify: somebody is to be told, and there is no mail server")
	}
	if c.Connections == 0 {
		c.Connections = 2
	}
	if c.SendTimeout == 0 {
		c.SendTimeout = time.Minute
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Observe == nil {
		c.Observe = func(Outcome) {}
	}
	return &Courier{Config: c, inFlight: make(map[string]bool), taken: make(map[string]time.Time)}, nil
}

// Kick implements ra.Mailer.
func (c *Courier) Kick() {
	if c.Work != nil {
		c.Work.Kick(Sweep)
	}
}

// TryNow implements ra.Mailer.
func (c *Courier) TryNow() {
	c.mu.Lock()
	c.server.until = time.Time{}
	c.mu.Unlock()
	c.Kick()
}

// Sweep hands events over to those that are to be told, starts the delivery of mails that are due, and clears away what is of
// no use any more. Several gateways may do so at once. What it starts runs in the work group.
func (c *Courier) Sweep(ctx context.Context) error {
	return errors.Join(c.noteExpiring(ctx), c.handOver(ctx), c.dispatch(ctx), c.clear(ctx))
}

// clear removes old mails that were given up, now and then.
func (c *Courier) clear(ctx context.Context) error {
	now := c.Now()
	c.mu.Lock()
	due := !now.Before(c.swept.Add(clearEvery))
	c.mu.Unlock()
	if !due {
		return nil
	}
	for range clearTurns {
		more, err := c.Store.SweepLostMails(ctx, now, sweepBatch)
		if err != nil && !problem.Is(err, problem.Conflict) {
			return err
		}
		if !more {
			break
		}
	}
	c.mu.Lock()
	c.swept = now
	c.mu.Unlock()
	return nil
}
