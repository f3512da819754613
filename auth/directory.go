package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// refreshEvery bounds how long a change of the organisations that was made at another gateway stays unknown here while
	// the store answers: so long, and the time of two reads.
	refreshEvery = 2 * time.Second
	// refreshTime is how long the store may take.
	refreshTime = 10 * time.Second
)

// Directory finds organisations, and says what they may do: those of the configuration, and, once it was opened over a
// store, those that are kept there. What it says is what the store said at most a few seconds ago ([Directory.Run]), or for
// as long as the store did not answer; no method that takes no context reads the store. It is safe for concurrent use.
type Directory struct {
	configured []Org
	profiles   []string // that are configured; nil: any name is one
	store      Store    // nil: there are only those of the configuration
	log        *slog.Logger
	current    atomic.Pointer[tree]
	refreshing sync.Mutex
}

// NewDirectory checks a list of organisations, those of the configuration: numbers above zero and slugs, each unique; at
// least one; parents in the list, without circles and not too deep; no profile that the parent may not use. The first is the one
// that /acme/directory serves. profiles are the names of the configured profiles: nobody may use another. Without any, every
// name is taken for one.
func NewDirectory(orgs []Org, profiles ...string) (*Directory, error) {
	if len(orgs) == 0 {
		return nil, fmt.Errorf("organisations: at least one is needed, for example {id: 1, slug: main, name: Main}")
	}
	d := &Directory{configured: slices.Clone(orgs), profiles: slices.Clone(profiles), log: slog.New(slog.DiscardHandler)}
	for i := range d.configured {
		o := &d.configured[i]
		*o = *o.clone()
		o.Configured = true
		if o.ID <= 0 {
			return nil, fmt.Errorf("organisations: %q has id %d; give each a number above zero", o.Slug, o.ID)
		}
		if !usableSlug(o.Slug) {
			return nil, fmt.Errorf("organisations: slug %q of id %d cannot be used; %s", o.Slug, o.ID, slugForm)
		}
	}
	t, err := newTree(d.configured, nil)
	if err != nil {
		return nil, fmt.Errorf("organisations: %w", err)
	}
	for i := range d.configured { // what a parent gives is resolved once
		d.configured[i].EAB = t.byID[d.configured[i].ID].EAB
	}
	d.current.Store(t)
	return d, nil
}

// Open is the directory over a store: the same configuration, and what the store has. It reads the store, and fails if an
// organisation there has the number or slug of a configured one.
func (d *Directory) Open(ctx context.Context, store Store, log *slog.Logger) (*Directory, error) {
	o := &Directory{configured: d.configured, profiles: d.profiles, store: store, log: log}
	if log == nil {
		o.log = slog.New(slog.DiscardHandler)
	}
	o.current.Store(d.current.Load())
	if err := o.Refresh(ctx); err != nil {
		return o, err
	}
	return o, o.current.Load().collides()
}

// Refresh brings the directory up to the store. Without a store it does nothing.
func (d *Directory) Refresh(ctx context.Context) error {
	if d.store == nil {
		return nil
	}
	d.refreshing.Lock()
	defer d.refreshing.Unlock()
	ctx, cancel := context.WithTimeout(ctx, refreshTime)
	defer cancel()
	have := d.current.Load()
	version, err := d.store.OrgsVersion(ctx)
	if err != nil || have.fromStore && have.version == version {
		return err
	}
	return d.reload(ctx)
}

// reload reads everything. refreshing is held.
func (d *Directory) reload(ctx context.Context) error {
	stored, version, err := d.store.Orgs(ctx)
	if err != nil {
		return err
	}
	t, err := newTree(d.configured, stored)
	if err != nil {
		return err
	}
	if err := t.collides(); err != nil { // the rest is in force: that another one was disabled must not wait for this
		d.log.Error("the configuration and the store have different organisations under one number or slug; those do nothing here", "error", err)
	}
	for _, orphan := range t.orphans {
		d.log.Warn("an organisation of the store has a parent that there is not, so it and what is below it do nothing; put the parent back into the configuration",
			"organisation", orphan.Slug, "id", int(orphan.ID), "parent", int(orphan.Parent))
	}
	t.version, t.fromStore = version, true
	d.current.Store(t)
	return nil
}

// Run refreshes the directory after hints and every two seconds, until ctx ends.
func (d *Directory) Run(ctx context.Context) {
	if d.store == nil {
		return
	}
	hints := d.store.WatchOrgs(ctx)
	ticker := time.NewTicker(refreshEvery)
	defer ticker.Stop()
	var failed bool
	for {
		select {
		case <-ctx.Done():
			for hints != nil { // its sender ends with ctx too, and closes it
				if _, ok := <-hints; !ok {
					return
				}
			}
			return
		case <-ticker.C:
		case _, ok := <-hints:
			if !ok {
				hints = nil
				continue
			}
		}
		err := d.Refresh(ctx)
		if err != nil && !failed && ctx.Err() == nil {
			d.log.Warn("reading the organisations failed; those that were read before stay in force", "error", err)
		}
		failed = err != nil
	}
}

// Configured are the organisations of the configuration, the first being the default one.
func (d *Directory) Configured() []Org { return slices.Clone(d.configured) }

// All are all organisations, disabled or not.
func (d *Directory) All() []Org {
	var list []Org
	for _, o := range d.current.Load().all {
		list = append(list, *o)
	}
	return list
}

// Len is how many organisations there are.
func (d *Directory) Len() int { return len(d.current.Load().all) }

// Orphans are the organisations of the store whose parent there is not, and which therefore do not work.
func (d *Directory) Orphans() (list []Org) {
	for _, o := range d.current.Load().orphans {
		list = append(list, *o)
	}
	return list
}

// Default is the first organisation of the configuration.
func (d *Directory) Default() Org { return d.configured[0] }

// ByID finds an organisation by its number, disabled or not.
func (d *Directory) ByID(id OrgID) (Org, bool) {
	o := d.current.Load().byID[id]
	if o == nil {
		return Org{}, false
	}
	return *o, true
}

// BySlug finds an organisation by its slug. One that does not work, by itself or because of one above it, looks absent.
func (d *Directory) BySlug(slug string) (Org, bool) {
	t := d.current.Load()
	o := t.bySlug[slug]
	if o == nil || t.works(o) != nil {
		return Org{}, false
	}
	return *o, true
}

// Below are the numbers of an organisation and of all below it, disabled or not, in ascending order; none if there is no such
// organisation. It says nothing of who may see them ([Directory.May]).
func (d *Directory) Below(id OrgID) (list []OrgID) {
	t := d.current.Load()
	for _, o := range t.all {
		at := o
		for depth := 0; at != nil && at.ID != id && depth < MaxDepth; depth++ {
			at = t.byID[at.Parent]
		}
		if at != nil && at.ID == id {
			list = append(list, o.ID)
		}
	}
	return list
}

// Works is nil if there is an organisation with this number and neither it nor one above it is disabled; otherwise it says
// why not. Accounts of others may do nothing but revoke.
func (d *Directory) Works(id OrgID) error {
	t := d.current.Load()
	o := t.byID[id]
	if o == nil {
		return errors.New("there is no such organisation")
	}
	return t.works(o)
}

// Allowed reports whether an organisation works and may use a profile, which is configured: it and every organisation above
// it must name the profile, or name none.
func (d *Directory) Allowed(org OrgID, profile string) bool {
	if !d.knows(profile) {
		return false
	}
	t := d.current.Load()
	o := t.byID[org]
	return o != nil && t.works(o) == nil && t.allows(o, profile)
}

// NameRules are an organisation's own rules about names.
type NameRules struct {
	Organisation string   // slug
	Allow, Deny  []string // Org.AllowNames and Org.DenyNames
}

// NameRules are the rules about names that an organisation is held to: of those above it, from the top, and its own. What
// has none is left out. That an organisation works, [Directory.Allowed] says.
func (d *Directory) NameRules(org OrgID) (levels []NameRules) {
	t := d.current.Load()
	o := t.byID[org]
	if o == nil {
		return nil
	}
	above, _ := t.above(o) // without a parent it does not work
	for _, o := range append([]*Org{o}, above...) {
		if len(o.AllowNames) > 0 || len(o.DenyNames) > 0 {
			levels = append(levels, NameRules{o.Slug, o.AllowNames, o.DenyNames})
		}
	}
	slices.Reverse(levels)
	return levels
}

// knows reports whether a profile is configured.
func (d *Directory) knows(profile string) bool {
	return d.profiles == nil || slices.Contains(d.profiles, profile)
}
