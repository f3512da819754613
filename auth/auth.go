// Package auth knows organisations and callers.
//
// It decides who a caller is allowed to act for. It trusts the configuration for organisations and the doors for having
// authenticated the caller in their protocol's way. It never looks at the object acted upon: ra asks it whether a caller
// may see an organisation's objects, and answers "absent" where it says no.
package auth

import "fmt"

// OrgID is an organisation's number, above zero; SCM shows it as orgId.
type OrgID int32

// Org is a tenant.
type Org struct {
	ID   OrgID
	Slug string // lower-case letters, digits and hyphens; unique; used in URLs
	Name string // for people
}

// Caller is whoever acts, after a door has authenticated it. The zero Caller may do nothing.
type Caller struct {
	Principal string // "acme:<account id>", "uid:<number>", "system"
	Org       OrgID  // the organisation it acts in; zero with Operator
	Operator  bool   // the machine's operator over the admin socket: sees every organisation
}

// Sees reports whether the caller may know of objects of an organisation.
func (c Caller) Sees(org OrgID) bool {
	return c.Operator || (c.Org > 0 && c.Org == org)
}

// Directory finds organisations. It is immutable and safe for concurrent use.
type Directory struct {
	byID   map[OrgID]Org
	bySlug map[string]Org
	first  Org
}

// reserved slugs would collide with words in the doors' URLs.
var reserved = map[string]bool{"in": true, "directory": true, "new": true, "all": true, "console": true, "admin": true}

// NewDirectory checks a list of organisations: numbers above zero and slugs, each unique; at least one. The first is the
// one that /acme/directory serves.
func NewDirectory(orgs []Org) (*Directory, error) {
	if len(orgs) == 0 {
		return nil, fmt.Errorf("organisations: at least one is needed, for example {id: 1, slug: main, name: Main}")
	}
	d := &Directory{byID: make(map[OrgID]Org), bySlug: make(map[string]Org), first: orgs[0]}
	for _, o := range orgs {
		if o.ID <= 0 {
			return nil, fmt.Errorf("organisations: %q has id %d; give each a number above zero", o.Slug, o.ID)
		}
		if !validSlug(o.Slug) || reserved[o.Slug] {
			return nil, fmt.Errorf("organisations: slug %q of id %d cannot be used; take 1 to 63 lower-case letters, digits or hyphens, not a reserved word", o.Slug, o.ID)
		}
		if _, dup := d.byID[o.ID]; dup {
			return nil, fmt.Errorf("organisations: id %d is given twice", o.ID)
		}
		if _, dup := d.bySlug[o.Slug]; dup {
			return nil, fmt.Errorf("organisations: slug %q is given twice", o.Slug)
		}
		d.byID[o.ID], d.bySlug[o.Slug] = o, o
	}
	return d, nil
}

// Default is the first organisation of the configuration.
func (d *Directory) Default() Org { return d.first }

// ByID finds an organisation by its number.
func (d *Directory) ByID(id OrgID) (Org, bool) { o, ok := d.byID[id]; return o, ok }

// BySlug finds an organisation by its slug.
func (d *Directory) BySlug(slug string) (Org, bool) { o, ok := d.bySlug[slug]; return o, ok }

func validSlug(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}
