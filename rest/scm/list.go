package scm

import (
	"net/http"
	"strconv"
	"strings"

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

// filtered are SCM's filters that are had here.
var filtered = []string{"orgId", "sslTypeId", "status", "commonName", "subjectAlternativeName", "serialNumber"}

// notFiltered are SCM's filters that the registration authority has no index for. To ignore one would give a program that acts on
// what it finds the wrong certificates, so they are refused.
var notFiltered = []string{
	"vendor", "issuer", "externalRequester", "signatureAlgorithm", "keyAlgorithm", "keyParam", "keySize", "sha1Hash", "md5Hash",
	"sha256Hash", "keyUsage", "extendedKeyUsage", "installStatus", "renewalStatus", "requestedVia", "discoveryStatus", "requester",
}

// list answers with a page of the certificates of one organisation, and how many there are.
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
	q, serial, none, err := s.filters(c)
	if err != nil || none {
		return ra.Found{}, err
	}
	if serial != "" {
		return s.bySerial(c, q, serial, page)
	}
	q.Offset, q.Limit = page.Position, page.Size
	return s.Registrar.Search(c.ctx, c.caller, q)
}

// filters reads what is asked for. none says that nothing can be like that.
func (s *Server) filters(c *call) (q ra.Query, serial ra.Serial, none bool, err error) {
	for _, name := range filtered {
		if len(c.query[name]) > 1 { // all but one would be ignored
			return q, "", false, wrongValue("%s: it is there more than once", name)
		}
	}
	for _, name := range notFiltered {
		if strings.Join(c.query[name], "") != "" {
			return q, "", false, wrongValue("%s: nothing can be found by this here; use commonName, subjectAlternativeName, serialNumber, status, sslTypeId or orgId", name)
		}
	}
	number, err := rest.QueryInt(c.query, "orgId", 1, maxInt32)
	if err != nil {
		return q, "", false, err
	}
	if q.Org, err = c.organisation(number); err != nil {
		return q, "", false, err
	}
	if number, err = rest.QueryInt(c.query, "sslTypeId", 1, maxInt32); err != nil {
		return q, "", false, err
	}
	if number != 0 {
		p, ok := s.profileNumber(number)
		if !ok {
			return q, "", true, nil
		}
		q.Profile = p.Name()
	}
	if word := c.query.Get("status"); word != "" {
		var never bool
		if q.Status, never, err = parseStatus(word); err != nil {
			return q, "", false, err
		}
		none = none || never
	}
	if q.Name, err = nameFilter(c); err != nil {
		return q, "", false, err
	}
	if text := c.query.Get("serialNumber"); text != "" {
		if serial, err = ra.ParseSerial(text); err != nil {
			return q, "", false, errSerial
		}
	}
	return q, serial, none, nil
}

// nameFilter reads the two filters by a name, which find the same: names are indexed whether they are in the subject or not.
func nameFilter(c *call) (string, error) {
	common, alternative := strings.TrimSpace(c.query.Get("commonName")), strings.TrimSpace(c.query.Get("subjectAlternativeName"))
	if common != "" && alternative != "" && !strings.EqualFold(common, alternative) {
		return "", wrongValue("subjectAlternativeName: it cannot be combined with another commonName; give one of them")
	}
	if common == "" {
		common = alternative
	}
	if len(common) > 253 {
		return "", wrongValue("commonName: it is longer than a name can be")
	}
	return common, nil
}

// bySerial lists those of certificates with a serial number that are as a query asks.
func (s *Server) bySerial(c *call, q ra.Query, serial ra.Serial, page rest.Page) (ra.Found, error) {
	list, err := s.Registrar.BySerial(c.ctx, c.caller, serial)
	if problem.Is(err, problem.NotFound) {
		return ra.Found{}, nil
	} else if err != nil {
		return ra.Found{}, err
	}
	q.Name = strings.ToLower(q.Name)
	var found ra.Found
	for _, e := range list {
		if !q.Matches(e, s.Now()) {
			continue
		}
		if found.Total++; found.Total > int64(page.Position) && len(found.Enrollments) < page.Size {
			found.Enrollments = append(found.Enrollments, e)
		}
	}
	return found, nil
}

// wrongValue refuses a parameter, whose name begins the text.
func wrongValue(format string, args ...any) error {
	return problem.Wrap(rest.ErrValue, problem.Malformed, format, args...)
}

var errSerial = wrongValue("serialNumber: write it in hexadecimal, with or without colons")
