package auth

import (
	"context"
	"fmt"
)

// OrgState is an organisation and what follows from those above it.
type OrgState struct {
	Org
	ParentSlug string // empty: none
	Depth      int    // 1 without a parent
	Obstacle   string // why it does not work; empty: it does
	Children   int
}

// List gives every organisation, by number. Of a caller who is no operator it gives nothing.
func (t *Tenants) List(ctx context.Context, caller Caller) ([]OrgState, error) {
	if err := onlyOperator(caller); err != nil {
		return nil, err
	}
	if err := t.Directory.Refresh(ctx); err != nil {
		return nil, err
	}
	now := t.Directory.current.Load()
	list := make([]OrgState, 0, len(now.all))
	children := map[OrgID]int{}
	for _, o := range now.all {
		children[o.Parent]++
	}
	for _, o := range now.all {
		list = append(list, now.state(o, children[o.ID]))
	}
	return list, nil
}

// Get gives one organisation; NotFound if there is none.
func (t *Tenants) Get(ctx context.Context, caller Caller, slug string) (OrgState, error) {
	list, err := t.List(ctx, caller)
	if err != nil {
		return OrgState{}, err
	}
	for _, o := range list {
		if o.Slug == slug {
			return o, nil
		}
	}
	return OrgState{}, noOrg(slug)
}

func (t *tree) state(o *Org, children int) OrgState {
	s := OrgState{Org: *o, Children: children, Depth: 1}
	if parent := t.byID[o.Parent]; parent != nil {
		s.ParentSlug = parent.Slug
	} else if o.Parent != 0 {
		s.ParentSlug = fmt.Sprint(o.Parent)
	}
	if above, err := t.above(o); err == nil {
		s.Depth += len(above)
	}
	if err := t.works(o); err != nil {
		s.Obstacle = err.Error()
	}
	return s
}
