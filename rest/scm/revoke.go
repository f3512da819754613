package scm

import (
	"net/http"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/problem"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/rest"
)

// revokeByID revokes by the number of a certificate or, because there are clients that put it there, by its serial number, which
// means the very certificate that has it. What is no int32 is taken for one; a serial number that could be a number of ours has its
// own path.
func (s *Server) revokeByID(c *call) error {
	reason, comment, err := c.revocation()
	if err != nil {
		return err
	}
	id, err := c.id("id")
	if err != nil {
		e, serr := c.bySerial(c.args["id"])
		switch {
		case problem.Is(serr, problem.NotFound):
			return err
		case serr != nil: // it may well be there
			return serr
		}
		return c.revoke(e, reason, comment)
	}
	e, err := s.Registrar.Current(c.ctx, c.caller, id)
	if err != nil {
		return err
	}
	if e.ID != id && e.Issued.IsZero() {
		// What is to take its place is not issued yet. Clients read the refusal of a request without a certificate as "revoked
		// already", so it must not be the answer while the certificate that they have is valid.
		if e, err = s.Registrar.Get(c.ctx, c.caller, e.Replaces); err != nil {
			return err
		}
	}
	return c.revoke(e, reason, comment)
}

// revokeBySerial revokes by serial number, in hexadecimal with or without colons.
func (s *Server) revokeBySerial(c *call) error {
	reason, comment, err := c.revocation()
	if err != nil {
		return err
	}
	e, err := c.bySerial(c.args["serialNumber"])
	if err != nil {
		return err
	}
	return c.revoke(e, reason, comment)
}

// revoke revokes the certificate of an enrollment that the caller may view. What has none or has expired is refused by the number
// that clients read as "revoked already"; what was imported is valid as before, and so is refused by another.
func (c *call) revoke(e *ra.Enrollment, reason ra.Reason, comment string) error {
	_, err := c.s.Registrar.RevokeEnrollment(c.ctx, c.caller, e.ID, reason, comment)
	switch {
	case err == nil:
		return c.done(http.StatusNoContent)
	case e.Imported:
		return err
	default:
		return recoded(err, problem.Conflict, http.StatusBadRequest, codeNotIssued)
	}
}

// revocation reads why a certificate is to be revoked.
func (c *call) revocation() (ra.Reason, string, error) {
	o, err := c.body()
	if err != nil {
		return 0, "", err
	}
	o.Require("reason")
	comment, reason := oneLine(o.Text("reason", ra.MaxRevocationComment)), reasonCode(o)
	return reason, comment, o.Err()
}

// reasonCode reads a reason that SCM takes.
func reasonCode(o *rest.Object) ra.Reason {
	switch n := o.Int("reasonCode", 0, 10); n {
	case 0, 1, 3, 4, 5:
		return ra.Reason(n)
	default:
		o.Refuse("reasonCode", "give 0, 1, 3, 4 or 5")
		return 0
	}
}

// oneLine makes one line of a text of several, which is kept as one.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// bySerial finds the one enrollment that has a serial number and that the caller may view.
func (c *call) bySerial(text string) (*ra.Enrollment, error) {
	absent := problem.New(problem.NotFound, "there is no certificate with the serial number %s", quoted(text))
	serial, err := ra.ParseSerial(text)
	if err != nil {
		return nil, absent
	}
	list, err := c.s.Registrar.BySerial(c.ctx, c.caller, serial)
	switch {
	case problem.Is(err, problem.NotFound):
		return nil, absent
	case err != nil:
		return nil, err
	case len(list) > 1:
		return nil, problem.New(problem.Conflict, "%d certificates have the serial number %s; name one by its sslId", len(list), serial)
	}
	return list[0], nil
}

// revokeManual records that a certificate that was issued elsewhere was revoked there.
func (s *Server) revokeManual(c *call) error {
	o, err := c.body()
	if err != nil {
		return err
	}
	id, serial, issuer := o.Int("certId", 1, maxInt32), o.Text("serialNumber", 128), o.Text("issuer", 1024)
	reason, at := reasonCode(o), dateTime(o, "revokeDate")
	if id == 0 && serial == "" {
		o.Require("certId")
	}
	if o.Err() != nil {
		return o.Err()
	}
	if id == 0 {
		e, err := c.bySerialAndIssuer(serial, issuer)
		if err != nil {
			return err
		}
		id = int64(e.ID)
	}
	if _, err = s.Registrar.MarkRevoked(c.ctx, c.caller, ra.ID(id), at, reason, ""); err != nil {
		return recoded(err, problem.Conflict, http.StatusBadRequest, codeState)
	}
	return c.done(http.StatusNoContent)
}

// bySerialAndIssuer is bySerial where issuers may share serial numbers. Several organisations can have imported one certificate.
func (c *call) bySerialAndIssuer(text, issuer string) (*ra.Enrollment, error) {
	serial, err := ra.ParseSerial(text)
	if err != nil {
		return nil, errSerial
	}
	list, err := c.s.Registrar.BySerial(c.ctx, c.caller, serial)
	if err != nil {
		return nil, err
	}
	var found *ra.Enrollment
	for _, e := range list {
		d := details{}
		der, err := c.s.certificate(c.ctx, e)
		if err == nil {
			err = d.certificate(der)
		}
		if err != nil {
			return nil, err
		}
		switch {
		case issuer != d.CertificateDetails.Issuer && (issuer != "" || len(list) > 1):
		case found != nil:
			return nil, problem.New(problem.Conflict, "certificates %d and %d have this serial number and issuer; name one by certId", found.ID, e.ID)
		default:
			found = e
		}
	}
	if found == nil {
		return nil, problem.New(problem.NotFound, "there is no certificate with this serial number and issuer; the issuer is as GET /{sslId} has it")
	}
	return found, nil
}

// dateTime reads a moment in ISO 8601 with an offset, as "2025-05-21T12:24:27.916+00:00"; the zero time for none.
func dateTime(o *rest.Object, name string) time.Time {
	text := o.Text(name, 64)
	if text == "" {
		return time.Time{}
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999Z0700", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC()
		}
	}
	o.Refuse(name, "write it as 2025-05-21T12:24:27.916+00:00")
	return time.Time{}
}

// remove takes a certificate out of the inventory. SCM does so with what was imported or discovered alone.
func (s *Server) remove(c *call) error {
	e, err := c.enrollment("sslId")
	if err != nil {
		return missing(err)
	}
	if !e.Imported {
		return coded(http.StatusBadRequest, codeNoRight, problem.New(problem.Conflict, "certificate %d was issued here; only imported ones can be deleted, others are revoked", e.ID))
	}
	if err := s.Registrar.Remove(c.ctx, c.caller, e.ID); err != nil {
		return missing(err)
	}
	return c.done(http.StatusNoContent)
}
