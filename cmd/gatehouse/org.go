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

	"github.com/gatehouse-ca/gatehouse/auth"
)

// orgCmd holds the commands about organisations.
type orgCmd struct {
	Add     orgAddCmd     `cmd:"" help:"Make an organisation."`
	List    orgListCmd    `cmd:"" help:"List organisations: those of the configuration and those that were made by command."`
	Show    orgShowCmd    `cmd:"" help:"Show one organisation."`
	Set     orgSetCmd     `cmd:"" help:"Change an organisation that was made by command."`
	Disable orgDisableCmd `cmd:"" help:"Let an organisation, and those below it, do nothing but revoke."`
	Enable  orgEnableCmd  `cmd:"" help:"Take a disable back, or a deletion by an SCM client."`
}

// orgView is an organisation as the operator's commands show it.
type orgView struct {
	ID         int32     `json:"id"`
	Slug       string    `json:"slug"`
	Name       string    `json:"name"`
	Parent     string    `json:"parent,omitempty"` // slug
	Depth      int       `json:"depth"`
	Children   int       `json:"children"`
	Profiles   []string  `json:"profiles"` // null: all that its parent may use
	EAB        string    `json:"eab"`
	Configured bool      `json:"configured"`
	Created    time.Time `json:"created,omitzero"`
	Disabled   time.Time `json:"disabled,omitzero"`
	Deleted    time.Time `json:"deleted,omitzero"`   // at a door: none lists it
	Obstacle   string    `json:"obstacle,omitempty"` // why it does not work

	AllowNames []string `json:"allowNames,omitempty"` // its own rules; those above it are shown with those
	DenyNames  []string `json:"denyNames,omitempty"`

	Details *auth.OrgDetails `json:"details,omitempty"` // that an SCM client has noted
}

func viewOrg(o auth.OrgState) orgView {
	v := orgView{
		ID: int32(o.ID), Slug: o.Slug, Name: o.Name, Parent: o.ParentSlug, Depth: o.Depth, Children: o.Children, Profiles: o.Profiles, EAB: o.EAB.String(),
		Configured: o.Configured, Created: o.Created, Disabled: o.Disabled, Deleted: o.Closed, Obstacle: o.Obstacle,
		AllowNames: o.AllowNames, DenyNames: o.DenyNames,
	}
	if !o.Details.Empty() {
		v.Details = &o.Details
	}
	return v
}

func (v orgView) status() string {
	switch {
	case !v.Deleted.IsZero():
		return "deleted"
	case !v.Disabled.IsZero():
		return "disabled"
	case v.Obstacle != "":
		return "stopped"
	default:
		return "enabled"
	}
}

// profiles are the profiles as lists and pages show them.
func (v orgView) profiles(all string) string {
	switch {
	case v.Profiles == nil:
		return all
	case len(v.Profiles) == 0:
		return "none"
	}
	return strings.Join(v.Profiles, ",")
}

type orgAddCmd struct {
	adminFlags
	Slug    string   `arg:"" help:"Its name in URLs, as in /acme/in/SLUG/directory: lower-case letters, digits and hyphens. It cannot be changed."`
	Name    string   `help:"Its name for people. Default: the slug."`
	Parent  string   `help:"Slug of the organisation above, of whose profiles it may use some or all." placeholder:"SLUG"`
	Profile []string `help:"A profile that it may use; repeat it for more. Without it: all that the parent may." sep:"none"`
	Allow   []string `name:"allow-name" help:"A pattern, as in a profile's allow_names, which names that it and those below it ask for must match; repeat it for more. Without it: any." sep:"none" placeholder:"PATTERN"`
	Deny    []string `name:"deny-name" help:"A pattern, as in a profile's deny_names, that no such name may match; repeat it for more." sep:"none" placeholder:"PATTERN"`
	EAB     string   `name:"eab" help:"Whether new accounts need a key of gatehouse eab add: off, optional or required. Default: as the parent; without one off."`
}

func (c *orgAddCmd) Run(ctx context.Context, s streams) error {
	if c.Name == "" {
		c.Name = c.Slug
	}
	var v orgView
	if err := c.call(ctx, "POST", "/organisations", orgAdd{c.Slug, c.Name, c.Parent, c.Profile, c.EAB, c.Allow, c.Deny}, &v); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, v)
	}
	_, err := fmt.Fprintf(s.out, "organisation %d, slug %s; its directory is /acme/in/%s/directory\n", v.ID, v.Slug, v.Slug)
	return err
}

type orgListCmd struct{ adminFlags }

func (c *orgListCmd) Run(ctx context.Context, s streams) error {
	var list []orgView
	if err := c.call(ctx, "GET", "/organisations", nil, &list); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, list)
	}
	return printTable(s.out, list, "", "ID | SLUG | PARENT | STATUS | EAB | PROFILES | NAME", func(v orgView) []any {
		return []any{v.ID, v.Slug, dash(v.Parent), v.status(), v.EAB, v.profiles("all"), v.Name}
	})
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

type orgShowCmd struct {
	adminFlags
	Slug string `arg:"" help:"Its slug."`
}

func (c *orgShowCmd) Run(ctx context.Context, s streams) error {
	var v orgView
	if err := c.call(ctx, "GET", orgPath(c.Slug), nil, &v); err != nil {
		return err
	}
	return c.print(s.out, v)
}

func orgPath(slug string) string { return "/organisations/" + url.PathEscape(slug) }

// print shows one organisation.
func (f *adminFlags) print(out io.Writer, v orgView) error {
	if f.JSON {
		return writeJSON(out, v)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, value)
		}
	}
	row("organisation", strconv.Itoa(int(v.ID)))
	row("slug", v.Slug)
	row("name", v.Name)
	row("parent", v.Parent)
	row("status", v.status())
	row("because", v.Obstacle)
	row("eab", v.EAB)
	row("profiles", v.profiles("all that those above may use"))
	row("allowed names", strings.Join(v.AllowNames, ", "))
	row("denied names", strings.Join(v.DenyNames, ", "))
	row("below it", strconv.Itoa(v.Children))
	if d := v.Details; d != nil {
		row("alternative name", d.AlternativeName)
		row("alias", d.Alias)
		row("contacts", strings.Join(d.ContactEmails, ", "))
		row("address", strings.Join(slices.DeleteFunc([]string{
			d.Address1, d.Address2, d.Address3, strings.TrimSpace(d.PostalCode + " " + d.City), d.State, d.Country,
		}, func(line string) bool { return line == "" }), ", "))
	}
	if v.Configured {
		row("made", "in the configuration file, which alone changes it")
	} else {
		row("made", day(v.Created)+" UTC")
	}
	return w.Flush()
}

type orgSetCmd struct {
	adminFlags
	Slug        string   `arg:"" help:"Its slug."`
	Name        *string  `help:"Its name for people."`
	Profile     []string `help:"A profile that it may use, instead of those before; repeat it for more." sep:"none" xor:"profiles"`
	AllProfiles bool     `help:"It may use all that its parent may." xor:"profiles"`
	NoProfiles  bool     `help:"It may use none." xor:"profiles"`
	Allow       []string `name:"allow-name" help:"A pattern, as in a profile's allow_names, which names that it and those below it ask for must match, instead of those before; repeat it for more." sep:"none" placeholder:"PATTERN" xor:"allow"`
	AnyName     bool     `help:"It may ask for any name that those above it and the profiles let pass." xor:"allow"`
	Deny        []string `name:"deny-name" help:"A pattern, as in a profile's deny_names, that no such name may match, instead of those before; repeat it for more." sep:"none" placeholder:"PATTERN" xor:"deny"`
	DenyNone    bool     `help:"It denies no names of its own." xor:"deny"`
	EAB         *string  `name:"eab" help:"Whether new accounts need a key of gatehouse eab add: off, optional or required."`
}

func (c *orgSetCmd) Run(ctx context.Context, s streams) error {
	edit := orgEdit{Name: c.Name, EAB: c.EAB, AllowNames: listEdit(c.Allow, c.AnyName), DenyNames: listEdit(c.Deny, c.DenyNone)}
	switch {
	case c.AllProfiles:
		edit.Profiles = new([]string)
	case c.NoProfiles:
		edit.Profiles = &[]string{}
	case len(c.Profile) > 0:
		edit.Profiles = &c.Profile
	case edit == (orgEdit{}):
		return fmt.Errorf("nothing is to be changed; give --name, --profile, --all-profiles, --no-profiles, --allow-name, --any-name, --deny-name, --deny-none or --eab")
	}
	return c.edit(ctx, s, c.Slug, edit)
}

// listEdit is a list in place of the one before, nil to leave that.
func listEdit(list []string, clear bool) *[]string {
	switch {
	case clear:
		return &[]string{}
	case len(list) > 0:
		return &list
	}
	return nil
}

// edit sends a change of an organisation.
func (f *adminFlags) edit(ctx context.Context, s streams, slug string, edit orgEdit) error {
	var v orgView
	if err := f.call(ctx, "POST", orgPath(slug), edit, &v); err != nil {
		return err
	}
	return f.print(s.out, v)
}

type orgDisableCmd struct {
	adminFlags
	Slug string `arg:"" help:"Its slug."`
}

func (c *orgDisableCmd) Run(ctx context.Context, s streams) error {
	return c.edit(ctx, s, c.Slug, orgEdit{Disabled: new(true)})
}

type orgEnableCmd struct {
	adminFlags
	Slug string `arg:"" help:"Its slug."`
}

func (c *orgEnableCmd) Run(ctx context.Context, s streams) error {
	return c.edit(ctx, s, c.Slug, orgEdit{Disabled: new(false)})
}
