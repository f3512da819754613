package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// domainCmd holds the commands about domains of organisations.
type domainCmd struct {
	Add      domainAddCmd      `cmd:"" help:"Give a domain to an organisation."`
	List     domainListCmd     `cmd:"" help:"List domains by name."`
	Show     domainShowCmd     `cmd:"" help:"Show a domain, its delegations, its proof, and what the last look for one saw."`
	Validate domainValidateCmd `cmd:"" help:"Begin a validation, and print what to publish, or send mail."`
	Check    domainCheckCmd    `cmd:"" help:"Look now whether it is published."`

	Addresses domainAddressesCmd `cmd:"" help:"List the addresses at which a validation by e-mail can be confirmed."`
	Resend    domainResendCmd    `cmd:"" help:"Send the mails of a validation again, with new links."`

	Cancel     domainCancelCmd     `cmd:"" help:"End a validation that is under way. A proof that there is stays."`
	Invalidate domainInvalidateCmd `cmd:"" help:"Forget the proof, so that nothing is issued on it any more, and end a validation that is under way."`

	Suspend  domainSuspendCmd  `cmd:"" help:"Have nothing be issued for a domain until it is activated."`
	Activate domainActivateCmd `cmd:"" help:"End the suspension of a domain."`

	Delegate domainDelegateCmd `cmd:"" help:"Ask that an organisation below the owner may use the domain."`
	Approve  domainApproveCmd  `cmd:"" help:"Let an organisation use the domain as was asked."`
	Reject   domainRejectCmd   `cmd:"" help:"Refuse a delegation, or take back an approved one."`
	Remove   domainRemoveCmd   `cmd:"" help:"Take a domain from its owner, with its proof and delegations."`
}

// domainView is a domain as the operator's commands show it.
type domainView struct {
	Domain      string           `json:"domain"`
	Number      int32            `json:"number"`
	Org         string           `json:"org"` // slug of the owner
	OrgID       int32            `json:"orgId"`
	Status      string           `json:"status"` // not validated, validated, expired
	Created     time.Time        `json:"created"`
	Suspended   time.Time        `json:"suspended,omitzero"`
	Description string           `json:"description,omitempty"`
	Privileges  []string         `json:"privileges,omitempty"` // of the owner, where it has not all of them
	Method      string           `json:"method,omitempty"`     // of the proof
	Until       time.Time        `json:"until,omitzero"`       // under the profile that takes it longest
	Proof       *provenView      `json:"proof,omitempty"`
	Delegations []delegationView `json:"delegations"`
	Validation  *lookingView     `json:"validation,omitempty"`
	Email       *emailingView    `json:"email,omitempty"`
}

type delegationView struct {
	Org       string    `json:"org"` // slug
	OrgID     int32     `json:"orgId"`
	State     string    `json:"state"` // requested, approved, rejected
	Requested time.Time `json:"requested"`
	Decided   time.Time `json:"decided,omitzero"`

	Privileges []string `json:"privileges,omitempty"` // where it has not all of them
}

// lookingView is a validation that did not succeed yet.
type lookingView struct {
	Method   string    `json:"method"`
	Location string    `json:"location"` // a URL, or a DNS name
	Record   string    `json:"record"`   // file, TXT or CNAME
	Value    string    `json:"value"`
	Begun    time.Time `json:"begun"`
	Expires  time.Time `json:"expires"`

	Submitted time.Time    `json:"submitted,omitzero"` // since when the gateway looks
	Due       time.Time    `json:"due,omitzero"`       // when the gateway looks next
	Attempts  int          `json:"attempts"`
	Failed    *failureView `json:"failed,omitempty"`
}

// domainPage is one page of domains.
type domainPage struct {
	Domains []domainView `json:"domains"`
	Next    string       `json:"next,omitempty"` // for --after
}

// domainArg is a command about one domain.
type domainArg struct {
	adminFlags
	Domain string `arg:"" help:"The domain's name."`
}

// run asks for a change and prints the domain as it is then.
func (c *domainArg) run(ctx context.Context, s streams, verb string, in domainEdit, line func(domainView) string) error {
	var v domainView
	if err := c.call(ctx, "POST", "/domains/"+url.PathEscape(c.Domain)+"/"+verb, in, &v); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, v)
	}
	_, err := fmt.Fprintln(s.out, line(v))
	return err
}

type domainAddCmd struct {
	domainArg
	Org string `help:"Slug of the organisation that owns it." required:""`
}

func (c *domainAddCmd) Run(ctx context.Context, s streams) error {
	var v domainView
	if err := c.call(ctx, "POST", "/domains", domainAdd{Domain: c.Domain, Org: c.Org}, &v); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, v)
	}
	_, err := fmt.Fprintf(s.out, "%s belongs to %s; gatehouse domain validate %s --method txt begins its validation\n", v.Domain, v.Org, v.Domain)
	return err
}

type domainListCmd struct {
	adminFlags
	Org   string `help:"Only domains that the organisation with this slug owns, uses or wants."`
	Limit int    `help:"How many, 1 to 500." default:"50"`
	After string `help:"Continue behind this name."`
}

func (c *domainListCmd) Run(ctx context.Context, s streams) error {
	at := place{c.Org, c.After, c.Limit}
	var page domainPage
	if err := c.call(ctx, "GET", "/domains?"+at.query(), nil, &page); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, page)
	}
	err := printTable(s.out, page.Domains, "no domains", "DOMAIN | OWNER | STATUS | UNTIL | DELEGATED TO", func(v domainView) []any {
		until := "-"
		if !v.Until.IsZero() {
			until = day(v.Until)
		}
		return []any{v.Domain, v.Org, v.standing(), until, v.delegates()}
	})
	return errors.Join(err, at.more(s.out, "domain list", page.Next))
}

// standing is the status, and that it is suspended.
func (v domainView) standing() string {
	if v.Suspended.IsZero() {
		return v.Status
	}
	return v.Status + ", suspended"
}

func (v domainView) delegates() string {
	var list []string
	for _, l := range v.Delegations {
		list = append(list, l.Org+" ("+l.State+")")
	}
	if len(list) == 0 {
		return "-"
	}
	return strings.Join(list, ", ")
}

// forNames says what names a use of a domain is for, if not for all.
func forNames(privileges []string) string {
	if len(privileges) == 0 {
		return ""
	}
	return ", for " + strings.Join(privileges, ", ")
}

type domainShowCmd struct{ domainArg }

func (c *domainShowCmd) Run(ctx context.Context, s streams) error {
	var v domainView
	if err := c.call(ctx, "GET", "/domains/"+url.PathEscape(c.Domain), nil, &v); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, v)
	}
	var b strings.Builder
	v.describe(page{&b})
	_, err := io.WriteString(s.out, b.String())
	return err
}

// describe writes a domain for people.
func (v domainView) describe(p page) {
	p.line(0, "domain        %s", v.Domain)
	p.line(0, "number        %d", v.Number)
	p.line(0, "owner         %s%s", v.Org, forNames(v.Privileges))
	p.line(0, "status        %s", v.Status)
	if !v.Suspended.IsZero() {
		p.line(0, "suspended     since %s: nothing is issued for it", utc(v.Suspended))
	}
	p.line(0, "added         %s", utc(v.Created))
	if v.Description != "" {
		p.line(0, "description   %s", v.Description)
	}
	for _, l := range v.Delegations {
		p.line(0, "delegation    %s: %s%s", l.Org, l.State, forNames(l.Privileges))
	}
	if v.Proof != nil {
		p.line(0, "")
		p.line(0, "%s: validated at %s, usable until %s", v.Method, utc(v.Proof.At), utc(v.Until))
		if v.Proof.Seen != "" { // only the owner is told
			p.line(1, "seen: %s", v.Proof.Seen)
		}
		if v.Proof.Secure {
			p.line(1, "DNSSEC authenticated the answers that were used")
		}
	}
	if v.Email != nil {
		v.Email.describe(p)
	}
	l := v.Validation
	if l == nil {
		return
	}
	p.line(0, "")
	p.line(0, "%s: under way since %s, until %s", l.Method, utc(l.Begun), utc(l.Expires))
	l.publish(p)
	if l.Submitted.IsZero() {
		p.line(1, "the gateway does not look before that is said to be published, as gatehouse domain check %s does", v.Domain)
	}
	if !l.Due.IsZero() {
		p.line(1, "the gateway looks next at %s; it has looked %s times", utc(l.Due), strconv.Itoa(l.Attempts))
	}
	if f := l.Failed; f != nil {
		p.line(1, "the last look, at %s (%s): %s", utc(f.At), f.Kind, f.Detail)
		p.record(f.Record)
	}
}

// publish says what belongs where.
func (l *lookingView) publish(p page) {
	switch l.Record {
	case "file":
		p.line(1, "publish a file at  %s", l.Location)
		first, second, two := strings.Cut(l.Value, "\n")
		p.line(1, "with this content  %s", first)
		if two {
			p.line(1, "and a second line  %s", second)
		}
	default:
		end := ""
		if l.Record == "CNAME" {
			end = "."
		}
		p.line(1, "publish  %s. %s %s%s", l.Location, l.Record, l.Value, end)
	}
}

type domainValidateCmd struct {
	domainArg
	Method  string   `help:"http or https: a file, which proves the very name; txt or cname: a DNS record, which proves all names below as well; email: a mail to --address." required:"" enum:"http,https,txt,cname,email"`
	Address []string `help:"With email: where to send it; one of those that domain addresses lists. Can be given several times." placeholder:"ADDRESS" sep:"none"`
}

func (c *domainValidateCmd) Run(ctx context.Context, s streams) error {
	if c.Method == "email" {
		return c.run(ctx, s, "validate", domainEdit{Method: c.Method, Addresses: c.Address}, domainView.mailed)
	}
	if len(c.Address) > 0 {
		return fmt.Errorf("--address goes with --method email alone")
	}
	return c.run(ctx, s, "validate", domainEdit{Method: c.Method}, func(v domainView) string {
		var b strings.Builder
		v.Validation.publish(page{&b})
		return strings.TrimRight(b.String(), "\n") + "\nThe gateway looks for it from time to time until " + utc(v.Validation.Expires) +
			"; gatehouse domain check " + v.Domain + " looks at once."
	})
}

type domainCheckCmd struct{ domainArg }

func (c *domainCheckCmd) Run(ctx context.Context, s streams) error {
	var v domainView
	if err := c.call(ctx, "POST", "/domains/"+url.PathEscape(c.Domain)+"/check", domainEdit{}, &v); err != nil {
		return err
	}
	if c.JSON {
		if err := writeJSON(s.out, v); err != nil || v.Validation == nil {
			return err
		}
		return errReported
	}
	var b strings.Builder
	v.describe(page{&b})
	if _, err := io.WriteString(s.out, b.String()); err != nil || v.Validation == nil {
		return err
	}
	return fmt.Errorf("%s is not validated yet", v.Domain)
}

type domainRemoveCmd struct{ domainArg }

func (c *domainRemoveCmd) Run(ctx context.Context, s streams) error {
	return c.run(ctx, s, "remove", domainEdit{}, func(v domainView) string {
		return v.Domain + " is nobody's any more; certificates that were issued stay"
	})
}

type domainCancelCmd struct{ domainArg }

func (c *domainCancelCmd) Run(ctx context.Context, s streams) error {
	return c.run(ctx, s, "cancel", domainEdit{}, func(v domainView) string {
		return "no validation of " + v.Domain + " is under way; it is " + v.Status
	})
}

type domainInvalidateCmd struct{ domainArg }

func (c *domainInvalidateCmd) Run(ctx context.Context, s streams) error {
	return c.run(ctx, s, "invalidate", domainEdit{}, func(v domainView) string {
		return v.Domain + " is " + v.Status + "; certificates that were issued stay"
	})
}
