package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// certRenewCmd tells ACME clients, by renewal information (RFC 9773), to renew certificates earlier than they would.
type certRenewCmd struct {
	adminFlags
	Explanation  string `help:"A page that says why, for the clients' users." placeholder:"URL"`
	By           string `help:"When they should be renewed at the latest, as 2027-01-31 or RFC 3339. Default: one at once, several within 24 hours." placeholder:"TIME"`
	Clear        bool   `help:"Take an earlier renew-now back."`
	Issuer       string `help:"With a serial: its issuer, where two have used one number. Otherwise: certificates of this issuer."`
	Org          string `help:"Certificates of this organisation." placeholder:"SLUG"`
	Profile      string `help:"Certificates that were issued under this profile."`
	IssuedBefore string `help:"Certificates that were issued before this time." placeholder:"TIME"`
	All          bool   `help:"Every certificate."`
	DryRun       bool   `help:"Count, and change nothing."`
	Which        string `arg:"" optional:"" help:"One certificate: enrollment number, or serial in hex. Without it: all that the filters select, that are valid and not replaced."`
}

// renewWord is what an operator says about renewals.
type renewWord struct {
	From        time.Time `json:"from,omitzero"` // several: what the first answer said; zero: now
	By          time.Time `json:"by,omitzero"`
	Explanation string    `json:"explanation,omitempty"`
	Clear       bool      `json:"clear,omitempty"`
}

// renewMany is a batch for several certificates.
type renewMany struct {
	renewWord
	Org          string    `json:"org,omitempty"` // slug
	Profile      string    `json:"profile,omitempty"`
	Issuer       string    `json:"issuer,omitempty"`
	IssuedBefore time.Time `json:"issuedBefore,omitzero"`
	After        int64     `json:"after,omitempty"`
	DryRun       bool      `json:"dryRun,omitempty"`
}

// renewedMany is what a batch has done, and in the end what all have.
type renewedMany struct {
	Looked  int       `json:"looked"`
	Changed int       `json:"changed"`
	From    time.Time `json:"from,omitzero"`
	By      time.Time `json:"by,omitzero"`
	Next    int64     `json:"next,omitempty"`
}

// progressEvery is after how many batches the command says how far it is.
const progressEvery = 25

func (c *certRenewCmd) Run(ctx context.Context, s streams) error {
	word, err := c.word()
	if err != nil {
		return err
	}
	filtered := c.Org != "" || c.Profile != "" || c.IssuedBefore != "" || c.All || c.Which == "" && c.Issuer != ""
	switch {
	case c.Which != "" && filtered:
		return errors.New("name one certificate, or filters for several, not both")
	case c.Which != "" && c.DryRun:
		return errors.New("--dry-run counts several; gatehouse cert show shows the one")
	case c.Which != "":
		return c.one(ctx, s, word)
	case !filtered:
		return errors.New("name a certificate by its number or serial, or several by --org, --profile, --issuer, --issued-before or --all")
	}
	return c.several(ctx, s, word)
}

// word is what the flags say.
func (c *certRenewCmd) word() (renewWord, error) {
	w := renewWord{Explanation: c.Explanation, Clear: c.Clear}
	if c.Clear && (c.By != "" || c.Explanation != "") {
		return w, errors.New("--clear takes a renew-now back and goes without --by and --explanation")
	}
	var err error
	w.By, err = moment("--by", c.By)
	return w, err
}

// moment reads a flag that is a time; empty is the zero time.
func moment(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, fmt.Errorf("%s is %q; give a day such as 2027-01-31 or a time such as 2027-01-31T00:00:00Z", flag, text)
	}
	return t, nil
}

func (c *certRenewCmd) one(ctx context.Context, s streams, word renewWord) error {
	path := which(c.Which, c.Issuer)
	if before, query, ok := strings.Cut(path, "?"); ok {
		path = before + "/renew-now?" + query
	} else {
		path += "/renew-now"
	}
	var e enrollmentView
	if err := c.call(ctx, "POST", path, word, &e); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, e)
	}
	text := "its client renews it when it would anyway"
	if e.Renewal != nil {
		text = "its client is told to renew it " + e.Renewal.when()
	}
	_, err := fmt.Fprintf(s.out, "%s (%s): %s\n", e.Serial, shortened(e.Names), text)
	return err
}

// several goes through all enrollments batch by batch.
func (c *certRenewCmd) several(ctx context.Context, s streams, word renewWord) error {
	ask := renewMany{renewWord: word, Org: c.Org, Profile: c.Profile, Issuer: c.Issuer, DryRun: c.DryRun}
	var err error
	if ask.IssuedBefore, err = moment("--issued-before", c.IssuedBefore); err != nil {
		return err
	}
	var all renewedMany
	for n := 1; ; n++ {
		var batch renewedMany
		if err := c.call(ctx, "POST", "/renewals", ask, &batch); err != nil {
			if all.Looked > 0 {
				return fmt.Errorf("%w (behind enrollment %d; %d certificates are done: say it again, which does them no harm)", err, ask.After, all.Changed)
			}
			return err
		}
		all.Looked, all.Changed = all.Looked+batch.Looked, all.Changed+batch.Changed
		all.From, all.By = batch.From, batch.By
		if batch.Next == 0 {
			break
		}
		ask.After, ask.From, ask.By = batch.Next, batch.From, batch.By
		if n%progressEvery == 0 {
			fmt.Fprintf(s.err, "%d enrollments looked at, %d certificates\n", all.Looked, all.Changed)
		}
	}
	// A name that is mistyped must not look like work that is done.
	var none error
	if all.Changed == 0 {
		none = fmt.Errorf("nothing was chosen: none of %d enrollments has a certificate that is valid, not replaced yet and as the filters say; see gatehouse cert list", all.Looked)
	}
	if c.JSON {
		return errors.Join(writeJSON(s.out, all), none)
	}
	if none != nil {
		return none
	}
	_, err = fmt.Fprintln(s.out, c.summary(all))
	return err
}

func (c *certRenewCmd) summary(all renewedMany) string {
	switch {
	case c.DryRun:
		return fmt.Sprintf("%d of %d enrollments have a certificate that would be chosen; nothing was changed", all.Changed, all.Looked)
	case c.Clear:
		return fmt.Sprintf("%d certificates are renewed when their clients would anyway", all.Changed)
	}
	return fmt.Sprintf("the clients of %d certificates are told to renew them between %s and %s UTC, spread evenly", all.Changed, day(all.From), day(all.By))
}

// renewalView is an operator's word on a certificate's renewal.
type renewalView struct {
	Start       time.Time `json:"start"`
	End         time.Time `json:"end"`
	Explanation string    `json:"explanation,omitempty"`
	At          time.Time `json:"at"`
	Actor       string    `json:"actor"`
}

func (v *renewalView) when() string {
	if v.End.Before(v.At) {
		return "at once"
	}
	return "between " + day(v.Start) + " and " + day(v.End) + " UTC"
}

// row is the word as cert show writes it; empty if there is none.
func (v *renewalView) row() string {
	if v == nil {
		return ""
	}
	text := v.when() + ", said " + day(v.At) + " UTC by " + v.Actor
	if v.Explanation != "" {
		text += "; see " + v.Explanation
	}
	return text
}
