package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"
)

// userCmd holds the commands about principals: people and programs that act by credentials of their own.
type userCmd struct {
	Add      userAddCmd      `cmd:"" help:"Make a principal, a person or a program."`
	List     userListCmd     `cmd:"" help:"List principals, newest first."`
	Show     userShowCmd     `cmd:"" help:"Show one principal, its roles and its credentials without their secrets."`
	Set      userSetCmd      `cmd:"" help:"Change a principal."`
	Disable  userDisableCmd  `cmd:"" help:"Let a principal do nothing, whatever its credentials."`
	Enable   userEnableCmd   `cmd:"" help:"Take a disable back."`
	Password userPasswordCmd `cmd:"" help:"Give a principal a password, read from standard input or a file, or made and shown once."`
}

// userView is a principal as the operator's commands show it.
type userView struct {
	ID              string     `json:"id"` // "user:<number>"
	Login           string     `json:"login"`
	Customer        string     `json:"customer"` // slug
	Org             string     `json:"org"`      // slug
	Name            string     `json:"name,omitempty"`
	Mail            string     `json:"mail,omitempty"`
	Status          string     `json:"status"` // enabled, disabled, expired, or stopped with its organisation
	Roles           []roleView `json:"roles"`
	Created         time.Time  `json:"created"`
	Expires         time.Time  `json:"expires,omitzero"`
	Disabled        time.Time  `json:"disabled,omitzero"`
	PasswordChanged time.Time  `json:"passwordChanged,omitzero"` // absent: it has none
	Credentials     []keyView  `json:"credentials"`
	Password        string     `json:"password,omitempty"` // one that was made, once
}

// roleView is a role in an organisation, in requests by its slug, "" being the principal's home.
type roleView struct {
	Org  string `json:"org,omitempty"`
	Role string `json:"role"`
}

// userPage is one page of principals.
type userPage struct {
	Users []userView `json:"users"`
	Next  string     `json:"next,omitempty"` // for --after
}

func (v userView) roles() string {
	words := make([]string, len(v.Roles))
	for i, r := range v.Roles {
		if words[i] = r.Role; r.Org != v.Org {
			words[i] += ":" + r.Org
		}
	}
	return dash(strings.Join(words, ","))
}

// parseRoles reads "role" or "role:slug".
func parseRoles(words []string) (list []roleView) {
	for _, w := range words {
		role, org, _ := strings.Cut(w, ":")
		list = append(list, roleView{Org: org, Role: role})
	}
	return list
}

// parseExpires reads how long something lives, in whole seconds.
func parseExpires(flag, text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	d, err := parseDuration(text)
	if err == nil && d <= 0 {
		err = fmt.Errorf("give for example 30d, or leave it out for what does not expire")
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", flag, err)
	}
	return int64((d + time.Second - 1) / time.Second), nil
}

type userAddCmd struct {
	adminFlags
	Login   string   `arg:"" help:"What it logs in with. Unique, without regard to case, among all below one organisation that has no parent; it cannot be changed."`
	Org     string   `help:"Slug of the organisation that it belongs to: it acts there and below." required:"" placeholder:"SLUG"`
	Role    []string `help:"A role at its organisation (requester, approver, administrator, auditor), or as ROLE:SLUG at one below; repeat it for more." sep:"none"`
	Name    string   `help:"Its name for people."`
	Mail    string   `help:"Its address."`
	Expires string   `help:"How long it can act, as 365d. Without it: until it is disabled." placeholder:"DURATION"`
}

func (c *userAddCmd) Run(ctx context.Context, s streams) error {
	seconds, err := parseExpires("--expires", c.Expires)
	if err != nil {
		return err
	}
	var v userView
	if err := c.call(ctx, "POST", "/principals", userAdd{c.Org, c.Login, c.Name, c.Mail, parseRoles(c.Role), seconds}, &v); err != nil {
		return err
	}
	return c.printUser(s.out, v)
}

type userListCmd struct {
	adminFlags
	Org   string `help:"Only principals that belong to the organisation with this slug." placeholder:"SLUG"`
	Limit int    `help:"How many, 1 to 500." default:"50"`
	After string `help:"Continue behind this place, which the page before has named."`
}

func (c *userListCmd) Run(ctx context.Context, s streams) error {
	at := place{c.Org, c.After, c.Limit}
	var page userPage
	if err := c.call(ctx, "GET", "/principals?"+at.query(), nil, &page); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, page)
	}
	err := printTable(s.out, page.Users, "no principals", "LOGIN | ORG | STATUS | ROLES | EXPIRES | ID | NAME", func(v userView) []any {
		return []any{v.Login, v.Org, v.Status, v.roles(), day(v.Expires), v.ID, v.Name}
	})
	return errors.Join(err, at.more(s.out, "user list", page.Next))
}

// userArg names one principal.
type userArg struct {
	Login    string `arg:"" help:"Its login, or user:NUMBER."`
	Customer string `help:"Slug of the organisation without a parent that the login belongs to. Default: that of the first organisation of the configuration." placeholder:"SLUG"`
}

func (a userArg) path(verb string) string {
	path := "/principals/" + url.PathEscape(a.Login) + verb
	if a.Customer != "" {
		path += "?" + url.Values{"customer": {a.Customer}}.Encode()
	}
	return path
}

type userShowCmd struct {
	adminFlags
	userArg
}

func (c *userShowCmd) Run(ctx context.Context, s streams) error {
	var v userView
	if err := c.call(ctx, "GET", c.path(""), nil, &v); err != nil {
		return err
	}
	return c.printUser(s.out, v)
}

// printUser shows one principal.
func (f *adminFlags) printUser(out io.Writer, v userView) error {
	if f.JSON {
		return writeJSON(out, v)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, value)
		}
	}
	row("principal", v.ID)
	row("login", v.Login)
	row("customer", v.Customer)
	row("organisation", v.Org)
	row("name", v.Name)
	row("mail", v.Mail)
	row("status", v.Status)
	row("roles", v.roles())
	row("made", day(v.Created)+" UTC")
	if !v.Expires.IsZero() {
		row("expires", day(v.Expires)+" UTC")
	}
	if v.PasswordChanged.IsZero() {
		row("password", "none")
	} else {
		row("password", "since "+day(v.PasswordChanged)+" UTC")
	}
	if err := w.Flush(); err != nil || len(v.Credentials) == 0 {
		return err
	}
	fmt.Fprintln(out)
	return printKeys(out, v.Credentials)
}

type userSetCmd struct {
	adminFlags
	userArg
	Name     *string  `help:"Its name for people."`
	Mail     *string  `help:"Its address; empty for none."`
	Role     []string `help:"A role to give, as in user add; repeat it for more." sep:"none"`
	NoRole   []string `help:"A role to take away; repeat it for more." sep:"none" placeholder:"ROLE"`
	Expires  string   `help:"How long from now it can act, as 365d." placeholder:"DURATION" xor:"end"`
	NoExpiry bool     `help:"It does not expire." xor:"end"`
}

func (c *userSetCmd) Run(ctx context.Context, s streams) error {
	edit := userEdit{Name: c.Name, Mail: c.Mail, Grant: parseRoles(c.Role), Withdraw: parseRoles(c.NoRole)}
	seconds, err := parseExpires("--expires", c.Expires)
	if err != nil {
		return err
	}
	if c.NoExpiry || c.Expires != "" {
		edit.Seconds = &seconds
	}
	if c.Name == nil && c.Mail == nil && len(c.Role)+len(c.NoRole) == 0 && edit.Seconds == nil {
		return fmt.Errorf("nothing is to be changed; give --name, --mail, --role, --no-role, --expires or --no-expiry")
	}
	return c.editUser(ctx, s, c.userArg, edit)
}

// editUser sends a change of a principal.
func (f *adminFlags) editUser(ctx context.Context, s streams, who userArg, edit userEdit) error {
	var v userView
	if err := f.call(ctx, "POST", who.path(""), edit, &v); err != nil {
		return err
	}
	return f.printUser(s.out, v)
}

type userDisableCmd struct {
	adminFlags
	userArg
}

func (c *userDisableCmd) Run(ctx context.Context, s streams) error {
	return c.editUser(ctx, s, c.userArg, userEdit{Disabled: new(true)})
}

type userEnableCmd struct {
	adminFlags
	userArg
}

func (c *userEnableCmd) Run(ctx context.Context, s streams) error {
	return c.editUser(ctx, s, c.userArg, userEdit{Disabled: new(false)})
}
