package auth

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// changeTime bounds a change that was begun: it is finished even if whoever asked hangs up.
const changeTime = 15 * time.Second

// TenantsConfig is what Tenants needs. All but Now and Log are required.
type TenantsConfig struct {
	Directory *Directory // over Store
	Store     Store
	Journal   Journal
	// CheckNames refuses lists of names that allow or deny that cannot be read, for whoever wrote them.
	CheckNames func(allow, deny []string) error
	Now        func() time.Time // nil: time.Now
	Log        *slog.Logger     // nil: discarded
}

// Tenants makes and changes the organisations of the store, on behalf of an operator. What it acknowledged is in store and
// journal. It is safe for concurrent use, in any number of processes.
type Tenants struct {
	TenantsConfig
	record recorder
}

// NewTenants makes Tenants.
func NewTenants(c TenantsConfig) *Tenants {
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Tenants{TenantsConfig: c, record: newRecorder(c.Store, c.Journal, c.Now, c.Log)}
}

// NewOrg is an organisation to be made.
type NewOrg struct {
	Slug     string
	Name     string
	Parent   string   // slug; empty: none
	Profiles []string // nil: all that its parent may use
	EAB      EABMode  // zero: its parent's; without one EABOff

	AllowNames, DenyNames []string // as of Org
}

// OrgEdit is a change of an organisation. What is nil stays.
type OrgEdit struct {
	Name     *string
	Profiles *[]string // a nil list in it: all that its parent may use
	EAB      *EABMode
	Disabled *bool

	AllowNames, DenyNames *[]string // in place of those before
}

// Add makes an organisation. Errors are Malformed or Conflict with what to change, Unauthorized for a caller who is no
// operator, and Unavailable.
func (t *Tenants) Add(ctx context.Context, caller Caller, in NewOrg) (Org, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeTime)
	defer cancel()
	if !usableSlug(in.Slug) {
		return Org{}, problem.New(problem.Malformed, "slug %q cannot be used; %s", in.Slug, slugForm)
	}
	var number OrgID
	return t.change(ctx, caller, audit.OrgMade, func(now *tree) (*Org, error) {
		if other := now.bySlug[in.Slug]; other != nil {
			return nil, problem.New(problem.Conflict, "the slug %q is that of organisation %d; choose another", in.Slug, other.ID)
		}
		if stored := len(now.all) - len(t.Directory.configured); stored >= MaxOrganisations {
			return nil, problem.New(problem.Conflict, "there are %d organisations, and a store keeps no more", stored)
		}
		o := &Org{Slug: in.Slug, Name: in.Name, Profiles: slices.Clone(in.Profiles), EAB: in.EAB, Created: t.second(),
			AllowNames: slices.Clone(in.AllowNames), DenyNames: slices.Clone(in.DenyNames)}
		if in.Parent != "" {
			parent := now.bySlug[in.Parent]
			if parent == nil {
				return nil, problem.New(problem.Malformed, "parent: there is no organisation with the slug %q", in.Parent)
			}
			if above, err := now.above(parent); err != nil || len(above)+2 > MaxDepth {
				return nil, problem.New(problem.Malformed, "parent: %q is at depth %d already, and the tree has %d; choose one further up", in.Parent, len(above)+1, MaxDepth)
			}
			o.Parent = parent.ID
			if o.EAB == 0 {
				o.EAB = parent.EAB
			}
		}
		if o.EAB == 0 {
			o.EAB = EABOff
		}
		if err := t.check(now, o); err != nil {
			return nil, err
		}
		var err error
		if number == 0 {
			number, err = t.Store.NextOrg(ctx)
		}
		for err == nil && now.byID[number] != nil { // a configured one has it
			number, err = t.Store.NextOrg(ctx)
		}
		o.ID = number
		return o, err
	})
}

// Edit changes an organisation of the store. Errors are those of Add, and NotFound.
func (t *Tenants) Edit(ctx context.Context, caller Caller, slug string, edit OrgEdit) (Org, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeTime)
	defer cancel()
	return t.change(ctx, caller, audit.OrgEdited, func(now *tree) (*Org, error) {
		old := now.bySlug[slug]
		if old == nil {
			return nil, noOrg(slug)
		}
		if old.Configured {
			return nil, problem.New(problem.Conflict, "the organisation %s is in the configuration file, and no command changes it; edit the file, and restart the gateways", slug)
		}
		o := old.clone()
		if edit.Name != nil {
			o.Name = *edit.Name
		}
		if edit.Profiles != nil {
			o.Profiles = slices.Clone(*edit.Profiles)
		}
		if edit.EAB != nil {
			o.EAB = *edit.EAB
		}
		if edit.AllowNames != nil {
			o.AllowNames = slices.Clone(*edit.AllowNames)
		}
		if edit.DenyNames != nil {
			o.DenyNames = slices.Clone(*edit.DenyNames)
		}
		if edit.Disabled != nil && *edit.Disabled != !o.Disabled.IsZero() {
			if o.Disabled = (time.Time{}); *edit.Disabled {
				o.Disabled = t.second()
			}
		}
		if edit != (OrgEdit{Disabled: edit.Disabled}) {
			if err := t.check(now, o); err != nil {
				return nil, err
			}
		}
		o.Edits++
		return o, nil
	})
}

func noOrg(slug string) error {
	return problem.New(problem.NotFound, "there is no organisation with the slug %q; gatehouse org list shows them", slug)
}

func (t *Tenants) second() time.Time { return t.Now().UTC().Truncate(time.Second) }

// check holds an organisation to what its parent may, and to form.
func (t *Tenants) check(now *tree, o *Org) error {
	if err := checkLine("the name", o.Name, maxOrgName); err != nil {
		return problem.New(problem.Malformed, "%v", err)
	}
	if _, known := eabModes[o.EAB]; !known {
		return problem.New(problem.Malformed, "eab: the mode is none of off, optional and required")
	}
	if err := t.checkNames(o); err != nil {
		return err
	}
	return checkProfiles(o.Profiles, t.Directory.knows, func(p string) error {
		if parent := now.byID[o.Parent]; o.Parent != 0 && (parent == nil || !now.allows(parent, p)) {
			return problem.New(problem.Malformed, "profile %q: the organisation above may not use it", p)
		}
		return nil
	})
}

// checkNames holds an organisation's rules about names to form.
func (t *Tenants) checkNames(o *Org) error {
	if n := max(len(o.AllowNames), len(o.DenyNames)); n > maxNameList {
		return problem.New(problem.Malformed, "a list of names has %d entries; at most %d can be; write patterns", n, maxNameList)
	}
	if err := t.CheckNames(o.AllowNames, o.DenyNames); err != nil {
		return problem.Wrap(err, problem.Malformed, "%v", err)
	}
	return nil
}

// checkProfiles holds a list of profiles to those that are configured, each once, and to a rule.
func checkProfiles(list []string, configured func(string) bool, may func(string) error) error {
	if len(list) > maxProfileList {
		return problem.New(problem.Malformed, "%d profiles are named; at most %d can be", len(list), maxProfileList)
	}
	for i, p := range list {
		if !configured(p) {
			return problem.New(problem.Malformed, "profile %q is not configured", p)
		}
		if slices.Contains(list[:i], p) {
			return problem.New(problem.Malformed, "profile %q is named twice", p)
		}
		if err := may(p); err != nil {
			return err
		}
	}
	return nil
}

// maxChanges bounds how often a change is tried. Each time but the last somebody else's came first.
const maxChanges = 10

// change makes one change on the organisations as they stand now.
func (t *Tenants) change(ctx context.Context, caller Caller, kind audit.Kind, decide func(*tree) (*Org, error)) (Org, error) {
	if err := onlyOperator(caller); err != nil {
		return Org{}, err
	}
	for attempt := 1; ; attempt++ {
		stored, version, err := t.Store.Orgs(ctx)
		if err != nil {
			return Org{}, err
		}
		now, err := newTree(t.Directory.configured, stored)
		if err == nil {
			err = now.collides()
		}
		if err != nil {
			return Org{}, problem.Wrap(err, problem.Conflict, "%v", err)
		}
		o, err := decide(now)
		if err != nil {
			return Org{}, err
		}
		var note Note
		if kind == audit.OrgMade {
			note, err = t.Store.CreateOrg(ctx, o, version)
		} else {
			note, err = t.Store.UpdateOrg(ctx, o, version)
		}
		if problem.Is(err, problem.Conflict) && attempt < maxChanges {
			continue
		}
		if err != nil {
			return Org{}, err
		}
		event, err := orgEvent(kind, o, caller.Principal, t.Now())
		if err == nil {
			err = t.record.append(ctx, note, event)
		}
		if err != nil {
			return Org{}, err
		}
		if err := t.Directory.Refresh(ctx); err != nil { // its next turn will
			t.record.log.Warn("reading the organisations after a change failed", "error", err)
		}
		return *o, nil
	}
}

// onlyOperator refuses whoever is not the machine's operator.
func onlyOperator(caller Caller) error {
	if !caller.Operator || caller.Principal == "" {
		return problem.New(problem.Unauthorized, "only an operator may do this")
	}
	return nil
}
