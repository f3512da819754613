package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// requestMethods are the methods by which names of a request are validated, by the words of the command line.
var requestMethods = map[string]dcv.Method{
	"http": dcv.HTTPFile, "https": dcv.HTTPSFile, "txt": dcv.DNSTXT, "cname": dcv.DNSCNAME,
	"csr-hash-http": dcv.CSRHashHTTP, "csr-hash-https": dcv.CSRHashHTTPS, "csr-hash-cname": dcv.CSRHashCNAME,
}

// validateLater stands for a method that request validate is to choose.
const validateLater = "later"

// methodWords are those words, for help and errors.
func methodWords() string { return strings.Join(slices.Sorted(maps.Keys(requestMethods)), ", ") }

// validationWord is what is said about the validation of a request.
type validationWord struct {
	Method  string            `json:"method,omitempty"`
	Methods map[string]string `json:"methods,omitempty"` // by name
}

// requestChallengeView is what one name of a request is validated by.
type requestChallengeView struct {
	Name      string              `json:"name"`
	Method    string              `json:"method,omitempty"`
	Location  string              `json:"location,omitempty"` // a URL or a DNS name
	Record    string              `json:"record,omitempty"`   // "TXT", "CNAME" or "file"
	Value     string              `json:"value,omitempty"`
	Validated time.Time           `json:"validated,omitzero"`
	Failed    *requestFailureView `json:"failed,omitempty"`
}

type requestFailureView struct {
	failureView
	Finding *findingView `json:"finding,omitempty"`
}

// findingView is dcv.Finding.
type findingView struct {
	Found   bool   `json:"found"`
	Correct bool   `json:"correct"`
	Target  string `json:"target,omitempty"`
	Trouble string `json:"trouble,omitempty"`
	Status  int    `json:"status,omitempty"`
}

type requestValidateCmd struct {
	adminFlags
	Method string            `help:"How: http, https, txt, cname, csr-hash-http, csr-hash-https or csr-hash-cname. Without it, as was said before." placeholder:"METHOD"`
	Name   map[string]string `help:"The method of one name. Can be given more than once." placeholder:"NAME=METHOD"`
	ID     int64             `arg:"" name:"id" help:"The request's number."`
}

func (c *requestValidateCmd) Run(ctx context.Context, s streams) error {
	var r requestView
	if err := c.call(ctx, "POST", fmt.Sprintf("/requests/%d/validate", c.ID), validationWord{Method: c.Method, Methods: c.Name}, &r); err != nil {
		return err
	}
	pending := ra.Status(r.Status) == ra.StatusValidating
	if c.JSON {
		if err := writeJSON(s.out, r); err != nil || !pending {
			return err
		}
		return errReported
	}
	var b strings.Builder
	r.describeChallenges(page{&b})
	if _, err := io.WriteString(s.out, b.String()); err != nil {
		return err
	}
	if pending {
		return fmt.Errorf("request %d is not validated yet", r.ID)
	}
	_, err := fmt.Fprintf(s.out, "request %d is %s\n", r.ID, r.Status)
	return err
}

// describeChallenges writes for people what the names of a request are validated by.
func (r *requestView) describeChallenges(p page) {
	for _, c := range r.Challenges {
		p.line(0, "")
		switch {
		case !c.Validated.IsZero():
			p.line(0, "%s: validated at %s", c.Name, utc(c.Validated))
			continue
		case c.Method == "":
			p.line(0, "%s: no method was chosen yet; gatehouse request validate %d --method METHOD chooses one", c.Name, r.ID)
		default:
			p.line(0, "%s: by %s", c.Name, c.Method)
		}
		c.publish(p)
		if f := c.Failed; f != nil {
			p.line(1, "not found at %s (%s): %s", utc(f.At), f.Kind, f.Detail)
			if len(f.Record) > 0 {
				p.record(f.Record)
			}
		}
	}
	if ra.Status(r.Status) == ra.StatusValidating {
		p.line(0, "")
		p.line(0, "The gateway looks from time to time until %s; gatehouse request validate %d looks at once.", utc(r.ValidateBy), r.ID)
	}
}

// publish writes what is to be published.
func (c *requestChallengeView) publish(p page) {
	switch c.Record {
	case "":
	case "file":
		p.line(1, "a file at %s with", c.Location)
		for line := range strings.SplitSeq(c.Value, "\n") {
			p.line(2, "%s", line)
		}
	default:
		p.line(1, "a %s record at %s with", c.Record, c.Location)
		p.line(2, "%s", c.Value)
	}
}

type requestCancelCmd struct {
	adminFlags
	ID int64 `arg:"" name:"id" help:"The request's number."`
}

func (c *requestCancelCmd) Run(ctx context.Context, s streams) error {
	var r requestView
	if err := c.call(ctx, "POST", fmt.Sprintf("/requests/%d/cancel", c.ID), struct{}{}, &r); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, r)
	}
	_, err := fmt.Fprintf(s.out, "took request %d back\n", r.ID)
	return err
}

// shownRecord is what a look saw, if it can be shown.
func shownRecord(record []byte) json.RawMessage {
	if !json.Valid(record) {
		return nil
	}
	return record
}
