package scm

import (
	"strings"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// dcvFile is a file that is to be published. Its content are both lines, with a line end between them.
type dcvFile struct {
	URL        string `json:"url"`
	FirstLine  string `json:"firstLine"`
	SecondLine string `json:"secondLine"`
}

// dcvRecord is a DNS record that is to be published.
type dcvRecord struct {
	Host  string `json:"host"`
	Point string `json:"point"`
}

type dcvMessage struct {
	Message string `json:"message"`
}

// dcvSubmitted is what became of a submission.
type dcvSubmitted struct {
	dcvState
	Message              string `json:"message"`
	OrderBackendID       string `json:"orderBackendId,omitempty"`
	EmailReferenceNumber string `json:"emailValidationReferenceNumber,omitempty"`
	Host                 string `json:"host,omitempty"`
	Point                string `json:"point,omitempty"`
}

const submittedMessage = "Submitted successfully"

// startBy says what is to be published for a validation by a method, the same until it is too old, and has nobody look for it yet.
func startBy(method dcv.Method) handler {
	return func(s *Server, c *call) error {
		d, err := c.oneDomain(func(name string) (*ra.Domain, error) {
			return s.Domains.Begin(c.ctx, c.caller, name, method, secondLine)
		})
		if err != nil {
			return err
		}
		p := dcvPublication(d)
		if p.URL != "" {
			return c.answer(dcvFile{p.URL, p.FirstLine, p.SecondLine})
		}
		return c.answer(dcvRecord{p.Host, p.Point})
	}
}

// startTXT begins nothing: the submission says what is to be published.
func (s *Server) startTXT(c *call) error {
	if _, err := c.oneDomain(func(name string) (*ra.Domain, error) { return s.Domains.Get(c.ctx, c.caller, name) }); err != nil {
		return err
	}
	return c.answer(dcvMessage{"There is nothing to start for a TXT record; submit says what to publish"})
}

// submitBy says that what start gave is published, and looks. For a TXT record it begins as well.
func submitBy(method dcv.Method) handler {
	return func(s *Server, c *call) error {
		o, err := c.body()
		if err != nil {
			return err
		}
		for _, name := range []string{"dnsAgentUUID", "dnsProviderName"} {
			if method == dcv.DNSCNAME && strings.TrimSpace(o.Text(name, maxName)) != "" {
				o.Refuse(name, "there are no DNS agents here; publish the record, then submit without it")
			}
		}
		name, err := c.dcvDomain(o)
		if err != nil {
			return err
		}
		d, err := s.Domains.Submit(c.ctx, c.caller, name, method, method == dcv.DNSTXT)
		if err != nil {
			return dcvError(err)
		}
		out := c.submitted(d)
		if v := d.Validation; v != nil && v.Method == dcv.DNSTXT {
			p := dcvPublication(d)
			out.Host, out.Point = p.Host, p.Point
		}
		return c.answer(out)
	}
}

// submitted is the answer to a submission, whether its look has found what was published or not.
func (c *call) submitted(d *ra.Domain) dcvSubmitted {
	return dcvSubmitted{dcvState: dcvState{c.dcvState(d).Status, dcvOrders[ra.StageSubmitted]}, Message: submittedMessage, OrderBackendID: orderID(d)}
}
