package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/gatehouse-ca/gatehouse/identifier"
)

// caaIdentities checks the names by which CAA records mean this gateway (RFC 8659, 4.2). The profiles are checked before.
func (c *fileConfig) caaIdentities(s *settings) error {
	for i, text := range c.CAAIdentities {
		id, err := identifier.ParseDNS(text)
		if err == nil && id.IsWildcard() {
			err = errors.New("it is a wildcard")
		}
		if err == nil && slices.Contains(s.caaIdentities, id.Value()) {
			err = errors.New("it is there twice")
		}
		if err != nil {
			return c.source.at(fmt.Sprintf("caa_identities[%d]", i), fmt.Errorf("%q cannot be named by a CAA record: %w; write for example ca.example.com", text, err))
		}
		s.caaIdentities = append(s.caaIdentities, id.Value())
	}
	if len(s.caaIdentities) > 0 {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(s.profiles)) {
		if s.profiles[name].ChecksCAA() {
			return c.source.at("profiles."+name+".caa", fmt.Errorf(
				"profile %s asks for CAA, and no name is configured by which CAA records can mean this gateway; add for example caa_identities: [ca.example.com]", name))
		}
	}
	return nil
}
