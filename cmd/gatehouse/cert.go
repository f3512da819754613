package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// certCmd holds the commands about certificates.
type certCmd struct {
	List     certListCmd         `cmd:"" help:"List enrollments, newest first."`
	Show     certShowCmd         `cmd:"" help:"Show one enrollment with its certificate."`
	Export   certExportCmd       `cmd:"" help:"Write a certificate, with or without its issuers', in a format that other programs read."`
	Import   certImportCmd       `cmd:"" help:"Bring certificates that were issued elsewhere into the inventory."`
	Revoke   certRevokeCmd       `cmd:"" help:"Revoke a certificate."`
	Renew    certRenewRequestCmd `cmd:"" help:"Ask for a certificate in place of one that ends, or mark it as renewed."`
	Replace  certReplaceCmd      `cmd:"" help:"Ask for another certificate in place of one: for another key, or other names."`
	Update   certUpdateCmd       `cmd:"" help:"Change what goes with an enrollment: comments, custom fields, whether it renews itself."`
	Remove   certRemoveCmd       `cmd:"" help:"Take an enrollment out of all lists, and destroy the private key that is kept of it."`
	Lineage  certLineageCmd      `cmd:"" help:"List the enrollments that took one another's place."`
	Location certLocationCmd     `cmd:"" help:"The places where a certificate is used."`
	Key      certKeyCmd          `cmd:"" help:"Private keys that are kept here: show, download by a link, upload, destroy."`
	RenewNow certRenewCmd        `cmd:"" name:"renew-now" help:"Tell ACME clients to renew certificates now, or by a time (RFC 9773)."`
}

type certListCmd struct {
	adminFlags
	Org       int32  `help:"Organisation's number; needed with a filter where there are several." default:"0"`
	Status    string `help:"requested, issued, expired, revoked, failed, awaiting approval, approved, declined or pending validation."`
	Profile   string `help:"Issued under this profile."`
	Requester string `help:"Asked for by this principal, such as acme:… or uid:0."`
	Name      string `help:"With exactly this name."`
	Suffix    string `help:"With a name that ends so."`
	From      string `help:"Valid until this day or later, as 2027-01-31 or RFC 3339." placeholder:"TIME"`
	To        string `help:"Not valid any more at this time." placeholder:"TIME"`
	Limit     int    `help:"How many, 1 to 1000." default:"50"`
	Offset    int    `help:"Skip so many."`
	After     int64  `help:"Continue behind this enrollment's number; without filters."`
	Oldest    bool   `help:"Oldest first."`
}

// query is the command's flags as readQuery reads them.
func (c *certListCmd) query() url.Values {
	q := url.Values{"limit": {strconv.Itoa(c.Limit)}}
	set := func(name, value string) {
		if value != "" && value != "0" {
			q.Set(name, value)
		}
	}
	set("org", strconv.Itoa(int(c.Org)))
	set("status", c.Status)
	set("profile", c.Profile)
	set("requester", c.Requester)
	set("name", c.Name)
	set("suffix", c.Suffix)
	set("offset", strconv.Itoa(c.Offset))
	set("after", strconv.FormatInt(c.After, 10))
	if c.Oldest {
		set("order", "oldest")
	}
	for name, text := range map[string]string{"from": c.From, "to": c.To} {
		if t, err := time.Parse(time.DateOnly, text); err == nil {
			text = t.Format(time.RFC3339)
		}
		set(name, text)
	}
	return q
}

func (c *certListCmd) Run(ctx context.Context, s streams) error {
	var list listView
	if err := c.call(ctx, "GET", "/enrollments?"+c.query().Encode(), nil, &list); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, list)
	}
	if len(list.Enrollments) == 0 {
		text := "no enrollments"
		if list.Total > 0 {
			text = fmt.Sprintf("no enrollments behind that place; there are %d", list.Total)
		}
		_, err := fmt.Fprintln(s.out, text)
		return err
	}
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSTATUS\tNOT AFTER\tPROFILE\tSERIAL\tNAMES")
	for _, e := range list.Enrollments {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\n", e.ID, e.Status, day(e.NotAfter), e.Profile, e.Serial, shortened(e.Names))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(list.Enrollments) == c.Limit && int64(c.Offset+c.Limit) < list.Total {
		fmt.Fprintln(s.out, "more:", c.next(list.Enrollments[c.Limit-1].ID))
	}
	return nil
}

// next is the command that shows the next page: behind the last enrollment, or with filters by their number.
func (c *certListCmd) next(last int64) string {
	q := c.query()
	words := []string{"gatehouse cert list"}
	if c.Offset > 0 || q.Has("status") || q.Has("profile") || q.Has("requester") || q.Has("name") || q.Has("suffix") || q.Has("from") || q.Has("to") {
		words = append(words, "--offset", strconv.Itoa(c.Offset+c.Limit))
	} else {
		words = append(words, "--after", strconv.FormatInt(last, 10))
	}
	for _, name := range []string{"org", "status", "profile", "requester", "name", "suffix", "from", "to", "limit"} {
		if q.Has(name) {
			words = append(words, "--"+name, q.Get(name))
		}
	}
	if c.Oldest {
		words = append(words, "--oldest")
	}
	return strings.Join(words, " ")
}

func day(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04")
}

// shortened keeps a line of the list readable.
func shortened(names []string) string {
	if len(names) > 3 {
		return strings.Join(names[:3], ",") + fmt.Sprintf(" +%d", len(names)-3)
	}
	return strings.Join(names, ",")
}

type certShowCmd struct {
	adminFlags
	Issuer string `help:"Issuer, where two have used one serial number."`
	Which  string `arg:"" help:"Enrollment number, or the certificate's serial in hex."`
}

func (c *certShowCmd) Run(ctx context.Context, s streams) error {
	var e enrollmentView
	if err := c.call(ctx, "GET", which(c.Which, c.Issuer), nil, &e); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, e)
	}
	return show(s.out, e)
}

// which is the path of an enrollment: decimal of up to ten digits is its number, anything else a serial.
func which(text, issuer string) string { return whichVerb(text, issuer, "") }

// whichVerb is the path of what is done to one.
func whichVerb(text, issuer, verb string) string {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n < 1<<31 {
		return "/enrollments/" + text + verb
	}
	return serialPath(text, issuer, verb)
}

func serialPath(serial, issuer, verb string) string {
	path := "/serials/" + url.PathEscape(strings.ReplaceAll(serial, ":", "")) + verb
	if issuer != "" {
		path += "?" + url.Values{"issuer": {issuer}}.Encode()
	}
	return path
}

func show(out io.Writer, e enrollmentView) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, value)
		}
	}
	row("enrollment", strconv.FormatInt(e.ID, 10))
	row("status", e.Status)
	row("names", strings.Join(e.Names, ", "))
	row("organisation", strconv.Itoa(int(e.Org)))
	by := "requested by"
	if e.Imported {
		by = "imported by"
	}
	row(by, e.Requester+" ("+e.Door+")")
	row("asked for by", e.Agent)
	row("profile", e.Profile)
	row("issuer", e.Issuer)
	row("serial", e.Serial)
	if !e.NotAfter.IsZero() {
		row("valid", day(e.NotBefore)+" to "+day(e.NotAfter)+" UTC")
	}
	row("sha256", e.Fingerprint)
	row("renewal", e.Renewal.row())
	row("replaces", enrollmentNumber(e.Replaces))
	row("replaced by", enrollmentNumber(e.ReplacedBy))
	switch {
	case !e.KeyStored.IsZero():
		row("private key", "kept here since "+day(e.KeyStored)+" UTC")
	case !e.KeyDestroyed.IsZero():
		row("private key", "destroyed at "+day(e.KeyDestroyed)+" UTC")
	}
	e.detailsView.rows(row)
	if r := e.Revocation; r != nil {
		row("revoked", fmt.Sprintf("%s UTC, reason %s, by %s", day(r.At), reasonName(r.Reason), r.Actor))
		row("revoked because", r.Comment)
	}
	row("failure", e.Failure)
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(out, e.PEM)
	return err
}

// enrollmentNumber is a number as show writes it, empty for none.
func enrollmentNumber(id int64) string {
	if id == 0 {
		return ""
	}
	return "enrollment " + strconv.FormatInt(id, 10)
}

// reasons are the names of RFC 5280, 5.3.1 that a person may give, by their number.
var reasons = map[string]int{
	"unspecified": 0, "keyCompromise": 1, "affiliationChanged": 3, "superseded": 4, "cessationOfOperation": 5, "privilegeWithdrawn": 9,
}

func reasonName(n int) string {
	for name, number := range reasons {
		if number == n {
			return name
		}
	}
	return strconv.Itoa(n)
}

type certRevokeCmd struct {
	adminFlags
	Issuer  string `help:"Issuer, where two have used one serial number."`
	Reason  string `help:"unspecified, keyCompromise, affiliationChanged, superseded, cessationOfOperation or privilegeWithdrawn (RFC 5280, 5.3.1)." default:"unspecified"`
	Comment string `help:"A line for the record." placeholder:"TEXT"`

	Elsewhere bool   `help:"Record that an imported certificate was revoked by whoever issued it."`
	At        string `help:"With --elsewhere: when, as 2027-01-31 or RFC 3339. Without it: now." placeholder:"TIME"`

	Which string `arg:"" help:"Enrollment number, or the certificate's serial in hex."`
}

func (c *certRevokeCmd) Run(ctx context.Context, s streams) error {
	reason, ok := reasons[c.Reason]
	if !ok {
		var names []string
		for name := range reasons {
			names = append(names, name)
		}
		slices.Sort(names)
		return fmt.Errorf("reason %q is not known; give one of %s", c.Reason, strings.Join(names, ", "))
	}
	if c.Elsewhere {
		return c.mark(ctx, s, reason)
	}
	if c.At != "" {
		return fmt.Errorf("--at goes with --elsewhere; a revocation here is from now on")
	}
	var e enrollmentView
	err := c.call(ctx, "POST", whichVerb(c.Which, c.Issuer, "/revoke"), revocationWord{Reason: reason, Comment: c.Comment}, &e)
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, e)
	}
	_, err = fmt.Fprintf(s.out, "revoked %s (%s), reason %s; the next CRL carries it\n", e.Serial, shortened(e.Names), c.Reason)
	return err
}
