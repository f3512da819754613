package scm

import (
	"math"
	"net/http"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/rest"
)

// renewed is the answer to a renewal by number.
type renewed struct {
	SSLID ra.ID `json:"sslId"`
}

// renewByID renews a certificate, or what has replaced it under the same number.
func (s *Server) renewByID(c *call) error {
	_, e, err := c.current("sslId")
	if err != nil {
		return err
	}
	next, err := c.renewal(ra.RenewRequest{ID: e.ID})
	if err != nil {
		return err
	}
	return c.answer(renewed{next.ID})
}

// renew renews a certificate by its renew id.
func (s *Server) renew(c *call) error {
	if _, err := c.renewal(ra.RenewRequest{RenewID: c.args["renewId"]}); err != nil {
		return err
	}
	return c.done(http.StatusNoContent)
}

// renewal reads the body, which is optional as all of its members are, and asks for the new certificate.
func (c *call) renewal(q ra.RenewRequest) (*ra.Enrollment, error) {
	o, err := c.optionalBody()
	if err != nil {
		return nil, err
	}
	if q.CSR, _, err = readCSR(o); err != nil {
		return nil, err
	}
	q.Door, q.Validate = ra.DoorSCM, c.validation(o)
	if err := o.Err(); err != nil {
		return nil, err
	}
	e, err := c.s.Registrar.Renew(c.ctx, c.caller, q)
	return e, succession(err)
}

// succession is the refusal of a renewal or replacement in SCM's numbers.
func succession(err error) error {
	return recoded(unproved(err), problem.Conflict, http.StatusBadRequest, codeRenewalFailed)
}

// renewManual records that a certificate needs no renewal any more, because of another one where the body names it.
func (s *Server) renewManual(c *call) error {
	_, e, err := c.current("id")
	if err != nil {
		return err
	}
	o, err := c.optionalBody()
	if err != nil {
		return err
	}
	by := o.Int("id", 1, math.MaxInt32)
	if o.Has("orderNumber") && by == 0 {
		o.Refuse("orderNumber", "there are no order numbers here; name the new certificate by id, or leave both out")
		return coded(http.StatusBadRequest, codeOrderNumber, o.Err())
	}
	c.validation(o) // which must make sense, and has no use here
	if err := o.Err(); err != nil {
		return err
	}
	if _, err := s.Registrar.MarkRenewed(c.ctx, c.caller, e.ID, ra.ID(by)); err != nil {
		return succession(err)
	}
	return c.done(http.StatusNoContent)
}

// replace asks for another certificate in place of one. To clients it has the number of the one that it replaces.
func (s *Server) replace(c *call) error {
	_, e, err := c.current("sslId")
	if err != nil {
		return err
	}
	o, err := c.body()
	if err != nil {
		return err
	}
	q, err := c.replacement(o)
	if err != nil {
		return err
	}
	q.ID = e.ID
	if _, err := s.Registrar.Replace(c.ctx, c.caller, q); err != nil {
		return succession(err)
	}
	return c.done(http.StatusNoContent)
}

func (c *call) replacement(o *rest.Object) (ra.ReplaceRequest, error) {
	q := ra.ReplaceRequest{Door: ra.DoorSCM}
	o.Require("csr")
	if !o.Has("reason") { // it may be empty, as long as it is there
		o.Require("reason")
	}
	der, _, err := readCSR(o)
	if err != nil {
		return q, err
	}
	q.CSR, q.Reason, q.Names, q.Validate = der, oneLine(o.Text("reason", maxMessage)), namesOf(o, "subjectAlternativeNames"), c.validation(o)
	if name := o.Text("commonName", 64); name != "" && len(q.Names) > 0 {
		id, err := parseName(name)
		if err != nil {
			o.Refuse("commonName", "%v", err)
		}
		q.Names = append(q.Names, id)
	}
	return q, o.Err()
}

// current reads the enrollment that stands for the one that the path names: SCM's clients know a certificate and what replaces it by
// one number, which is asked.
func (c *call) current(name string) (asked ra.ID, e *ra.Enrollment, err error) {
	if asked, err = c.id(name); err != nil {
		return 0, nil, err
	}
	e, err = c.s.Registrar.Current(c.ctx, c.caller, asked)
	return asked, e, err
}
