package ca

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// Renewal is when a certificate should be renewed by an operator's word, which ACME's renewal information tells its client
// (RFC 9773, 4.2). It changes nothing about the certificate.
type Renewal struct {
	Start, End  time.Time // UTC, whole seconds, the end after the start; both zero: an earlier word was taken back
	Explanation string    // URL of a page that says why (RFC 9773, 4.2: explanationURL); may be empty
	At          time.Time // UTC, whole seconds: when the operator said so; of two words the later one holds
	Actor       string
}

// Stands reports whether r, which may be nil, asks for a renewal: there was a word, and it was not taken back.
func (r *Renewal) Stands() bool { return r != nil && !r.End.IsZero() }

// maxExplanation bounds the URL, which stands in every answer about the certificate.
const maxExplanation = 1024

// CheckExplanation refuses what is no page a person can open. Empty is none.
func CheckExplanation(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.String() != text || len(text) > maxExplanation {
		return problem.New(problem.Malformed, "explanation must be the http or https URL of a page, without a user name and at most %d characters long, such as https://status.example.com/replace", maxExplanation)
	}
	return nil
}

// SuggestRequest asks that one certificate's renewal be suggested, or that an earlier suggestion be taken back. Whether the
// actor may is the caller's decision.
type SuggestRequest struct {
	Issuer      string
	Serial      Serial
	Start, End  time.Time // both zero: take back
	Explanation string
	Actor       string
}

// SuggestRenewal records when a certificate should be renewed. It returns when both the journal and the store have it. Like
// a revocation, the journal's entry holds the certificate, so that whoever replays it first has what it is about.
//
// Errors are *problem.Error: Malformed for a window or an explanation that is none; NotFound if no certificate of that
// serial was issued; Conflict if it has expired, or was revoked, whose window has passed by that (RFC 9773, 4.2);
// Unavailable if store or journal cannot serve. After the latter it may yet be recorded.
func (a *Authority) SuggestRenewal(ctx context.Context, req SuggestRequest) (*Renewal, error) {
	if req.Start.IsZero() != req.End.IsZero() || !req.End.IsZero() && !req.End.After(req.Start) {
		return nil, problem.New(problem.Malformed, "the window for a renewal must end after it starts")
	}
	if err := CheckExplanation(req.Explanation); err != nil {
		return nil, err
	}
	ctx, cancel := a.recording(context.WithoutCancel(ctx))
	defer cancel()
	var journaled Renewal
	for range maxRaces {
		c, err := a.store.Certificate(ctx, req.Issuer, req.Serial)
		if err != nil {
			return nil, err
		}
		next, err := a.renewal(c, req)
		if err != nil {
			return nil, err
		}
		if next != journaled { // whose time is later than that of the word that came first: the journal must say so, too
			if err := a.journalRenewal(ctx, c, next); err != nil {
				return nil, err
			}
			journaled = next
		}
		err = a.store.RecordRenewal(ctx, *c, next)
		if err == nil {
			return &next, nil
		}
		if !problem.Is(err, problem.Conflict) {
			return nil, err
		}
	}
	return nil, problem.Wrap(errors.New("ca: the store refused a suggested renewal again and again"), problem.Unavailable,
		"the renewal could not be suggested now").After(comeBack)
}

// renewal is what a request means for a certificate as it stands.
func (a *Authority) renewal(c *Certificate, req SuggestRequest) (Renewal, error) {
	now := a.second()
	switch {
	case c.State != Issued:
		return Renewal{}, problem.New(problem.NotFound, "no certificate with the serial %s was issued by %s", req.Serial, req.Issuer)
	case now.After(c.NotAfter):
		return Renewal{}, problem.New(problem.Conflict, "the certificate expired at %s; there is nothing left to renew in time",
			c.NotAfter.UTC().Format(time.RFC3339))
	case c.Revocation != nil:
		return Renewal{}, problem.New(problem.Conflict, "the certificate is revoked; its client is told to renew at once for that alone")
	}
	next := Renewal{Start: second(req.Start), End: second(req.End), Explanation: req.Explanation, At: now, Actor: req.Actor}
	if !next.End.IsZero() && !next.End.After(next.Start) {
		next.End = next.Start.Add(time.Second)
	}
	// Words within a second, or by a clock that went back: the later one holds.
	if c.Renewal != nil && !next.At.After(c.Renewal.At) {
		next.At = c.Renewal.At.Add(time.Second)
	}
	return next, nil
}

// second is a time in UTC and whole seconds; the zero time stays zero.
func second(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(time.Second)
}

func (a *Authority) journalRenewal(ctx context.Context, c *Certificate, r Renewal) error {
	data, err := json.Marshal(renewalEntry(r))
	if err != nil {
		return err
	}
	e := eventFor(audit.RenewalSuggested, c.Intent)
	e.Names, e.Actor, e.Data, e.Detail = nil, r.Actor, data, r.Explanation
	e.NotAfter, e.DER, e.Requester, e.Issued = c.NotAfter, c.DER, c.Requester.Principal, c.Issued
	return a.append(ctx, e)
}

// renewalEntry is a Renewal as the journal holds it (audit.Event.Data).
type renewalEntry struct {
	Start       time.Time `json:"start,omitzero"`
	End         time.Time `json:"end,omitzero"`
	Explanation string    `json:"explanation,omitempty"`
	At          time.Time `json:"at"`
	Actor       string    `json:"actor"`
}

// RenewalFromEvent reads a journal entry of kind RenewalSuggested.
func RenewalFromEvent(e audit.Event) (*Renewal, error) {
	var r renewalEntry
	if err := json.Unmarshal(e.Data, &r); err != nil {
		return nil, fmt.Errorf("ca: the renewal in a journal entry: %w", err)
	}
	if r.At.IsZero() || r.Start.IsZero() != r.End.IsZero() {
		return nil, fmt.Errorf("ca: a journal entry of kind %q has no time, or half a window", e.Kind)
	}
	out := Renewal(r)
	return &out, nil
}

// Later reports whether the word next, of a journal, holds over the one on record, which may be nil.
func (r *Renewal) Later(next *Renewal) bool { return r == nil || next.At.After(r.At) }
