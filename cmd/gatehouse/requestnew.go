package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/gatehouse-ca/gatehouse/ra"
)

type requestNewCmd struct {
	adminFlags
	CSR      string   `name:"csr" help:"The CSR: PEM or DER. Or have a key made and kept here with --key-type." type:"path" placeholder:"FILE"`
	KeyType  string   `help:"Have a key of this type made and kept by the gateway, in place of a CSR: ecdsa-p256, rsa-2048 and so on." placeholder:"TYPE"`
	Org      string   `help:"Slug of the organisation that is to have the certificate. Default with --as: the principal's home." placeholder:"SLUG"`
	Profile  string   `help:"The profile." required:"" placeholder:"NAME"`
	Names    []string `name:"name" help:"A name of the certificate; several as one list or by several flags. Default: those of the CSR." placeholder:"NAME"`
	As       string   `help:"Ask in the name of this principal, by its rights: its login, or user: and its number." placeholder:"LOGIN"`
	Customer string   `help:"With a login: slug of the organisation without a parent that it is in. Default: the organisation of /acme/directory." placeholder:"SLUG"`
	Term     string   `help:"The validity, of those that the profile offers, such as 90d." placeholder:"90d"`
	Fields   []string `name:"field" help:"A custom field." sep:"none" placeholder:"NAME=VALUE"`
	Validate string   `help:"Have names that no domain proves validated for this request: by http, https, txt, cname or another method of request validate; later leaves that to be said then, name by name." placeholder:"METHOD"`
	Wait     bool     `help:"Wait until the certificate is issued, or the request has ended without one."`
}

// requestWaitEvery is how often --wait asks.
const requestWaitEvery = 2 * time.Second

func (c *requestNewCmd) Run(ctx context.Context, s streams) error {
	in, err := c.read()
	if err != nil {
		return err
	}
	var r requestView
	if err := c.call(ctx, "POST", "/requests", in, &r); err != nil {
		return err
	}
	if c.Wait && !r.settled() {
		if !c.JSON {
			if err := r.announce(s.out); err != nil {
				return err
			}
		}
		if r, err = c.await(ctx, r); err != nil {
			return err
		}
	}
	if c.JSON {
		err = writeJSON(s.out, r)
	} else {
		err = r.announce(s.out)
	}
	if err == nil && r.settled() && ra.Status(r.Status) != ra.StatusIssued {
		err = errReported
	}
	return err
}

// read makes what is sent of the flags.
func (c *requestNewCmd) read() (in requestNew, err error) {
	in = requestNew{Org: c.Org, Profile: c.Profile, Names: c.Names, As: c.As, Customer: c.Customer, KeyType: c.KeyType, Method: c.Validate}
	switch {
	case (c.CSR == "") == (c.KeyType == ""):
		return in, errors.New("give either --csr FILE or --key-type TYPE")
	case c.KeyType != "" && len(c.Names) == 0:
		return in, errors.New("--key-type needs the names of the certificate: give --name")
	case c.Org == "" && c.As == "":
		return in, errors.New("name the organisation that is to have the certificate with --org, or a principal with --as")
	case c.Customer != "" && c.As == "":
		return in, errors.New("--customer goes with --as")
	}
	if c.CSR != "" {
		if in.CSR, err = readCSR(c.CSR); err != nil {
			return in, err
		}
	}
	if c.Term != "" {
		term, err := parseDuration(c.Term)
		if err != nil {
			return in, fmt.Errorf("--term: %w", err)
		}
		in.Term = int64(term / time.Second)
	}
	fields, err := parseFields(c.Fields)
	for _, f := range fields {
		in.Fields = append(in.Fields, fieldValue{Name: f.Name, Value: f.Value})
	}
	return in, err
}

// settled reports whether nothing more is to be waited for.
func (r *requestView) settled() bool {
	switch ra.Status(r.Status) {
	case ra.StatusWaiting, ra.StatusValidating, ra.StatusApproved, ra.StatusRequested:
		return false
	default:
		return true
	}
}

// await asks until the request is settled. An interrupt leaves the request as it is.
func (c *requestNewCmd) await(ctx context.Context, r requestView) (requestView, error) {
	id := r.ID
	for !r.settled() {
		select {
		case <-ctx.Done():
			return r, fmt.Errorf("request %d is %s and goes on by itself; gatehouse request show %d tells how far it is", id, r.Status, id)
		case <-time.After(requestWaitEvery):
		}
		r = requestView{}
		if err := c.call(ctx, "GET", fmt.Sprintf("/requests/%d", id), nil, &r); err != nil && ctx.Err() == nil {
			return r, fmt.Errorf("%w (request %d goes on by itself)", err, id)
		}
	}
	return r, nil
}

// announce says what the request is, and what is to be typed next.
func (r *requestView) announce(out io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "request %d is %s (%s)\n", r.ID, r.Status, shortened(r.Names))
	switch ra.Status(r.Status) {
	case ra.StatusWaiting:
		fmt.Fprintf(&b, "%s approvals, role %s, until %s UTC: gatehouse request approve %d, by somebody else than the requester\n", r.count(), r.Role, day(r.Lapses), r.ID)
	case ra.StatusValidating:
		r.describeChallenges(page{&b})
	case ra.StatusRequested, ra.StatusApproved:
		fmt.Fprintf(&b, "gatehouse request show %d tells how far it is\n", r.ID)
	case ra.StatusIssued:
		fmt.Fprintf(&b, "valid until %s UTC: gatehouse cert export %d\n", day(r.NotAfter), r.ID)
	default:
		fmt.Fprintf(&b, "%s\n", dash(r.Failure))
	}
	_, err := io.WriteString(out, b.String())
	return err
}
