package scm

import (
	"strconv"
	"strings"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/rest"
)

// acmeDomains lists the domains of an account.
func (s *Server) acmeDomains(c *call, _ bool) error {
	page, err := rest.ParsePage(c.query, maxPage)
	if err != nil {
		return err
	}
	if err := c.once("name"); err != nil {
		return err
	}
	if err := c.noFilter("expiresWithinNextDays", "stickyExpiresWithinNextDays"); err != nil {
		return err
	}
	name, err := c.filter("name", 1024)
	if err != nil {
		return err
	}
	k, err := s.External.ByNumber(c.ctx, c.caller, c.acmeNumber())
	if err != nil {
		return c.noACMEAccount(err)
	}
	list, total := []acmeDomain{}, 0
	for _, d := range k.Domains {
		if name != "" && !strings.EqualFold(name, d) {
			continue
		}
		if total++; total > page.Position && len(list) < page.Size {
			list = append(list, acmeDomain{d})
		}
	}
	c.w.Header().Set("X-Total-Count", strconv.Itoa(total))
	return c.answer(list)
}

// domainNames reads the domains of a body.
func (c *call) domainNames() ([]string, error) {
	o, err := c.body()
	if err != nil {
		return nil, err
	}
	o.Require("domains")
	var names []string
	for _, d := range o.Objects("domains", auth.MaxEABDomains) {
		d.Require("name")
		names = append(names, d.Text("name", 1024))
	}
	if len(names) == 0 {
		o.Refuse("domains", "give at least one")
	}
	return names, o.Err()
}

func (s *Server) addACMEDomains(c *call, _ bool) error {
	names, err := c.domainNames()
	if err != nil {
		return err
	}
	refused, err := s.External.AddDomains(c.ctx, c.caller, c.acmeNumber(), names)
	if err != nil {
		return c.noACMEAccount(err)
	}
	return c.answer(struct {
		NotAdded []string `json:"notAddedDomains,omitempty"`
	}{refused})
}

func (s *Server) removeACMEDomains(c *call, _ bool) error {
	names, err := c.domainNames()
	if err != nil {
		return err
	}
	refused, err := s.External.RemoveDomains(c.ctx, c.caller, c.acmeNumber(), names)
	if err != nil {
		return c.noACMEAccount(err)
	}
	return c.answer(struct {
		NotRemoved []string `json:"notRemovedDomains,omitempty"`
	}{refused})
}
