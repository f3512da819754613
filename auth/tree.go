package auth

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// tree is the organisations at one moment. It is immutable.
type tree struct {
	byID      map[OrgID]*Org
	bySlug    map[string]*Org
	all       []*Org          // by number
	orphans   []*Org          // of the store, whose parent there is not
	blocked   map[OrgID]error // numbers that do nothing, because the store and the configuration collide over them
	version   [16]byte
	fromStore bool
}

var errOrphan = errors.New("its parent there is not")

// newTree joins what is configured with what is stored. What is wrong among the configured ones is an error. A stored one that collides with a configured one, or lost its parent, is kept and does not work: [tree.collides]
// says the former. Of two with one number neither works, because whose the accounts are cannot be told.
func newTree(configured []Org, stored []*Org) (*tree, error) {
	t := &tree{byID: make(map[OrgID]*Org), bySlug: make(map[string]*Org), blocked: make(map[OrgID]error)}
	for i := range configured {
		o := configured[i].clone()
		if _, dup := t.byID[o.ID]; dup {
			return nil, fmt.Errorf("id %d is given twice", o.ID)
		}
		if _, dup := t.bySlug[o.Slug]; dup {
			return nil, fmt.Errorf("slug %q is given twice", o.Slug)
		}
		t.add(o)
	}
	for i := range t.all {
		if err := t.checkConfigured(t.all[i]); err != nil {
			return nil, err
		}
	}
	for _, o := range t.all {
		o.EAB = t.mode(o)
	}
	for _, o := range stored {
		switch number, slug := t.byID[o.ID], t.bySlug[o.Slug]; {
		case number != nil:
			t.blocked[o.ID] = collision(o, number)
		case slug != nil:
			t.blocked[o.ID] = collision(o, slug)
			t.byID[o.ID], t.all = o, append(t.all, o)
		default:
			t.add(o)
		}
	}
	for _, o := range stored {
		if _, err := t.above(o); err != nil {
			t.orphans = append(t.orphans, o)
		}
	}
	slices.SortFunc(t.all, func(a, b *Org) int { return cmp.Compare(a.ID, b.ID) })
	return t, nil
}

// collides is what the store and the configuration collide over; nil: nothing.
func (t *tree) collides() error {
	return errors.Join(slices.Collect(maps.Values(t.blocked))...)
}

func collision(stored, configured *Org) error {
	if !configured.Configured {
		return fmt.Errorf("the store holds two organisations with the number %d or the slug %q", stored.ID, stored.Slug)
	}
	return fmt.Errorf("organisation %d (slug %s) of the configuration has the number or the slug of organisation %d (slug %s), which was made by the command; "+
		"give the configured one another number and slug, or remove it from the configuration", configured.ID, configured.Slug, stored.ID, stored.Slug)
}

func (t *tree) add(o *Org) {
	t.byID[o.ID], t.bySlug[o.Slug] = o, o
	t.all = append(t.all, o)
}

// above are the organisations above one, nearest first.
func (t *tree) above(o *Org) ([]*Org, error) {
	var list []*Org
	for o.Parent != 0 {
		if o = t.byID[o.Parent]; o == nil {
			return nil, errOrphan
		}
		if list = append(list, o); len(list) >= MaxDepth {
			return nil, fmt.Errorf("the tree is deeper than %d organisations, or goes in a circle", MaxDepth)
		}
	}
	return list, nil
}

func (t *tree) checkConfigured(o *Org) error {
	above, err := t.above(o)
	if err != nil {
		return fmt.Errorf("parent of %q: %w", o.Slug, err)
	}
	for _, p := range o.Profiles {
		if len(above) > 0 && !t.allows(above[0], p) {
			return fmt.Errorf("%q names the profile %q, which its parent %q may not use; take it away from the one or give it to the other", o.Slug, p, above[0].Slug)
		}
	}
	return nil
}

// mode is an organisation's own, or else the nearest above it that has one.
func (t *tree) mode(o *Org) EABMode {
	for depth := 0; o != nil && depth < MaxDepth; depth++ {
		if o.EAB != 0 {
			return o.EAB
		}
		o = t.byID[o.Parent]
	}
	return EABOff
}

// works is nil if neither an organisation nor one above it is disabled or blocked.
func (t *tree) works(o *Org) error {
	above, err := t.above(o)
	if err != nil {
		return err
	}
	for _, o := range append([]*Org{o}, above...) {
		if err := t.blocked[o.ID]; err != nil {
			return err
		}
		if !o.Disabled.IsZero() {
			return fmt.Errorf("the organisation %s is disabled", o.Slug)
		}
	}
	return nil
}

// allows reports whether an organisation and all above it may use a profile.
func (t *tree) allows(o *Org, profile string) bool {
	above, err := t.above(o)
	if err != nil {
		return false
	}
	for _, o := range append([]*Org{o}, above...) {
		if o.Profiles != nil && !slices.Contains(o.Profiles, profile) {
			return false
		}
	}
	return true
}
