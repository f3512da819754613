package ra

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/seal"
)

// EmailAddresses lists the addresses at which a validation of the domain by e-mail can be confirmed, as the DNS has them now. It
// sends nothing. Errors: also RateLimited, for all but operators.
func (m *Domains) EmailAddresses(ctx context.Context, caller auth.Caller, domain string) (*dcv.EmailContacts, error) {
	d, err := m.managed(ctx, caller, domain)
	if err != nil {
		return nil, err
	}
	return m.contacts(ctx, caller, d)
}

// contacts asks the DNS for addresses, unless that was asked for too often.
func (m *Domains) contacts(ctx context.Context, caller auth.Caller, d *Domain) (*dcv.EmailContacts, error) {
	if !caller.Operator {
		wait, err := m.Store.Attempt(ctx, lookupsOf(m.Directory.Customer(d.Org)))
		if err == nil && wait > 0 {
			err = problem.New(problem.RateLimited, "too many lookups were asked for; try again later").After(wait)
		}
		if err != nil {
			return nil, err
		}
	}
	return m.Email.Finder.EmailContacts(ctx, d.Name, m.dnssec())
}

// managed reads a domain for a caller who manages it and can have it validated by e-mail.
func (m *Domains) managed(ctx context.Context, caller auth.Caller, domain string) (*Domain, error) {
	d, err := m.Get(ctx, caller, domain)
	if err != nil {
		return nil, err
	}
	if err := m.may(caller, auth.ManageDomains, d.Org, d.Name); err != nil {
		return nil, err
	}
	if m.Email == nil {
		return nil, problem.New(problem.Malformed, "method: this gateway sends no mail; use a TXT record, or configure mail: and seal:")
	}
	return d, nil
}

// ValidateByEmail begins a validation by e-mail, in place of any that is under way: each of the addresses, of those that
// [Domains.EmailAddresses] lists, is sent a code of its own. Durable on return, as the mails are. The first answer decides. A
// proof that there is stays until there is a new one.
func (m *Domains) ValidateByEmail(ctx context.Context, caller auth.Caller, domain string, addresses []string) (*Domain, error) {
	d, err := m.managed(ctx, caller, domain)
	if err != nil {
		return nil, err
	}
	contacts, err := m.choose(ctx, caller, d, addresses)
	if err != nil {
		return nil, err
	}
	chosen := make([]string, len(contacts))
	for i, c := range contacts {
		chosen[i] = c.Address
	}
	if err := m.mayWrite(ctx, caller, d, chosen...); err != nil {
		return nil, err
	}
	what := "validation by e-mail to " + strings.Join(chosen, ", ") + " begun"
	return m.mailing(ctx, caller, d, what, func(d *Domain) ([]*Mail, error) {
		now := m.second()
		v := &EmailValidation{Begun: now, Expires: now.Add(m.Email.Lifetime), Outcome: EmailPending}
		d.Email, d.Validation = v, nil
		var mails []*Mail
		for _, c := range contacts {
			v.Links = append(v.Links, EmailLink{ID: randomWord(), Address: c.Address, Method: c.Method, Source: c.Source, Secure: c.Secure})
			mail, err := m.send(ctx, d, &v.Links[len(v.Links)-1], now)
			if err != nil {
				return nil, err
			}
			mails = append(mails, mail)
		}
		return mails, nil
	})
}

// choose holds addresses to those that the domain has, and asks the DNS about the way to them.
func (m *Domains) choose(ctx context.Context, caller auth.Caller, d *Domain, addresses []string) ([]dcv.EmailContact, error) {
	advice := "gatehouse domain addresses " + d.Name.Value() + " lists those that can be"
	switch {
	case len(addresses) == 0:
		return nil, problem.New(problem.Malformed, "address: none is given; %s", advice)
	case len(addresses) > MaxEmailAddresses:
		return nil, problem.New(problem.Malformed, "address: %d are given; at most %d can be", len(addresses), MaxEmailAddresses)
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	found, err := m.contacts(ctx, caller, d)
	if err != nil {
		return nil, err
	}
	var chosen []dcv.EmailContact
	for _, text := range addresses {
		address, err := dcv.ParseEmail(text)
		if err != nil {
			return nil, problem.New(problem.Malformed, "address: %v", err)
		}
		same := func(c dcv.EmailContact) bool { return c.Address == address }
		if slices.ContainsFunc(chosen, same) {
			return nil, problem.New(problem.Malformed, "address: %s is given twice", address)
		}
		i := slices.IndexFunc(found.Contacts, same)
		switch {
		case i < 0 && len(found.Failures) > 0:
			return nil, problem.New(problem.DNS, "address: it cannot be told whether %s may confirm for %s: %s", address, d.Name.Value(), strings.Join(found.Failures, "; "))
		case i < 0:
			return nil, problem.New(problem.Malformed, "address: %s cannot confirm for %s; %s", address, d.Name.Value(), advice)
		}
		contact := found.Contacts[i]
		secure, err := m.Email.Finder.MailRoute(ctx, address, m.dnssec())
		if err != nil {
			return nil, err
		}
		contact.Secure = contact.Secure && secure
		chosen = append(chosen, contact)
	}
	return chosen, nil
}

// ResendEmail sends new codes to addresses of a validation that is under way, or to all of them. The code that an address was
// sent before is good no more: only its hash is there, so that it cannot be sent again, and of several mails in one mailbox
// the newest is what people look at. When the validation ends does not change.
func (m *Domains) ResendEmail(ctx context.Context, caller auth.Caller, domain string, addresses []string) (*Domain, error) {
	d, err := m.managed(ctx, caller, domain)
	if err != nil {
		return nil, err
	}
	if err := m.pending(d); err != nil {
		return nil, err
	}
	if len(addresses) == 0 {
		for _, l := range d.Email.Links {
			addresses = append(addresses, l.Address)
		}
	}
	links := make([]string, 0, len(addresses))
	for _, address := range addresses {
		i := slices.IndexFunc(d.Email.Links, func(l EmailLink) bool { return l.Address == address })
		switch {
		case i < 0:
			return nil, problem.New(problem.Malformed, "address: nothing was sent to %q; gatehouse domain validate --method email begins a validation with other addresses", address)
		case slices.Contains(links, d.Email.Links[i].ID):
			return nil, problem.New(problem.Malformed, "address: %s is given twice", address)
		}
		links = append(links, d.Email.Links[i].ID)
	}
	if err := m.mayWrite(ctx, caller, d, addresses...); err != nil {
		return nil, err
	}
	return m.mailing(ctx, caller, d, "mail sent again to "+strings.Join(addresses, ", "), func(d *Domain) ([]*Mail, error) {
		if err := m.pending(d); err != nil {
			return nil, err
		}
		var mails []*Mail
		for _, id := range links {
			l := d.Email.link(id)
			switch {
			case l == nil:
				return nil, problem.New(problem.Conflict, "another validation of %s was begun meanwhile", d.Name.Value())
			case l.Sends >= MaxEmailSends:
				return nil, problem.New(problem.Conflict, "%s was sent %d mails, and gets no more for this validation; see why none arrived, then begin another by gatehouse domain validate", l.Address, l.Sends)
			}
			mail, err := m.send(ctx, d, l, m.second())
			if err != nil {
				return nil, err
			}
			mails = append(mails, mail)
		}
		return mails, nil
	})
}

// pending is nil if a validation by e-mail waits for an answer.
func (m *Domains) pending(d *Domain) error {
	switch {
	case d.Email == nil:
		return problem.New(problem.Conflict, "no validation of %s by e-mail is under way; gatehouse domain validate %s --method email begins one", d.Name.Value(), d.Name.Value())
	case d.Email.State(m.Now()) != EmailPending:
		return problem.New(problem.Conflict, "the validation of %s by e-mail is %s; gatehouse domain validate %s --method email begins another", d.Name.Value(), d.Email.State(m.Now()), d.Name.Value())
	}
	return nil
}

// mayWrite takes from the rates of addresses, each once, and of the customer unless the operator asks.
func (m *Domains) mayWrite(ctx context.Context, caller auth.Caller, d *Domain, addresses ...string) error {
	var rates []auth.AttemptRate
	for _, address := range addresses {
		if rate := sendsTo(address); !slices.Contains(rates, rate) {
			rates = append(rates, rate)
		}
	}
	if !caller.Operator {
		rates = append(rates, sendsBy(m.Directory.Customer(d.Org)))
	}
	return m.try(ctx, "too many mails were sent, to one of these addresses or by the customer; try again later", rates...)
}

// send gives a link a new code and makes the mail that has it.
func (m *Domains) send(ctx context.Context, d *Domain, l *EmailLink, now time.Time) (*Mail, error) {
	code := randomWord()
	mail := &Mail{
		ID: NewMailID(), Org: d.Org, Kind: MailDomainValidation, To: l.Address, Created: now, Until: d.Email.Expires,
		Data: map[string]string{
			"domain": d.Name.Value(), "organisation": m.orgName(d.Org), "link": m.Email.Page + l.ID + "/",
			"until": d.Email.Expires.UTC().Format(time.RFC3339),
		},
	}
	var err error
	if mail.Sealed, err = m.Email.Sealer.Seal(ctx, seal.MailSecret, mail.ID, []byte(code)); err != nil {
		return nil, fmt.Errorf("ra: sealing the code of a mail: %w", err)
	}
	l.Code, l.Sent = sha256.Sum256([]byte(code)), now
	l.Sends++
	return mail, nil
}

// mailing changes a domain that the caller was seen to manage, and records mails with the change.
func (m *Domains) mailing(ctx context.Context, caller auth.Caller, have *Domain, what string, apply func(*Domain) ([]*Mail, error)) (*Domain, error) {
	return m.changeMailing(ctx, have.Name, caller.Principal, what, func(d *Domain) (*Domain, []*Mail, error) {
		if d == nil || !d.Removed.IsZero() {
			return nil, nil, noDomain(have.Name)
		}
		if err := m.may(caller, auth.ManageDomains, d.Org, have.Name); err != nil {
			return nil, nil, err
		}
		next := d.clone()
		mails, err := apply(next)
		return next, mails, err
	})
}

// orgName is an organisation for people.
func (m *Domains) orgName(id auth.OrgID) string {
	o, _ := m.Directory.ByID(id)
	if o.Name != "" {
		return o.Name
	}
	return o.Slug
}

// randomWord is 128 random bits in base64url.
func randomWord() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: crypto/rand aborts the process instead
	return base64.RawURLEncoding.EncodeToString(b[:])
}
