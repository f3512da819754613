package auth

import (
	"fmt"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"
)

// OrgID is an organisation's number, above zero; SCM shows it as orgId.
type OrgID int32

const (
	// MaxDepth bounds the tree of organisations: one that has no parent is at depth 1.
	MaxDepth = 8
	// MaxOrganisations is how many the store keeps. Every gateway has all of them in memory.
	MaxOrganisations = 10_000
	// maxOrgName bounds an organisation's name, in characters.
	maxOrgName = 200
	// maxProfileList bounds a list of profiles.
	maxProfileList = 100
	// maxNameList bounds a list of names and patterns.
	maxNameList = 100
)

// Org is a tenant. Values that a [Directory] returned are shared and not to be changed.
type Org struct {
	ID   OrgID
	Slug string // lower-case letters, digits and hyphens; unique; used in URLs; never changed
	Name string // for people
	// Parent is the organisation above; zero: none. Never changed.
	Parent OrgID
	// Profiles are those that it may use, of those that its parent may; nil: all of them.
	Profiles []string
	// AllowNames and DenyNames are names, patterns, addresses and ranges (policy.NameRules) that it, and whatever is below it,
	// may ask for alone and may not ask for. Both empty: the profiles decide.
	AllowNames, DenyNames []string
	// EAB is the mode of /acme/in/{Slug}/directory. Zero, in a configuration: that of its parent, without one EABOff.
	EAB EABMode
	// Disabled is since when it, and whatever is below it, does nothing but revoke; zero: it works.
	Disabled time.Time
	// Closed is since when doors do not list it any more ([Tenants.Close]); zero: they do. It is disabled then as well, and what it has is
	// seen and revoked as before by those who may.
	Closed  time.Time
	Details OrgDetails

	// Configured: it is in the configuration file, and no command changes it.
	Configured bool
	Created    time.Time // zero if configured
	Edits      int64     // how often a command has changed it: of two states the one with more is the later
	Version    [16]byte  // of the record; the Store's
}

// clone is a copy to change.
func (o *Org) clone() *Org {
	c := *o
	c.Profiles, c.AllowNames, c.DenyNames = slices.Clone(o.Profiles), slices.Clone(o.AllowNames), slices.Clone(o.DenyNames)
	c.Details.ContactEmails = slices.Clone(o.Details.ContactEmails)
	return &c
}

// reserved slugs would collide with words in the doors' URLs.
var reserved = map[string]bool{"in": true, "directory": true, "new": true, "all": true, "console": true, "admin": true}

const slugForm = "take 1 to 63 lower-case letters, digits or hyphens, not a reserved word"

// usableSlug reports whether a slug can stand in a URL as it is.
func usableSlug(slug string) bool { return validSlug(slug) && !reserved[slug] }

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

// checkLine holds a text for people to one line that can be shown.
func checkLine(field, text string, most int) error {
	if utf8.RuneCountInString(text) > most || !utf8.ValidString(text) || slices.ContainsFunc([]rune(text), unicode.IsControl) {
		return fmt.Errorf("%s is not one line of at most %d characters", field, most)
	}
	return nil
}
