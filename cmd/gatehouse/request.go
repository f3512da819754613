package main

import (
	"context"
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
	List    requestListCmd    `cmd:"" help:"List the requests that wait for approval, or for their clients to fetch what was approved."`
	Show    requestShowCmd    `cmd:"" help:"Show one request with its approvals."`
	Approve requestApproveCmd `cmd:"" help:"Consent to a request. The certificate is issued once enough people have."`
	Decline requestDeclineCmd `cmd:"" help:"End a request that has no certificate yet."`
}

type requestListCmd struct {
	adminFlags
	Limit int   `help:"How many, 1 to 1000." default:"50"`
	After int64 `help:"Continue behind this request's number."`
}

func (c *requestListCmd) Run(ctx context.Context, s streams) error {
	var list requestsView
	if err := c.call(ctx, "GET", fmt.Sprintf("/requests?limit=%d&after=%d", c.Limit, c.After), nil, &list); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, list)
	}
	if len(list.Requests) == 0 {
		_, err := fmt.Fprintln(s.out, "no requests wait")
		return err
	}
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSTATUS\tAPPROVALS\tLAPSES\tPROFILE\tREQUESTER\tNAMES")
	for _, r := range list.Requests {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", r.ID, r.Status, r.count(), day(r.Lapses), r.Profile, r.Requester, shortened(r.Names))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if list.Next > 0 {
		fmt.Fprintf(s.out, "more: gatehouse request list --after %d --limit %d\n", list.Next, c.Limit)
	}
	return nil
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
	row("declined by", r.Decliner)
	row("message", r.Failure)
	row("serial", r.Serial)
	return w.Flush()
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
