package scm

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/rest"
)

// call is one request, of a caller who is known.
type call struct {
	s      *Server
	w      http.ResponseWriter
	r      *http.Request
	ctx    context.Context
	caller auth.Caller
	v2     bool              // by /api/ssl/v2
	args   map[string]string // of the path
	query  url.Values
	dates  string // the layout of time.Format that dates are written in
}

// id reads the number of an enrollment from the path; one that is none is absent.
func (c *call) id(name string) (ra.ID, error) {
	n, err := strconv.ParseInt(c.args[name], 10, 32)
	if err != nil || n < 1 {
		return 0, problem.New(problem.NotFound, "there is no certificate %s", quoted(c.args[name]))
	}
	return ra.ID(n), nil
}

// enrollment reads the enrollment that the path names. Absent and another organisation's are the same NotFound.
func (c *call) enrollment(name string) (*ra.Enrollment, error) {
	id, err := c.id(name)
	if err != nil {
		return nil, err
	}
	return c.s.Registrar.Get(c.ctx, c.caller, id)
}

// body reads the body, which must be an object.
func (c *call) body() (*rest.Object, error) { return rest.ReadObject(c.r, maxBody) }

// optionalBody reads the body, which may be left out.
func (c *call) optionalBody() (*rest.Object, error) { return rest.ReadOptional(c.r, maxBody) }

// answer is 200 with JSON.
func (c *call) answer(value any) error {
	if err := rest.WriteJSON(c.w, http.StatusOK, jsonType, value); err != nil {
		return &answered{err}
	}
	return nil
}

// done is an answer without a body.
func (c *call) done(status int) error {
	c.w.WriteHeader(status)
	return nil
}

// missing makes the absence of the object that a path names a 404, which clients know of some paths alone.
func missing(err error) error {
	return recoded(err, problem.NotFound, http.StatusNotFound, codeNotFound)
}

// organisation reads the organisation that a request names by its number; the caller's home for zero. One that the caller does
// not see is as one that there is not. There are callers with roles only below their home.
func (c *call) organisation(number int64) (auth.OrgID, error) {
	if number == 0 {
		if err := c.s.Organisations.May(c.caller, auth.View, c.caller.Org); err != nil {
			return 0, problem.New(problem.Unauthorized, "the caller has no role in its own organisation; name another one by its number")
		}
		return c.caller.Org, nil
	}
	org := auth.OrgID(number)
	if err := c.s.Organisations.May(c.caller, auth.View, org); err != nil {
		return 0, coded(http.StatusBadRequest, codeOrganisation, problem.New(problem.Malformed, "there is no organisation %d", number))
	}
	return org, nil
}

// date writes a date, or nothing for none.
func (c *call) date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(c.dates)
}

// quoted is a value of the client's, cut to what an error can show.
func quoted(text string) string {
	if len(text) > 64 {
		text = text[:64] + "…"
	}
	return strconv.QuoteToASCII(text)
}
