package auth

import (
	"github.com/gatehouse-ca/gatehouse/problem"
)

// What a principal may do to organisations. It holds the role of administrator in one above the organisation that is made or changed:
// never one at the top, which is a customer and the operator's to make, and never its own, whose bounds others have set. What is made
// stays within what is above it, like everything of the tree; beyond that, a principal disables nothing, takes no disable back, and
// asks new ACME accounts for no less than above.

// MaxMade is how many organisations there may be below one without a parent when a principal makes another, so that one
// customer cannot use up the store's MaxOrganisations, nor make lists over all that an administrator sees impossible (ra.MaxOrgs). An
// operator makes more.
const MaxMade = 150

// mayAtAll refuses whoever makes and changes no organisation anywhere.
func mayAtAll(c Caller) error {
	if c.Operator || !isPrincipal(c.Principal) {
		return onlyOperator(c)
	}
	return nil
}

// errTop is for principals.
var errTop = problem.New(problem.Unauthorized, "only an operator makes and changes an organisation that has none above it (gatehouse org)")

// parentOf is the organisation that a new one is to be below; nil for none. It refuses a caller who may make none there.
func (t *tree) parentOf(c Caller, in NewOrg) (*Org, error) {
	parent := t.byID[in.ParentID]
	switch {
	case in.Parent != "":
		parent = t.bySlug[in.Parent]
	case in.ParentID == 0 && !c.Operator:
		return nil, errTop
	case in.ParentID == 0:
		return nil, nil
	}
	if parent == nil || t.may(c, View, parent.ID) != nil {
		if in.Parent != "" {
			return nil, problem.New(problem.Malformed, "parent: there is no organisation with the slug %q", in.Parent)
		}
		return nil, problem.New(problem.Malformed, "parent: there is no organisation %d", in.ParentID)
	}
	if !parent.Closed.IsZero() {
		return nil, problem.New(problem.Conflict, "parent: the organisation %s was deleted; gatehouse org enable takes that back", parent.Slug)
	}
	if c.Operator {
		return parent, onlyOperator(c)
	}
	if err := t.may(c, ManageOrganisations, parent.ID); err != nil {
		return nil, err
	}
	if err := t.works(parent); err != nil {
		return nil, problem.New(problem.Conflict, "parent: %v", err)
	}
	if in.Slug != "" {
		return nil, problem.New(problem.Unauthorized, "only an operator chooses a slug; leave it out, and one is made of the name")
	}
	top := parent
	if above, err := t.above(parent); err == nil && len(above) > 0 {
		top = above[len(above)-1]
	}
	made := 0
	for _, o := range t.all {
		if o != top && t.within(o, top.ID) {
			made++
		}
	}
	if made >= MaxMade {
		return nil, problem.New(problem.Conflict, "there are %d organisations below %s, and only an operator makes more (gatehouse org add)", made, top.Slug)
	}
	return parent, nil
}

// mayChange refuses a caller who may not change an organisation. absent is what to say of one that there is not.
func (t *tree) mayChange(c Caller, o *Org, absent error) error {
	if o == nil || t.may(c, View, o.ID) != nil {
		return absent
	}
	if c.Operator {
		return onlyOperator(c)
	}
	switch {
	case !o.Closed.IsZero():
		return absent
	case o.Parent == 0:
		return errTop
	case t.may(c, ManageOrganisations, o.Parent) != nil:
		return problem.New(problem.Unauthorized, "to change an organisation needs the role %s in one above it; ask an administrator there", Administrator)
	}
	return nil
}

// laxer refuses a principal's organisation that asks new ACME accounts for less than the one above it.
func (t *tree) laxer(c Caller, o *Org) error {
	parent := t.byID[o.Parent]
	if c.Operator || parent == nil || o.EAB >= t.mode(parent) {
		return nil
	}
	return problem.New(problem.Unauthorized, "eab: only an operator lets an organisation ask for less than the one above it, which has %s", t.mode(parent))
}
