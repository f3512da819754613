package scm

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// createDomain enters a domain for the organisations that it is delegated to.
func (s *Server) createDomain(c *call) error {
	o, err := c.body()
	if err != nil {
		return err
	}
	o.Require("name")
	in := ra.NewDomain{
		Name: strings.TrimSpace(o.Text("name", maxBody)), Description: o.Text("description", ra.MaxDomainDescription), Suspended: o.Has("active") && !o.Bool("active"),
	}
	refuseMonitoring(o.Object("ctLogMonitoring"), "enabled")
	delegations := o.Objects("delegations", ra.MaxDelegations)
	if err := cmp.Or(o.Err(), checkDomainName(in.Name)); err != nil {
		return err
	}
	if len(delegations) == 0 {
		return coded(http.StatusBadRequest, codeNoDelegation, problem.New(problem.Malformed, "delegations: name at least one organisation that is to use the domain"))
	}
	for _, l := range delegations {
		g, err := c.grant(l)
		if err != nil {
			return err
		}
		in.Grants = append(in.Grants, ra.NewGrant{Org: g.org, Privileges: g.privileges})
	}
	d, err := s.Domains.Create(c.ctx, c.caller, in)
	if err != nil {
		return recoded(err, problem.Conflict, http.StatusBadRequest, codeDomainExists)
	}
	c.w.Header().Set("Location", s.PublicURL+strings.TrimSuffix(c.r.URL.EscapedPath(), "/")+"/"+d.Number.String())
	return c.done(http.StatusCreated)
}

// checkDomainName says what is wrong with a domain's name by the numbers that SCM has for that.
func checkDomainName(name string) error {
	refuse := func(code int, text string) error {
		return coded(http.StatusBadRequest, code, problem.New(problem.Malformed, "name: %s", text))
	}
	switch n := utf8.RuneCountInString(name); {
	case n < 4:
		return refuse(codeDomainShort, "it has fewer than 4 characters")
	case n > 255:
		return refuse(codeDomainLong, "it has more than 255 characters")
	case !strings.Contains(name, "."):
		return refuse(codeDomainDots, "it has no dot")
	}
	if _, err := ra.ParseDomain(name); err != nil {
		return refuse(codeInvalidDomain, strings.TrimPrefix(problem.From(err).Detail, "domain: "))
	}
	return nil
}

// changeDomain does something with the domain that the path names. Who sees it, and may not see its owner, is not told that there is none.
func (c *call) changeDomain(status int, do func(name string) (*ra.Domain, error)) error {
	d, err := c.theDomain()
	if err != nil {
		return err
	}
	if _, err := do(d.Name.Value()); err != nil {
		return c.domainRefused(d, err)
	}
	return c.done(status)
}

func (c *call) domainRefused(d *ra.Domain, err error) error {
	if _, ok := errors.AsType[*codedError](err); ok {
		return err
	}
	if problem.Is(err, problem.NotFound) && c.s.Organisations.May(c.caller, auth.View, d.Org) != nil {
		return problem.New(problem.Unauthorized, "only who manages the domains of the organisation that owns it may do this")
	}
	return noDomain(err)
}

func (s *Server) deleteDomain(c *call) error {
	return c.changeDomain(http.StatusNoContent, func(name string) (*ra.Domain, error) { return s.Domains.Remove(c.ctx, c.caller, name) })
}

func (s *Server) activateDomain(c *call) error {
	return c.changeDomain(http.StatusOK, func(name string) (*ra.Domain, error) { return s.Domains.Activate(c.ctx, c.caller, name) })
}

func (s *Server) suspendDomain(c *call) error {
	return c.changeDomain(http.StatusOK, func(name string) (*ra.Domain, error) { return s.Domains.Suspend(c.ctx, c.caller, name) })
}

// monitorDomain has logs be watched, which nobody does here; that they are not is as it is to be.
func (s *Server) monitorDomain(c *call) error {
	d, err := c.theDomain()
	if err != nil {
		return err
	}
	if err := c.s.Organisations.May(c.caller, auth.ManageDomains, d.Org); err != nil {
		return c.domainRefused(d, err)
	}
	o, err := c.body()
	if err != nil {
		return err
	}
	o.Require("enabled")
	refuseMonitoring(o, "enabled")
	if err := o.Err(); err != nil {
		return err
	}
	return c.done(http.StatusOK)
}

// delegateDomain delegates one domain, or changes what a delegation is for.
func (s *Server) delegateDomain(c *call) error {
	return c.delegation(func(d *ra.Domain, g grant) error {
		_, err := s.Domains.Grant(c.ctx, c.caller, d.Name.Value(), g.org, g.privileges...)
		return err
	})
}

// undelegateDomain takes back a delegation, or part of it.
func (s *Server) undelegateDomain(c *call) error {
	return c.delegation(func(d *ra.Domain, g grant) error {
		_, err := s.Domains.Ungrant(c.ctx, c.caller, d.Name.Value(), g.org, g.privileges...)
		if g.org == d.Org {
			err = recoded(err, problem.Malformed, http.StatusBadRequest, codeNoDelegation)
		}
		return noDelegation(c, d, err)
	})
}

// noDelegation is for a delegation that there is not, of a domain that there is.
func noDelegation(c *call, d *ra.Domain, err error) error {
	if problem.Is(err, problem.NotFound) && c.s.Organisations.May(c.caller, auth.View, d.Org) == nil {
		return coded(http.StatusBadRequest, codeDelegationGone, err)
	}
	return err
}

// delegation reads a domain by the path and a delegation by the body.
func (c *call) delegation(do func(d *ra.Domain, g grant) error) error {
	d, err := c.theDomain()
	if err != nil {
		return err
	}
	o, err := c.body()
	if err != nil {
		return err
	}
	g, err := c.grant(o)
	if err != nil {
		return err
	}
	if err := do(d, g); err != nil {
		return c.domainRefused(d, err)
	}
	return c.done(http.StatusOK)
}

// delegateDomains delegates several domains to one organisation, all or, if one of them cannot be, none.
func (s *Server) delegateDomains(c *call) error {
	o, err := c.body()
	if err != nil {
		return err
	}
	o.Require("domainIds")
	ids := o.Ints("domainIds", ra.MaxGrants, 1, maxInt32)
	if o.Has("domainIds") && len(ids) == 0 {
		o.Refuse("domainIds", "it is empty")
	}
	var numbers []ra.DomainNumber
	for _, id := range ids {
		if slices.Contains(numbers, ra.DomainNumber(id)) {
			o.Refuse("domainIds", "%d is there twice", id)
		}
		numbers = append(numbers, ra.DomainNumber(id))
	}
	g, err := c.grant(o)
	if err != nil {
		return err
	}
	err = s.Domains.GrantAll(c.ctx, c.caller, numbers, g.org, g.privileges...)
	if err != nil {
		return recoded(err, problem.NotFound, http.StatusBadRequest, codeUnknownDomain)
	}
	return c.done(http.StatusOK)
}

// approveDelegation lets an organisation use a domain as it has asked to.
func (s *Server) approveDelegation(c *call) error { return c.decideDelegation(s.Domains.Approve) }

// rejectDelegation refuses what an organisation has asked for. What it has is taken back by DELETE.
func (s *Server) rejectDelegation(c *call) error { return c.decideDelegation(s.Domains.Refuse) }

func (c *call) decideDelegation(decide func(ctx context.Context, caller auth.Caller, domain, slug string) (*ra.Domain, error)) error {
	d, err := c.theDomain()
	if err != nil {
		return err
	}
	o, err := c.body()
	if err != nil {
		return err
	}
	o.Require("orgId")
	number := o.Int("orgId", 1, maxInt32)
	if err := o.Err(); err != nil {
		return err
	}
	org, err := c.organisation(number)
	if err != nil {
		return err
	}
	to, _ := c.s.Organisations.ByID(org)
	if _, err := decide(c.ctx, c.caller, d.Name.Value(), to.Slug); err != nil {
		if problem.Is(err, problem.NotFound) && org == d.Org && c.s.Organisations.May(c.caller, auth.View, org) == nil { // shown as ACTIVE
			err = problem.New(problem.Conflict, "the domain is organisation %d's own; there is nothing to approve or reject", org)
		}
		err = recoded(err, problem.Conflict, http.StatusBadRequest, codeDelegationState)
		return c.domainRefused(d, noDelegation(c, d, err))
	}
	return c.done(http.StatusOK)
}
