package auth

import (
	"context"
	"slices"

	"github.com/gatehouse-ca/gatehouse/audit"
	"github.com/gatehouse-ca/gatehouse/problem"
)

// NewOrg is an organisation to be made.
type NewOrg struct {
	// Slug may be empty with ParentID: then it is made of the parent's and the name. Only an operator chooses one.
	Slug     string
	Name     string
	Parent   string   // slug; empty: none, or ParentID
	ParentID OrgID    // in place of Parent; zero: none
	Profiles []string // nil: all that its parent may use
	EAB      EABMode  // zero: its parent's; without one EABOff
	Details  OrgDetails

	AllowNames, DenyNames []string // as of Org
}

// Add makes an organisation. Errors are Malformed or Conflict with what to change, Unauthorized for a caller who is no
// operator and no administrator of the parent, and Unavailable.
func (t *Tenants) Add(ctx context.Context, caller Caller, in NewOrg) (Org, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeTime)
	defer cancel()
	if err := mayAtAll(caller); err != nil {
		return Org{}, err
	}
	derived := in.Slug == "" && (in.ParentID != 0 || !caller.Operator)
	if !derived && !usableSlug(in.Slug) {
		return Org{}, problem.New(problem.Malformed, "slug %q cannot be used; %s", in.Slug, slugForm)
	}
	var number OrgID
	return t.change(ctx, caller, audit.OrgMade, func(now *tree) (*Org, error) {
		parent, err := now.parentOf(caller, in)
		if err != nil {
			return nil, err
		}
		if other := now.bySlug[in.Slug]; other != nil {
			return nil, problem.New(problem.Conflict, "the slug %q is that of organisation %d; choose another", in.Slug, other.ID)
		}
		if stored := len(now.all) - len(t.Directory.configured); stored >= MaxOrganisations {
			return nil, problem.New(problem.Conflict, "there are %d organisations, and a store keeps no more", stored)
		}
		o := &Org{Slug: in.Slug, Name: in.Name, Profiles: slices.Clone(in.Profiles), EAB: in.EAB, Created: t.second(),
			AllowNames: slices.Clone(in.AllowNames), DenyNames: slices.Clone(in.DenyNames), Details: in.Details}
		o.Details.ContactEmails = slices.Clone(in.Details.ContactEmails)
		if parent != nil {
			if err := now.under(parent, o); err != nil {
				return nil, err
			}
		}
		if o.EAB == 0 {
			o.EAB = EABOff
		}
		if derived {
			o.Slug = deriveSlug(parent.Slug, in.Name, func(slug string) bool { return now.bySlug[slug] != nil })
		}
		if err := t.check(now, o); err != nil {
			return nil, err
		}
		if err := now.laxer(caller, o); err != nil {
			return nil, err
		}
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

// under puts a new organisation below another.
func (t *tree) under(parent, o *Org) error {
	if above, err := t.above(parent); err != nil || len(above)+2 > MaxDepth {
		return problem.New(problem.Malformed, "parent: %q is at depth %d already, and the tree has %d; choose one further up", parent.Slug, len(above)+1, MaxDepth)
	}
	o.Parent = parent.ID
	if o.EAB == 0 {
		o.EAB = parent.EAB
	}
	return nil
}
