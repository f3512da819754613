package main

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// requestValidationConfig is how requests by doors other than ACME are validated one by one (docs/validation.md).
type requestValidationConfig struct {
	// Lifetime is how long a request waits for its names to be validated, 1h to 30d. Default 30d.
	Lifetime duration `yaml:"lifetime"`
	// CSRHashSuffix is the DNS name that publications derived from a CSR end with. It need not exist, but should be the operator's
	// own. Default: as domains.cname_target.
	CSRHashSuffix string `yaml:"csr_hash_suffix"`
	// PerOrganisation is how many requests of one organisation may wait for validation; default 1000. "off" bounds nothing.
	PerOrganisation *count `yaml:"per_organisation"`
}

// noBound is a bound that nothing meets.
const noBound = 1 << 31

// requestValidation checks it. What it says nothing about is the registration authority's default.
func (c *fileConfig) requestValidation() (v ra.RequestValidation, err error) {
	given := c.RequestValidation
	v.Lifetime = time.Duration(given.Lifetime)
	var faults []error
	if v.Lifetime != 0 && (v.Lifetime < time.Hour || v.Lifetime > ra.MaxValidationLifetime || v.Lifetime%time.Second != 0) {
		faults = append(faults, c.source.at("request_validation.lifetime", fmt.Errorf("%v is not one hour to 30 days in whole seconds (Baseline Requirements 3.2.2.4.7); give for example 14d", v.Lifetime)))
	}
	if text := given.CSRHashSuffix; text != "" {
		name, err := identifier.ParseDNS(text)
		if err != nil || name.IsWildcard() || name.Value() != text || len(text) > maxCNAMETarget {
			faults = append(faults, c.source.at("request_validation.csr_hash_suffix", fmt.Errorf("%q is no DNS name in lower case of at most %d characters; give for example dcv.example.com", text, maxCNAMETarget)))
		}
		v.Suffix = text
	}
	if given.PerOrganisation != nil {
		v.MaxWaiting = cmp.Or(int(*given.PerOrganisation), noBound)
	}
	return v, errors.Join(faults...)
}

// requestValidationIn is the same with what only a running gateway has.
func (c *core) requestValidationIn() ra.RequestValidation {
	v := c.settings.requestValidation
	v.Validator, v.Target = c.validator, c.settings.domainTarget()
	v.Suffix = cmp.Or(v.Suffix, v.Target)
	return v
}
