package main

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"net/url"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// domainAdd is what domain add sends.
type domainAdd struct {
	Domain string `json:"domain"`
	Org    string `json:"org"`
}

// domainEdit is what the other commands about a domain send.
type domainEdit struct {
	Method string `json:"method,omitempty"`
	To     string `json:"to,omitempty"`

	Addresses  []string `json:"addresses,omitempty"`
	Privileges []string `json:"privileges,omitempty"`
}

// domainMethods are the methods by the words of the command line.
var domainMethods = map[string]dcv.Method{"http": dcv.HTTPFile, "https": dcv.HTTPSFile, "txt": dcv.DNSTXT, "cname": dcv.DNSCNAME}

// openDomains makes what looks after the domains of organisations.
func (c *core) openDomains() {
	s := c.settings
	c.domains = ra.NewDomains(ra.DomainsConfig{
		Store: c.db, Directory: c.organisations, Profiles: s.profiles, Validator: c.validator, Journal: c.journal, Target: s.domainTarget(),
		Email: c.emailValidation(), Now: c.clock.Now, Log: s.log,
	})
}

// domainTarget is below which name the targets of CNAME records are: the configured one, or dcv. in front of the first public
// URL's host, unless that is an address or has no room.
func (s *settings) domainTarget() string {
	if s.cnameTarget != "" {
		return s.cnameTarget
	}
	u, err := url.Parse(s.publicURLs[0])
	if err != nil {
		return ""
	}
	if _, err := netip.ParseAddr(u.Hostname()); err == nil {
		return ""
	}
	name, err := identifier.ParseDNS("dcv." + u.Hostname())
	if err != nil || len(name.Value()) > maxCNAMETarget {
		return ""
	}
	return name.Value()
}

func (a *admin) slug(id auth.OrgID) string {
	org, _ := a.organisations.ByID(id)
	return org.Slug
}

func (a *admin) viewDomain(d *ra.Domain) domainView {
	status, until := a.domains.Status(d)
	v := domainView{
		Domain: d.Name.Value(), Number: int32(d.Number), Org: a.slug(d.Org), OrgID: int32(d.Org), Status: string(status), Created: d.Created, Until: until,
		Suspended: d.Suspended, Description: d.Description, Privileges: texts(d.Own), Delegations: []delegationView{},
	}
	if p := d.Proof; p != nil {
		v.Method = string(p.Method)
		v.Proof = &provenView{At: p.At, Until: until, Seen: p.Seen, Secure: p.Secure}
	}
	for _, l := range d.Delegations {
		v.Delegations = append(v.Delegations, delegationView{
			Org: a.slug(l.Org), OrgID: int32(l.Org), State: string(l.State), Requested: l.Requested, Decided: l.Decided,
			Privileges: texts(l.Privileges),
		})
	}
	if l := d.Validation; l != nil {
		v.Validation = &lookingView{
			Method: string(l.Method), Location: dcv.Location(l.Method, d.Name, l.Publication), Record: recordOf(l.Method), Value: l.Publication.Value,
			Begun: l.Begun, Submitted: l.Submitted, Expires: l.Expires, Due: l.Due, Attempts: l.Attempts,
		}
		if f := l.Failed; f != nil {
			v.Validation.Failed = &failureView{Kind: f.Kind.String(), Detail: f.Detail, At: f.At}
			if json.Valid(f.Record) {
				v.Validation.Failed.Record = f.Record
			}
		}
	}
	v.Email = viewEmailing(d.Email, a.now())
	return v
}

func texts(list []ra.Privilege) (out []string) {
	for _, p := range list {
		out = append(out, string(p))
	}
	return out
}

// recordOf is what a method has published.
func recordOf(m dcv.Method) string {
	switch m {
	case dcv.DNSTXT:
		return "TXT"
	case dcv.DNSCNAME, dcv.CSRHashCNAME:
		return "CNAME"
	default:
		return "file"
	}
}

func (a *admin) domainAdd(caller auth.Caller, r *http.Request) (any, error) {
	var in domainAdd
	if err := readBody(r, &in); err != nil {
		return nil, err
	}
	return a.domain(a.domains.Add(r.Context(), caller, in.Domain, in.Org))
}

func (a *admin) domain(d *ra.Domain, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return a.viewDomain(d), nil
}

func (a *admin) domainGet(caller auth.Caller, r *http.Request) (any, error) {
	return a.domain(a.domains.Get(r.Context(), caller, r.PathValue("domain")))
}

func (a *admin) domainList(caller auth.Caller, r *http.Request) (any, error) {
	q, limit := r.URL.Query(), 50
	if err := number(q.Get("limit"), "limit", &limit); err != nil {
		return nil, err
	}
	found, err := a.domains.List(r.Context(), caller, q.Get("org"), q.Get("after"), limit)
	if err != nil {
		return nil, err
	}
	list := domainPage{Domains: make([]domainView, 0, len(found))}
	for _, d := range found {
		list.Domains = append(list.Domains, a.viewDomain(d))
	}
	if len(found) == limit {
		list.Next = found[limit-1].Name.Value()
	}
	return list, nil
}

func (a *admin) domainEdit(caller auth.Caller, r *http.Request) (any, error) {
	var in domainEdit
	if err := readBody(r, &in); err != nil {
		return nil, err
	}
	ctx, name := r.Context(), r.PathValue("domain")
	switch verb := r.PathValue("verb"); verb {
	case "validate":
		method, ok := domainMethods[in.Method]
		switch {
		case in.Method == "email":
			return a.domain(a.domains.ValidateByEmail(ctx, caller, name, in.Addresses))
		case !ok:
			return nil, problem.New(problem.Malformed, "method is %q; give http, https, txt, cname or email", in.Method)
		case len(in.Addresses) > 0:
			return nil, problem.New(problem.Malformed, "addresses go with the method email alone")
		}
		return a.domain(a.domains.Validate(ctx, caller, name, method))
	case "resend":
		return a.domain(a.domains.ResendEmail(ctx, caller, name, in.Addresses))
	case "check":
		return a.domain(a.domains.Check(ctx, caller, name))
	case "cancel":
		return a.domain(a.domains.CancelValidation(ctx, caller, name))
	case "invalidate":
		return a.domain(a.domains.Invalidate(ctx, caller, name))
	case "delegate":
		var privileges []ra.Privilege
		for _, p := range in.Privileges {
			privileges = append(privileges, ra.Privilege(p))
		}
		return a.domain(a.domains.DelegateFor(ctx, caller, name, in.To, privileges))
	case "suspend":
		return a.domain(a.domains.Suspend(ctx, caller, name))
	case "activate":
		return a.domain(a.domains.Activate(ctx, caller, name))
	case "approve":
		return a.domain(a.domains.Approve(ctx, caller, name, in.To))
	case "reject":
		return a.domain(a.domains.Reject(ctx, caller, name, in.To))
	case "remove":
		return a.domain(a.domains.Remove(ctx, caller, name))
	default:
		return nil, problem.New(problem.NotFound, "a domain cannot be told to %q", verb)
	}
}
