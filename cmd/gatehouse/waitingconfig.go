package main

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"

	"github.com/goccy/go-yaml/ast"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// waitingConfig bounds how many requests may wait for approval at a time (docs/approvals.md), on all gateways of a store
// together: what waits, and what was approved and not fetched yet. Each is a number from 1 to 1000000, or "off".
type waitingConfig struct {
	PerRequester    *count `yaml:"per_requester"`    // an ACME account or a principal, in one organisation; default 100
	PerOrganisation *count `yaml:"per_organisation"` // of one organisation; default 1000

	// Organisations have other bounds than these, by slug.
	Organisations map[string]orgWaiting `yaml:"organisations"`
}

type orgWaiting struct {
	PerRequester    *count `yaml:"per_requester"`
	PerOrganisation *count `yaml:"per_organisation"`
}

// maxCount is the highest bound, far beyond what people decide.
const maxCount = 1_000_000

// count is a bound as it is written; zero is none.
type count int

// UnmarshalYAML reads it.
func (c *count) UnmarshalYAML(n ast.Node) error {
	text := n.GetToken().Value
	if text == "off" {
		*c = 0
		return nil
	}
	v, err := strconv.Atoi(text)
	if err != nil || v < 1 || v > maxCount {
		return &placedError{n.GetToken(), fmt.Errorf("%q is no bound; write a number from 1 to %d, or off", text, maxCount)}
	}
	*c = count(v)
	return nil
}

// waitingBounds are the bounds of all organisations.
type waitingBounds struct {
	all           ra.WaitingBounds
	organisations map[string]ra.WaitingBounds // by slug
}

// of are an organisation's.
func (b waitingBounds) of(org auth.Org) ra.WaitingBounds {
	if own, ok := b.organisations[org.Slug]; ok {
		return own
	}
	return b.all
}

// waitingBounds are the defaults with what the file says instead. Organisations are checked before.
func (c *fileConfig) waitingBounds(log *slog.Logger) (waitingBounds, error) {
	given := c.WaitingRequests
	b := waitingBounds{all: ra.DefaultWaitingBounds(), organisations: map[string]ra.WaitingBounds{}}
	orgWaiting{given.PerRequester, given.PerOrganisation}.replace(&b.all)
	faults := []error{c.checkWaiting("waiting_requests", b.all)}
	for _, slug := range slices.Sorted(maps.Keys(given.Organisations)) {
		if !slices.ContainsFunc(c.Organisations, func(o orgConfig) bool { return o.Slug == slug }) {
			log.Warn("bounds of waiting requests are configured for an organisation that the file does not name; they hold once there is one", "slug", slug)
		}
		own := b.all
		given.Organisations[slug].replace(&own)
		b.organisations[slug] = own
		faults = append(faults, c.checkWaiting("waiting_requests.organisations."+slug, own))
	}
	return b, errors.Join(faults...)
}

// checkWaiting refuses bounds of which one can never be reached.
func (c *fileConfig) checkWaiting(place string, b ra.WaitingBounds) error {
	if b.PerOrganisation > 0 && b.PerRequester > b.PerOrganisation {
		return c.source.at(place, fmt.Errorf("per_requester is %d, and per_organisation %d, which each requester's requests count towards; lower the one or raise the other",
			b.PerRequester, b.PerOrganisation))
	}
	return nil
}

// replace puts what is written in place of what holds otherwise. A requester's own bound that nobody wrote gives way.
func (w orgWaiting) replace(b *ra.WaitingBounds) {
	if w.PerRequester != nil {
		b.PerRequester = int(*w.PerRequester)
	}
	if w.PerOrganisation != nil {
		b.PerOrganisation = int(*w.PerOrganisation)
	}
	if w.PerRequester == nil && b.PerOrganisation > 0 {
		b.PerRequester = min(b.PerRequester, b.PerOrganisation)
	}
}
