package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/gatehouse-ca/gatehouse/ra"
)

type certRenewRequestCmd struct {
	adminFlags
	CSR    string `name:"csr" help:"A new CSR, PEM or DER. Without it: the one that the certificate was issued for." type:"existingfile" placeholder:"FILE" xor:"how"`
	Marked bool   `name:"mark" help:"Ask for nothing, and record that it needs no renewal here any more." xor:"how"`
	By     int64  `help:"With --mark: the number of the enrollment that took its place." placeholder:"ID"`
	ID     int64  `arg:"" name:"id" help:"The enrollment's number."`
}

func (c *certRenewRequestCmd) Run(ctx context.Context, s streams) error {
	if c.Marked {
		return c.mark(ctx, s)
	}
	if c.By != 0 {
		return fmt.Errorf("--by goes with --mark")
	}
	var in renewalWord
	if c.CSR != "" {
		der, err := readCSR(c.CSR)
		if err != nil {
			return err
		}
		in.CSR = der
	}
	return c.succeed(ctx, s, c.ID, "renew", in)
}

func (c *certRenewRequestCmd) mark(ctx context.Context, s streams) error {
	var e enrollmentView
	if err := c.call(ctx, "POST", fmt.Sprintf("/enrollments/%d/renewed", c.ID), renewedWord{c.By}, &e); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, e)
	}
	_, err := fmt.Fprintf(s.out, "enrollment %d is marked as renewed\n", c.ID)
	return err
}

// succeed asks for a successor, and says what became of it.
func (f *adminFlags) succeed(ctx context.Context, s streams, id int64, verb string, in any) error {
	var e enrollmentView
	if err := f.call(ctx, "POST", fmt.Sprintf("/enrollments/%d/%s", id, verb), in, &e); err != nil {
		return err
	}
	if f.JSON {
		return writeJSON(s.out, e)
	}
	if ra.Status(e.Status) == ra.StatusIssued {
		_, err := fmt.Fprintf(s.out, "enrollment %d takes the place of enrollment %d: serial %s, valid until %s UTC\n", e.ID, id, e.Serial, day(e.NotAfter))
		return err
	}
	_, err := fmt.Fprintf(s.out, "enrollment %d is to take the place of enrollment %d: %s\n", e.ID, id, e.Status)
	return err
}

type certReplaceCmd struct {
	adminFlags
	CSR    string   `name:"csr" help:"The CSR, PEM or DER." required:"" type:"existingfile" placeholder:"FILE"`
	Name   []string `help:"A name of the new certificate; repeat it for more. Without it: those of the old one." placeholder:"NAME"`
	Reason string   `help:"A line for the record." placeholder:"TEXT"`
	ID     int64    `arg:"" name:"id" help:"The number of the enrollment that is replaced."`
}

func (c *certReplaceCmd) Run(ctx context.Context, s streams) error {
	der, err := readCSR(c.CSR)
	if err != nil {
		return err
	}
	return c.succeed(ctx, s, c.ID, "replace", replacementWord{CSR: der, Names: c.Name, Reason: c.Reason})
}

type certRemoveCmd struct {
	adminFlags
	ID int64 `arg:"" name:"id" help:"The enrollment's number."`
}

func (c *certRemoveCmd) Run(ctx context.Context, s streams) error {
	if err := c.call(ctx, "POST", fmt.Sprintf("/enrollments/%d/remove", c.ID), nil, &struct{}{}); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, struct{}{})
	}
	_, err := fmt.Fprintf(s.out, "removed enrollment %d; its certificate is as valid as before\n", c.ID)
	return err
}

type certUpdateCmd struct {
	adminFlags
	Comments          *string   `help:"Comments, up to 1024 characters; empty for none." placeholder:"TEXT"`
	ExternalRequester *[]string `help:"Mail address of somebody without credentials here who asked for it; repeat it for more, or give an empty one for none." placeholder:"ADDRESS" sep:"none"`
	Field             []string  `help:"A custom field; repeat it for more. All that the enrollment has are replaced." placeholder:"NAME=VALUE" sep:"none"`
	AutoRenew         string    `help:"Renew it by itself so many days before its end, or off." placeholder:"DAYS"`
	Notifications     string    `help:"on or off: whether mail is sent about it." enum:",on,off" default:"" placeholder:"on|off"`
	ID                int64     `arg:"" name:"id" help:"The enrollment's number."`
}

// word is what the flags ask for.
func (c *certUpdateCmd) word() (in detailsWord, err error) {
	in.Comments = c.Comments
	if c.ExternalRequester != nil {
		in.ExternalRequesters = new([]string{})
		for _, address := range *c.ExternalRequester {
			if address != "" {
				*in.ExternalRequesters = append(*in.ExternalRequesters, address)
			}
		}
	}
	if len(c.Field) > 0 {
		fields, err := parseFields(c.Field)
		if err != nil {
			return in, err
		}
		in.CustomFields = new([]fieldValue{})
		for _, f := range fields {
			*in.CustomFields = append(*in.CustomFields, fieldValue{f.Name, f.Value})
		}
	}
	if c.AutoRenew == "off" {
		in.AutoRenewDays = new(0)
	} else if c.AutoRenew != "" {
		days, err := strconv.Atoi(c.AutoRenew)
		if err != nil || days < 1 {
			return in, fmt.Errorf("--auto-renew is %q; give a number of days, or off", c.AutoRenew)
		}
		in.AutoRenewDays = &days
	}
	if c.Notifications != "" {
		in.SuspendNotifications = new(c.Notifications == "off")
	}
	return in, nil
}

func (c *certUpdateCmd) Run(ctx context.Context, s streams) error {
	in, err := c.word()
	if err != nil {
		return err
	}
	if in == (detailsWord{}) {
		return fmt.Errorf("nothing is to be changed; give one of --comments, --external-requester, --field, --auto-renew and --notifications")
	}
	var e enrollmentView
	if err := c.call(ctx, "POST", fmt.Sprintf("/enrollments/%d", c.ID), in, &e); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, e)
	}
	_, err = fmt.Fprintf(s.out, "updated enrollment %d\n", c.ID)
	return err
}

// mark records a revocation by whoever issued an imported certificate.
func (c *certRevokeCmd) mark(ctx context.Context, s streams, reason int) error {
	in := revokedWord{Reason: reason, Comment: c.Comment}
	id, err := strconv.ParseInt(c.Which, 10, 32)
	if err != nil {
		return fmt.Errorf("--elsewhere goes with an enrollment's number; gatehouse cert show %s has it", c.Which)
	}
	if c.At != "" {
		if in.At, err = time.Parse(time.DateOnly, c.At); err != nil {
			if in.At, err = time.Parse(time.RFC3339, c.At); err != nil {
				return fmt.Errorf("--at is %q; give a time such as 2027-01-31 or 2027-01-31T12:00:00Z", c.At)
			}
		}
	}
	var e enrollmentView
	if err := c.call(ctx, "POST", fmt.Sprintf("/enrollments/%d/revoked", id), in, &e); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, e)
	}
	_, err = fmt.Fprintf(s.out, "enrollment %d is marked as revoked, reason %s; no list of this gateway names it\n", id, c.Reason)
	return err
}

type certLineageCmd struct {
	adminFlags
	ID int64 `arg:"" name:"id" help:"The number of one enrollment of the lineage."`
}

func (c *certLineageCmd) Run(ctx context.Context, s streams) error {
	var list listView
	if err := c.call(ctx, "GET", fmt.Sprintf("/enrollments/%d/lineage", c.ID), nil, &list); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, list)
	}
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\tID\tSTATUS\tNOT AFTER\tDOOR\tREQUESTER\tNAMES")
	for _, e := range list.Enrollments {
		this := ""
		if e.ID == c.ID {
			this = "*"
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s\n", this, e.ID, e.Status, day(e.NotAfter), e.Door, e.Requester, shortened(e.Names))
	}
	return w.Flush()
}

// rows are the details as cert show prints them.
func (v *detailsView) rows(row func(name, value string)) {
	row("comments", strings.ReplaceAll(v.Comments, "\n", "\n\t"))
	row("requested for", strings.Join(v.ExternalRequesters, ", "))
	for _, f := range v.CustomFields {
		row("field "+f.Name, f.Value)
	}
	if a := v.AutoRenew; a != nil {
		text := fmt.Sprintf("%d days before its end", a.Days)
		if !a.Due.IsZero() {
			text += fmt.Sprintf(", next at %s UTC", day(a.Due))
		}
		row("renews itself", text)
		if a.Failure != "" {
			row("last attempt", fmt.Sprintf("%s (%d in all)", a.Failure, a.Attempts))
		}
	}
	if v.SuspendNotifications {
		row("notifications", "off")
	}
	for _, l := range v.Locations {
		row(fmt.Sprintf("location %d", l.ID), l.String())
	}
	row("replaced because", v.ReplaceReason)
	if !v.RevokeFrom.IsZero() {
		row("to be revoked", day(v.RevokeFrom)+" UTC, once its successor is issued")
	}
	if !v.RenewedManually.IsZero() {
		row("marked as renewed", day(v.RenewedManually)+" UTC")
	}
	if !v.Removed.IsZero() {
		row("removed", fmt.Sprintf("%s UTC, by %s", day(v.Removed), v.Remover))
	}
}
