package main

import (
	"fmt"
	"maps"
	"slices"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/ca"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/seal"
)

// organisations checks the tenants, what each may use, and their modes of external account binding. mode is that of
// /acme/directory.
func (c *fileConfig) organisations() (d *auth.Directory, mode auth.EABMode, err error) {
	if mode, err = c.eabMode("acme.eab", c.ACME.EAB); err != nil {
		return nil, 0, err
	}
	if mode == 0 {
		mode = auth.EABOff
	}
	numbers := map[string]auth.OrgID{}
	for _, o := range c.Organisations {
		numbers[o.Slug] = auth.OrgID(o.ID)
	}
	var orgs []auth.Org
	for i, o := range c.Organisations {
		where := fmt.Sprintf("organisations[%d]", i)
		org := auth.Org{ID: auth.OrgID(o.ID), Slug: o.Slug, Name: o.Name, Profiles: o.Profiles, AllowNames: o.AllowNames, DenyNames: o.DenyNames}
		for _, p := range o.Profiles {
			if _, ok := c.Profiles[p]; !ok {
				return nil, 0, c.source.at(where+".profiles", fmt.Errorf("profile %q is not defined under profiles", p))
			}
		}
		if err := c.checkOrgNames(where, o); err != nil {
			return nil, 0, err
		}
		if o.Parent != "" {
			if org.Parent = numbers[o.Parent]; org.Parent == 0 {
				return nil, 0, c.source.at(where+".parent", fmt.Errorf("parent %q is not defined under organisations; name the slug of one that is", o.Parent))
			}
		}
		if org.EAB, err = c.eabMode(where+".eab", o.EAB); err != nil {
			return nil, 0, err
		}
		// Both are directories of the first organisation: what one demands the other must not let through unnoticed.
		if i == 0 && org.EAB == 0 && org.Parent == 0 {
			org.EAB = mode
		}
		orgs = append(orgs, org)
	}
	if d, err = auth.NewDirectory(orgs, slices.Sorted(maps.Keys(c.Profiles))...); err != nil {
		return nil, 0, c.source.at("organisations", err)
	}
	return d, mode, nil
}

// checkOrgNames refuses rules about names that cannot be read.
func (c *fileConfig) checkOrgNames(where string, o orgConfig) error {
	if err := (policy.NameRules{Allow: o.AllowNames}).Check(); err != nil {
		return c.source.at(where+".allow_names", err)
	}
	if err := (policy.NameRules{Deny: o.DenyNames}).Check(); err != nil {
		return c.source.at(where+".deny_names", err)
	}
	return nil
}

// eabMode reads a mode; absent it is zero.
func (c *fileConfig) eabMode(where, word string) (auth.EABMode, error) {
	if word == "" {
		return 0, nil
	}
	mode, ok := auth.ParseEABMode(word)
	if !ok {
		return 0, c.source.at(where, fmt.Errorf("eab is %q; write off, optional or required", word))
	}
	return mode, nil
}

// sealer opens the keys that secrets are sealed with; nil if none is configured.
func (c *fileConfig) sealer(keys *ca.Keys) (*seal.Sealer, error) {
	if c.Seal == nil {
		return nil, nil
	}
	if c.Seal.Key == "" {
		return nil, c.source.at("seal", fmt.Errorf("key is missing; add for example key: /etc/gatehouse/seal.key, and make it: (umask 077; openssl rand -base64 32 >/etc/gatehouse/seal.key)"))
	}
	var list []*seal.Key
	for i, ref := range append([]string{c.Seal.Key}, c.Seal.Old...) {
		where := "seal.key"
		if i > 0 {
			where = fmt.Sprintf("seal.old[%d]", i-1)
		}
		k, err := openSealKey(ref, keys)
		if err != nil {
			return nil, c.source.at(where, err)
		}
		list = append(list, k)
	}
	s, err := seal.New(list...)
	if err != nil {
		return nil, c.source.at("seal", err)
	}
	return s, nil
}
