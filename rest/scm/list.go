package scm

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/rest"
)

// maxPage is the most items of a page, and how many there are where nobody says.
const maxPage = 200

// identity is an item of the list.
type identity struct {
	SSLID                   ra.ID    `json:"sslId"`
	CommonName              string   `json:"commonName,omitempty"`
	SubjectAlternativeNames []string `json:"subjectAlternativeNames,omitempty"`
	SerialNumber            string   `json:"serialNumber,omitempty"`
}

// list answers with a page of the certificates that the caller may view, and how many there are.
func (s *Server) list(c *call) error {
	page, err := rest.ParsePage(c.query, maxPage)
	if err != nil {
		return err
	}
	found, err := s.search(c, page)
	if err != nil {
		return err
	}
	items := make([]identity, 0, len(found.Enrollments))
	for _, e := range found.Enrollments {
		item := identity{SSLID: e.ID, CommonName: commonName(e), SubjectAlternativeNames: names(e)}
		if !e.Issued.IsZero() {
			item.SerialNumber = colons(string(e.Serial))
		}
		items = append(items, item)
	}
	c.w.Header().Set("X-Total-Count", strconv.FormatInt(found.Total, 10))
	return c.answer(items)
}

// count answers with how many there are.
func (s *Server) count(c *call) error {
	found, err := s.search(c, rest.Page{Size: 1})
	if err != nil {
		return err
	}
	c.w.Header().Set("X-Total-Count", strconv.FormatInt(found.Total, 10))
	return c.done(http.StatusOK)
}

func (s *Server) search(c *call, page rest.Page) (ra.Found, error) {
	q, never, err := s.query(c)
	if err != nil {
		return ra.Found{}, err
	}
	if never { // who may list nothing is told so all the same
		_, err := s.Registrar.Search(c.ctx, c.caller, ra.Query{Org: q.Org, Limit: 1})
		return ra.Found{}, tooWide(c, err)
	}
	q.Offset, q.Limit = page.Position, page.Size
	found, err := s.Registrar.Search(c.ctx, c.caller, q)
	return found, tooWide(c, err)
}

// query reads what is asked for. never says that nothing can be like that. Parameters that are no filter are not looked at.
func (s *Server) query(c *call) (q ra.Query, never bool, err error) {
	for _, f := range filters() {
		if len(c.query[f.name]) > 1 { // all but one would be ignored
			return q, false, wrongValue("%s: it is there more than once", f.name)
		}
	}
	for _, f := range filters() {
		text := strings.TrimSpace(c.query.Get(f.name))
		switch {
		case text == "":
			continue
		case utf8.RuneCountInString(text) > f.limit:
			return q, false, wrongValue("%s: it is longer than %d characters", f.name, f.limit)
		case strings.ContainsRune(text, 0): // which ends a name in an index: what follows would be compared with something else
			return q, false, wrongValue("%s: it contains a NUL", f.name)
		}
		impossible, err := f.read(c, text, &q)
		if err != nil {
			return q, false, err
		}
		never = never || impossible
	}
	return q, never, nil
}

// tooWide says of a search that was refused because it would have cost too much which parameters would help.
func tooWide(c *call, err error) error {
	if errors.Is(err, ra.ErrTooManyOrgs) {
		return wrongValue("orgId: there are more organisations than can be listed together, at most %d; name one", ra.MaxOrgs)
	}
	if _, ok := errors.AsType[*ra.TooManyError](err); !ok {
		return err
	}
	var given, left []string
	for _, f := range filters() {
		switch asked := strings.TrimSpace(c.query.Get(f.name)) != ""; {
		case asked:
			given = append(given, f.name)
		case f.narrows:
			left = append(left, f.name)
		}
	}
	return wrongValue("%s: more than %d certificates would have to be looked at one by one; add a narrower filter, such as %s",
		strings.Join(given, ", "), ra.MaxCandidates, strings.Join(left, ", "))
}

// wrongValue refuses a parameter, whose name begins the text.
func wrongValue(format string, args ...any) error {
	return problem.Wrap(rest.ErrValue, problem.Malformed, format, args...)
}

var errSerial = wrongValue("serialNumber: write it in hexadecimal, with or without colons")
