package main

import (
	"context"
	"fmt"
)

// delegationArg is a command about one delegation.
type delegationArg struct {
	domainArg
	To string `help:"Slug of the organisation." required:""`
}

func (c *delegationArg) decide(ctx context.Context, s streams, verb string) error {
	return c.delegation(ctx, s, verb, domainEdit{To: c.To})
}

func (c *delegationArg) delegation(ctx context.Context, s streams, verb string, in domainEdit) error {
	return c.run(ctx, s, verb, in, func(v domainView) string {
		return fmt.Sprintf("%s: %s", v.Domain, v.delegates())
	})
}

type domainDelegateCmd struct {
	delegationArg
	For []string `help:"What names it is for: domain, the domain's own; subdomains, names below it; wildcard, its wildcard; subdomain-wildcards, wildcards of names below it. Default: all of them." enum:"domain,subdomains,wildcard,subdomain-wildcards" placeholder:"KIND"`
}

func (c *domainDelegateCmd) Run(ctx context.Context, s streams) error {
	return c.delegation(ctx, s, "delegate", domainEdit{To: c.To, Privileges: c.For})
}

type domainSuspendCmd struct{ domainArg }

func (c *domainSuspendCmd) Run(ctx context.Context, s streams) error {
	return c.run(ctx, s, "suspend", domainEdit{}, func(v domainView) string {
		return "nothing is issued for " + v.Domain + " and names below it until gatehouse domain activate " + v.Domain + "; certificates that were issued stay"
	})
}

type domainActivateCmd struct{ domainArg }

func (c *domainActivateCmd) Run(ctx context.Context, s streams) error {
	return c.run(ctx, s, "activate", domainEdit{}, func(v domainView) string { return v.Domain + " is active: " + v.Status })
}

type domainApproveCmd struct{ delegationArg }

func (c *domainApproveCmd) Run(ctx context.Context, s streams) error {
	return c.decide(ctx, s, "approve")
}

type domainRejectCmd struct{ delegationArg }

func (c *domainRejectCmd) Run(ctx context.Context, s streams) error {
	return c.decide(ctx, s, "reject")
}
