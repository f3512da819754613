package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/gatehouse-ca/gatehouse/policy"
)

// profileCmd holds the commands about profiles.
type profileCmd struct {
	List profileListCmd `cmd:"" help:"List the profiles of the running gateway."`
	Show profileShowCmd `cmd:"" help:"Show what one profile lets be issued."`
	Test profileTestCmd `cmd:"" help:"Say for a CSR what each rule makes of it. Nothing is issued, recorded or asked of the network, and proofs that exist are not looked at."`
}

// profileView is a profile as the operator's commands show it, with its defaults filled in.
type profileView struct {
	Name          string       `json:"name"`
	Number        int32        `json:"number,omitempty"`
	Description   string       `json:"description,omitempty"`
	Default       bool         `json:"default"` // /acme/directory serves it
	Issuer        string       `json:"issuer"`
	Mode          policy.Mode  `json:"mode"`
	Validity      string       `json:"validity"` // of a request that names no term
	Terms         []string     `json:"terms"`    // that a request may choose from today
	DCV           string       `json:"dcv"`      // request, domain or none
	DCVMethods    []string     `json:"dcvMethods"`
	Quota         *quotaView   `json:"quota,omitempty"`
	ServerKeys    bool         `json:"serverKeys"` // private keys may be made and kept here
	Lint          string       `json:"lint"`
	Hash          string       `json:"hash"`
	Rules         []ruleView   `json:"rules,omitempty"` // with one profile alone, not in lists
	Organisations []string     `json:"organisations"`   // slugs of those that may use it
	quota         policy.Quota // as Quota, for text
}

// quotaView is policy.Quota.
type quotaView struct {
	Certificates int `json:"certificates,omitempty"`
	PerName      int `json:"perName,omitempty"`
}

// ruleView is one rule and what passes it.
type ruleView struct {
	Rule   string `json:"rule"`
	Wanted string `json:"wanted"`
}

// UnmarshalJSON also fills in what text shows.
func (v *profileView) UnmarshalJSON(b []byte) error {
	type plain profileView
	if err := json.Unmarshal(b, (*plain)(v)); err != nil {
		return err
	}
	if v.Quota != nil {
		v.quota = policy.Quota{Certificates: v.Quota.Certificates, PerName: v.Quota.PerName}
	}
	return nil
}

// number is the profile's number for text.
func (v profileView) number() string {
	if v.Number == 0 {
		return "-"
	}
	return strconv.Itoa(int(v.Number))
}

// terms are what a request may choose from, for text; "-" where it has no choice.
func (v profileView) terms() string {
	if len(v.Terms) == 1 && v.Terms[0] == v.Validity {
		return "-"
	}
	return dash(strings.Join(v.Terms, ", "))
}

type profileListCmd struct{ adminFlags }

func (c *profileListCmd) Run(ctx context.Context, s streams) error {
	var list []profileView
	if err := c.call(ctx, "GET", "/profiles", nil, &list); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, list)
	}
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tNUMBER\tDEFAULT\tMODE\tISSUER\tVALIDITY\tTERMS\tDCV\tQUOTA\tDESCRIPTION")
	for _, v := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", v.Name, v.number(), yes(v.Default), v.Mode, v.Issuer, v.Validity, v.terms(), v.DCV, v.quota, dash(v.Description))
	}
	return w.Flush()
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "-"
}

type profileShowCmd struct {
	adminFlags
	Name string `arg:"" help:"Its name."`
}

func (c *profileShowCmd) Run(ctx context.Context, s streams) error {
	var v profileView
	if err := c.call(ctx, "GET", "/profiles/"+url.PathEscape(c.Name), nil, &v); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(s.out, v)
	}
	return v.print(s.out)
}

// print shows one profile.
func (v profileView) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, value)
		}
	}
	row("profile", v.Name)
	row("number", v.number())
	row("description", v.Description)
	row("served by", map[bool]string{true: "/acme/directory, and by its name", false: "its name"}[v.Default])
	row("used by", dash(strings.Join(v.Organisations, ", ")))
	row("issuer", v.Issuer)
	row("mode", string(v.Mode))
	row("validity", v.Validity)
	row("terms", v.terms())
	row("dcv", v.DCV)
	row("dcv methods", strings.Join(v.DCVMethods, ", "))
	row("quota", v.quota.String())
	if v.ServerKeys {
		row("server keys", "on: private keys may be made and kept here")
	}
	row("lint", v.Lint)
	for _, r := range v.Rules {
		row("rule "+r.Rule, r.Wanted)
	}
	row("hash", v.Hash)
	return w.Flush()
}
