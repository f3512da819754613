package main

import (
	"fmt"
	"time"

	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// maxCNAMETarget leaves room for two labels of 32 characters in front, inside the 253 of a name.
const maxCNAMETarget = 253 - 2*33

// domainsConfig is how domains of organisations are validated.
type domainsConfig struct {
	// CNAMETarget is the DNS name below which the targets of CNAME records are. They need not exist, but the name should be the
	// operator's own. Default: dcv. and the host of the first public URL.
	CNAMETarget string `yaml:"cname_target"`
	// EmailLifetime is how long a validation by e-mail waits for an answer, up to 30 days. Default 72h.
	EmailLifetime duration `yaml:"email_lifetime"`
}

// emailLifetime checks it; zero is the default.
func (c *fileConfig) emailLifetime() (time.Duration, error) {
	d := time.Duration(c.Domains.EmailLifetime)
	if d != 0 && (d < 10*time.Minute || d > ra.MaxEmailLifetime || d%time.Second != 0) {
		return 0, c.source.at("domains.email_lifetime", fmt.Errorf("email_lifetime is %v; give 10 minutes to 30 days (Baseline Requirements 3.2.2.4.4) in whole seconds, for example 72h", d))
	}
	return d, nil
}

// cnameTarget checks the name.
func (c *fileConfig) cnameTarget() (string, error) {
	text := c.Domains.CNAMETarget
	if text == "" {
		return "", nil
	}
	name, err := identifier.ParseDNS(text)
	switch {
	case err != nil:
		return "", c.source.at("domains.cname_target", err)
	case name.IsWildcard() || len(name.Value()) > maxCNAMETarget:
		return "", c.source.at("domains.cname_target", fmt.Errorf("%q is a wildcard or longer than %d characters; give for example dcv.example.com", text, maxCNAMETarget))
	}
	return name.Value(), nil
}
