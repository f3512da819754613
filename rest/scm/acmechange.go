package scm

import (
	"net/http"
	"strings"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/rest"
)

const (
	maxACMEName   = 128
	maxACMEServer = 1024
)

// addACMEAccount makes a key that any number of clients can use and whose accounts may ask for nothing until it has domains.
func (s *Server) addACMEAccount(c *call, private bool) error {
	o, err := c.body()
	if err != nil {
		return err
	}
	if o.Err() == nil && !o.Has("organizationId") {
		return errNoOrganizationID
	}
	name := acmeName(o)
	o.Require("acmeServer")
	server := strings.TrimSpace(o.Text("acmeServer", maxACMEServer))
	number := o.Int("organizationId", 1, maxInt32)
	profile := ""
	if private {
		o.Require("profileName")
		profile = o.Text("profileName", maxACMEName)
	}
	if other, err := validationWord(strings.TrimSpace(o.Text("certValidationType", 16))); err != nil {
		return err
	} else if other {
		o.Refuse("certValidationType", "there is DV alone here")
	}
	if o.Text("validationId", 128) != "" {
		o.Refuse("validationId", "validations have no numbers here; leave it out")
	}
	if !o.Object("evDetails").Empty() {
		o.Refuse("evDetails", "there is no extended validation here; leave it out")
	}
	if err := o.Err(); err != nil {
		return err
	}
	org, err := c.organisation(number)
	if err != nil {
		return err
	}
	if err := s.Organisations.May(c.caller, auth.ManageKeys, org); err != nil { // who may not is told so, whatever else is wrong
		return err
	}
	at, err := s.acmeServerNamed(org, server)
	if err != nil {
		return err
	}
	if private {
		if profile, err = s.acmeProfileNamed(org, profile, at); err != nil {
			return err
		}
	} else {
		profile = at.profile
	}
	return s.makeACMEAccount(c, org, name, profile)
}

func (s *Server) makeACMEAccount(c *call, id auth.OrgID, name, profile string) error {
	org, _ := s.Organisations.ByID(id)
	in := auth.NewEABKey{Org: org.Slug, Label: name, ByDomains: true, Reusable: true}
	if profile != "" {
		in.Profiles = []string{profile}
	}
	k, mac, err := s.External.Add(c.ctx, c.caller, in)
	if err != nil {
		return err
	}
	clear(mac) // it is read with the account
	c.w.Header().Set("Location", s.PublicURL+strings.TrimSuffix(c.r.URL.EscapedPath(), "/")+"/"+formatInt(int64(k.Number)))
	return c.done(http.StatusCreated)
}

// acmeName reads the name of an account.
func acmeName(o *rest.Object) string {
	o.Require("name")
	return o.Text("name", maxACMEName)
}

func (s *Server) renameACMEAccount(c *call, _ bool) error {
	o, err := c.body()
	if err != nil {
		return err
	}
	name := acmeName(o)
	if err := o.Err(); err != nil {
		return err
	}
	if err := s.External.Rename(c.ctx, c.caller, c.acmeNumber(), name); err != nil {
		return c.noACMEAccount(err)
	}
	return c.done(http.StatusOK)
}

func (s *Server) removeACMEAccount(c *call, _ bool) error {
	if err := s.External.Remove(c.ctx, c.caller, c.acmeNumber()); err != nil {
		return c.noACMEAccount(err)
	}
	return c.done(http.StatusNoContent)
}
