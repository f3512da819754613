package main

import (
	"fmt"

	"github.com/gatehouse-ca/gatehouse/identifier"
)

// maxCNAMETarget leaves room for two labels of 32 characters in front, inside the 253 of a name.
const maxCNAMETarget = 253 - 2*33

// domainsConfig is how domains of organisations are validated.
type domainsConfig struct {
	// CNAMETarget is the DNS name below which the targets of CNAME records are. They need not exist, but the name should be the
	// operator's own. Default: dcv. and the host of the first public URL.
	CNAMETarget string `yaml:"cname_target"`
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
