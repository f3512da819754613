package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"
)

// emailingView is a domain's newest validation by e-mail.
type emailingView struct {
	State   string         `json:"state"` // pending, confirmed, rejected, expired, locked
	Begun   time.Time      `json:"begun"`
	Expires time.Time      `json:"expires"`
	Mails   []emailedView  `json:"mails"`
	Wrong   int            `json:"wrongCodes"`
	Answer  *emailAnswered `json:"answer,omitempty"`
}

// emailedView is what one address was sent.
type emailedView struct {
	Address string    `json:"address"`
	Method  string    `json:"method"` // what a confirmation proves
	Source  string    `json:"source"`
	Sent    time.Time `json:"sent"`
	Mails   int       `json:"mails"`
}

type emailAnswered struct {
	At      time.Time `json:"at"`
	Address string    `json:"address"` // whose mail it came by
	From    string    `json:"from"`    // IP address
}

// addressesView are the addresses at which a validation can be confirmed.
type addressesView struct {
	Addresses []contactView `json:"addresses"`
	Failures  []string      `json:"failures"` // why there may be more
	Unusable  []string      `json:"unusable"` // published, and none
}

type contactView struct {
	Address string `json:"address"`
	Method  string `json:"method"`
	Source  string `json:"source"`
	Covers  string `json:"covers"` // name, or below: it and all names below it
}

// describe writes it for people.
func (v *emailingView) describe(p page) {
	p.line(0, "")
	p.line(0, "e-mail: %s; begun at %s, to be answered until %s", v.State, utc(v.Begun), utc(v.Expires))
	for _, m := range v.Mails {
		times := ""
		if m.Mails > 1 {
			times = fmt.Sprintf(", the last of %d mails", m.Mails)
		}
		p.line(1, "%s (%s): %s%s", m.Address, m.Method, utc(m.Sent), times)
	}
	if v.Wrong > 0 {
		p.line(1, "wrong codes: %s", fmt.Sprint(v.Wrong))
	}
	if a := v.Answer; a != nil {
		p.line(1, "answered at %s by the mail to %s, from %s", utc(a.At), a.Address, a.From)
	}
}

// mailed says what a command that sent mail has done.
func (v domainView) mailed() string {
	var to []string
	for _, m := range v.Email.Mails {
		to = append(to, m.Address)
	}
	return fmt.Sprintf("mail to %s is on its way; whoever gets it can confirm until %s.\ngatehouse domain show %s tells what became of it; gatehouse domain resend %s sends it again.",
		strings.Join(to, ", "), utc(v.Email.Expires), v.Domain, v.Domain)
}

type domainAddressesCmd struct{ domainArg }

func (c *domainAddressesCmd) Run(ctx context.Context, s streams) error {
	var v addressesView
	if err := c.call(ctx, "GET", "/domains/"+url.PathEscape(c.Domain)+"/addresses", nil, &v); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, v)
	}
	return v.print(s.out)
}

func (v addressesView) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if len(v.Addresses) == 0 {
		fmt.Fprintln(w, "no addresses")
	} else {
		fmt.Fprintln(w, "ADDRESS\tPROVES\tMETHOD\tSOURCE")
	}
	for _, a := range v.Addresses {
		proves := "the name alone"
		if a.Covers == "below" {
			proves = "all below"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", a.Address, proves, a.Method, a.Source)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, text := range v.Failures {
		fmt.Fprintln(out, "there may be more:", text)
	}
	for _, text := range v.Unusable {
		fmt.Fprintln(out, "not usable:", text)
	}
	return nil
}

type domainResendCmd struct {
	domainArg
	Address []string `help:"Only to this address. Can be given several times." placeholder:"ADDRESS" sep:"none"`
}

func (c *domainResendCmd) Run(ctx context.Context, s streams) error {
	return c.run(ctx, s, "resend", domainEdit{Addresses: c.Address}, domainView.mailed)
}
