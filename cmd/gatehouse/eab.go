package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// eabCmd holds the commands about keys for external account binding.
type eabCmd struct {
	Add    eabAddCmd    `cmd:"" help:"Make a key that binds new ACME accounts to an organisation, and print it, this once."`
	List   eabListCmd   `cmd:"" help:"List keys, newest first."`
	Show   eabShowCmd   `cmd:"" help:"Show one key and the accounts that it has bound; its MAC key is not shown."`
	Revoke eabRevokeCmd `cmd:"" help:"Let a key bind no further account. Accounts that it has bound go on."`
}

// eabView is a key as the operator's commands show it.
type eabView struct {
	KID      string   `json:"kid"`
	HMACKey  string   `json:"hmacKey,omitempty"` // base64url; in the answer to add alone
	Org      string   `json:"org"`               // slug
	OrgID    int32    `json:"orgId"`
	Label    string   `json:"label,omitempty"`
	Status   string   `json:"status"` // usable, used, expired, revoked, removed
	Profiles []string `json:"profiles,omitempty"`
	Names    []string `json:"names,omitempty"`
	// Number is what SCM's clients call it by; zero: they have not asked yet.
	Number    int32     `json:"number,omitempty"`
	ByDomains bool      `json:"byDomains,omitempty"` // its accounts may ask for what Domains cover, and nothing else
	Domains   []string  `json:"domains,omitempty"`
	Reusable  bool      `json:"reusable"`
	Created   time.Time `json:"created"`
	Expires   time.Time `json:"expires,omitzero"`
	Revoked   time.Time `json:"revoked,omitzero"`
	Removed   time.Time `json:"removed,omitzero"`   // its accounts may ask for nothing any more
	Accounts  []string  `json:"accounts,omitempty"` // at most a hundred; with one key alone, not in lists
	Bound     int64     `json:"bound,omitempty"`    // how many accounts there are; the same
	// Directory is where a client uses it; in the answer to add alone.
	Directory string `json:"directory,omitempty"`
	Note      string `json:"note,omitempty"` // why no directory takes it; the same
}

// eabPage is one page of keys.
type eabPage struct {
	Keys []eabView `json:"keys"`
	Next string    `json:"next,omitempty"` // for --after
}

type eabAddCmd struct {
	adminFlags
	Org      string   `help:"Slug of the organisation that its accounts belong to." required:""`
	Label    string   `help:"What it is for, for people."`
	Profile  []string `help:"A profile that its accounts may use; repeat it for more. Without it: all that the organisation may." sep:"none"`
	Name     []string `help:"A pattern, as in a profile's allow_names, which names in its accounts' orders must match on top of the profile's; repeat it for more. Without it: any." sep:"none" placeholder:"PATTERN"`
	Reusable bool     `help:"It binds any number of accounts. Without it: one."`
	Expires  string   `help:"How long it can bind accounts, as 30d or 12h. Without it: until it is revoked." placeholder:"DURATION"`
}

func (c *eabAddCmd) Run(ctx context.Context, s streams) error {
	in := eabAdd{Org: c.Org, Label: c.Label, Profiles: c.Profile, Names: c.Name, Reusable: c.Reusable}
	if c.Expires != "" {
		lifetime, err := parseDuration(c.Expires)
		if err != nil {
			return fmt.Errorf("--expires: %w", err)
		}
		if lifetime <= 0 {
			return fmt.Errorf("--expires: a key lives for a minute at least; give for example 30d, or leave it out for one that does not expire")
		}
		in.Seconds = int64((lifetime + time.Second - 1) / time.Second)
	}
	var v eabView
	if err := c.call(ctx, "POST", "/eab-keys", in, &v); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, v)
	}
	if v.Note != "" {
		fmt.Fprintln(s.err, "gatehouse:", v.Note)
	}
	_, err := fmt.Fprintf(s.out, `kid       %s
hmac key  %s

The key is not shown again. A client gives both when it makes its account, certbot for example with

  certbot register --server %s --eab-kid %s --eab-hmac-key %s
`, v.KID, v.HMACKey, v.Directory, v.KID, v.HMACKey)
	return err
}

type eabListCmd struct {
	adminFlags
	Org   string `help:"Only keys of the organisation with this slug."`
	Limit int    `help:"How many, 1 to 500." default:"50"`
	After string `help:"Continue behind this place, which the page before has named."`
}

func (c *eabListCmd) Run(ctx context.Context, s streams) error {
	at := place{c.Org, c.After, c.Limit}
	var page eabPage
	if err := c.call(ctx, "GET", "/eab-keys?"+at.query(), nil, &page); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, page)
	}
	err := printTable(s.out, page.Keys, "no keys", "KID | ORG | STATUS | USE | EXPIRES | LABEL", func(v eabView) []any {
		return []any{v.KID, v.Org, v.Status, v.use(), day(v.Expires), v.Label}
	})
	return errors.Join(err, at.more(s.out, "eab list", page.Next))
}

func (v eabView) use() string {
	if v.Reusable {
		return "reusable"
	}
	return "once"
}

type eabShowCmd struct {
	adminFlags
	KID string `arg:"" name:"kid" help:"The key's identifier."`
}

func (c *eabShowCmd) Run(ctx context.Context, s streams) error {
	var v eabView
	if err := c.call(ctx, "GET", eabPath(c.KID, ""), nil, &v); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, v)
	}
	return v.print(s.out)
}

func eabPath(kid, verb string) string { return "/eab-keys/" + url.PathEscape(kid) + verb }

func (v eabView) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, value)
		}
	}
	row("kid", v.KID)
	row("organisation", v.Org)
	row("label", v.Label)
	row("status", v.Status)
	row("use", v.use())
	row("profiles", strings.Join(v.Profiles, ", "))
	row("names", strings.Join(v.Names, ", "))
	if v.ByDomains {
		row("domains", cmp.Or(strings.Join(v.Domains, ", "), "none: nothing can be ordered"))
	}
	if v.Number != 0 {
		row("number", strconv.Itoa(int(v.Number)))
	}
	row("made", day(v.Created)+" UTC")
	if !v.Expires.IsZero() {
		row("expires", day(v.Expires)+" UTC")
	}
	if !v.Revoked.IsZero() {
		row("revoked", day(v.Revoked)+" UTC")
	}
	if !v.Removed.IsZero() {
		row("removed", day(v.Removed)+" UTC: its accounts may ask for nothing any more")
	}
	row("accounts", strconv.FormatInt(v.Bound, 10))
	if err := w.Flush(); err != nil {
		return err
	}
	for _, a := range v.Accounts {
		fmt.Fprintln(out, " ", a)
	}
	if more := v.Bound - int64(len(v.Accounts)); more > 0 {
		fmt.Fprintf(out, "  and %d more\n", more)
	}
	return nil
}

type eabRevokeCmd struct {
	adminFlags
	KID string `arg:"" name:"kid" help:"The key's identifier."`
}

func (c *eabRevokeCmd) Run(ctx context.Context, s streams) error {
	var v eabView
	if err := c.call(ctx, "POST", eabPath(c.KID, "/revoke"), nil, &v); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, v)
	}
	_, err := fmt.Fprintf(s.out, "revoked %s since %s UTC; %d accounts that it has bound go on\n", v.KID, day(v.Revoked), v.Bound)
	return err
}
