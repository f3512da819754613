package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"text/tabwriter"
	"time"
)

// keyCmd holds the commands about credentials of principals besides their passwords.
type keyCmd struct {
	Add    keyAddCmd    `cmd:"" help:"Make a credential for a principal, and print its secret, this once."`
	List   keyListCmd   `cmd:"" help:"List a principal's credentials, oldest first."`
	Show   keyShowCmd   `cmd:"" help:"Show one credential; its secret is not shown."`
	Rotate keyRotateCmd `cmd:"" help:"Give a credential another secret, and print it, this once."`
	Revoke keyRevokeCmd `cmd:"" help:"End a credential at once."`
}

// keyView is a credential as the operator's commands show it.
type keyView struct {
	ID            string    `json:"id"`
	Kind          string    `json:"kind"`   // api, oauth, certificate, certificate-key
	Public        string    `json:"public"` // how the key begins, the client id, or the hash
	Label         string    `json:"label,omitempty"`
	Status        string    `json:"status"` // usable, expired, revoked
	User          string    `json:"user"`   // "user:<number>"
	Login         string    `json:"login"`
	Org           string    `json:"org"` // slug
	Subject       string    `json:"subject,omitempty"`
	Created       time.Time `json:"created"`
	Rotated       time.Time `json:"rotated,omitzero"`
	PreviousUntil time.Time `json:"previousUntil,omitzero"` // until when the secret before the last rotation goes on
	Expires       time.Time `json:"expires,omitzero"`
	Revoked       time.Time `json:"revoked,omitzero"`
	Used          time.Time `json:"used,omitzero"` // to the hour; with show and list alone

	// In the answers to add and rotate alone.
	Key          string `json:"key,omitempty"`
	ClientID     string `json:"clientId,omitempty"`
	ClientSecret string `json:"clientSecret,omitempty"`
}

type keyAddCmd struct {
	adminFlags
	userArg
	Kind        string `help:"api, oauth (client id and secret for access tokens), certificate (one client certificate) or certificate-key (its public key, in whatever certificate)." default:"api"`
	Label       string `help:"What it is for, for people."`
	Expires     string `help:"How long it counts, as 90d. Without it: until it is revoked." placeholder:"DURATION"`
	Certificate string `help:"The certificate, a PEM file, of which only a hash is kept." placeholder:"FILE" type:"path"`
}

func (c *keyAddCmd) Run(ctx context.Context, s streams) error {
	in := keyAdd{Kind: c.Kind, Label: c.Label}
	var err error
	if in.Seconds, err = parseExpires("--expires", c.Expires); err != nil {
		return err
	}
	if in.Certificate, err = certificateFile(c.Certificate); err != nil {
		return err
	}
	var v keyView
	if err := c.call(ctx, "POST", c.path("/credentials"), in, &v); err != nil {
		return err
	}
	return c.printSecret(s.out, v)
}

// certificateFile reads a file of a certificate; "" if none is named.
func certificateFile(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("reading the certificate: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 32<<10))
	if err != nil {
		return "", fmt.Errorf("reading the certificate: %w", err)
	}
	return string(text), nil
}

// printSecret shows a credential and what is shown of it once.
func (f *adminFlags) printSecret(out io.Writer, v keyView) error {
	if f.JSON {
		return writeJSON(out, v)
	}
	if err := v.print(out); err != nil {
		return err
	}
	var err error
	switch {
	case v.Key != "":
		_, err = fmt.Fprintf(out, "\nkey  %s\n\nThe key is not shown again.\n", v.Key)
	case v.ClientSecret != "":
		_, err = fmt.Fprintf(out, "\nclient id      %s\nclient secret  %s\n\nThe secret is not shown again.\n", v.ClientID, v.ClientSecret)
	}
	return err
}

type keyListCmd struct {
	adminFlags
	userArg
}

func (c *keyListCmd) Run(ctx context.Context, s streams) error {
	var v userView
	if err := c.call(ctx, "GET", c.path(""), nil, &v); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, v.Credentials)
	}
	if len(v.Credentials) == 0 {
		_, err := fmt.Fprintln(s.out, "no credentials")
		return err
	}
	return printKeys(s.out, v.Credentials)
}

func printKeys(out io.Writer, list []keyView) error {
	return printTable(out, list, "", "CREDENTIAL | KIND | STATUS | EXPIRES | USED | LABEL", func(v keyView) []any {
		return []any{v.ID, v.Kind, v.Status, day(v.Expires), day(v.Used), v.Label}
	})
}

type keyShowCmd struct {
	adminFlags
	ID string `arg:"" help:"Its id, 12 characters, which its key or client id has behind the first underscore."`
}

func (c *keyShowCmd) Run(ctx context.Context, s streams) error {
	var v keyView
	if err := c.call(ctx, "GET", keyPath(c.ID, ""), nil, &v); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, v)
	}
	return v.print(s.out)
}

func keyPath(id, verb string) string { return "/credentials/" + url.PathEscape(id) + verb }

func (v keyView) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, value)
		}
	}
	when := func(name string, t time.Time) {
		if !t.IsZero() {
			row(name, day(t)+" UTC")
		}
	}
	row("credential", v.ID)
	row("kind", v.Kind)
	row("known as", v.Public)
	row("of", v.Login+" ("+v.User+")")
	row("organisation", v.Org)
	row("label", v.Label)
	row("subject", v.Subject)
	row("status", v.Status)
	when("made", v.Created)
	when("rotated", v.Rotated)
	when("old one until", v.PreviousUntil)
	when("expires", v.Expires)
	when("revoked", v.Revoked)
	when("used", v.Used)
	return w.Flush()
}

type keyRotateCmd struct {
	adminFlags
	ID          string `arg:"" help:"Its id."`
	Overlap     string `help:"How long the old one goes on beside the new one, as 7d, at most 90d. Without it: it ends at once." placeholder:"DURATION"`
	Expires     string `help:"How long the new one counts. Without it: its end stays." placeholder:"DURATION"`
	Certificate string `help:"The new certificate, a PEM file, of a credential that is one." placeholder:"FILE" type:"path"`
}

func (c *keyRotateCmd) Run(ctx context.Context, s streams) error {
	var in keyRotate
	var err error
	if in.Overlap, err = parseExpires("--overlap", c.Overlap); err != nil {
		return err
	}
	if in.Seconds, err = parseExpires("--expires", c.Expires); err != nil {
		return err
	}
	if in.Certificate, err = certificateFile(c.Certificate); err != nil {
		return err
	}
	var v keyView
	if err := c.call(ctx, "POST", keyPath(c.ID, "/rotate"), in, &v); err != nil {
		return err
	}
	return c.printSecret(s.out, v)
}

type keyRevokeCmd struct {
	adminFlags
	ID string `arg:"" help:"Its id."`
}

func (c *keyRevokeCmd) Run(ctx context.Context, s streams) error {
	var v keyView
	if err := c.call(ctx, "POST", keyPath(c.ID, "/revoke"), nil, &v); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, v)
	}
	_, err := fmt.Fprintf(s.out, "revoked %s of %s since %s UTC\n", v.ID, v.Login, day(v.Revoked))
	return err
}
