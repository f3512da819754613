package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// decision is Approve or Decline of the registration authority.
type decision = func(ctx context.Context, caller auth.Caller, id ra.ID, message string) (*ra.Enrollment, error)

// requestCmd holds the commands about requests that people decide.
type requestCmd struct {
	New     requestNewCmd     `cmd:"" help:"Ask for a certificate, for an organisation or in a principal's name."`
	List    requestListCmd    `cmd:"" help:"List the requests that wait for approval, or for their clients to fetch what was approved."`
	Show    requestShowCmd    `cmd:"" help:"Show one request with its approvals."`
	Approve requestApproveCmd `cmd:"" help:"Consent to a request. The certificate is issued once enough people have."`
	Decline requestDeclineCmd `cmd:"" help:"End a request that has no certificate yet."`

	Validate requestValidateCmd `cmd:"" help:"Look whether what a request's names are to be validated by is published, and choose how."`
	Cancel   requestCancelCmd   `cmd:"" help:"Take a request back that has no certificate yet."`
}

type requestListCmd struct {
	adminFlags
	Org   string `help:"Only requests of the organisation with this slug." placeholder:"SLUG"`
	Limit int    `help:"How many, 1 to 1000." default:"50"`
	After int64  `help:"Continue behind this request's number."`
}

func (c *requestListCmd) Run(ctx context.Context, s streams) error {
	at := place{org: c.Org, limit: c.Limit}
	if c.After != 0 {
		at.after = strconv.FormatInt(c.After, 10)
	}
	var list requestsView
	if err := c.call(ctx, "GET", "/requests?"+at.query(), nil, &list); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, list)
	}
	err := printTable(s.out, list.Requests, "no requests wait", "ID | STATUS | APPROVALS | LAPSES | PROFILE | REQUESTER | NAMES", func(r requestView) []any {
		return []any{r.ID, r.Status, r.count(), day(r.Lapses), r.Profile, r.Requester, shortened(r.Names)}
	})
	next := ""
	if list.Next > 0 {
		next = strconv.FormatInt(list.Next, 10)
	}
	return errors.Join(err, at.more(s.out, "request list", next))
}

// count is how many approvals there are of how many.
func (r *requestView) count() string {
	if r.Required == 0 {
		return strconv.Itoa(len(r.Approvals))
	}
	return fmt.Sprintf("%d of %d", len(r.Approvals), r.Required)
}

type requestShowCmd struct {
	adminFlags
	ID int64 `arg:"" name:"id" help:"The request's number."`
}

func (c *requestShowCmd) Run(ctx context.Context, s streams) error {
	var r requestView
	if err := c.call(ctx, "GET", fmt.Sprintf("/requests/%d", c.ID), nil, &r); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, r)
	}
	return showRequest(s.out, r)
}

func showRequest(out io.Writer, r requestView) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, value)
		}
	}
	row("request", strconv.FormatInt(r.ID, 10))
	row("status", r.Status)
	row("names", strings.Join(r.Names, ", "))
	row("organisation", strconv.Itoa(int(r.Org)))
	row("requested by", r.Requester+" ("+r.Door+")")
	row("profile", r.Profile)
	row("requested", day(r.Created)+" UTC")
	if !r.Lapses.IsZero() {
		row("lapses", day(r.Lapses)+" UTC")
	}
	if r.Required > 0 {
		row("approvals", fmt.Sprintf("%s, role %s", r.count(), r.Role))
	}
	if r.Renews {
		row("approvals", "none needed: it renews what was approved")
	}
	for _, a := range r.Approvals {
		row("approved by", strings.TrimSuffix(fmt.Sprintf("%s at %s UTC: %s", a.By, day(a.At), a.Message), ": "))
	}
	if !r.ValidateBy.IsZero() {
		row("lapses", day(r.ValidateBy)+" UTC")
	}
	row("declined by", r.Decliner)
	row("taken back by", r.Canceller)
	row("message", r.Failure)
	row("serial", r.Serial)
	if err := w.Flush(); err != nil || len(r.Challenges) == 0 {
		return err
	}
	var b strings.Builder
	r.describeChallenges(page{&b})
	_, err := io.WriteString(out, b.String())
	return err
}

type requestApproveCmd struct {
	adminFlags
	Message string `help:"A line for the record." placeholder:"TEXT"`
	ID      int64  `arg:"" name:"id" help:"The request's number."`
}

func (c *requestApproveCmd) Run(ctx context.Context, s streams) error {
	r, err := c.decide(ctx, s, c.ID, "approve", c.Message)
	if err != nil || c.JSON {
		return err
	}
	switch ra.Status(r.Status) {
	case ra.StatusWaiting:
		_, err = fmt.Fprintf(s.out, "approved; request %d has %s approvals\n", r.ID, r.count())
	case ra.StatusApproved:
		_, err = fmt.Fprintf(s.out, "approved; the certificate is issued when the client asks next, until %s UTC\n", day(r.Lapses))
	default:
		_, err = fmt.Fprintf(s.out, "approved; request %d is %s\n", r.ID, r.Status)
	}
	return err
}

type requestDeclineCmd struct {
	adminFlags
	Message string `help:"Why; the requester is shown it." required:"" placeholder:"TEXT"`
	ID      int64  `arg:"" name:"id" help:"The request's number."`
}

func (c *requestDeclineCmd) Run(ctx context.Context, s streams) error {
	r, err := c.decide(ctx, s, c.ID, "decline", c.Message)
	if err != nil || c.JSON {
		return err
	}
	_, err = fmt.Fprintf(s.out, "declined request %d\n", r.ID)
	return err
}

// decide sends a decision, and prints what the request then is if JSON is wanted.
func (f *adminFlags) decide(ctx context.Context, s streams, id int64, verb, message string) (r requestView, err error) {
	if err = f.call(ctx, "POST", fmt.Sprintf("/requests/%d/%s", id, verb), requestWord{message}, &r); err != nil || !f.JSON {
		return r, err
	}
	return r, writeJSON(s.out, r)
}
