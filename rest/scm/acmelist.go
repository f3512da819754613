package scm

import (
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/rest"
)

// errNoOrganizationID is what SCM says where the number of the organisation is left out.
var errNoOrganizationID = coded(http.StatusBadRequest, codeNull, problem.New(problem.Malformed, "Value of 'organizationId' must not be null."))

// acmeFilters are what accounts are found by.
type acmeFilters struct {
	org                  auth.OrgID
	name, server, status string
	never                bool // nothing can be like that
}

// acmeAccounts lists the accounts of one organisation. v1 wants it named, v2 takes the caller's own. Of the path of private CAs it
// lists those that are held to a profile.
func (s *Server) acmeAccounts(c *call, private bool) error {
	page, err := rest.ParsePage(c.query, maxPage)
	if err != nil {
		return err
	}
	f, err := s.acmeFilters(c)
	if err != nil {
		return err
	}
	q := auth.EABQuery{Org: f.org, Offset: page.Position, Limit: page.Size, Bound: !c.v2, KeepBound: f.status != ""}
	if f != (acmeFilters{org: f.org}) || private {
		q.Keep = func(k auth.EABState) bool { return s.acmeKeeps(f, k, private) }
	}
	found, err := s.External.Search(c.ctx, c.caller, q)
	if err != nil {
		return err
	}
	list := make([]acmeAccount, 0, len(found.Keys))
	for _, k := range found.Keys {
		a, err := s.acmeView(c, k, private)
		if err != nil {
			return err
		}
		list = append(list, a)
	}
	c.w.Header().Set("X-Total-Count", strconv.FormatInt(found.Total, 10))
	return c.answer(list)
}

// acmeKeeps reports whether a key is as the filters want it.
func (s *Server) acmeKeeps(f acmeFilters, k auth.EABState, private bool) bool {
	server := s.acmeServerOf(k.EABKey)
	switch {
	case f.never, private && profileOfKey(k.EABKey) == "":
		return false
	case f.name != "" && !strings.EqualFold(f.name, k.Label):
		return false
	case f.server != "" && !server.is(f.server):
		return false
	default:
		return f.status == "" || f.status == s.acmeStatus(k)
	}
}

// acmeFilters reads them. A filter that is there twice, or that cannot be read, would find the wrong accounts.
func (s *Server) acmeFilters(c *call) (f acmeFilters, err error) {
	if err := c.once("organizationId", "name", "acmeServer", "certValidationType", "status"); err != nil {
		return f, err
	}
	least := int64(1)
	if c.v2 { // of clients that leave it unset
		least = 0
	} else if c.query.Get("organizationId") == "" {
		return f, errNoOrganizationID
	}
	number, err := rest.QueryInt(c.query, "organizationId", least, maxInt32)
	if err != nil {
		return f, err
	}
	if f.org, err = c.organisation(number); err != nil {
		return f, err
	}
	if f.name, err = c.filter("name", 128); err != nil {
		return f, err
	}
	if f.server, err = c.filter("acmeServer", 1024); err != nil {
		return f, err
	}
	if f.never, err = c.otherValidation(); err != nil {
		return f, err
	}
	switch word := strings.ToLower(strings.TrimSpace(c.query.Get("status"))); word {
	case "", acmePending, acmeValid, acmeDeactivated:
		f.status = word
	default:
		return f, wrongValue("status: there is no status %s; give pending, valid or deactivated", quoted(word))
	}
	return f, nil
}

// otherValidation reads the filter by the type of validation, and reports whether it is for one that there is nothing of.
func (c *call) otherValidation() (never bool, err error) {
	word := strings.TrimSpace(c.query.Get("certValidationType"))
	other, err := validationWord(word)
	return other && word != "", err
}

// validationWord reads one of SCM's types of validation. other says that it is not the one that there is.
func validationWord(word string) (other bool, err error) {
	switch strings.ToUpper(word) {
	case "", validationType:
		return false, nil
	case "OV", "EV":
		return true, nil
	default:
		return false, wrongValue("certValidationType: there is no type %s; give DV", quoted(word))
	}
}

// once refuses parameters that are there more than once, of which all but one would be ignored.
func (c *call) once(names ...string) error {
	for _, name := range names {
		if len(c.query[name]) > 1 {
			return wrongValue("%s: it is there more than once", name)
		}
	}
	return nil
}

// filter reads the text of a filter.
func (c *call) filter(name string, most int) (string, error) {
	text := strings.TrimSpace(c.query.Get(name))
	if utf8.RuneCountInString(text) > most {
		return "", wrongValue("%s: it has more than %d characters", name, most)
	}
	return text, nil
}

// noFilter refuses filters that nothing is known by.
func (c *call) noFilter(names ...string) error {
	for _, name := range names {
		if strings.Join(c.query[name], "") != "" {
			return wrongValue("%s: nothing can be found by this here; leave it out", name)
		}
	}
	return nil
}
