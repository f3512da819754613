package scm

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// dcvState is how a domain's proof and its validation stand.
type dcvState struct {
	Status      string `json:"status"`
	OrderStatus string `json:"orderStatus"`
}

// dcvStatus is all that is known of a domain's proof and its validation.
type dcvStatus struct {
	dcvState
	ValidationDate string `json:"validationDate,omitempty"`
	ExpirationDate string `json:"expirationDate,omitempty"`
	OrderMode      string `json:"orderMode,omitempty"`
	dcvPublished
	ValidationEmail      string `json:"validationEmail,omitempty"`
	EmailReferenceNumber string `json:"emailValidationReferenceNumber,omitempty"`
	OrderBackendID       string `json:"orderBackendId,omitempty"`
	SubmittedDate        string `json:"submittedDate,omitempty"`
	LastCheck            string `json:"lastCheck,omitempty"`
	NextCheck            string `json:"nextCheck,omitempty"`
}

// dcvPublished is what is to be published, by any method.
type dcvPublished struct {
	Host       string `json:"host,omitempty"`
	Point      string `json:"point,omitempty"`
	URL        string `json:"url,omitempty"`
	FirstLine  string `json:"firstLine,omitempty"`
	SecondLine string `json:"secondLine,omitempty"`
}

// dcvCleared is what is left of a validation.
type dcvCleared struct {
	dcvState
	Message string `json:"message"`
}

var dcvStatuses = map[ra.DomainStatus]string{ra.DomainValidated: "VALIDATED", ra.DomainNotValidated: "NOT_VALIDATED", ra.DomainExpired: "EXPIRED"}

var dcvOrders = map[ra.ValidationStage]string{
	ra.StageNone: "NOT_INITIATED", ra.StageBegun: "AWAITING_SUBMISSION", ra.StageSubmitted: "SUBMITTED", ra.StageRejected: "REJECTED",
}

var dcvModes = map[dcv.Method]string{
	dcv.HTTPFile: "HTTP", dcv.HTTPSFile: "HTTPS", dcv.DNSCNAME: "CNAME", dcv.DNSTXT: "TXT",
	dcv.EmailConstructed: "EMAIL", dcv.EmailCAA: "EMAIL", dcv.EmailTXT: "EMAIL",
}

// validationStatus says how one domain stands.
func (s *Server) validationStatus(c *call) error {
	d, err := c.oneDomain(func(name string) (*ra.Domain, error) { return s.Domains.Get(c.ctx, c.caller, name) })
	if err != nil {
		return err
	}
	return c.answer(c.dcvStatus(d))
}

// validationSync looks now, if that is asked for, and says how the domain stands.
func (s *Server) validationSync(c *call) error {
	force, err := c.flag("force")
	if err != nil {
		return err
	}
	d, err := c.oneDomain(func(name string) (*ra.Domain, error) {
		if force {
			return s.Domains.Recheck(c.ctx, c.caller, name)
		}
		return s.Domains.Get(c.ctx, c.caller, name)
	})
	if err != nil {
		return err
	}
	return c.answer(c.dcvStatus(d))
}

// validationClear ends a validation; the proof stays.
func (s *Server) validationClear(c *call) error {
	d, err := c.oneDomain(func(name string) (*ra.Domain, error) { return s.Domains.CancelValidation(c.ctx, c.caller, name) })
	if err != nil {
		return err
	}
	state := c.dcvState(d)
	return c.answer(dcvCleared{state, "DCV status: " + state.Status + "; DCV order status: " + state.OrderStatus})
}

// validationDelete forgets the proof, too.
func (s *Server) validationDelete(c *call) error {
	if _, err := c.oneDomain(func(name string) (*ra.Domain, error) { return s.Domains.Invalidate(c.ctx, c.caller, name) }); err != nil {
		return err
	}
	return c.done(http.StatusOK)
}

func (c *call) dcvState(d *ra.Domain) dcvState {
	status, _ := c.s.Domains.Status(d)
	return dcvState{dcvStatuses[status], dcvOrders[d.Stage(c.s.Now())]}
}

func (c *call) dcvStatus(d *ra.Domain) dcvStatus {
	out := dcvStatus{dcvState: c.dcvState(d)}
	if d.Proof != nil {
		_, until := c.s.Domains.Status(d)
		out.ValidationDate, out.ExpirationDate = c.dcvDay(d.Proof.At), c.dcvDay(until)
	}
	stage := d.Stage(c.s.Now())
	if stage == ra.StageNone {
		return out
	}
	out.OrderMode, out.OrderBackendID = orderMode(d, stage), orderID(d)
	if v := d.Validation; v != nil {
		out.dcvPublished = dcvPublication(d)
		if stage == ra.StageSubmitted {
			out.SubmittedDate, out.NextCheck = c.dcvDay(v.Submitted), c.dcvMoment(v.Due)
			if v.Failed != nil {
				out.LastCheck = c.dcvMoment(v.Failed.At)
			}
		}
		return out
	}
	out.SubmittedDate, out.ValidationEmail, out.EmailReferenceNumber = c.dcvDay(d.Email.Begun), recipients(d.Email), emailReference(d.Email)
	return out
}

// orderMode is the method of the validation that is under way or was rejected.
func orderMode(d *ra.Domain, stage ra.ValidationStage) string {
	switch {
	case stage == ra.StageNone:
		return ""
	case d.Validation != nil:
		return dcvModes[d.Validation.Method]
	}
	return "EMAIL"
}

// dcvPublication is what is to be published for a validation that is under way. A file has two lines, if it was begun by this door.
func dcvPublication(d *ra.Domain) (p dcvPublished) {
	v := d.Validation
	place := dcv.Location(v.Method, d.Name, v.Publication)
	switch v.Method {
	case dcv.DNSCNAME:
		p.Host, p.Point = dotted(place), dotted(v.Publication.Value)
	case dcv.DNSTXT:
		p.Host, p.Point = dotted(place), v.Publication.Value
	case dcv.HTTPFile, dcv.HTTPSFile:
		p.URL = place
		p.FirstLine, p.SecondLine, _ = strings.Cut(v.Publication.Value, "\n")
	}
	return p
}

// orderID names the validation of a domain: there is one at a time, so it is the domain's number.
func orderID(d *ra.Domain) string {
	if d.Number == 0 {
		return ""
	}
	return d.Number.String()
}

// recipients are the addresses that were sent mail.
func recipients(v *ra.EmailValidation) string {
	var list []string
	for _, l := range v.Links {
		list = append(list, l.Address)
	}
	return strings.Join(list, ", ")
}

// emailReference tells a validation by mail from those before it: when it was begun, in seconds since 1970.
func emailReference(v *ra.EmailValidation) string { return strconv.FormatInt(v.Begun.Unix(), 10) }

// flag reads a parameter that is true or false; false if it is absent or empty.
func (c *call) flag(name string) (bool, error) {
	switch text := strings.ToLower(c.query.Get(name)); text {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, wrongValue("%s: it is neither true nor false", name)
	}
}
