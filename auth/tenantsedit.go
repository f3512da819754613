package auth

import (
	"context"
	"slices"
	"time"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// OrgEdit is a change of an organisation. What is nil stays.
type OrgEdit struct {
	Name     *string
	Profiles *[]string // a nil list in it: all that its parent may use
	EAB      *EABMode
	Disabled *bool // an operator's alone. False opens one again that was closed
	Details  *OrgDetailsEdit

	AllowNames, DenyNames *[]string // in place of those before
}

// Edit changes an organisation of the store. Errors are those of Add, and NotFound, also for one that the caller may not view.
func (t *Tenants) Edit(ctx context.Context, caller Caller, slug string, edit OrgEdit) (Org, error) {
	return t.edit(ctx, caller, func(now *tree) *Org { return now.bySlug[slug] }, noOrg(slug), edit)
}

// EditNumber is Edit of an organisation by its number.
func (t *Tenants) EditNumber(ctx context.Context, caller Caller, id OrgID, edit OrgEdit) (Org, error) {
	return t.edit(ctx, caller, func(now *tree) *Org { return now.byID[id] }, noNumber(id), edit)
}

func noNumber(id OrgID) error {
	return problem.New(problem.NotFound, "there is no organisation %d", id)
}

func (t *Tenants) edit(ctx context.Context, caller Caller, find func(*tree) *Org, absent error, edit OrgEdit) (Org, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeTime)
	defer cancel()
	return t.change(ctx, caller, audit.OrgEdited, func(now *tree) (*Org, error) {
		old := find(now)
		if err := now.mayChange(caller, old, absent); err != nil {
			return nil, err
		}
		if old.Configured {
			return nil, errConfigured(old)
		}
		if edit.Disabled != nil && !caller.Operator {
			return nil, problem.New(problem.Unauthorized, "only an operator disables organisations, and takes that back")
		}
		o := old.clone()
		edit.apply(o, t.second())
		switch { // a profile that was taken away above, or from the configuration, hinders no other change
		case edit.Profiles != nil:
			if err := t.check(now, o); err != nil {
				return nil, err
			}
		case edit != (OrgEdit{Disabled: edit.Disabled}):
			if err := t.checkForm(o); err != nil {
				return nil, err
			}
		}
		if edit.EAB != nil {
			if err := now.laxer(caller, o); err != nil {
				return nil, err
			}
		}
		o.Edits++
		return o, nil
	})
}

func errConfigured(o *Org) error {
	return problem.New(problem.Conflict, "the organisation %s is in the configuration file, and no command changes it; edit the file, and restart the gateways", o.Slug)
}

// apply changes an organisation.
func (e *OrgEdit) apply(o *Org, now time.Time) {
	if e.Name != nil {
		o.Name = *e.Name
	}
	if e.Profiles != nil {
		o.Profiles = slices.Clone(*e.Profiles)
	}
	if e.EAB != nil {
		o.EAB = *e.EAB
	}
	if e.AllowNames != nil {
		o.AllowNames = slices.Clone(*e.AllowNames)
	}
	if e.DenyNames != nil {
		o.DenyNames = slices.Clone(*e.DenyNames)
	}
	if e.Details != nil {
		e.Details.apply(&o.Details)
	}
	if e.Disabled != nil && *e.Disabled != !o.Disabled.IsZero() {
		o.Disabled, o.Closed = time.Time{}, time.Time{}
		if *e.Disabled {
			o.Disabled = now
		}
	}
}

// Close disables an organisation for good, as far as doors go: they do not list it any more, nor take changes of it. It keeps its
// number and its slug, and what it has stays and is revoked as before; an operator opens it again by [OrgEdit].Disabled. One that has
// others below it, or something that its closing would end (TenantsConfig.Unused), is a Conflict. Errors are otherwise those of Edit.
func (t *Tenants) Close(ctx context.Context, caller Caller, id OrgID) (Org, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeTime)
	defer cancel()
	return t.change(ctx, caller, audit.OrgEdited, func(now *tree) (*Org, error) {
		old := now.byID[id]
		if err := now.mayChange(caller, old, noNumber(id)); err != nil {
			return nil, err
		}
		switch {
		case old.Configured:
			return nil, errConfigured(old)
		case !old.Closed.IsZero():
			return nil, noNumber(id)
		case t.Unused == nil:
			return nil, problem.New(problem.Conflict, "nobody here knows what the organisation has; disable it by gatehouse org disable %s", old.Slug)
		}
		for _, o := range now.all {
			if o.Parent == id && o.Closed.IsZero() {
				return nil, problem.New(problem.Conflict, "there is an organisation below this one; delete that first")
			}
		}
		if err := t.Unused(ctx, id); err != nil {
			return nil, err
		}
		o := old.clone()
		o.Closed = t.second()
		if o.Disabled.IsZero() {
			o.Disabled = o.Closed
		}
		o.Edits++
		return o, nil
	})
}
