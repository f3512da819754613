package main

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/console"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/internal/web"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// emailValidation is what validations of domains by e-mail stand on; nil where there is no mail server, or no key to seal what
// mails hold.
func (c *core) emailValidation() *ra.EmailConfig {
	s := c.settings
	if !s.sendsMail() || s.sealer == nil {
		return nil
	}
	return &ra.EmailConfig{Finder: c.validator, Sealer: s.sealer, Tries: c.db, Page: s.publicURLs[0] + console.EmailPath, Lifetime: s.emailLifetime}
}

// openConsole makes the pages for people.
func (c *core) openConsole() (http.Handler, error) {
	pages, err := console.New(console.Config{
		Emails: c.domains,
		Remote: func(r *http.Request) netip.Addr {
			peer, _ := netip.ParseAddrPort(r.RemoteAddr) // all that are none share one counter
			return peer.Addr()
		},
		Observe: func(ctx context.Context, page string, err error) {
			event := web.Event(ctx)
			event.Endpoint(page)
			event.Problem(err)
		},
	})
	if err != nil {
		return nil, err
	}
	return pages.Handler(), nil
}

func viewEmailing(v *ra.EmailValidation, now time.Time) *emailingView {
	if v == nil {
		return nil
	}
	out := &emailingView{State: string(v.State(now)), Begun: v.Begun, Expires: v.Expires, Wrong: v.Wrong}
	for _, l := range v.Links {
		out.Mails = append(out.Mails, emailedView{Address: l.Address, Method: string(l.Method), Source: l.Source, Sent: l.Sent, Mails: l.Sends})
	}
	if !v.Ended.IsZero() {
		out.Answer = &emailAnswered{At: v.Ended, Address: v.Address, From: v.From}
	}
	return out
}

func (a *admin) domainAddresses(caller auth.Caller, r *http.Request) (any, error) {
	found, err := a.domains.EmailAddresses(r.Context(), caller, r.PathValue("domain"))
	if err != nil {
		return nil, err
	}
	v := addressesView{Addresses: []contactView{}, Failures: append([]string{}, found.Failures...), Unusable: append([]string{}, found.Unusable...)}
	for _, c := range found.Contacts {
		covers := "name"
		if c.Method == dcv.EmailConstructed {
			covers = "below"
		}
		v.Addresses = append(v.Addresses, contactView{Address: c.Address, Method: string(c.Method), Source: c.Source, Covers: covers})
	}
	return v, nil
}
