package scm

import (
	"slices"
	"strings"
	"sync"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/rest"
)

// dcvEmails are the addresses at which domains can be confirmed.
type dcvEmails struct {
	Emails    []string          `json:"emails"` // those that can confirm each of the domains
	DCVEmails []dcvDomainEmails `json:"dcvEmails"`
}

// dcvDomainEmails are those of one domain, by where they are from.
type dcvDomainEmails struct {
	DomainName   string   `json:"domainName"`
	WhoisEmails  []string `json:"whoisEmails"` // always empty: nobody asks WHOIS
	AdminEmails  []string `json:"adminEmails"`
	DNSTXTEmails []string `json:"dnsTxtEmails"` // published in TXT and CAA records
}

// dcvBulk is what became of the submission of several domains.
type dcvBulk struct {
	OrderStatus string `json:"orderStatus"`
	Message     string `json:"message"`
}

// startEmail lists the addresses that submitEmail can send mail to. It sends nothing, and begins nothing.
func (s *Server) startEmail(c *call) error {
	o, err := c.body()
	if err != nil {
		return err
	}
	names, err := c.dcvDomains(o)
	if err != nil {
		return err
	}
	out := dcvEmails{Emails: []string{}}
	if out.DCVEmails, err = c.contacts(names); err != nil {
		return err
	}
	for _, address := range out.DCVEmails[0].all() {
		if !slices.ContainsFunc(out.DCVEmails, func(d dcvDomainEmails) bool { return !slices.Contains(d.all(), address) }) {
			out.Emails = append(out.Emails, address)
		}
	}
	return c.answer(out)
}

// contacts finds the addresses of domains, at the same time.
func (c *call) contacts(names []string) ([]dcvDomainEmails, error) {
	list, errs := make([]dcvDomainEmails, len(names)), make([]error, len(names))
	var lookups sync.WaitGroup
	for i, name := range names {
		lookups.Go(func() { list[i], errs[i] = c.domainContacts(name) })
	}
	lookups.Wait()
	for i, err := range errs {
		if err != nil {
			return nil, aboutDomain(names, names[i], nil, err)
		}
	}
	return list, nil
}

func (c *call) domainContacts(name string) (dcvDomainEmails, error) {
	found, err := c.s.Domains.EmailAddresses(c.ctx, c.caller, name)
	if err != nil {
		return dcvDomainEmails{}, dcvError(err)
	}
	d := dcvDomainEmails{DomainName: name, WhoisEmails: []string{}, AdminEmails: []string{}, DNSTXTEmails: []string{}}
	for _, contact := range found.Contacts {
		if contact.Method == dcv.EmailConstructed {
			d.AdminEmails = append(d.AdminEmails, contact.Address)
		} else {
			d.DNSTXTEmails = append(d.DNSTXTEmails, contact.Address)
		}
	}
	return d, nil
}

func (d dcvDomainEmails) all() []string { return slices.Concat(d.AdminEmails, d.DNSTXTEmails) }

// submitEmail sends mail to an address of a domain, again if that was sent mail for this validation already.
func (s *Server) submitEmail(c *call) error {
	o, err := c.body()
	if err != nil {
		return err
	}
	address := emailAddress(o)
	name, err := c.dcvDomain(o)
	if err != nil {
		return err
	}
	d, err := c.dcvMail(name, address)
	if err != nil {
		return dcvError(err)
	}
	out := c.submitted(d)
	out.EmailReferenceNumber = emailReference(d.Email)
	return c.answer(out)
}

// submitEmails sends one mail for each of several domains to an address that can confirm all of them, or none if it cannot.
func (s *Server) submitEmails(c *call) error {
	o, err := c.body()
	if err != nil {
		return err
	}
	address := emailAddress(o)
	o.Require("domains")
	names, err := c.dcvDomains(o)
	if err != nil {
		return err
	}
	list, err := c.contacts(names)
	if err != nil {
		return err
	}
	for _, d := range list {
		if !slices.Contains(d.all(), address) {
			return wrongValue("email: %s cannot confirm %s; start lists the addresses that can", quoted(address), d.DomainName)
		}
	}
	for i, name := range names {
		if _, err := c.dcvMail(name, address); err != nil {
			return aboutDomain(names, name, names[:i], dcvError(err))
		}
	}
	return c.answer(dcvBulk{dcvOrders[ra.StageSubmitted], submittedMessage})
}

// emailAddress reads the address that is to confirm.
func emailAddress(o *rest.Object) string {
	o.Require("email")
	text := strings.TrimSpace(o.Text("email", maxName))
	address, err := dcv.ParseEmail(text)
	if err != nil && text != "" {
		o.Refuse("email", "%v", err)
	}
	return address
}

// dcvMail has an address confirm a domain: by another mail of a validation that it takes part in, or by a new validation.
func (c *call) dcvMail(name, address string) (*ra.Domain, error) {
	d, err := c.s.Domains.Get(c.ctx, c.caller, name)
	if err != nil {
		return nil, err
	}
	if d.Stage(c.s.Now()) == ra.StageSubmitted && d.Validation == nil && slices.ContainsFunc(d.Email.Links, func(l ra.EmailLink) bool { return l.Address == address }) {
		return c.s.Domains.ResendEmail(c.ctx, c.caller, name, []string{address})
	}
	return c.s.Domains.ValidateByEmail(c.ctx, c.caller, name, []string{address})
}

// aboutDomain says which of several domains an error is about, and what was done for others before.
func aboutDomain(names []string, name string, done []string, err error) error {
	if len(names) == 1 {
		return err
	}
	status, code := wire(err)
	p := problem.From(err)
	text := name + ": " + p.Detail
	if len(done) > 0 {
		text += "; mail was sent for " + strings.Join(done, ", ") + " before"
	}
	return coded(status, code, problem.Wrap(err, p.Kind, "%s", text).After(p.RetryAfter))
}
