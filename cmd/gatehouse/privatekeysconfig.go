package main

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/ra"
)

// privateKeysConfig is about the private keys that are made and kept here, for profiles with server_keys: on (docs/keys.md).
type privateKeysConfig struct {
	// LinkLifetime is how long a link to a private key can be used, once; default 15m, from 1m to 24h.
	LinkLifetime duration `yaml:"link_lifetime"`
	// Retention is how long a key is kept after its certificate has expired; default 30d, at least 1h.
	Retention duration `yaml:"retention"`
	// AtOnce is how many keys are made at once, a processor each; default half of the processors.
	AtOnce int `yaml:"at_once"`
	// Waiting is how many requests of one organisation wait for their turn to make a key, 1 to 1000; default 16.
	Waiting int `yaml:"waiting"`
	// LinksPerHour is how many links may be made for keys of one organisation in an hour; default 600. "off" bounds nothing.
	LinksPerHour *count `yaml:"links_per_hour"`
}

// maxKeysAtOnce is more processors than a machine of today has.
const maxKeysAtOnce = 1024

// maxKeysWaiting is more requests than have their turn while they wait.
const maxKeysWaiting = 1000

// escrow is what the file says about private keys; the core adds the store.
func (c *fileConfig) escrow(s *settings) error {
	p := c.PrivateKeys
	var faults []error
	fault := func(word, format string, args ...any) {
		faults = append(faults, c.source.at("private_keys."+word, fmt.Errorf(word+": "+format, args...)))
	}
	if l := time.Duration(p.LinkLifetime); l != 0 && (l < time.Minute || l > ra.MaxLinkLifetime) {
		fault("link_lifetime", "%v is not from 1m to %v", l, ra.MaxLinkLifetime)
	}
	if r := time.Duration(p.Retention); r != 0 && r < time.Hour {
		fault("retention", "%v is less than an hour; destroy keys that are not wanted with gatehouse cert key destroy", r)
	}
	if p.AtOnce < 0 || p.AtOnce > maxKeysAtOnce {
		fault("at_once", "%d is not from 1 to %d", p.AtOnce, maxKeysAtOnce)
	}
	if p.Waiting < 0 || p.Waiting > maxKeysWaiting {
		fault("waiting", "%d is not from 1 to %d", p.Waiting, maxKeysWaiting)
	}
	links := 0
	if p.LinksPerHour != nil {
		links = cmp.Or(int(*p.LinksPerHour), -1)
	}
	for name, profile := range s.profiles {
		if profile.ServerKeys() && c.Seal == nil {
			faults = append(faults, c.source.at("profiles."+name+".server_keys", errors.New("keys are kept under a key that seals them, and none is configured; add seal: {key: FILE}, or leave it out")))
		}
	}
	s.escrow = ra.Escrow{AtOnce: p.AtOnce, Waiting: p.Waiting, LinksPerHour: links, LinkLifetime: time.Duration(p.LinkLifetime), Retention: time.Duration(p.Retention)}
	return errors.Join(faults...)
}

// serverKeyRule is a profile's rule by a flag.
func serverKeyRule(on bool) policy.ServerKeyRule {
	if on {
		return policy.ServerKeysOn
	}
	return policy.ServerKeysOff
}
