package ra

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/netip"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// EmailQuestion is what the reader of a mail is asked. Whoever knows a link's ID may see it.
type EmailQuestion struct {
	Domain       string
	Organisation string // the name of the one that wants to use the domain
	Address      string // that the mail was sent to
	Covers       bool   // a confirmation covers all names below the domain as well
	Asked        time.Time
	Expires      time.Time
	State        EmailOutcome
}

// EmailAnswer is what a person says on the page.
type EmailAnswer struct {
	ID     string
	Code   string
	Reject bool       // they did not ask for it
	From   netip.Addr // where the person is
}

// noLink is the answer for an ID that is none, whatever the reason: the same.
func noLink() error {
	return problem.New(problem.NotFound, "this link leads to nothing: it was cut off on the way, or the request behind it was withdrawn or replaced by a newer one")
}

// EmailQuestion finds what a link asks. It changes nothing. NotFound if the link is not, or no longer, there.
func (m *Domains) EmailQuestion(ctx context.Context, id string) (*EmailQuestion, error) {
	d, l, err := m.ofLink(ctx, id)
	if err != nil {
		return nil, err
	}
	return m.question(d, l), nil
}

func (m *Domains) question(d *Domain, l *EmailLink) *EmailQuestion {
	v := d.Email
	return &EmailQuestion{
		Domain: d.Name.Value(), Organisation: m.orgName(d.Org), Address: l.Address, Covers: l.Method == dcv.EmailConstructed,
		Asked: v.Begun, Expires: v.Expires, State: v.State(m.Now()),
	}
}

// ofLink finds the domain of a link. One whose owner does not work has none.
func (m *Domains) ofLink(ctx context.Context, id string) (*Domain, *EmailLink, error) {
	if raw, err := base64.RawURLEncoding.DecodeString(id); m.Email == nil || err != nil || len(raw) != 16 {
		return nil, nil, noLink()
	}
	d, err := m.Store.DomainOfEmailLink(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	if d == nil || !d.Removed.IsZero() || d.Email.link(id) == nil || m.Directory.Works(d.Org) != nil {
		return nil, nil, noLink()
	}
	return d, d.Email.link(id), nil
}

// errSettled ends a change that is not to be made any more.
var errSettled = errors.New("ra: the validation has ended")

// AnswerEmail takes a person's answer. The first decides, whichever address it comes by; what became of it is in the result,
// also if it was another's or came too late. Durable on return. Errors are *problem.Error: NotFound as for EmailQuestion;
// Unauthorized for a code that is not the link's newest; RateLimited.
func (m *Domains) AnswerEmail(ctx context.Context, a EmailAnswer) (*EmailQuestion, error) {
	if m.Email == nil {
		return nil, noLink()
	}
	// Before anything is read: whoever tries one ID after the other leaves one counter and no more.
	if err := m.try(ctx, tooManyTries, triesFrom(a.From)); err != nil {
		return nil, err
	}
	d, l, err := m.ofLink(ctx, a.ID)
	if err != nil {
		return nil, err
	}
	if q := m.question(d, l); q.State != EmailPending {
		return q, nil
	}
	if err := m.try(ctx, tooManyTries, triesAt(d.Email)); err != nil {
		return nil, err
	}
	if !l.fits(a.Code) {
		return nil, m.wrong(ctx, d, l)
	}
	outcome, what := EmailConfirmed, "validated by "+string(l.Method)
	if a.Reject {
		outcome, what = EmailRejected, "validation by e-mail rejected"
	}
	from := a.From.Unmap().WithZone("").String()
	what += ", by the mail to " + l.Address + ", from " + from
	var seen *EmailQuestion
	next, err := m.change(ctx, d.Name, "mail:"+l.Address, what, func(d *Domain) (*Domain, error) {
		if d == nil || !d.Removed.IsZero() || d.Email.link(a.ID) == nil {
			return nil, noLink()
		}
		next := d.clone()
		l, v := next.Email.link(a.ID), next.Email
		if seen = m.question(d, l); seen.State != EmailPending {
			return nil, errSettled
		}
		if !l.fits(a.Code) { // sent anew meanwhile
			return nil, wrongCode()
		}
		v.Outcome, v.Ended, v.Address, v.From = outcome, m.second(), l.Address, from
		if outcome == EmailConfirmed {
			next.Proof = &dcv.Proof{
				Method: l.Method, Identifier: next.Name, At: v.Ended, Secure: l.Secure,
				Seen: "mail to " + l.Address + " (" + l.Source + "), confirmed from " + from,
			}
			next.Validation = nil
		}
		return next, nil
	})
	switch {
	case errors.Is(err, errSettled):
		return seen, nil
	case err != nil:
		return nil, err
	}
	if outcome == EmailRejected {
		m.Log.Warn("somebody at a domain's address rejected its validation by e-mail", "domain", next.Name.Value(), "org", int(next.Org), "address", l.Address, "from", from)
	}
	return m.question(next, next.Email.link(a.ID)), nil
}

const tooManyTries = "too many attempts; try again later"

// try takes from rates, or says RateLimited.
func (m *Domains) try(ctx context.Context, detail string, rates ...auth.AttemptRate) error {
	wait, err := m.Email.Tries.Attempt(ctx, rates...)
	if err == nil && wait > 0 {
		err = problem.New(problem.RateLimited, "%s", detail).After(wait)
	}
	return err
}

// fits compares a code with the newest of the link, in a time that does not depend on it.
func (l *EmailLink) fits(code string) bool {
	sum := sha256.Sum256([]byte(code))
	return subtle.ConstantTimeCompare(sum[:], l.Code[:]) == 1
}

func wrongCode() error {
	return problem.New(problem.Unauthorized, "this is not the code of the newest mail; use the link in that one, whole")
}

// wrong counts a code that does not fit. The count is no part of the journal until it ends the validation.
func (m *Domains) wrong(ctx context.Context, tried *Domain, l *EmailLink) error {
	if tried.Email.Wrong+1 < MaxWrongCodes {
		next := tried.clone()
		next.Email.Wrong++
		err := m.Store.PutDomain(ctx, next, tried, time.Time{})
		if problem.Is(err, problem.Conflict) { // several at once, or the domain has changed: the rates bound those
			err = nil
		}
		if err != nil {
			return err
		}
		return wrongCode()
	}
	_, err := m.change(ctx, tried.Name, "system", "validation by e-mail locked after too many wrong codes", func(d *Domain) (*Domain, error) {
		if d == nil || !d.Removed.IsZero() || d.Email.link(l.ID) == nil || d.Email.State(m.Now()) != EmailPending {
			return nil, errSettled
		}
		next := d.clone()
		next.Email.Wrong = MaxWrongCodes
		return next, nil
	})
	if err != nil && !errors.Is(err, errSettled) {
		return err
	}
	m.Log.Warn("a validation by e-mail is locked after too many wrong codes", "domain", tried.Name.Value(), "org", int(tried.Org), "address", l.Address)
	return wrongCode()
}
