package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"text/tabwriter"
)

// mailCmd holds the commands about mails that were not delivered yet.
type mailCmd struct {
	List   mailListCmd   `cmd:"" help:"List the mails that wait to be sent, or those that were given up."`
	Show   mailShowCmd   `cmd:"" help:"Show one mail, without its secret, and what hinders it."`
	Retry  mailRetryCmd  `cmd:"" help:"Try a mail now, also one that was given up."`
	Cancel mailCancelCmd `cmd:"" help:"Forget a mail that nobody is to be sent."`
}

type mailListCmd struct {
	adminFlags
	Lost  bool   `help:"Those that were given up in the last 30 days, newest first."`
	Limit int    `help:"How many, 1 to 1000." default:"50"`
	After string `help:"Continue behind this mail." placeholder:"ID"`
}

func (c *mailListCmd) Run(ctx context.Context, s streams) error {
	q := url.Values{"limit": {strconv.Itoa(c.Limit)}, "after": {c.After}, "lost": {strconv.FormatBool(c.Lost)}}
	var list mailsView
	if err := c.call(ctx, "GET", "/mails?"+q.Encode(), nil, &list); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, list)
	}
	switch {
	case !list.Server.Configured:
		fmt.Fprintln(s.out, "no mail server is configured")
	case list.Server.Trouble != "":
		fmt.Fprintf(s.out, "the mail server takes nothing, and is tried again at %s UTC: %s\n", list.Server.Next.UTC().Format("15:04:05"), list.Server.Trouble)
	}
	if len(list.Mails) == 0 {
		text := "no mails wait"
		if c.Lost {
			text = "no mails were given up"
		}
		_, err := fmt.Fprintln(s.out, text)
		return err
	}
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tKIND\tTO\tSTATUS\tMADE\tDUE\tATTEMPTS\tTROUBLE")
	for _, m := range list.Mails {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", m.ID, m.Kind, m.To, m.Status, day(m.Created), day(m.Due), m.Attempts, m.Trouble)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if list.Next != "" {
		lost := ""
		if c.Lost {
			lost = "--lost "
		}
		fmt.Fprintf(s.out, "more: gatehouse mail list %s--after %s --limit %d\n", lost, list.Next, c.Limit)
	}
	return nil
}

type mailShowCmd struct {
	adminFlags
	ID string `arg:"" name:"id" help:"The mail's id."`
}

func (c *mailShowCmd) Run(ctx context.Context, s streams) error {
	var m mailView
	if err := c.call(ctx, "GET", "/mails/"+url.PathEscape(c.ID), nil, &m); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, m)
	}
	return showMail(s.out, m)
}

func showMail(out io.Writer, m mailView) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" && value != "-" {
			fmt.Fprintf(w, "%s\t%s\n", name, value)
		}
	}
	row("mail", m.ID)
	row("kind", m.Kind)
	row("organisation", m.Org)
	row("to", m.To)
	row("status", m.Status)
	row("made", day(m.Created))
	row("due", day(m.Due))
	row("given up", day(m.GivenUp))
	row("worth sending until", day(m.Until))
	row("attempts", strconv.Itoa(m.Attempts))
	row("trouble", m.Trouble)
	for _, word := range slices.Sorted(maps.Keys(m.Words)) {
		row("word "+word, m.Words[word])
	}
	return w.Flush()
}

type mailRetryCmd struct {
	adminFlags
	ID string `arg:"" name:"id" help:"The mail's id."`
}

func (c *mailRetryCmd) Run(ctx context.Context, s streams) error {
	return c.say(ctx, s, c.ID, "retry", "mail %s is tried now\n")
}

type mailCancelCmd struct {
	adminFlags
	ID string `arg:"" name:"id" help:"The mail's id."`
}

func (c *mailCancelCmd) Run(ctx context.Context, s streams) error {
	return c.say(ctx, s, c.ID, "cancel", "mail %s is forgotten\n")
}

// say has something done to a mail, and prints what it then is if JSON is wanted.
func (f *adminFlags) say(ctx context.Context, s streams, id, verb, done string) error {
	var m mailView
	if err := f.call(ctx, "POST", "/mails/"+url.PathEscape(id)+"/"+verb, nil, &m); err != nil {
		return err
	}
	if f.JSON {
		return writeJSON(s.out, m)
	}
	_, err := fmt.Fprintf(s.out, done, id)
	return err
}
