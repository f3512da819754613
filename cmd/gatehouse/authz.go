package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
)

// authzCmd holds the commands about ACME authorizations: what validations saw.
type authzCmd struct {
	Show authzShowCmd `cmd:"" help:"Show an authorization, and step by step what its validation saw and what to change."`
	List authzListCmd `cmd:"" help:"List authorizations whose validation failed, newest first."`
}

type authzShowCmd struct {
	adminFlags
	Which string `arg:"" help:"Its id or URL, or the URL of one of its challenges, as a client's log has it."`
}

func (c *authzShowCmd) Run(ctx context.Context, s streams) error {
	var v authzView
	if err := c.call(ctx, "GET", "/authorizations/one?"+url.Values{"of": {c.Which}}.Encode(), nil, &v); err != nil {
		return err
	}
	if c.JSON {
		return writePlainJSON(s.out, v)
	}
	var b strings.Builder
	describeAuthz(&b, v)
	_, err := io.WriteString(s.out, b.String())
	return err
}

type authzListCmd struct {
	adminFlags
	Name    string `help:"For exactly this name or address; *. in front of a wildcard's."`
	Account string `help:"Of this ACME account: its id or URL." placeholder:"ID"`
	Org     string `help:"Of this organisation." placeholder:"SLUG"`
	Limit   int    `help:"How many, 1 to 1000." default:"50"`
	After   string `help:"Continue where an earlier page ended." placeholder:"PLACE"`
}

// query is the command's flags as authzList reads them.
func (c *authzListCmd) query() url.Values {
	q := url.Values{"limit": {strconv.Itoa(c.Limit)}}
	account := strings.TrimSuffix(c.Account, "/")
	account = account[strings.LastIndexByte(account, '/')+1:]
	for name, value := range map[string]string{"name": c.Name, "account": account, "org": c.Org, "after": c.After} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q
}

func (c *authzListCmd) Run(ctx context.Context, s streams) error {
	var list failuresView
	if err := c.call(ctx, "GET", "/authorizations?"+c.query().Encode(), nil, &list); err != nil {
		return err
	}
	if c.JSON {
		return writePlainJSON(s.out, list)
	}
	if len(list.Authorizations) == 0 && list.Next == "" {
		_, err := fmt.Fprintln(s.out, "no failed validations")
		return err
	}
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FAILED (UTC)\tID\tORGANISATION\tNAME\tMETHOD\tWHY")
	for _, v := range list.Authorizations {
		for _, ch := range v.Challenges {
			if f := ch.Failed; f != nil {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", f.At.UTC().Format("2006-01-02 15:04:05"), plain(v.ID), plain(v.org()), plain(v.Identifier), plain(ch.Method), plain(cut(f.Detail)))
			}
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if list.Next != "" {
		fmt.Fprintln(s.out, "more:", c.next(list.Next))
	}
	return nil
}

// next is the command that shows the next page.
func (c *authzListCmd) next(after string) string {
	words := []string{"gatehouse authz list --after", after}
	q := c.query()
	for _, name := range []string{"name", "account", "org", "limit"} {
		if q.Has(name) {
			words = append(words, "--"+name, q.Get(name))
		}
	}
	return strings.Join(words, " ")
}

// org is the organisation for people: its slug, or its number if it is gone.
func (v authzView) org() string {
	if v.Organisation != "" {
		return v.Organisation
	}
	return strconv.Itoa(int(v.Org))
}

// cut keeps a line of the list readable.
func cut(text string) string {
	const most = 100
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}

// writePlainJSON is writeJSON for what holds texts of the network: everything beyond printable ASCII is escaped, so that a
// terminal shows it and does not obey it.
func writePlainJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	if err := writeJSON(&b, v); err != nil {
		return err
	}
	var out bytes.Buffer
	for _, r := range b.String() { // which is JSON, so what is not ASCII stands in strings
		switch {
		case r < 0x7f:
			out.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			r -= 0x10000
			fmt.Fprintf(&out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		}
	}
	if !json.Valid(out.Bytes()) {
		return fmt.Errorf("the answer cannot be written as JSON")
	}
	_, err := w.Write(out.Bytes())
	return err
}
