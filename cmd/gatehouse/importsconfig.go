package main

import (
	"log/slog"
	"maps"
	"slices"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// importsConfig bounds how much one organisation may have that was imported (docs/import.md), on all gateways of a store together. Each
// is a number from 1 to 1000000, or "off".
type importsConfig struct {
	Certificates *count `yaml:"certificates"` // imported ones, and those removed in the last 30 days; default 100000
	Issuers      *count `yaml:"issuers"`      // different issuers' certificates that have come with them; default 1000

	// Organisations have other bounds than these, by slug.
	Organisations map[string]orgImports `yaml:"organisations"`
}

type orgImports struct {
	Certificates *count `yaml:"certificates"` // default: as for all
	Issuers      *count `yaml:"issuers"`      // the same
}

// importBounds are the bounds of all organisations.
type importBounds struct {
	all           ra.ImportBounds
	organisations map[string]ra.ImportBounds // by slug
}

// of are an organisation's.
func (b importBounds) of(org auth.Org) ra.ImportBounds {
	if own, ok := b.organisations[org.Slug]; ok {
		return own
	}
	return b.all
}

// importBounds are the defaults with what the file says instead. Organisations are checked before.
func (c *fileConfig) importBounds(log *slog.Logger) importBounds {
	given := c.Imports
	b := importBounds{all: ra.DefaultImportBounds(), organisations: map[string]ra.ImportBounds{}}
	orgImports{given.Certificates, given.Issuers}.replace(&b.all)
	for _, slug := range slices.Sorted(maps.Keys(given.Organisations)) {
		if !slices.ContainsFunc(c.Organisations, func(o orgConfig) bool { return o.Slug == slug }) {
			log.Warn("bounds of imports are configured for an organisation that the file does not name; they hold once there is one", "slug", slug)
		}
		own := b.all
		given.Organisations[slug].replace(&own)
		b.organisations[slug] = own
	}
	return b
}

// replace puts what is written in place of what holds otherwise.
func (o orgImports) replace(b *ra.ImportBounds) {
	if o.Certificates != nil {
		b.Certificates = int(*o.Certificates)
	}
	if o.Issuers != nil {
		b.Issuers = int(*o.Issuers)
	}
}

// importBounds are how much an organisation may have that was imported.
func (c *core) importBounds(id auth.OrgID) ra.ImportBounds {
	org, _ := c.organisations.ByID(id)
	return c.settings.imports.of(org)
}
