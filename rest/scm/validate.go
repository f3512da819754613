package scm

import (
	"net/http"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/rest"
)

// validation reads how names are to be validated that lack a proof. Where all have one, as where domains are validated beforehand, it
// makes no difference, and clients send it all the same. Nil: names that lack a proof are refused.
func (c *call) validation(o *rest.Object) *ra.Validation {
	mode := strings.ToUpper(o.Text("dcvMode", 32))
	var v ra.Validation
	switch mode {
	case "", "AUTO":
		return nil
	case "CNAME":
		v.Method = dcv.CSRHashCNAME
	case "HTTP":
		v.Method = dcv.CSRHashHTTP
	case "HTTPS":
		v.Method = dcv.CSRHashHTTPS
	case "TXT":
		v.Method = dcv.DNSTXT
	case "EMAIL":
		o.Require("dcvEmail")
		if _, err := dcv.ParseEmail(o.Text("dcvEmail", maxName)); err != nil {
			o.Refuse("dcvEmail", "%v", err)
		}
		return nil // a mail validates a domain, not one certificate
	default:
		o.Refuse("dcvMode", "give CNAME, HTTP, HTTPS, TXT, EMAIL or AUTO")
	}
	if c.s.Registrar.Validation.Validator == nil {
		return nil
	}
	return &v
}

// dcvInfo is how the validation of one certificate's names stands.
type dcvInfo struct {
	Log          dcvLog           `json:"dcvLog"`
	Instructions []dcvInstruction `json:"instructions,omitempty"`
}

type dcvLog struct {
	Error struct {
		Code int `json:"code"` // 0: what is wrong with a name is in the log
	} `json:"error"`
	Log []dcvEntry `json:"log"`
}

type dcvEntry struct {
	Status     string `json:"dcvStatus"`
	DomainName string `json:"domainName"`
	LastCheck  string `json:"lastCheck,omitempty"`
	NextCheck  string `json:"nextCheck,omitempty"`
	Date       string `json:"dcvDate,omitempty"`
}

type dcvInstruction struct {
	DomainName string `json:"domainName"`
	Mode       string `json:"dcvMode"`
	Host       string `json:"host,omitempty"`
	Point      string `json:"point,omitempty"`
	URL        string `json:"url,omitempty"`
	File       string `json:"file,omitempty"`
}

// dcv says what is to be published for a certificate's names, and what was seen of it. v2 has a list of one.
func (s *Server) dcv(c *call) error {
	_, e, err := c.current("sslId")
	if err != nil {
		return missing(err)
	}
	info := c.dcvInfo(e)
	info.Instructions = instructions(e)
	if c.v2 {
		return c.answer([]dcvInfo{info})
	}
	return c.answer(info)
}

// recheck looks now, and says what it saw.
func (s *Server) recheck(c *call) error {
	_, e, err := c.current("sslId")
	if err != nil {
		return missing(err)
	}
	if e, err = s.Registrar.Validate(c.ctx, c.caller, e.ID, ra.Validation{}); err != nil {
		return err
	}
	if err := rest.WriteJSON(c.w, http.StatusAccepted, jsonType, c.dcvInfo(e)); err != nil {
		return &answered{err}
	}
	return nil
}

func (c *call) dcvInfo(e *ra.Enrollment) (info dcvInfo) {
	info.Log.Log = []dcvEntry{}
	for _, ch := range e.Challenges {
		entry := dcvEntry{Status: "Awaiting Validation", DomainName: ch.Identifier.Base().Value()}
		switch {
		case !ch.Validated.IsZero():
			entry.Status, entry.Date = "Validated", c.moment(ch.Validated)
		case e.Phase == ra.Validating:
			entry.NextCheck = c.moment(e.Due)
		default:
			entry.Status = "Not Validated"
		}
		if ch.Failed != nil {
			entry.LastCheck = c.moment(ch.Failed.At)
		}
		info.Log.Log = append(info.Log.Log, entry)
	}
	return info
}

// moment writes a time of a validation: v2 has ISO 8601.
func (c *call) moment(t time.Time) string {
	switch {
	case t.IsZero():
		return ""
	case c.v2:
		return t.UTC().Format("2006-01-02T15:04:05.000Z")
	default:
		return t.UTC().Format(time.DateTime)
	}
}

// instructions are what is to be published while a request waits for it, each place once.
func instructions(e *ra.Enrollment) []dcvInstruction {
	if e.Phase != ra.Validating {
		return nil
	}
	var list []dcvInstruction
	seen := map[string]bool{}
	for _, ch := range e.Challenges {
		if ch.Method == "" || !ch.Validated.IsZero() {
			continue
		}
		i := dcvInstruction{DomainName: ch.Identifier.Base().Value()}
		place := dcv.Location(ch.Method, ch.Identifier.Base(), ch.Publication)
		switch ch.Method {
		case dcv.CSRHashCNAME, dcv.DNSCNAME:
			i.Mode, i.Host, i.Point = "CNAME", dotted(place), dotted(ch.Publication.Value)
		case dcv.DNSTXT:
			i.Mode, i.Host, i.Point = "TXT", dotted(place), ch.Publication.Value
		case dcv.CSRHashHTTP, dcv.HTTPFile:
			i.Mode, i.URL, i.File = "HTTP", place, ch.Publication.Value
		case dcv.CSRHashHTTPS, dcv.HTTPSFile:
			i.Mode, i.URL, i.File = "HTTPS", place, ch.Publication.Value
		default:
			continue
		}
		if !seen[place] {
			seen[place] = true
			list = append(list, i)
		}
	}
	return list
}

func dotted(name string) string { return strings.TrimSuffix(name, ".") + "." }
