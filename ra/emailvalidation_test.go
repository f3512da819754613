package ra_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// TestAMailValidatesADomain: whoever answers it makes the domain's proof, and the organisation then gets names below it.
func TestAMailValidatesADomain(t *testing.T) {
	w, ctx := newEmailWorld(t), t.Context()
	list := w.asked("shop.example.com", "main", "admin@shop.example.com", "postmaster@example.com")
	w.refuses(alice, "shop.example.com")
	for range 3 { // what a mail scanner does
		for _, l := range list {
			q, err := w.EmailQuestion(ctx, l.ID)
			must(t, err)
			if q.State != ra.EmailPending || q.Domain != "shop.example.com" || q.Organisation != "main" || q.Address != l.To || !q.Covers || !q.Asked.Equal(start) {
				t.Errorf("%+v", q)
			}
		}
	}
	w.refuses(alice, "shop.example.com")
	w.clock.add(time.Hour)
	w.confirms(list[1])
	d := w.record("shop.example.com")
	p := d.Proof
	if p == nil || p.Method != dcv.EmailConstructed || !p.At.Equal(start.Add(time.Hour)) || p.Identifier != d.Name || !p.Secure ||
		p.Seen != "mail to postmaster@example.com (constructed at example.com), confirmed from 192.0.2.7" {
		t.Errorf("%+v", p)
	}
	if v := d.Email; v.Outcome != ra.EmailConfirmed || v.Address != "postmaster@example.com" || v.From != "192.0.2.7" || !v.Ended.Equal(p.At) {
		t.Errorf("%+v", v)
	}
	e := w.last()
	for _, want := range []string{"ca-email-constructed", "postmaster@example.com", "192.0.2.7"} {
		if e.Kind != audit.DomainChanged || e.Actor != "mail:postmaster@example.com" || !strings.Contains(e.Detail, want) || !strings.Contains(string(e.Data), want) {
			t.Errorf("the journal lacks %s: %s, %s, %s", want, e.Actor, e.Detail, e.Data)
		}
	}
	w.issues(alice, "shop.example.com", "*.shop.example.com", "a.b.shop.example.com")
	w.refuses(alice, "example.com") // the mail went there, and that is all
	w.refuses(alice, "mail.example.com")
	w.refuses(eve, "shop.example.com")

	// The other address comes too late, with the right code and with a wrong one.
	for _, code := range []string{list[0].Code, "wrong"} {
		l := list[0]
		l.Code = code
		if q, err := w.press(l); err != nil || q.State != ra.EmailConfirmed || w.record("shop.example.com").Email.Address != "postmaster@example.com" {
			t.Errorf("%+v, %v", q, err)
		}
	}
}

// TestAPublishedContact validates the name that published it and nothing else.
func TestAPublishedContact(t *testing.T) {
	for _, m := range []dcv.Method{dcv.EmailCAA, dcv.EmailTXT} {
		w := newEmailWorld(t)
		w.book.published = []dcv.EmailContact{{Address: "certs@example.net", Method: m, Source: "published"}}
		l := w.asked("example.com", "main", "certs@example.net")[0]
		if q, err := w.EmailQuestion(t.Context(), l.ID); err != nil || q.Covers {
			t.Errorf("%+v, %v", q, err)
		}
		w.confirms(l)
		if p := w.record("example.com").Proof; p.Method != m || p.Secure {
			t.Errorf("%+v", p)
		}
		w.issues(alice, "example.com")
		for _, name := range []string{"*.example.com", "www.example.com", "example.net", "certs.example.net"} {
			w.refuses(alice, name)
		}
	}
}

// TestOnlyAllowedAddresses are written to, and none without being chosen.
func TestOnlyAllowedAddresses(t *testing.T) {
	w, ctx := newEmailWorld(t), t.Context()
	_, err := w.Add(ctx, operator, "example.com", "main")
	must(t, err)
	for _, row := range []struct {
		addresses []string
		kind      problem.Kind
		says      string
	}{
		{nil, problem.Malformed, "gatehouse domain addresses example.com"}, {[]string{"eve@example.com"}, problem.Malformed, "cannot confirm"},
		{[]string{"admin@example.org"}, problem.Malformed, "cannot confirm"}, {[]string{"admin@www.example.com"}, problem.Malformed, "cannot confirm"},
		{[]string{"admin@example.com", "admin@EXAMPLE.com"}, problem.Malformed, "twice"}, {[]string{"admin@example.com\r\nBcc: eve@example.org"}, problem.Malformed, "local@domain"},
		{strings.Split(strings.Repeat("admin@example.com,", 11), ","), problem.Malformed, "at most 10"},
	} {
		_, err := w.ValidateByEmail(ctx, operator, "example.com", row.addresses)
		if !problem.Is(err, row.kind) || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%q: %v", row.addresses, err)
		}
	}
	w.book.failures = []string{"the CAA records of example.com could not be looked up: SERVFAIL"}
	if _, err = w.ValidateByEmail(ctx, operator, "example.com", []string{"certs@example.com"}); !problem.Is(err, problem.DNS) || !strings.Contains(err.Error(), "SERVFAIL") {
		t.Errorf("an address that may be published: %v", err)
	}
	w.book.route = problem.New(problem.DNS, "example.com does not exist")
	_, err = w.ValidateByEmail(ctx, operator, "example.com", []string{"admin@example.com"})
	wantKind(t, err, problem.DNS)
	w.book.route = nil
	if len(w.letters()) != 0 || w.record("example.com").Email != nil {
		t.Error("mail was sent")
	}

	// Who does not manage the domain learns nothing of it.
	for _, caller := range []auth.Caller{eve, alice, {Principal: "user:1", Org: 2, Roles: []auth.Grant{{Org: 2, Role: auth.Administrator}}}, {}} {
		for _, err := range []error{
			second(w.ValidateByEmail(ctx, caller, "example.com", []string{"admin@example.com"})), second(w.ResendEmail(ctx, caller, "example.com", nil)),
			second(w.EmailAddresses(ctx, caller, "example.com")),
		} {
			if err == nil || caller.Org != 1 && !problem.Is(err, problem.NotFound) {
				t.Errorf("%+v: %v", caller, err)
			}
		}
	}
	// Somebody waits for the command's end, however slowly the DNS answers about each of the addresses.
	w.book.until = nil
	must(t, second(w.ValidateByEmail(ctx, operator, "example.com", []string{"admin@example.com", "postmaster@example.com"})))
	for _, until := range w.book.until {
		if until.IsZero() || time.Until(until) > 25*time.Second || until != w.book.until[0] {
			t.Errorf("the ways to addresses are looked for until %s", until)
		}
	}
	manager := auth.Caller{Principal: "user:2", Org: 1, Roles: []auth.Grant{{Org: 1, Role: auth.Administrator}}}
	_, err = w.ValidateByEmail(ctx, manager, "example.com", []string{"admin@example.com"})
	must(t, err)

	// Without a mail server there is no such validation.
	w.Email = nil
	_, err = w.ValidateByEmail(ctx, operator, "example.com", []string{"admin@example.com"})
	wantKind(t, err, problem.Malformed)
	if _, err := w.press(letter{ID: w.record("example.com").Email.Links[0].ID}); !problem.Is(err, problem.NotFound) {
		t.Errorf("an answer: %v", err)
	}
}

// TestWhoAnsweredIsTheOwners: an organisation that was given a domain uses its proof, and is not told who answers mail of the owner's,
// or from where.
func TestWhoAnsweredIsTheOwners(t *testing.T) {
	w, ctx := newEmailWorld(t), t.Context()
	w.confirms(w.asked("example.com", "main", "admin@example.com")[0])
	for _, change := range []func(context.Context, auth.Caller, string, string) (*ra.Domain, error){w.Delegate, w.Approve} {
		must(t, second(change(ctx, operator, "example.com", "below")))
	}
	below := auth.Caller{Principal: "user:3", Org: 3, Roles: []auth.Grant{{Org: 3, Role: auth.Administrator}}}
	list, err := w.List(ctx, below, "below", "", 10)
	must(t, err)
	d, err := w.Get(ctx, below, "example.com")
	must(t, err)
	e, err := w.submit(child, "www.example.com")
	must(t, err)
	if len(list) != 1 || len(e.Proofs) != 1 || e.Proofs[0].Owner != 1 {
		t.Fatalf("%+v, %+v", list, e)
	}
	for _, p := range []*dcv.Proof{list[0].Proof, d.Proof, &e.Proofs[0].Proof} {
		if p.Method != dcv.EmailConstructed || strings.Contains(p.Seen, "admin@") || strings.Contains(p.Seen, "192.0.2.7") {
			t.Errorf("%+v", p)
		}
	}
	if p := w.record("example.com").Proof; !strings.Contains(p.Seen, "admin@example.com") || !strings.Contains(p.Seen, "192.0.2.7") {
		t.Errorf("the owner's: %+v", p)
	}
}

func second[T any](_ T, err error) error { return err }

// TestASecondMail has a new code; the old one is good no more. There is a limit.
func TestASecondMail(t *testing.T) {
	w, ctx := newEmailWorld(t), t.Context()
	_, err := w.Add(ctx, operator, "example.com", "main")
	must(t, err)
	_, err = w.ResendEmail(ctx, operator, "example.com", nil)
	wantKind(t, err, problem.Conflict)
	old := w.asked("example.com", "main", "admin@example.com", "postmaster@example.com")
	expires := w.record("example.com").Email.Expires
	w.clock.add(time.Hour)
	_, err = w.ResendEmail(ctx, operator, "example.com", []string{"admin@example.com"})
	must(t, err)
	fresh := w.deliver()
	if len(fresh) != 1 || fresh[0].To != "admin@example.com" || fresh[0].ID != old[0].ID || fresh[0].Code == old[0].Code || !w.record("example.com").Email.Expires.Equal(expires) {
		t.Fatalf("%+v", fresh)
	}
	_, err = w.press(old[0])
	wantKind(t, err, problem.Unauthorized)
	for _, addresses := range [][]string{{"eve@example.com"}, {"admin@example.com", "admin@example.com"}} {
		_, err = w.ResendEmail(ctx, operator, "example.com", addresses)
		wantKind(t, err, problem.Malformed)
	}
	for range ra.MaxEmailSends - 2 {
		_, err = w.ResendEmail(ctx, operator, "example.com", []string{"admin@example.com"})
		must(t, err)
	}
	_, err = w.ResendEmail(ctx, operator, "example.com", nil)
	wantKind(t, err, problem.Conflict)
	w.confirms(old[1]) // the other address was not sent a second one
	_, err = w.ResendEmail(ctx, operator, "example.com", nil)
	wantKind(t, err, problem.Conflict)

	// Neither is a mailbox flooded by one validation after the other.
	d := w.gateway(w.db)
	for i := range 20 {
		_, err = d.ValidateByEmail(ctx, operator, "example.com", []string{"admin@example.com"})
		if err != nil {
			if wantKind(t, err, problem.RateLimited); i != 10 || problem.From(err).RetryAfter <= 0 {
				t.Errorf("after %d mails: %v", i, err)
			}
			break
		}
	}
	if err == nil {
		t.Error("twenty mails in a row")
	}
}

// TestARejection ends the validation and proves nothing.
func TestARejection(t *testing.T) {
	w, ctx := newEmailWorld(t), t.Context()
	list := w.asked("example.com", "main", "admin@example.com", "postmaster@example.com")
	_, err := w.AnswerEmail(ctx, ra.EmailAnswer{ID: list[0].ID, Code: "wrong", Reject: true, From: here})
	wantKind(t, err, problem.Unauthorized)
	q, err := w.AnswerEmail(ctx, ra.EmailAnswer{ID: list[0].ID, Code: list[0].Code, Reject: true, From: here})
	if err != nil || q.State != ra.EmailRejected {
		t.Fatalf("%+v, %v", q, err)
	}
	if q, err = w.press(list[1]); err != nil || q.State != ra.EmailRejected || w.record("example.com").Proof != nil {
		t.Errorf("the other address after that: %+v, %v", q, err)
	}
	if e := w.last(); !strings.Contains(e.Detail, "rejected") || !strings.Contains(e.Detail, "admin@example.com") || !strings.Contains(e.Detail, "192.0.2.7") {
		t.Errorf("%s", e.Detail)
	}
	w.refuses(alice, "example.com")
}

// TestALinkEnds with its time, its validation, its domain, its owner.
func TestALinkEnds(t *testing.T) {
	for name, row := range map[string]struct {
		change func(w *emailWorld) error
		state  ra.EmailOutcome // "": it leads to nothing
	}{
		"expired": {func(w *emailWorld) error { w.clock.add(ra.DefaultEmailLifetime); return nil }, ra.EmailExpired},
		"begun anew": {func(w *emailWorld) error {
			_, err := w.ValidateByEmail(w.t.Context(), operator, "example.com", []string{"admin@example.com"})
			return err
		}, ""},
		"another method": {func(w *emailWorld) error {
			return second(w.Validate(w.t.Context(), operator, "example.com", dcv.DNSTXT))
		}, ""},
		"removed": {func(w *emailWorld) error { return second(w.Remove(w.t.Context(), operator, "example.com")) }, ""},
		"another's": {func(w *emailWorld) error {
			return errors.Join(second(w.Remove(w.t.Context(), operator, "example.com")), second(w.Add(w.t.Context(), operator, "example.com", "other")),
				second(w.ValidateByEmail(w.t.Context(), operator, "example.com", []string{"admin@example.com"})))
		}, ""},
		"disabled": {func(w *emailWorld) (err error) {
			w.Directory, err = auth.NewDirectory([]auth.Org{{ID: 1, Slug: "main", Disabled: w.clock.now()}, {ID: 2, Slug: "other"}})
			return err
		}, ""},
	} {
		w := newEmailWorld(t)
		l := w.asked("example.com", "main", "admin@example.com")[0]
		must(t, row.change(w))
		q, err := w.press(l)
		switch {
		case row.state == "":
			if !problem.Is(err, problem.NotFound) {
				t.Errorf("%s: %+v, %v", name, q, err)
			}
			if _, err := w.EmailQuestion(t.Context(), l.ID); !problem.Is(err, problem.NotFound) {
				t.Errorf("%s: the page: %v", name, err)
			}
		case err != nil || q.State != row.state:
			t.Errorf("%s: %+v, %v", name, q, err)
		}
		if d := w.record("example.com"); d.Proof != nil {
			t.Errorf("%s: %+v", name, d.Proof)
		}
	}
	w := newEmailWorld(t)
	for _, id := range []string{"", "x", "../domain/example.com", strings.Repeat("A", 22), strings.Repeat("A", 4000)} {
		if _, err := w.press(letter{ID: id, Code: "x"}); !problem.Is(err, problem.NotFound) {
			t.Errorf("%q: %v", id, err)
		}
	}
}

// TestEmailComesBack: links that are on their way, answers and locks are in the journal, whole.
func TestEmailComesBack(t *testing.T) {
	w := newEmailWorld(t)
	check := func(when string) {
		t.Helper()
		d, e := w.record("example.com"), w.last()
		back, err := ra.DomainFromEvent(e)
		must(t, err)
		if back.Email == nil || back.Email.Outcome != d.Email.Outcome || back.Email.Wrong != d.Email.Wrong || back.Email.Address != d.Email.Address || back.Email.From != d.Email.From ||
			!back.Email.Ended.Equal(d.Email.Ended) || !back.Email.Expires.Equal(d.Email.Expires) || len(back.Email.Links) != 2 || back.Email.Links[0] != d.Email.Links[0] || back.Email.Links[1] != d.Email.Links[1] {
			t.Errorf("%s: %+v came back as %+v", when, d.Email, back.Email)
		}
		// A store that lost it gets it back, with its links.
		other := newEmailWorld(t)
		must(t, other.db.PutDomain(t.Context(), back, nil, time.Time{}))
		if got, err := other.db.DomainOfEmailLink(t.Context(), d.Email.Links[1].ID); err != nil || got == nil || got.Name != d.Name {
			t.Errorf("%s: the link leads to %+v, %v", when, got, err)
		}
	}
	list := w.asked("example.com", "main", "admin@example.com", "postmaster@example.com")
	check("begun")
	w.confirms(list[0])
	check("confirmed")
	must(t, second(w.Remove(t.Context(), operator, "example.com")))
	if back, err := ra.DomainFromEvent(w.last()); err != nil || back.Email != nil {
		t.Errorf("removed: %+v, %v", back, err)
	}
}
