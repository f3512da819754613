package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/gatehouse-ca/gatehouse/auth"
	"github.com/gatehouse-ca/gatehouse/identifier"
	"github.com/gatehouse-ca/gatehouse/policy"
	"github.com/gatehouse-ca/gatehouse/ra"
	"github.com/gatehouse-ca/gatehouse/seal"
	"github.com/gatehouse-ca/gatehouse/storage"
)

// openTenants opens organisations and external accounts over the store, tells the journal of changes that it lacks, and
// refuses a store that goes with another configuration. The journal has been replayed by now.
func (c *core) openTenants(ctx context.Context) (err error) {
	s := c.settings
	if c.organisations, err = s.organisations.Open(ctx, c.db, s.log); err != nil {
		return fmt.Errorf("the organisations: %w", err)
	}
	c.settler = auth.NewSettler(c.db, c.journal, c.clock.Now, s.log)
	if err := c.settler.Settle(ctx, true); err != nil {
		return fmt.Errorf("telling the journal of changes that the store has: %w", err)
	}
	c.tenants = auth.NewTenants(auth.TenantsConfig{
		Directory: c.organisations, Store: c.db, Journal: c.journal, CheckNames: checkNameRules, Now: c.clock.Now, Log: s.log,
		Unused: func(ctx context.Context, org auth.OrgID) error { return c.registrar.Unused(ctx, org) }, // it is there before any door
	})
	c.external = auth.NewExternalAccounts(auth.ExternalAccountsConfig{
		Store: c.db, Sealer: s.sealer, Journal: c.journal, Directory: c.organisations, CheckNames: checkNamePatterns, Now: c.clock.Now, Log: s.log,
		Serves: func(ctx context.Context, org auth.OrgID, names []identifier.Identifier) ([]bool, error) {
			return c.domains.Serves(ctx, org, names) // they are opened next, and nobody is served before
		},
	})
	c.principals, err = auth.NewPrincipals(auth.PrincipalsConfig{
		Directory: c.organisations, Store: c.db, Sealer: s.sealer, Journal: c.journal, Now: c.clock.Now, Log: s.log,
	})
	if err != nil {
		return err
	}
	return c.checkSealKeys(ctx)
}

// sealedLook is how many of the newest secrets a start looks at. check looks at all.
const sealedLook = 100

// checkSealKeys refuses a start whose configuration lacks a key that secrets are sealed under.
func (c *core) checkSealKeys(ctx context.Context) error {
	keys, _, err := c.db.EABKeys(ctx, 0, "", sealedLook)
	if err != nil {
		return fmt.Errorf("reading what is sealed: %w", err)
	}
	for _, k := range keys {
		if id, err := seal.KeyOf(k.Sealed); err == nil && !slices.Contains(c.settings.sealer.Keys(), id) {
			return fmt.Errorf("the external account binding key %s is sealed under the key %s, which is not configured; name that key in key or old of seal: {key: FILE, old: [FILE]}", k.ID, id)
		}
	}
	people, _, err := c.db.Principals(ctx, 0, "", sealedLook)
	if err != nil {
		return fmt.Errorf("reading what is sealed: %w", err)
	}
	for _, p := range people {
		if id, err := seal.KeyOf(p.Password.Sealed); err == nil && !slices.Contains(c.settings.sealer.Keys(), id) {
			return fmt.Errorf("the password of %s (%s) is sealed under the key %s, which is not configured; name that key in key or old of seal: {key: FILE, old: [FILE]}", p.Login, p.ID, id)
		}
	}
	return nil
}

// checkNamePatterns holds patterns to the rules of a profile's allow_names.
func checkNamePatterns(patterns []string) error {
	return policy.Restriction{Names: patterns}.Check()
}

// checkNameRules holds an organisation's lists to the rules of a profile's allow_names and deny_names.
func checkNameRules(allow, deny []string) error {
	return policy.NameRules{Allow: allow, Deny: deny}.Check()
}

// nameRules are those that an organisation is held to, as policy takes them.
func (c *core) nameRules(org auth.OrgID) []policy.NameRules {
	var levels []policy.NameRules
	for _, level := range c.organisations.NameRules(org) {
		levels = append(levels, policy.NameRules(level))
	}
	return levels
}

// checkTenants says whether the organisations of a store go with the configuration, and whether the keys that its secrets
// are sealed under are configured.
func checkTenants(ctx context.Context, s *settings, engine storage.Engine) []checkResult {
	db := storage.ReadOnly(engine)
	d, err := s.organisations.Open(ctx, db, s.log)
	if err != nil {
		return []checkResult{{"organisations", false, err.Error()}}
	}
	out := []checkResult{{"organisations", true, fmt.Sprintf("%d in the configuration, %d in the store", len(d.Configured()), d.Len()-len(d.Configured()))}}
	for _, o := range d.Orphans() {
		out = append(out, checkResult{"organisations", false, fmt.Sprintf("%s (%d) has the parent %d, which there is not, so it does nothing; put the parent back into the configuration", o.Slug, o.ID, o.Parent)})
	}
	return append(out, checkSealed(ctx, s, db))
}

func checkSealed(ctx context.Context, s *settings, store *storage.DB) checkResult {
	use, err := auth.CountSealed(ctx, store, s.sealer)
	if err == nil {
		err = ra.CountSealedKeys(ctx, store, &use, s.sealer)
	}
	if err != nil {
		return checkResult{"seal", false, err.Error()}
	}
	switch n := len(use.Under); {
	case len(use.Unknown) > 0 && s.sealer == nil:
		return checkResult{"seal", false, fmt.Sprintf("%d secrets of the store are sealed under the key %s, and no key is configured; add seal: {key: FILE} with that key", use.Under[use.Unknown[0]], use.Unknown[0])}
	case len(use.Unknown) > 0:
		return checkResult{"seal", false, fmt.Sprintf("%d secrets of the store: %v", use.Under[use.Unknown[0]], &seal.UnknownKeyError{ID: use.Unknown[0]})}
	case s.sealer == nil:
		return checkResult{"seal", true, "no key is configured, and nothing is sealed; external account binding and passwords need one (seal: {key: FILE})"}
	case n == 0:
		return checkResult{"seal", true, fmt.Sprintf("the key %s seals; nothing is sealed yet", use.Keys[0])}
	}
	return checkResult{"seal", true, fmt.Sprintf("the key %s seals; every secret of the store is under a key that is configured", use.Keys[0])}
}
