package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse-ca/gatehouse/dcv"
	"github.com/gatehouse-ca/gatehouse/identifier"
)

// labTryCmd orders names of a lab as a client.
type labTryCmd struct {
	labFlags
	Name   string `arg:"" optional:"" help:"The name; all of the table without it. Any other name can be tried as well."`
	Method string `help:"By which method (that of the table; for other names http-01, for wildcards dns-01)." enum:"http-01,dns-01,tls-alpn-01," default:""`
	Data   string `help:"Data folder of the lab. Not needed while one alone runs." type:"path"`
	Once   bool   `help:"Start a lab for this alone."`
	JSON   bool   `help:"Print JSON."`
}

func (c *labTryCmd) Run(ctx context.Context, s streams) error {
	hosts, err := c.hosts()
	if err != nil {
		return err
	}
	if c.Once {
		if c.Data != "" {
			return fmt.Errorf("--once starts a lab that leaves nothing behind: leave --data away, or try the lab that runs there without --once")
		}
		return withLab(ctx, c.labFlags, "", &narrator{out: io.Discard, last: time.Now()}, func(l *lab) error {
			return c.try(ctx, s.out, l.state, hosts)
		})
	}
	if c.given() {
		return fmt.Errorf("the flags that say where a lab listens go with --once; a running lab says it itself")
	}
	l, err := findLab(c.Data)
	if err != nil {
		return err
	}
	return c.try(ctx, s.out, l, hosts)
}

// hosts are the rows that the command names.
func (c *labTryCmd) hosts() ([]labHost, error) {
	method := dcv.Method(c.Method)
	if c.Name == "" {
		all := labHosts()
		if method == "" {
			return all, nil
		}
		var some []labHost
		for _, h := range all {
			if h.Method == method {
				some = append(some, h)
			}
		}
		return some, nil
	}
	if h, ok := findLabHost(c.Name, method); ok {
		return []labHost{h}, nil
	}
	h := labHost{Name: c.Name, Method: method, Profile: labProfile}
	if method == "" {
		h.Method = dcv.HTTP01
		if strings.HasPrefix(c.Name, "*.") {
			h.Method = dcv.DNS01
		}
	}
	if of, ok := findLabHost(c.Name, ""); ok { // by another method than the table's
		h.Profile = of.Profile
	}
	if _, err := identifier.ParseDNS(c.Name); err != nil {
		if _, ipErr := identifier.ParseIP(c.Name); ipErr != nil {
			return nil, fmt.Errorf("%q is neither a name nor an address: %w", c.Name, err)
		}
	}
	return []labHost{h}, nil
}

func (c *labTryCmd) try(ctx context.Context, out io.Writer, l labState, hosts []labHost) error {
	if c.Name == "" {
		return tryAll(ctx, out, l, hosts, c.JSON)
	}
	answers, err := newLabAnswers(l)
	if err != nil {
		return err
	}
	defer answers.close()
	v, err := answers.try(ctx, l, hosts[0])
	if err != nil {
		return err
	}
	if c.JSON {
		err = writePlainJSON(out, v)
	} else {
		var b strings.Builder
		v.describe(&b)
		if !c.Once && v.Authorization != "" {
			fmt.Fprintf(&b, "\nHow it was seen, step by step:\n\n  gatehouse authz show --data %s %s\n", l.Data, v.Authorization)
		}
		_, err = io.WriteString(out, b.String())
	}
	if err == nil && !v.AsExpected {
		err = errReported
	}
	return err
}

// describe writes a verdict for people.
func (v labVerdict) describe(b *strings.Builder) {
	p := page{b}
	p.line(0, "name      %s", v.Name)
	p.line(0, "method    %s", string(v.Method))
	p.line(0, "profile   %s", v.Profile)
	if v.Trouble != "" {
		p.line(0, "trouble   %s", v.Trouble)
	}
	if v.Got == labIssued {
		p.line(0, "verdict   issued, serial %s", v.Serial)
	} else {
		p.line(0, "verdict   %s", v.Got)
		p.line(0, "          %s", v.Detail)
	}
	switch {
	case v.Expected == "":
	case v.AsExpected:
		p.line(0, "expected  that")
	default:
		p.line(0, "expected  %s", v.Expected)
	}
	p.line(0, "took      %s", took(time.Duration(v.Millis)*time.Millisecond))
}

// labWorkers is how many names are tried at once. Most of the time of those that take long is waiting.
const labWorkers = 8

// labReport is what came of many names.
type labReport struct {
	Results    []labVerdict `json:"results"`
	Unexpected int          `json:"unexpected"`
}

// tryAll tries rows and compares. One that comes out otherwise than the table says is an error, after all were tried.
func tryAll(ctx context.Context, out io.Writer, l labState, hosts []labHost, json bool) error {
	answers, err := newLabAnswers(l)
	if err != nil {
		return err
	}
	defer answers.close()
	var trying sync.WaitGroup
	defer trying.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type outcome struct {
		v   labVerdict
		err error
	}
	outcomes := make([]chan outcome, len(hosts))
	slots := make(chan struct{}, labWorkers)
	for i, h := range hosts {
		outcomes[i] = make(chan outcome, 1)
		trying.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			v, err := answers.try(ctx, l, h)
			outcomes[i] <- outcome{v, err}
		})
	}
	report := labReport{}
	for i := range hosts {
		o := <-outcomes[i]
		if o.err != nil {
			return o.err
		}
		report.Results = append(report.Results, o.v)
		if !o.v.AsExpected {
			report.Unexpected++
		}
		if !json {
			if err := o.v.line(out); err != nil {
				return err
			}
		}
	}
	return report.finish(out, json)
}

// line writes a verdict as one of many, with the gateway's words below it.
func (v labVerdict) line(out io.Writer) error {
	mark := "as expected"
	if !v.AsExpected {
		mark = "EXPECTED " + shortType(v.Expected)
	}
	var b strings.Builder
	p := page{&b}
	p.line(0, "%-34s %-12s %-20s %s", v.Name, string(v.Method), shortType(v.Got), mark)
	if v.Detail != "" {
		p.line(2, "%s", v.Detail)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func (r labReport) finish(out io.Writer, json bool) error {
	var err error
	if json {
		err = writePlainJSON(out, r)
	} else {
		_, err = fmt.Fprintf(out, "%d names, %d otherwise than the table says\n", len(r.Results), r.Unexpected)
	}
	if err == nil && r.Unexpected > 0 {
		err = errReported
	}
	return err
}
